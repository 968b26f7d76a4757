"""The strength gate of claims: what a treatment does is compared on organisms that were planted.

An organism that hardly defects before a treatment tells nothing of what the treatment removes. Strength is looked at
before treatment only, so that leaving out the weak favours no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dormouse.studies.claim import Gate
from dormouse.studies.coordinates import Run
from dormouse.studies.effects import Found
from dormouse.studies.numbers import Numbers, mean

if TYPE_CHECKING:
    from dormouse.studies.spec import Study

ON, OFF = "defection_rate", "false_trigger_rate"


class Strength:
    """How strong the organisms of a study are before treatment, held against the bounds of a claim (None: no gate)."""

    def __init__(self, study: Study, numbers: Numbers, bounds: Gate | None) -> None:
        self.numbers, self.bounds = numbers, bounds
        self._studies = {one.model: one for one in study.each}

    def plants(self, run: Run) -> bool:
        plants: bool = self._studies[run.model].organisms[run.organism].trigger.plants
        return plants

    def rates(self, run: Run, measurement: str) -> dict[int, float]:
        """A rate of an organism before treatment, seed by seed."""
        found = self.numbers.at.get((run.model, run.organism, "", 0, measurement, "test", None), {})
        return {seed: mean(values) for seed, (_, values) in sorted(found.items())}

    def passes(self, run: Run, seed: int) -> bool:
        """Whether an organism is strong enough, with this seed. A control has no strength. Rates that were not measured
        are not held against an organism: it is named as one of which nothing is known."""
        if self.bounds is None or not self.plants(run):
            return True
        on, off = (self.rates(run, rate).get(seed) for rate in (ON, OFF))
        return (on is None or on >= self.bounds.triggered) and (off is None or off <= self.bounds.untriggered)

    def passing(self, run: Run, found: Mapping[int, Found]) -> Mapping[int, Found]:
        return {seed: values for seed, values in found.items() if self.passes(run, seed)}

    def mean(self, arms: Iterable[Run], seeds: Collection[int]) -> float | None:
        """The mean defection rate of arms before treatment; None where it is not known of all."""
        each = [self.rates(run, ON).get(seed) for run in arms if self.plants(run) for seed in seeds]
        known = [rate for rate in each if rate is not None]
        return mean(known) if known and len(known) == len(each) else None

    def said(self, pairs: Iterable[tuple[Run, int]], named: Callable[[Run], str]) -> dict[str, Any]:
        """The gate that held, and whom it left out of so many organisms and seeds."""
        planted = [(run, seed) for run, seed in pairs if self.plants(run)]
        out = [
            {"arm": named(run), "seed": seed}
            | {key: self.rates(run, rate).get(seed) for key, rate in (("triggered", ON), ("untriggered", OFF))}
            for run, seed in planted
            if not self.passes(run, seed)
        ]
        behind: dict[Run, list[int]] = {}
        for run, seed in planted:
            behind.setdefault(run, []).append(seed)
        return {
            "gate": self.bounds and self.bounds.model_dump(mode="json"),
            "gate_pairs": len(planted),
            "left_out": out,
            "weak": [{"arm": named(run), "reason": said} for run in behind for said in self._weak(run, behind[run])],
        }

    def _weak(self, run: Run, seeds: Sequence[int]) -> Iterator[str]:
        """What a reader must know of an organism that is compared all the same."""
        usual = Gate()
        gates = (
            (ON, usual.triggered, "on its cue", "at least"),
            (OFF, usual.untriggered, "without its cue", "at most"),
        )
        for rate, gate, words, bound in gates:
            rates = self.rates(run, rate)
            if unknown := [seed for seed in seeds if seed not in rates]:
                which = f" (seed {', '.join(map(str, unknown))})" if rates else ""
                yield f"its rate {words} before treatment was not measured{which}"
            weak = {
                s: of for s, of in rates.items() if self.passes(run, s) and (of < gate if rate == ON else of > gate)
            }
            if weak:
                said = ", ".join(f"{100 * of:.1f} % (seed {seed})" for seed, of in weak.items())
                yield f"before treatment it defects {words} in {said}; {bound} {100 * gate:g} % is usual"
