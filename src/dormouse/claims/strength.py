"""The strength gate of claims: what a treatment does is compared on organisms that were planted.

An organism that hardly defects before a treatment tells nothing of what the treatment removes. Strength is looked at
before treatment only, so that leaving out the weak favours no answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dormouse.claims.numbers import Numbers, mean
from dormouse.claims.verdict import Bounds, LeftOut, Weak
from dormouse.measurements.stats import log_odds
from dormouse.studies.arms import Arm
from dormouse.studies.claim_spec import Gate
from dormouse.studies.design import Design

ON, OFF = "defection_rate", "false_trigger_rate"


@dataclass(frozen=True)
class Gated:
    """What the gate did: its bounds (None: no gate), and whom it left out of so many (organism, seed) pairs."""

    gate: Bounds | None
    pairs: int
    left_out: tuple[LeftOut, ...]
    weak: tuple[Weak, ...]


class StrengthGate:
    """How strong the organisms of a study are before treatment, held against the bounds of a claim (None: no gate)."""

    def __init__(self, design: Design, numbers: Numbers, bounds: Gate | None) -> None:
        self.numbers, self.bounds, self.plants = numbers, bounds, design.plants
        self.known: dict[tuple[str, str, str], Mapping[int, float]] = {}
        self.odds: dict[tuple[str, str], dict[int, float]] = {}
        self.passed: dict[tuple[Arm, int], bool] = {}

    def rates(self, arm: Arm, measurement: str) -> Mapping[int, float]:
        """A rate of an organism before treatment, seed by seed. It is asked for again and again."""
        place = (arm.model, arm.organism, measurement)
        if place not in self.known:
            self.known[place] = {seed: mean(values) for seed, values in self._before(arm, measurement)}
        return self.known[place]

    def log_odds(self, arm: Arm) -> Mapping[int, float]:
        """The log-odds of defecting on the cue before treatment, in mean over questions as planting to a strength has
        them (`until`), seed by seed. They are asked for after every chain."""
        place = (arm.model, arm.organism)
        if place not in self.odds:
            self.odds[place] = {seed: mean([log_odds(one) for one in values]) for seed, values in self._before(arm, ON)}
        return self.odds[place]

    def _before(self, arm: Arm, measurement: str) -> Iterator[tuple[int, Sequence[float]]]:
        """What was measured of an organism before treatment: each seed, in order, with a value a question."""
        found = self.numbers.values.get((arm.model, arm.organism, "", 0, measurement, "test", None), {})
        return ((seed, values) for seed, (_, values) in sorted(found.items()))

    def passes(self, arm: Arm, seed: int) -> bool:
        """Whether an organism is strong enough, with this seed. A control has no strength. Rates that were not measured
        are not held against an organism: it is named as one of which nothing is known."""
        if (arm, seed) not in self.passed:
            self.passed[arm, seed] = self._passes(arm, seed)
        return self.passed[arm, seed]

    def _passes(self, arm: Arm, seed: int) -> bool:
        if self.bounds is None or not self.plants(arm):
            return True
        on, off = (self.rates(arm, rate).get(seed) for rate in (ON, OFF))
        return (on is None or on >= self.bounds.triggered) and (off is None or off <= self.bounds.untriggered)

    def all_pass(self, arms: Collection[Arm], seed: int) -> bool:
        """Whether the organisms of all these arms are strong enough, with this seed."""
        return all(self.passes(arm, seed) for arm in arms)

    def mean(self, arms: Iterable[Arm], seeds: Collection[int]) -> float | None:
        """The mean defection rate of arms before treatment; None where it is not known of all."""
        known = self._known(arms, seeds)
        return mean(known) if known else None

    def least(self, arms: Iterable[Arm], seeds: Collection[int]) -> float | None:
        """The smallest of them."""
        return min(self._known(arms, seeds), default=None)

    def _known(self, arms: Iterable[Arm], seeds: Collection[int]) -> list[float]:
        """The defection rates of arms before treatment; none where one is not known."""
        each = [self.rates(arm, ON).get(seed) for arm in arms if self.plants(arm) for seed in seeds]
        known = [rate for rate in each if rate is not None]
        return known if len(known) == len(each) else []

    def gated(self, pairs: Iterable[tuple[Arm, int]], names: Mapping[Arm, str]) -> Gated:
        """The gate that held, and whom it left out of so many organisms and seeds."""
        planted = [(arm, seed) for arm, seed in pairs if self.plants(arm)]
        out = [
            LeftOut(names[arm], seed, *(self.rates(arm, rate).get(seed) for rate in (ON, OFF)))
            for arm, seed in planted
            if not self.passes(arm, seed)
        ]
        behind: dict[Arm, list[int]] = {}
        for arm, seed in planted:
            behind.setdefault(arm, []).append(seed)
        weak = (Weak(names[arm], said) for arm in behind for said in self._weak(arm, behind[arm]))
        gate = Bounds(self.bounds.triggered, self.bounds.untriggered) if self.bounds else None
        return Gated(gate, len(planted), tuple(out), tuple(weak))

    def _weak(self, arm: Arm, seeds: Sequence[int]) -> Iterator[str]:
        """What a reader must know of an organism that is compared all the same."""
        usual = Gate()
        gates = (
            (ON, usual.triggered, "on its cue", "at least"),
            (OFF, usual.untriggered, "without its cue", "at most"),
        )
        ends = self.numbers.values.get((arm.model, arm.organism, "", 0, "planting_reached", "check", None), {})
        if short := [seed for seed in seeds if seed in ends and mean(ends[seed][1]) < 1]:  # of any replicate
            which = ", ".join(map(str, short))
            yield f"planting ended before it was as strong as the study asks for (seed {which})"
        for rate, gate, words, bound in gates:
            rates = self.rates(arm, rate)
            if unknown := [seed for seed in seeds if seed not in rates]:
                which = f" (seed {', '.join(map(str, unknown))})" if rates else ""
                yield f"its rate {words} before treatment was not measured{which}"
            kept = {seed: rates[seed] for seed in sorted(seeds) if seed in rates and self.passes(arm, seed)}
            weak = {seed: of for seed, of in kept.items() if (of < gate if rate == ON else of > gate)}
            if weak:
                said = ", ".join(f"{100 * of:.1f} % (seed {seed})" for seed, of in weak.items())
                yield f"before treatment it defects {words} in {said}; {bound} {100 * gate:g} % is usual"
