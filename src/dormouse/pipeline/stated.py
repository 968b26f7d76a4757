"""What was claimed before a study first ran, kept in its folder, and what has been changed since."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dormouse.claims.verdict import Stated, Verdict, Verdicts
from dormouse.errors import UserError
from dormouse.json_files import Json, digest, read_json
from dormouse.pipeline.plan import Plan
from dormouse.store import Store
from dormouse.studies.arms import Arm
from dormouse.studies.claim_spec import claims_digest
from dormouse.studies.design import Design
from dormouse.studies.file import top_level
from dormouse.studies.pairing import Pairing
from dormouse.studies.seeds import SeedDesign

CLAIMS = "claims.json"
"""The claims as they stood when the study was first run in a folder. It is written once."""


@dataclass(frozen=True)
class FirstStated:
    """What stands in the file.

    Attributes:
        digest: of the claims; `time` is when, in seconds since 1970.
        late: whether results were there before the claims were.
        claims: as the study file says them, defaults filled in.
        design: what else the study file said, key by key (see `_keys`); None: an older file, which does not say.
        known: how many of the study's measurements existed then, of how many.
        seeds: those of every arm (of a sequential study, at its last look); None: an older file, which does not say.
    """

    digest: str
    time: int
    claims: tuple[Mapping[str, Json], ...]
    late: bool = False
    design: Mapping[str, str | tuple[int, ...]] | None = None
    known: int = 0
    measurements: int = 0
    seeds: Mapping[str, tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        if not all(isinstance(claim.get("id"), str) for claim in self.claims):
            raise ValueError("a claim has no 'id'")
        if self.design is not None and "seeds" not in self.design:
            raise ValueError("'design' names no 'seeds'")


def stated_now(plans: Sequence[Plan], text: str, store: Store, late: bool) -> FirstStated:
    """What is claimed, of what study, and how many of its measurements exist already.

    Args:
        late: whether results were there before the claims were.
    """
    design = plans[0].design
    asked = {(reading.stage.kind, reading.stage.key) for plan in plans for reading in plan.readings}
    return FirstStated(
        digest=_digest(design),
        time=round(time.time()),
        claims=tuple(claim.model_dump(mode="json") for claim in design.claims),
        late=late,
        design=_keys(design, text),
        known=sum(store.find(*stage) is not None for stage in asked),
        measurements=len(asked),
        seeds=_by_arm(design),
    )


def _by_arm(design: Design) -> dict[str, tuple[int, ...]]:
    """The seeds of every arm, at the last look."""
    last = design.at_look(design.looks - 1)
    return {_named(arm): tuple(last.seeds([arm])) for arm in last.arms}


def _named(arm: Arm) -> str:
    return json.dumps([arm.model, arm.organism, arm.chain])


def _keys(design: Design, text: str) -> dict[str, str | tuple[int, ...]]:
    """What a study file says beside its claims, key by key: seeds as they are, the rest as digests."""
    said = {str(key): value for key, value in top_level(text).items() if key not in ("name", "claims", "seeds")}
    return {
        "seeds": _seeds(design),
        **{key: digest(json.dumps(value, default=str)) for key, value in said.items()},
    }


def _digest(design: Design) -> str:
    """Of the claims, and of the design by which they are decided where it is a sequential one."""
    claims, seeds = claims_digest(design.claims), design.study.seeds
    return digest([claims, seeds.model_dump()]) if isinstance(seeds, SeedDesign) else claims


def _seeds(design: Design) -> str | tuple[int, ...]:
    said = design.study.seeds
    return said.said if isinstance(said, SeedDesign) else said


def _sketched(answers: Sequence[Verdict], first: FirstStated, design: Design, text: str) -> list[Verdict]:
    """The answers, where the seeds are those of the first run; else what was decided is a sketch: who adds seeds, or
    takes some away, until a claim holds finds some with which it does."""
    found = {pairing.claim.id: _before(pairing, first, design, text) for pairing in design.comparisons}
    return [_sketch(one, seeds) if (seeds := found[one.id]) and one.is_decided else one for one in answers]


def _before(pairing: Pairing, first: FirstStated, design: Design, text: str) -> str | tuple[int, ...] | None:
    """The seeds of a claim as they were at first, where they are others now: those of an arm that it is answered by, or
    of the whole study where it is a sequential one, or nobody put down more."""
    are = _keys(design, text)["seeds"]
    was = first.design["seeds"] if first.design else are
    of_all = isinstance(was, str) or isinstance(are, str)
    changed = was != are if of_all else first.seeds is None and {*was} != {*are}
    then, now = first.seeds or {}, _by_arm(design)
    compared = (arm for one in pairing.setups() for arm in one.arms)
    behind = (_named(arm) for one in compared for arm in design.behind(one, pairing.claim.compare))
    others = (then[arm] for arm in behind if arm in then and {*then[arm]} != {*now[arm]})
    return was if changed else next(others, None)


def _sketch(one: Verdict, before: str | tuple[int, ...]) -> Verdict:
    would = f"else it would be {one.verdict} (they were {_spoken(before)} then)"
    why = f"the seeds were changed after the first run, {would}"
    return replace(one, verdict="sketch", why=why, chances=())


def _spoken(seeds: str | tuple[int, ...]) -> str:
    return seeds if isinstance(seeds, str) else ", ".join(map(str, seeds))


def verdicts(design: Design, text: str, answers: Sequence[Verdict], out: Path) -> Verdicts | None:
    """What was claimed, the answers, and which claims, and what else of the study, are not as they stood before the
    first run. None where nothing is claimed, and nothing was."""
    now = {claim.id: claim.model_dump(mode="json") for claim in design.claims}
    try:
        first = read_json(out / CLAIMS, FirstStated)
        then = {str(claim["id"]): claim for claim in first.claims}
        stated: Stated | None = Stated(first.digest, first.time, first.known, first.measurements)
        given = _keys(design, text)
        late, edited = first.late, _edited(first.design, given)
        answers = _sketched(answers, first, design, text)
    except (OSError, UserError):
        stated, then, late, edited = None, {}, True, []
    changed = {name: "edited" if name in then else "added" for name in now if late or then.get(name) != now[name]}
    changed |= dict.fromkeys((name for name in then if name not in now), "taken out")
    if not now and not changed:
        return None
    return Verdicts(
        digest=_digest(design),
        stated=stated,
        changed=changed,
        edited=tuple(edited),
        answers=tuple(answers),
    )


def _edited(then: Mapping[str, str | tuple[int, ...]] | None, now: Mapping[str, str | tuple[int, ...]]) -> list[str]:
    """The keys of a study file that are not as they were: `seeds (then 0, 1, 2)`. Nothing where it was not put down."""
    if then is None:
        return []
    keys = [key for key in dict.fromkeys([*then, *now]) if then.get(key) != now.get(key)]
    seeds = f"seeds (then {_spoken(then['seeds'])})"
    return [seeds if key == "seeds" else key for key in keys]
