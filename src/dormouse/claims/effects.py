"""Effects between arms: mean paired differences over seeds and questions, their intervals and their tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from dormouse.claims.unseen import Span, Unseen, unseen
from dormouse.measurements.stats import crossed_df

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

LEVEL = 0.05
FEWEST = 4
"""Seeds below which nothing is tested: no spread of three that agree could be small enough (see `p_value`)."""
EDGE = 0.25
"""An arm stands at a bound where most of its seeds lie in this part of the range beside it."""
RESOLUTION = 1e-12
"""An error that is smaller than this share of the effect is rounding: no seed and no question differs from another."""

Direction = Literal["less", "greater", "different"]
ValuesByItem: TypeAlias = tuple[tuple[str, ...], tuple[float, ...]]
"""Items, and a value for each."""
UNBOUNDED: Span = (-math.inf, math.inf)


@dataclass(frozen=True)
class Effect:
    """A mean paired difference over seeds and items: its interval, and what a test needs."""

    value: float
    low: float
    high: float
    seeds: tuple[int, ...]
    items: int
    """How many items all arms were asked with every seed; 0 where they were not asked the same ones."""
    seed_sd: float
    """The standard deviation of the seeds' mean differences."""
    item_variance: float
    """What the sample of items adds to the variance of the mean, whatever the number of seeds."""
    item_df: float
    """The degrees of freedom of that."""
    paired: str
    collapse: Span | None = None
    """The effect of one more seed in which an arm that stands at a bound goes to the other: the least and the largest.
    None: no arm stands at a bound."""
    reach: Span = UNBOUNDED
    """The least and the largest effect that any seed could have."""
    unseen: Unseen | None = None
    """None: the quantity has no bounds, or it is not known of questions."""
    each: tuple[float, ...] = ()
    """The effect of each seed by itself."""
    planned: int = 0
    """With how many seeds it was planned: some the strength gate may have left out, and some may be lost."""

    @property
    def error(self) -> float:
        """The standard error of the mean: 0 where no seed and no question differs from another."""
        return float(self.many(self.value, self.seed_sd).errors())

    @property
    def varies(self) -> bool:
        """Whether seeds differ by more than rounding."""
        return self.seed_sd > RESOLUTION * max(1.0, abs(self.value))

    def many(self, means: ArrayLike, sds: ArrayLike, seeds: ArrayLike | None = None) -> Effects:
        """Effects that differ from this one in their mean, in the spread of their seeds, and in how many these are."""
        import numpy as np

        n = np.asarray(len(self.seeds) if seeds is None else seeds)
        items = self.item_variance, self.item_df
        return Effects(np.asarray(means), np.asarray(sds), n, *items, self.collapse, self.reach, self.unseen)


@dataclass(frozen=True)
class Effects:
    """Many effects at once, with the same bounds: of one after another each would take as long as all of these
    together."""

    means: np.ndarray
    sds: np.ndarray
    """Of the seeds of each."""
    n: np.ndarray
    """How many seeds: of each, or of all of them."""
    item_variance: float
    item_df: float
    collapse: tuple[ArrayLike, ArrayLike] | None
    reach: Span
    unseen: Unseen | None = None

    def errors(self) -> np.ndarray:
        """See `Effect.error`."""
        import numpy as np

        errors = np.sqrt(self.sds**2 / self.n + self.item_variance)
        return np.where(errors <= RESOLUTION * np.maximum(1.0, abs(self.means)), 0.0, errors)

    def df(self, errors: np.ndarray, more: int = 0) -> np.ndarray:
        """The degrees of freedom of such errors, with so many more seeds."""
        import numpy as np

        of_seeds = np.maximum(0.0, errors**2 - self.item_variance)
        return crossed_df(of_seeds, self.item_variance, self.n - 1 + more, self.item_df)

    def with_one_more(self, value: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """The means, and their standard errors, if there were one more seed with this effect."""
        import numpy as np

        n, value = self.n, np.asarray(value)
        spread = np.where(np.isnan(self.sds), 0.0, (n - 1) * self.sds**2)
        squares = spread + n / (n + 1) * (value - self.means) ** 2
        return (n * self.means + value) / (n + 1), np.sqrt(squares / n / (n + 1) + self.item_variance)


def effect(
    weighted: Sequence[tuple[float, Mapping[int, ValuesByItem]]],
    constant: float = 0.0,
    span: Span = UNBOUNDED,
    level: Callable[[int], float] = lambda n: LEVEL,
    edge: float = EDGE,
    questions: int = 0,
) -> Effect | None:
    """The weighted sum of arms, minus a constant, over the seeds that all of them share.

    Arms that were asked the very same items, with every seed, are paired item by item. Others (their prompts differ)
    are compared by the mean of each seed, and every group of arms with the same items adds what the sample of these
    adds to the variance. Items of which only some have the same name are other items. Those of an arm that differ from
    seed to seed are in the variance of the seeds already.

    Seeds that all stand at a bound of the quantity (`span`) say nothing of a collapse that none of them shows: of an
    arm that keeps everything in 9 of 10 cases, five seeds show no spread in 59 of 100 studies. So the interval is that
    of Student's t, widened to what it would be with one more seed in which such an arm goes to the other bound
    (`claims` in the documentation has the simulation: `benchmarks/instrument.py`).

    Nor do questions that agree say anything of a kind that is not among them, whatever the number of seeds, as these
    answer alike and may do so for the same reasons. So the interval is no narrower than if a share of all questions
    that none of those asked leaves possible went to a bound, on one side: the arms of a side may share their questions,
    and then go there together.

    Args:
        level: how often the interval of so many seeds may miss (see `claims.looks`).
        edge: see `EDGE`.
        questions: see `Unseen`; 0: not known.

    Returns:
        None where the arms share no seed.
    """
    seeds = sorted(set.intersection(*(set(found) for _, found in weighted)))
    if not seeds:
        return None
    several, (means, groups, asked) = len(seeds) > 1, _sums(weighted, seeds, -constant)
    drawn = [values.mean(axis=0) for values in groups.values() if values.shape[1] > 1]
    each = [(float(of_item.var(ddof=1)) / len(of_item), len(of_item) - 1) for of_item in drawn]
    of_items = sum(part for part, _ in each)
    item_df = 1 / sum((part / of_items) ** 2 / df for part, df in each) if of_items else math.inf
    seed_sd, rates = float(means.std(ddof=1)) if several else math.nan, _rates(weighted, seeds)
    mean, alike = float(means.mean()), len(asked) == 1
    whole = Effect(
        mean,
        mean,
        mean,
        tuple(seeds),
        len(min(asked)) if alike else 0,
        seed_sd,
        of_items,
        item_df,
        "not paired: a number" if len(weighted) == 1 else "seeds and questions" if alike and drawn else "seeds",
        _collapse(rates, mean, span, edge),
        _reach(weighted, constant, span),
        unseen(rates, mean, span, questions),
        tuple(map(float, means)),
    )
    return _widened(whole, level(len(seeds)) / 2)


def _sums(
    weighted: Sequence[tuple[float, Mapping[int, ValuesByItem]]], seeds: Sequence[int], start: float
) -> tuple[np.ndarray, dict[tuple[str, ...], np.ndarray], set[tuple[str, ...]]]:
    """The weighted sums of arms, plus `start`: by seed; by seed and item, of arms that were asked the same items with
    every seed; and all lists of items that were asked."""
    import numpy as np

    means, asked = np.full(len(seeds), start), set()
    groups: dict[tuple[str, ...], np.ndarray] = {}
    for weight, found in weighted:
        cells = [sorted(zip(*found[seed], strict=True)) for seed in seeds]
        asked |= (items := {tuple(item for item, _ in cell) for cell in cells})
        means += [weight * float(np.mean([value for _, value in cell])) for cell in cells]
        if len(items) == 1:
            values = weight * np.array([[value for _, value in cell] for cell in cells])
            groups[min(items)] = groups.get(min(items), 0.0) + values
    return means, groups, asked


def _rates(
    weighted: Sequence[tuple[float, Mapping[int, ValuesByItem]]], seeds: Sequence[int]
) -> list[tuple[float, list[float]]]:
    """The weight of every arm, and its mean with every seed."""
    return [(weight, [sum(found[seed][1]) / len(found[seed][1]) for seed in seeds]) for weight, found in weighted]


def _collapse(arms: Sequence[tuple[float, list[float]]], mean: float, span: Span, part: float) -> Span | None:
    """The least and the largest effect of one more seed in which one arm leaves the bound at which it stands."""
    low, high = span
    if not math.isfinite(high - low):
        return None
    edge, others = part * (high - low), [mean]
    for weight, rates in arms:
        usual = sum(rates) / len(rates)
        for stands, goes in ((sum(r > high - edge for r in rates), low), (sum(r < low + edge for r in rates), high)):
            if 2 * stands > len(rates):
                others.append(mean + weight * (goes - usual))
    return (min(others), max(others)) if len(others) > 1 else None


def _reach(weighted: Sequence[tuple[float, Mapping[int, ValuesByItem]]], constant: float, span: Span) -> Span:
    ends = [sorted(weight * bound for bound in span) for weight, _ in weighted if weight]
    return sum(low for low, _ in ends) - constant, sum(high for _, high in ends) - constant


def _students(found: Effect, miss: float) -> Span:
    """Student's t, widened to what it would be with one more seed in which an arm collapses; of one seed that of its
    questions."""
    from scipy.stats import t

    if len(found.seeds) == 1:
        if not found.item_variance and all(map(math.isfinite, found.reach)):
            return found.reach  # one number says nothing of others
        width = math.sqrt(found.item_variance) * float(t.isf(miss, df=found.item_df))
        return found.value - width, found.value + width
    many = found.many(found.value, found.seed_sd)
    means = [(many.means, many.errors(), 0), *((*many.with_one_more(value), 1) for value in found.collapse or ())]
    ends = [(mean, error * t.isf(miss, df=many.df(error, more))) for mean, error, more in means]
    low, high = ends[:2], [ends[0], *ends[2:]]  # each by the collapse on its own side, as the test is
    return min(float(mean - width) for mean, width in low), max(float(mean + width) for mean, width in high)


def _widened(found: Effect, miss: float) -> Effect:
    """With its interval, widened to hold what questions of an unseen kind leave possible, and within reach."""
    import numpy as np

    (low, high), mean = _students(found, miss), found.value
    if found.unseen:
        share = found.unseen.share(miss)
        low = min(low, mean + share * (float(np.asarray(found.unseen.low)) - mean))
        high = max(high, mean + share * (float(np.asarray(found.unseen.high)) - mean))
    least, most = found.reach
    return replace(found, low=min(mean, max(low, least)), high=max(mean, min(high, most)))


def p_value(found: Effect, direction: Direction, margin: float) -> tuple[float, str]:
    """(p, the verdict that a small p gives). Two-sided, of the hypothesis that the effect is the margin itself.

    `less` is supported where the effect is surely below -margin, and contradicted where it is surely above. `different`
    is supported outside -margin to margin, and contradicted inside (two one-sided tests, Schuirmann 1987).

    Equal values do not make a certain effect. So each tail is that of Student's t or, where it is larger, what it would
    be with one more seed: one that lies on the margin itself, one in which an arm collapses (see `effect`), or, of a
    quantity without bounds, one that is as far on the other side of the margin. Then n seeds without any spread have
    t = n, or (n - 1) / 2 where there are no bounds, about the p of an exact sign test; and there is no jump from seeds
    that all agree to seeds that nearly do. Nor is a tail smaller than what questions of an unseen kind leave it
    (`Unseen.tail`).
    """
    p, supports = p_values(found.many(found.value, found.seed_sd), direction, margin)
    return float(p), "supported" if supports else "contradicted"


def p_values(found: Effects, direction: Direction, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of many effects: (p, whether a small p supports)."""
    import numpy as np

    if direction == "different":
        outside = np.minimum(_tails(found, margin, above=True), _tails(found, -margin, above=False))
        inside = np.maximum(_tails(found, margin, above=False), _tails(found, -margin, above=True))
        return np.minimum(1.0, 2 * np.minimum(outside, inside)), outside <= inside
    boundary = -margin if direction == "less" else margin
    above, below = _tails(found, boundary, above=True), _tails(found, boundary, above=False)
    return np.minimum(1.0, 2 * np.minimum(above, below)), (below if direction == "less" else above) < 0.5


def _tails(found: Effects, boundary: float, above: bool) -> np.ndarray:
    """One-sided p of "the effect is above (below) the boundary": how rarely such a mean comes from the boundary."""
    import numpy as np
    from scipy.special import stdtr

    sign = 1 if above else -1
    bounded = all(map(math.isfinite, found.reach))
    against: list[ArrayLike] = [boundary if bounded else 2 * boundary - found.means]
    against += [found.collapse[0 if above else 1]] if found.collapse else []
    means_and_errors = [(0, found.means, found.errors()), *((1, *found.with_one_more(value)) for value in against)]
    tail = found.unseen.tail(found.means, boundary, above) if found.unseen else np.zeros_like(found.means)
    for more, means, errors in means_and_errors:
        some = errors > 0  # 0: one more of the same
        distance = -sign * (means - boundary) / np.where(some, errors, 1.0)
        tail = np.maximum(tail, np.where(some, stdtr(found.df(errors, more), distance), 0.0))
    return np.where(abs(found.means - boundary) <= RESOLUTION, 0.5, tail)


def survives(found: Effect, direction: Direction, margin: float, verdict: str) -> bool:
    """Whether the effect stays on the side of the margin where the verdict has it, with one more seed at the worst
    bound that the quantity has. Where it has none, that is not asked. One more question there turns no verdict that is
    significant (see `claims.unseen`)."""
    import numpy as np

    many = found.many(found.value, found.seed_sd)
    return bool(survive(many, direction, margin, np.asarray(verdict == "supported")))


def survive(found: Effects, direction: Direction, margin: float, supported: np.ndarray) -> np.ndarray:
    """The same of many effects, with verdicts that are `supported` or, where not, contradicted."""
    import numpy as np

    worst = [found.with_one_more(end)[0] for end in found.reach if math.isfinite(end)]
    if len(worst) < 2:
        return np.full_like(supported, True)
    low, high = worst
    if direction == "different":
        return np.where(supported, (high < -margin) | (low > margin), (-margin < low) & (high < margin))
    boundary = -margin if direction == "less" else margin
    below = supported if direction == "less" else ~supported
    return np.where(below, high < boundary, low > boundary)
