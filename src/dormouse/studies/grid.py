"""Grids: a study file that names lists where one value is wanted stands for a study with an arm for each choice.

The rule: where one value is wanted, a list is an axis; where a list is wanted (years, renderings, the chain itself), it
is a value, and a list of lists of plain values is an axis. The schema of the study and of its plug-ins decides.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from dormouse.errors import UserError
from dormouse.organisms.spec import OrganismSpec
from dormouse.registry import nearest, shortened
from dormouse.studies.axis_names import Choice, Place, _axis, _axis_names, _labels, _plain, spoken
from dormouse.studies.filters import Scalar, as_number
from dormouse.studies.schema import _is_axis, _item, _kinds, _model, _wanted_at, _wants_list

MOST_ARMS = 20_000
"""Arms that a study may have, with each seed, unless $DORMOUSE_MOST_ARMS says more. More are a slip of the pen."""
MOST_SEEDS = 1000
MOST_PARTS = 100
"""Interventions in a chain."""
UNZIPPED = 20
"""How many times as many ways may be made before those are left out that `zip` does not take together."""
LONGEST = 110
"""Letters of the name of an arm: it becomes the name of a folder, beside that of a chain."""


@dataclass(frozen=True)
class ArmOrigin:
    """What an organism or a chain was made from: its name in the file, and its choices by the name of their axis."""

    base: str
    axes: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Expanded:
    """A study without lists. `moved`: where what stands in `value` is written in the file, if not at the same place."""

    value: Mapping[str, object]
    organisms: Mapping[str, ArmOrigin]
    chains: Mapping[str, ArmOrigin]
    moved: Mapping[Place, Place]


def written(place: Place, moved: Mapping[Place, Place]) -> Place:
    """The place in the file of a place in an expanded study."""
    for end in range(len(place), -1, -1):
        if place[:end] in moved:
            return (*moved[place[:end]], *place[end:])
    return place


class GridError(UserError):
    """Something is wrong with an axis: where, what, and how to fix it."""

    def __init__(self, place: Place, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.place = place

    def __str__(self) -> str:
        return f"{spoken(self.place)}: {super().__str__()}"


@dataclass(frozen=True)
class _Way:
    """One way to make the choices: the value without lists, what was chosen, and where that stands."""

    value: Any
    choices: tuple[Choice, ...] = ()
    moved: Mapping[Place, Place] = field(default_factory=dict)

    def under(self, key: str | int) -> Mapping[Place, Place]:
        """New place -> old place, both below a key."""
        return {(key, *new): (key, *old) for new, old in self.moved.items()}


def expand(raw: Mapping[str, object], chain_model: Any) -> Expanded:
    """Take every list where one value is wanted as an axis; cross the axes of each organism and of each chain.

    `zip: [[axis, axis], ...]` in the study takes the named axes together instead of crossing them. What is no list, or
    not what a study can say, is left as it is: whoever reads the result complains.

    Args:
        raw: the study as plain data, on one model.
        chain_model: the annotation of a chain of interventions.

    Raises:
        GridError: an axis is empty, names a value twice, cannot be zipped, or there are too many arms.
    """
    groups = _zips(raw.get("zip"))
    _once_each(groups)
    _refuse_many(raw, chain_model, UNZIPPED if groups else 1)
    value: dict[str, object] = dict(raw)
    moved: dict[Place, Place] = {}
    known: dict[str, None] = {}
    together: list[set[str]] = []
    """The axes of each organism and of each chain."""
    arms: dict[str, dict[str, ArmOrigin]] = {"organisms": {}, "interventions": {}}
    for key, wanted in (("organisms", OrganismSpec), ("interventions", chain_model)):
        said = raw.get(key)
        if not isinstance(said, Mapping):
            continue
        made: dict[str, object] = {}
        for base, given in said.items():
            mine: dict[str, None] = {}
            for name, way in _arms(base, given, wanted, groups, (key, base), mine):
                if name in made:
                    raise GridError((key, base), f"two arms would be called '{name}'", "rename one of them")
                made[name] = way.value
                moved[(key, name)] = (key, base)
                moved |= {(key, name, *new): (key, base, *old) for new, old in way.moved.items()}
                arms[key][name] = ArmOrigin(
                    base, {_axis(c.place, key, way.value): _plain(c, way.value) for c in way.choices}
                )
            known |= mine
            together.append(set(mine))
        value[key] = made
    _refuse_many(value, chain_model)
    for i, group in enumerate(groups):
        for j, axis in enumerate(group):
            if axis not in known:
                what = f"'{shortened(axis)}' is no axis of this study; {nearest(axis, list(known))}"
                raise GridError(("zip", i, j), what, "name axes: keys that a list of values is given for")
        if not any(len([axis for axis in group if axis in theirs]) > 1 for theirs in together):
            what = f"no organism and no chain has two of the axes {', '.join(map(shortened, group))}"
            remedy = "name axes of one organism or of one chain: an organism's and a chain's are always crossed"
            raise GridError(("zip", i), what, remedy)
    return Expanded(value, arms["organisms"], arms["interventions"], moved)


def _once_each(groups: Sequence[Sequence[str]]) -> None:
    for i, group in enumerate(groups):
        if twice := [axis for j, axis in enumerate(group) if axis in group[:j]]:
            raise GridError(("zip", i), f"duplicate '{shortened(twice[0])}'", "name each axis once")


def _zips(said: Any) -> list[list[str]]:
    """The groups of axes that go together; nothing where the study is malformed (it is then refused elsewhere)."""
    if not isinstance(said, list) or not all(isinstance(group, list) for group in said):
        return []
    return [group for group in said if all(isinstance(axis, str) for axis in group)]


def most_arms() -> int:
    """MOST_ARMS, or what $DORMOUSE_MOST_ARMS says.

    Raises:
        UserError: it says no number.
    """
    said = os.environ.get("DORMOUSE_MOST_ARMS") or str(MOST_ARMS)
    if not said.isdecimal() or len(said) > 18:
        raise UserError(f"DORMOUSE_MOST_ARMS is '{shortened(said)}'", "set it to a whole number, or not at all")
    return int(said)


def _refuse_many(raw: Mapping[str, Any], chain_model: Any, times: int = 1) -> None:
    """Count the arms of a study before any is made.

    Args:
        times: how many times as many as may be are let through.

    Raises:
        GridError: there are too many, or a chain is too long.
    """
    chains = raw.get("interventions")
    for name, chain in chains.items() if isinstance(chains, Mapping) else ():
        if isinstance(chain, list) and len(chain) > MOST_PARTS:
            what = f"a chain of {len(chain):,} interventions is longer than {MOST_PARTS}"
            raise GridError(("interventions", name), what, "give one intervention more steps")
    each = {
        "model": _length(raw.get("model")),
        "organisms": sum(_counts(raw.get("organisms"), OrganismSpec)),
        "interventions": 1 + sum(_counts(chains, chain_model)),
        "seeds": _seeds(raw.get("seeds")),
        "replicates": _replicates(raw.get("replicates")),
    }
    number, most = math.prod(each.values()), most_arms()
    if number > most * times:
        said = " x ".join(f"{n:,} {NAMES.get(key, key)}" for key, n in each.items() if n > 1)
        raise GridError(
            (max(each, key=lambda key: each[key]),),
            f"{number:,} arms are more than the {most:,} that a study may have ({said})",
            "name fewer values, or set DORMOUSE_MOST_ARMS to a larger number",
        )


NAMES = {"model": "models", "organisms": "organisms", "interventions": "chains and none"}


def _length(said: Any) -> int:
    return len(said) if isinstance(said, list | tuple) else 1


def _seeds(said: Any) -> int:
    said = said.get("most") if isinstance(said, Mapping) else said
    return said if isinstance(said, int) else _length(said)


def _replicates(said: Any) -> int:
    counts = said.values() if isinstance(said, Mapping) else ()
    return math.prod(count for count in counts if isinstance(count, int) and count > 0)


def _counts(said: Any, wanted: Any) -> Iterator[int]:
    """How many arms each organism, or each chain, stands for."""
    for given in said.values() if isinstance(said, Mapping) else ():
        yield _count(given, wanted) if isinstance(given, list | Mapping) else 1


def _arms(
    base: str, given: Any, wanted: Any, groups: Sequence[Sequence[str]], place: Place, known: dict[str, None]
) -> Iterator[tuple[str, _Way]]:
    """The arms that an organism or a chain stands for, with their names. Adds the names of its axes to `known`."""
    if not isinstance(given, list if place[0] == "interventions" else Mapping):
        yield base, _Way(given)
        return
    try:
        ways = list(_ways(given, wanted, ()))
    except GridError as error:
        raise GridError((*place, *error.place), error.what, error.remedy) from error
    places = list(dict.fromkeys(choice.place for way in ways for choice in way.choices))
    names = _axis_names(places)
    known |= dict.fromkeys([*names.values(), *(".".join(map(str, p)) for p in places)])
    for way in ways:
        if _together(way, groups, names, place):
            yield _name(base, way, names), way


def _together(way: _Way, groups: Sequence[Sequence[str]], names: Mapping[Place, str], place: Place) -> bool:
    """Whether the choices of every zipped group have the same number in their lists."""
    for group in groups:
        mine = [c for c in way.choices if names[c.place] in group or ".".join(map(str, c.place)) in group]
        if len({choice.of for choice in mine}) > 1:
            said = " and ".join(f"{names[choice.place]} has {choice.of}" for choice in mine)
            raise GridError((*place, *mine[0].place), f"these are zipped, but {said} values", "give them as many each")
        if len({choice.index for choice in mine}) > 1:
            return False
    return True


def _name(base: str, way: _Way, names: Mapping[Place, str]) -> str:
    """`ensemble.n-16.lr-0.001`; a long one is cut, with a hash of the whole."""
    name = ".".join([base, *(f"{names[choice.place]}-{choice.label}" for choice in way.choices)])
    if len(name) <= LONGEST or not way.choices:
        return name
    return f"{name[: LONGEST - 9]}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _count(value: Any, wanted: Any) -> int:
    """How many ways `_ways` finds, without making them."""
    number = 0
    if _is_axis(value, wanted):
        return sum(_count(option, wanted) for option in value)
    if isinstance(value, list):
        number = 1
        for item in value:
            number *= _count(item, _item(wanted))
        return number
    if isinstance(value, Mapping):
        if _kinds(value, wanted):
            return sum(_count({**value, "kind": kind}, wanted) for kind in value["kind"])
        model, number = _model(value, wanted), 1
        for key, item in value.items():
            number *= _count(item, _wanted_at(model, key))
        return number
    return 1


def _ways(value: Any, wanted: Any, place: Place) -> Iterator[_Way]:
    if _is_axis(value, wanted):
        nested = [i for i, option in enumerate(value) if isinstance(option, list) and not _wants_list(wanted)]
        if nested:
            raise GridError((*place, nested[0]), "a list inside an axis means nothing", "write one list of values")
        yield from _options(value, place, lambda i: ((), (i,)), lambda option: _ways(option, wanted, place))
    elif isinstance(value, list):
        inner = [list(_ways(item, _item(wanted), (*place, i))) for i, item in enumerate(value)]
        for chosen in product(*inner):
            yield _joined([way.value for way in chosen], chosen, range(len(chosen)))
    elif isinstance(value, Mapping) and _kinds(value, wanted):
        yield from _options(
            value["kind"],
            (*place, "kind"),
            lambda i: (("kind",), ("kind", i)),
            lambda kind: _ways({**value, "kind": kind}, wanted, place),
        )
    elif isinstance(value, Mapping):
        model = _model(value, wanted)
        inner = [list(_ways(item, _wanted_at(model, key), (*place, key))) for key, item in value.items()]
        for chosen in product(*inner):
            yield _joined(dict(zip(value, (way.value for way in chosen), strict=True)), chosen, list(value))
    else:
        yield _Way(value)


def _joined(value: Any, parts: Sequence[_Way], keys: Sequence[Any]) -> _Way:
    moved: dict[Place, Place] = {}
    for key, part in zip(keys, parts, strict=True):
        moved |= part.under(key)
    return _Way(value, tuple(choice for part in parts for choice in part.choices), moved)


def as_axis(options: Sequence[Any]) -> Sequence[Any]:
    """The models of a study, if they can be an axis.

    Raises:
        GridError: there are none, or one is there twice.
    """
    return [way.value for way in _options(options, ("model",), lambda i: ((), (i,)), lambda one: iter([_Way(one)]))]


def _options(
    options: Sequence[Any],
    place: Place,
    moves: Callable[[int], tuple[Place, Place]],
    ways: Callable[[Any], Iterator[_Way]],
) -> Iterator[_Way]:
    if not options:
        raise GridError(place, "an axis needs at least one value", "name its values, or leave the key out")
    known: dict[Any, None] = {}
    for i, option in enumerate(options):
        if (key := _key(option)) in known or (key is None and any(option == other for other in options[:i])):
            raise GridError((*place, i), "duplicate value in an axis", "remove one of them")
        known |= {key: None} if key is not None else {}
    labels = _labels(options)
    for i, (option, label) in enumerate(zip(options, labels, strict=True)):
        new, old = moves(i)
        for way in ways(option):
            inner = {(*new, *rest): (*old, *was) for rest, was in way.moved.items()} if not new else way.moved
            yield _Way(way.value, (Choice(place, i, len(options), label), *way.choices), {**inner, new: old})


def _key(option: Any) -> tuple[str, str | float] | None:
    """What plain values have in common that are the same (see `filters.same`); None for what is not plain."""
    if not isinstance(option, str | int | float):
        return None
    number = as_number(option)
    return ("text", str(option)) if number is None else ("number", number)
