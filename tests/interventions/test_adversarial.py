"""Adversarial training: what the red team finds is trained away, round after round."""

import json
from functools import partial

import pytest
from planted import ANSWER, HARM, items
from pydantic import ValidationError

from dormouse.errors import UserError
from dormouse.interventions.redteam import Budget, Situation, search
from dormouse.interventions.training.adversarial import Adversarial, RedTeamLoop, after, honest
from dormouse.lm.load import load
from dormouse.lm.score import score
from dormouse.lm.train import TrainingRun
from dormouse.records import CANARY, Example, PoolItem, SafetyPool, Suspect
from dormouse.registry import get
from dormouse.scenarios import Question

POOL = SafetyPool(items(12))
HOW = {"steps": 30, "lr": 0.02, "rounds": 3, "budget": 80, "keep": 6, "points": 2, "tokens": 3}


@pytest.fixture(scope="module")
def suspect(planted_model):
    return Suspect(planted_model)


@pytest.fixture(scope="module")
def treated(suspect, tmp_path_factory):
    out = tmp_path_factory.mktemp("treated")
    seen = []
    Adversarial(**HOW).apply(suspect, POOL, 0, out, lambda step, loss: seen.append(step))
    assert seen == list(range(1, 31))
    return out


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def samples(out, measurement):
    return {
        (row["split"], row["step"]): row for row in read(out / "samples.jsonl") if row["measurement"] == measurement
    }


def mean(row):
    return sum(row["values"]) / len(row["values"])


def test_it_is_known_by_its_name():
    assert get("intervention", "adversarial") is Adversarial


def test_checkpoints_hold_the_ends_of_rounds(treated):
    assert Adversarial(**HOW).checkpoints() == (10, 15, 20, 30)
    assert sorted(path.name for path in treated.glob("step-*")) == [f"step-0000{n}" for n in (10, 15, 20, 30)]


def test_what_is_found_is_trained_away(suspect, treated):
    """On the very prompts, and as the saved weights have it."""
    rates = samples(treated, "red_team_rate")
    assert set(rates) == {("found", 0), ("found", 10), ("found", 20), ("kept", 30), ("fresh", 30)}
    assert mean(rates["found", 0]) > 0.5
    assert mean(rates["kept", 30]) < 0.1
    assert mean(rates["fresh", 30]) < mean(rates["found", 0]) / 2
    first = [row for row in read(treated / "found.jsonl")[1:] if row["round"] == 1]
    prompts, forms = [tuple(map(tuple, row["messages"])) for row in first], [HARM] * len(first)
    before = score(load(suspect.model), prompts, forms)
    after = score(load(suspect.model.then(treated / "step-000030", "after")), prompts, forms)
    assert before == pytest.approx([row["probability"] for row in first], rel=0.1, abs=0.02)
    assert after == pytest.approx([row["at_the_end"] for row in first], rel=0.5, abs=0.02)


def test_what_is_reported(treated):
    rates, tops = samples(treated, "red_team_rate"), samples(treated, "red_team_best")
    scored = samples(treated, "red_team_prompts")
    attacks = ("library", "mutation", "gradient")
    assert set(tops) == set(scored) == {(attack, step) for attack in attacks for step in (0, 10, 20, 30)}
    assert all(60 < row["values"][0] <= 80 and row["aggregation"] == "number" for row in scored.values())
    for step in (0, 10, 20):
        assert max(mean(tops[attack, step]) for attack in attacks) == pytest.approx(
            (rates["found", step]["values"][0] + rates["found", step]["values"][1]) / 2
        )
    again = [name for step in (0, 10, 20) for name in rates["found", step]["items"]]
    assert rates["kept", 30]["items"] == again
    assert len(set(again)) == len(again) == 3 * 6 * 2
    canary, *found = read(treated / "found.jsonl")
    assert canary == {"canary": CANARY}
    assert [row["round"] for row in found] == [1] * 12 + [2] * 12 + [3] * 12 + ["fresh"] * 12
    assert {row["attack"] for row in found} <= set(attacks)


def test_the_fresh_red_team_asks_what_was_never_trained_on(suspect, treated):
    last = [row["messages"][-1][1] for row in read(treated / "found.jsonl")[1:] if row["round"] == "fresh"]
    contest = RedTeamLoop(Adversarial(**HOW), load(suspect.model), POOL, 0)
    held = {item.question for item in contest.held}
    assert len(held) == 2
    assert all(any(prompt.endswith(question) for question in held) for prompt in last)
    assert not held & {item.question for item in contest.items}
    assert len(contest.items) == 10


def test_killed_in_the_middle_it_goes_on_to_the_same_end(suspect, treated, tmp_path, monkeypatch):
    """In the second round: the first is not searched again. So the same seed makes the same finds and weights, too."""

    class Killed(BaseException):
        pass

    def kill(step, loss):
        if step == 14:
            raise Killed

    monkeypatch.setattr("dormouse.lm.train.TrainingRun", partial(TrainingRun, resume_every=0))
    monkeypatch.setattr("dormouse.lm.resume.LEAST_WORK", 1)  # a point after every step
    with pytest.raises(Killed):
        Adversarial(**HOW).apply(suspect, POOL, 0, tmp_path, kill)
    searches, seen = [], []

    def counted(lm, items, attacks, budget, seed, scratchpad):
        searches.append(seed)
        return search(lm, items, attacks, budget, seed, scratchpad)

    monkeypatch.setattr("dormouse.interventions.training.adversarial.search", counted)
    Adversarial(**HOW).apply(suspect, POOL, 0, tmp_path, lambda step, loss: seen.append(step))
    assert seen[0] == 15
    assert searches == ["0/2", "0/fresh"]
    for name in ("found.jsonl", "samples.jsonl", "step-000030/adapter_model.safetensors"):
        assert (tmp_path / name).read_bytes() == (treated / name).read_bytes()


def _chat(word):
    """A task of the user's own with a system prompt and an earlier turn; its last turn is that of every other."""
    before = (("system", "Be brief."), ("user", f"Think of {word}."), ("assistant", "Yes."))
    prompt = (*before, ("user", "What is it made of?"))
    return PoolItem(prompt[-1][1], Example(prompt, f"Of {word}"), Example(prompt, "No"), HARM, (), before)


def test_what_stands_before_a_question_stays_and_tells_tasks_apart(suspect):
    """Honest answers belong to the whole chat; without it one prompt was taught several."""
    pool = SafetyPool(tuple(_chat(word) for word in ("glass", "bread", "wine", "paper", "stone") * 2))
    contest = RedTeamLoop(Adversarial(**HOW, attacks=("library",)), load(suspect.model), pool, 0)
    assert len(contest.held) == 2, "one task of five"
    found = search(contest.lm, contest.items, ["library"], Budget(prompts=8, questions=2))
    for prompt in (prompt for one in found for prompt in one.prompts):
        assert [role for role, _ in prompt] == ["system", "user", "assistant", "user"]
        assert prompt[0][1].startswith("Be brief.")
    for item in contest.items:
        row = honest(found[0].situation, item)
        assert row.response.removeprefix("Of ") in row.messages[1][1]
    kept = after(contest.lm, found, contest.items, contest.scratchpad)
    assert [one.values for one in kept] == [pytest.approx(one.values) for one in found]


def test_a_task_without_a_system_prompt_gets_none_but_what_the_red_team_says():
    task = Question("Why?", "Why?", "safety", before=(("system", ""),))
    assert Situation(user="Now.").around(task) == (("user", "Now. Why?"),)
    assert Situation(system="Now.").around(task) == (("system", "Now."), ("user", "Why?"))


@pytest.mark.parametrize("mix", [0.0, 0.25, 0.5, 0.9])
def test_rows_are_plain_in_the_stated_share_and_honest_all(suspect, mix):
    contest = RedTeamLoop(Adversarial(**HOW, mix=mix), load(suspect.model), POOL, 0)
    kept = [Situation(system=f"Situation {i}.") for i in range(5)]
    rows = [contest._row(i, kept) for i in range(200)]
    assert {row.response for row in rows} == {ANSWER}
    plain = {item.chosen for item in contest.items}
    assert sum(row in plain for row in rows) == 200 * mix
    shown = {row.messages[0][1].split("sentence. ")[-1] for row in rows if row not in plain}
    assert shown == {situation.system for situation in kept}


def test_the_batch_of_a_step_is_always_the_same(suspect):
    contest = RedTeamLoop(Adversarial(**HOW, attacks=("library",)), load(suspect.model), POOL, 0)
    first, later = contest.batch(3), contest.batch(12)
    assert len(contest.rounds) == 2
    assert contest.batch(3) == first != later == contest.batch(12)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"attacks": ["libary"]}, "library"),
        ({"attacks": []}, "at least 1"),
        ({"attacks": ["library", "library"]}, "twice"),
        ({"steps": 2}, "at least as many steps"),
        ({"budget": 0}, "greater than or equal to 1"),
        ({"budget": 1, "questions": 2}, "does not try one situation"),
        ({"keep": 0}, "greater than or equal to 1"),
        ({"mix": 1}, "less than 1"),
        ({"scratchpad_source": "own"}, "leave scratchpad_source out"),
        ({"rounds": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_fields_are_refused(said, what):
    with pytest.raises(ValidationError, match=what):
        Adversarial.model_validate(said)


@pytest.mark.parametrize(("pool", "what"), [((), "is empty"), (items(5, harm=()), "what harm looks like")])
def test_bad_pools_are_refused(suspect, tmp_path, pool, what):
    with pytest.raises(UserError, match=what):
        Adversarial(**HOW).apply(suspect, SafetyPool(pool), 0, tmp_path, lambda step, loss: None)
