"""The specification curve of a claim: its effect in every set-up of a family."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from dormouse.claims.effects import Direction, Effect
from dormouse.claims.verdict import CurvePoint, End
from dormouse.studies.pairing import Setup


def curve(
    direction: Direction,
    family: Sequence[str],
    setups: Sequence[Setup],
    effect_of: Callable[[Sequence[Setup]], Effect | None],
    ends_of: Callable[[Sequence[Setup], Collection[int]], tuple[End, ...]],
) -> list[CurvePoint]:
    """The effect for every choice on the axes of the family, from the lowest to the highest; none without a family."""
    if not family:
        return []
    groups: dict[tuple[str, ...], list[Setup]] = {}
    for setup in setups:
        groups.setdefault(tuple(setup.chosen[axis] for axis in family), []).append(setup)
    whole = effect_of(setups)
    wanted = {"less": -1.0, "greater": 1.0}.get(direction) or (whole.value if whole else 0.0)
    points = []
    for values, alike in groups.items():
        if found := effect_of(alike):
            turned = found.value * wanted < 0
            ends = ends_of(alike, found.seeds)
            beyond = (found.low > 0 and "low" not in ends) or (found.high < 0 and "high" not in ends)
            sure = turned and beyond and len(found.seeds) > 1
            points.append(
                CurvePoint(
                    chosen=dict(zip(family, values, strict=True)),
                    effect=found.value,
                    low=found.low,
                    high=found.high,
                    seeds=found.seeds,
                    turns="surely" if sure else "perhaps" if turned else "no",
                    open_ends=ends,
                )
            )
    return sorted(points, key=lambda point: (point.effect, str(point.chosen)))
