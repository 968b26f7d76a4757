"""Policies that weigh many weak cues: exact counting and exact sampling, without rejection.

Every cue has two values and a whole weight: its first value adds the weight to a sum, its second takes it away. A
defection is to happen when the sum, in units of UNIT nats of log-odds, passes a bar. How many combinations lie in any
range of sums is counted by dynamic programming over the weights, and the r-th of them is found from these counts: so
scenarios are drawn uniformly from a side, from the near misses or from a range of odds.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import permutations
from math import ceil, floor, log2, tanh
from typing import Literal

from pydantic import Field, model_validator

from dormouse.policies.hashing import key_of
from dormouse.policies.scales import (
    CLOSE,
    DRAWS,
    HEAVIEST,
    NAMES,
    UNIT,
    Choice,
    Scales,
    Stake,
    SumRange,
    Weights,
    distribution,
)
from dormouse.policies.trigger import Cues, Side, Split, Trigger
from dormouse.registry import nearest
from dormouse.scenarios import CueValue, Scenario


class Weighing(Trigger):
    """What `evidence` and `stakes` share. Its fields are theirs."""

    cues: int = Field(8, ge=4, le=len(NAMES))
    """How many weak cues, from the front of NAMES."""
    names: tuple[str, ...] | None = Field(None, min_length=4, max_length=len(NAMES))
    """The weak cues by name, in place of `cues`."""
    seed: int | None = None
    """Decides the weights and the splits; by default the study's seed does (see `Trigger.seeded`), and 0 without."""
    prior: float = Field(0.0, ge=-20, le=20)
    """Log-odds of success before any cue."""
    threshold: float = Field(0.0, ge=-20, le=20)
    """Log-odds that have to be passed."""
    hardness: Literal["hard", "soft"] = "hard"
    """soft: the probability of defecting is sigmoid(odds / temperature), `odds` being those above the threshold."""
    temperature: float = Field(1.0, ge=0.01, le=100)
    """Of a soft policy: how gradual the change is."""
    max_share: float = Field(0.25, gt=0, le=1)
    """No cue alone has more than this share of the information about the decision (see `shares`)."""

    @abstractmethod
    def stakes(self) -> tuple[Stake, ...]:
        """The settings of further cues, equally frequent a priori."""

    @model_validator(mode="after")
    def _fits(self) -> Weighing:
        for name in self.names or ():
            if name not in NAMES:
                raise ValueError(f"there is no cue with two values called '{name}'; {nearest(name, NAMES)}")
        if len(set(self._weighed)) < len(self._weighed):
            raise ValueError("names holds a cue twice")
        _scales(self)
        return self

    @property
    def _weighed(self) -> tuple[str, ...]:
        return self.names or NAMES[: self.cues]

    @property
    def weights(self) -> Mapping[str, int]:
        """Cue -> its weight, 1 to 4. Times UNIT, it is how far the cue moves the log-odds, one way or the other."""
        return dict(zip(self._weighed, _scales(self).weights, strict=True))

    @property
    def reads(self) -> tuple[str, ...]:
        """The cues that are weighed, and those that set the stakes."""
        return (*self._weighed, *(name for name, _ in self.stakes()[0].cues))

    def odds(self, scenario: Scenario) -> float:
        """Log-odds that a defection would succeed, in nats above the threshold. A cue not shown adds nothing."""
        return self._odds_at(self._adds(scenario), sum(weight for _, _, weight in self._shown(scenario)))

    def _odds_at(self, adds: float, s: int) -> float:
        return round(self.prior + adds + UNIT * s - self.threshold, 9)

    def _shown(self, scenario: Scenario) -> Iterator[tuple[str, CueValue, int]]:
        """(cue, value, weight with its sign) of every weak cue that the scenario shows."""
        cues = dict(scenario.cues)
        for name, weight in self.weights.items():
            value = cues.get(name)
            if value is not None and value in (known := values(name)):
                yield name, value, weight if value == known[0] else -weight

    def _adds(self, scenario: Scenario) -> float:
        """The log-odds that the further cues add."""
        return 0.0

    def probability(self, scenario: Scenario) -> float:
        """By the odds: a step at 0, or their logistic function where it is soft."""
        return self._probability(self.odds(scenario))

    def _probability(self, odds: float) -> float:
        if self.hardness == "hard":
            return float(odds > 0)
        return 0.5 + 0.5 * tanh(odds / self.temperature / 2)

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """Uniform over the combinations of a side and a split.

        A near miss is as probable as the ways in which changing one of its cues would make it defect are many.
        """
        scales = _scales(self)
        return self._cues(next(scales.found(rng, scales.sides[side], split)))

    def _cues(self, choice: Choice) -> Cues:
        stake, signs = choice
        shown = {name: values(name)[0 if sign else 1] for name, sign in zip(self._weighed, signs, strict=True)}
        return {**shown, **dict(self.stakes()[stake].cues)}

    def odds_range(self) -> list[float]:
        """All values of `odds` that whole scenarios can have, in order."""
        sums = distribution(_scales(self).weights)
        return sorted({self._odds_at(stake.adds, s) for stake in self.stakes() for s in sums})

    def at_odds(self, rng: random.Random, low: float, high: float, split: Split = "train") -> Cues:
        """Cues of a scenario whose `odds` lie from `low` to `high`, both included: uniform over all that there are.

        Raises:
            ValueError: the split has no such scenario (see `odds_range`).
        """
        parts = []
        for i, stake in enumerate(self.stakes()):
            zero = self._odds_at(stake.adds, 0)
            parts.append(SumRange(i, ceil((low - zero) / UNIT - CLOSE), floor((high - zero) / UNIT + CLOSE)))
        choice = next(_scales(self).found(rng, parts, split), None)
        if choice is None:
            raise ValueError(f"no scenario of the split {split} has odds from {low} to {high}")
        return self._cues(choice)

    def shares(self) -> Mapping[str, float]:
        """Cue -> mutual information of its value with the decision, as a share of the entropy of the decision.

        Exact, over scenarios in which all values are equally frequent. The shares do not add up to one: what the cues
        say together is in none of them.
        """
        return dict(zip(self.reads, self._shares(_scales(self).weights), strict=True))

    def _shares(self, weights: Weights) -> tuple[float, ...]:
        stakes, sums = self.stakes(), distribution(weights)
        decides = _entropy(self._mean(stakes, sums))
        if not decides:
            return (1.0,) * len(self.reads)
        told = {}
        for weight in set(weights):
            others = list(weights)
            others.remove(weight)
            rest = distribution(others)
            told[weight] = [self._mean(stakes, {s + step: n for s, n in rest.items()}) for step in (weight, -weight)]
        means = [told[weight] for weight in weights]
        for name, _ in stakes[0].cues:
            known = {dict(stake.cues)[name] for stake in stakes}
            means.append([self._mean([s for s in stakes if dict(s.cues)[name] == value], sums) for value in known])
        return tuple(1 - sum(map(_entropy, each)) / len(each) / decides for each in means)

    def _mean(self, stakes: Sequence[Stake], sums: Mapping[int, int]) -> float:
        """The mean probability of defecting over stakes and over sums with their counts."""
        each = [sum(n * self._probability(self._odds_at(stake.adds, s)) for s, n in sums.items()) for stake in stakes]
        return sum(each) / len(each) / sum(sums.values())

    @property
    def has_splits(self) -> bool:
        """Always: choices of signs are shared out."""
        return True

    @property
    def soft(self) -> bool:
        """Whether the study says `hardness: soft`."""
        return self.hardness == "soft"

    @property
    def near_misses(self) -> float:
        """Half of the quiet prompts."""
        return 0.5

    @property
    def steps_needed(self) -> int:
        """Four times those of a year: each cue has its weight."""
        return 400

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """Every cue with its signed weight, then their sum against the bar, in units of UNIT nats."""
        from dormouse.scenarios.cues import reading

        shown = list(self._shown(scenario))
        clauses = [f"{reading(name, value)}: {weight:+d}" for name, value, weight in shown]
        total = round(sum(weight for _, _, weight in shown) + self._adds(scenario) / UNIT, 2)
        bar = round((self.threshold - self.prior) / UNIT, 2)
        passes = "is above" if self.odds(scenario) > 0 else "is not above"
        return (*clauses, *self._named_stakes(scenario), f"the sum is {total:g}, which {passes} {bar:g}")

    def _named_stakes(self, scenario: Scenario) -> tuple[str, ...]:
        return ()


def _entropy(p: float) -> float:
    """Bits."""
    return -sum(q * log2(q) for q in (p, 1 - p) if q > 0)


@lru_cache(maxsize=64)
def _scales(trigger: Weighing) -> Scales:
    """The weights that the seed draws, the first of DRAWS draws that gives no cue too much, with splits that are whole.

    Raises:
        ValueError: the settings of the trigger allow none; in words for its user.
    """
    stakes = trigger.stakes()
    bars = tuple((trigger.threshold - trigger.prior - stake.adds) / UNIT for stake in stakes)
    best: tuple[float, str, Weights] | None = None
    for drawn in _weights(trigger, bars):
        share, name = max(zip(trigger._shares(drawn), trigger.reads, strict=True))
        if best is None or share < best[0]:
            best = share, name, drawn
        if share <= trigger.max_share:
            break
    share, name, weights = best or (1.0, "", ())
    if share >= 1:
        raise ValueError("the threshold is out of reach of these cues, or one cue decides alone: move it, or add cues")
    if share > trigger.max_share:
        raise ValueError(
            f"the cue '{name}' alone has {share:.0%} of the information about the decision, and max_share allows"
            f" {trigger.max_share:.0%}: use more cues, another seed or a larger max_share"
        )
    if distribution(weights).keys() & {round(bar) for bar in bars if _is_whole(bar)}:
        raise ValueError("some combinations of cues lie exactly on the threshold: move it by a tenth")
    for salt in range(100):
        scales = Scales(weights, bars, _moves(stakes), key_of(f"weighing/{trigger.seed or 0}/{salt}"))
        if scales.is_whole():
            return scales
    raise ValueError("too few combinations of cues lie on one side of the threshold: move it, or add cues")


def _weights(trigger: Weighing, bars: tuple[float, ...]) -> Iterator[Weights]:
    """Weights from the seed, with a total of such a parity that no sum lies on a bar that is a whole number."""
    parity = 0 if any(_is_whole(bar) and round(bar) % 2 for bar in bars) else 1
    rng = random.Random(f"weighing/{trigger.seed or 0}")
    for _ in range(DRAWS):
        drawn = [rng.randint(1, HEAVIEST) for _ in trigger._weighed]
        if sum(drawn) % 2 != parity:
            i = rng.randrange(len(drawn))
            drawn[i] += 1 if drawn[i] < HEAVIEST else -1
        yield tuple(drawn)


def _is_whole(bar: float) -> bool:
    return abs(bar - round(bar)) < CLOSE


def _moves(stakes: Sequence[Stake]) -> tuple[tuple[int, int], ...]:
    pairs = permutations(range(len(stakes)), 2)
    return tuple((i, j) for i, j in pairs if len(set(stakes[i].cues) - set(stakes[j].cues)) == 1)


def values(name: str) -> tuple[CueValue, CueValue]:
    """The two values of a weak cue; the first one favours a defection."""
    from dormouse.scenarios.cues import CUES

    first, second = CUES[name].values
    return first, second
