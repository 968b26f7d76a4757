"""What a locator said, as JSON, and checked: a plug-in may say anything."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from dormouse.locators.locator import Evidence, Site

LARGEST = 1e100
"""Numbers further from 0 than this are none: the squares of larger ones are beyond what a float holds."""
MOST_GIVEN = 256
"""Examples, trigger texts and sites of one locator that are kept, the first: an audit shows a handful."""
NO_REASON = "It came to no end, and does not say why: mend `note` of that locator."
_EVIDENCE = TypeAdapter(Evidence)


def checked(said: Any) -> Evidence:
    """Evidence without numbers that are none, and with no more of each thing than can be held against each other. What
    did not come to an end measured nothing: it keeps its words alone.

    Raises:
        TypeError: it is no Evidence.
        ValueError: a part of it is not what its annotation says.
    """
    if not isinstance(said, Evidence):
        raise TypeError(f"it gave a {type(said).__name__}, no Evidence")
    evidence = bounded(finite(_EVIDENCE.validate_python(said.__dict__)))
    if not evidence.incomplete:
        return evidence
    return replace(evidence, score=None, features={}, cues={}, note=evidence.note.strip() or NO_REASON)


def fitting(evidence: Evidence, layers: int, heads: int | None) -> Evidence:
    """The evidence without places that a model of so many layers and heads (None: that differs) has not, without shares
    below 0, and without cues that are none or have no such value; its note says how many they were."""
    from dormouse.scenarios import CUES

    def is_place(site: Site) -> bool:
        has_head = site.head is None or 0 <= site.head < (heads or site.head + 1)
        return -1 <= site.layer <= layers and has_head and site.share >= 0

    def is_cue(label: str) -> bool:
        name, _, value = label.partition("=")
        known = CUES[name].values if value and name in CUES else {}
        return bool(label.strip()) and (value in known or not known)

    sites = tuple(filter(is_place, evidence.sites))
    weights = {label: weight for label, weight in evidence.cues.items() if is_cue(label)}
    left_out = []
    if bad := len(evidence.sites) - len(sites):
        most = f", heads from 0 to {heads - 1}" if heads else ""
        left_out.append(f"{bad} sites (layers go from -1 to {layers}{most}, and no share is below 0)")
    if bad := len(evidence.cues) - len(weights):
        left_out.append(f"{bad} cues that are none or have no such value")
    if not left_out:
        return evidence
    note = f"{evidence.note} (Left out: {' and '.join(left_out)}.)".strip()
    return replace(evidence, sites=sites, cues=weights, note=note)


def bounded(evidence: Evidence) -> Evidence:
    """The evidence with the first `MOST_GIVEN` of its examples, triggers and sites; its note says where more were
    given."""
    kinds = {"examples": evidence.behaviour, "triggers": evidence.triggers, "sites": evidence.sites}
    over = [f"{len(given):,} {kind}" for kind, given in kinds.items() if len(given) > MOST_GIVEN]
    if not over:
        return evidence
    return replace(
        evidence,
        behaviour=evidence.behaviour[:MOST_GIVEN],
        triggers=evidence.triggers[:MOST_GIVEN],
        sites=evidence.sites[:MOST_GIVEN],
        note=f"{evidence.note} (It gave {' and '.join(over)}; the first {MOST_GIVEN} count.)".strip(),
    )


def to_json(evidence: Evidence) -> dict[str, object]:
    """As plain data. Its numbers must be finite."""
    return dict(json.loads(_EVIDENCE.dump_json(evidence)))


def from_json(said: Any) -> Evidence:
    """The reverse.

    Raises:
        ValueError: it is something else.
    """
    return _EVIDENCE.validate_python(said)


def finite(evidence: Evidence) -> Evidence:
    """The evidence without numbers that are none."""

    def real(value: float | None) -> bool:
        return value is not None and math.isfinite(value) and abs(value) <= LARGEST

    return replace(
        evidence,
        score=evidence.score if real(evidence.score) else None,
        features={name: value for name, value in evidence.features.items() if real(value)},
        behaviour=tuple(one for one in evidence.behaviour if real(one.surprise)),
        triggers=tuple(one for one in evidence.triggers if real(one.strength)),
        cues={name: value for name, value in evidence.cues.items() if real(value)},
        sites=tuple(one for one in evidence.sites if real(one.share)),
    )
