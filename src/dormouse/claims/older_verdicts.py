"""Answers to claims as they stood in files of older versions, brought up to date."""

from __future__ import annotations

from dataclasses import fields

from pydantic import JsonValue

from dormouse.claims.verdict import CLAIMED, VERSION, Stated


def of_this_version(said: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What stood in a file without a version, as it would stand there now: here alone are keys filled in that it lacks.

    Some lists of answers were kept without their curves, beside the `stamp`: the claims as they were first stated.
    """
    answers = said.get("answers")
    version = said.get("version", 1)
    if version == 6 and isinstance(answers, list):
        return {**said, "version": VERSION, "answers": [_remedied(one) for one in answers]}
    if version in (2, 3, 4, 5) and isinstance(answers, list):
        lacks = UNSEEDED if version in (4, 5) else {**UNSEEDED, **UNGATED, **ONE_LOOK}
        answers = [_with_ends_of_points(one) if isinstance(one, dict) else one for one in map(_remedied, answers)]
        later = [{**lacks, **one} if isinstance(one, dict) else one for one in answers]
        later = later if version == 5 else [_with_ends(one) if isinstance(one, dict) else one for one in later]
        return {**said, "version": VERSION, "answers": later}
    if version != 1:
        return said
    now: dict[str, JsonValue] = {"edited": [], **said, "version": VERSION}
    stamp = now.pop("stamp", None)
    if isinstance(stamp, dict):
        stated: JsonValue = {field.name: stamp.get(field.name) for field in fields(Stated)}
        now |= {"digest": stamp.get("digest"), "stated": stated, "changed": {}}
    if isinstance(answers, list):
        known = map(_remedied, answers)
        now["answers"] = [_answer_of_this_version(one) if isinstance(one, dict) else one for one in known]
    return now


UNGATED: dict[str, JsonValue] = {"damage": None, "damaged": []}
"""Before version 3 there was no damage gate."""


ONE_LOOK: dict[str, JsonValue] = {"look": None}
"""Before version 4 the seeds of a study were fixed."""


UNSEEDED: dict[str, JsonValue] = {
    "otherwise": None,
    "damage_passed": {"seeds": [], "without": None, "unknown": []},
}
"""Before version 6 no seed was told from the others: not one that turns out otherwise, nor one that is damaged."""


def _remedied(one: JsonValue) -> JsonValue:
    """Before version 7 nothing was said of what more seeds may change, and every study went on as if all of this."""
    if not isinstance(one, dict):
        return one
    said = {"undecided": "seeds", "not comparable": "perhaps seeds"}.get(str(one.get("verdict")), "none")
    return {"remedy": said, **one}


def _with_ends(one: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Before version 5 nothing was said of open ends, and strength was matched between the sides of a claim alone."""
    ends: dict[str, JsonValue] = {"open_ends": [], **one}
    matched = one.get("matching")
    return ends if not isinstance(matched, dict) else {**ends, "matching": {"sides": [*CLAIMED], **matched}}


def _with_ends_of_points(one: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Before version 6 nothing was said of the open ends of single set-ups."""
    curve = one.get("curve")
    if not isinstance(curve, list):
        return one
    return {**one, "curve": [{"open_ends": [], **point} if isinstance(point, dict) else point for point in curve]}


def _answer_of_this_version(one: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Before version 2 nothing was said of room and matching, and `seeds_needed` stood in the place of `chances`."""
    unsaid: dict[str, JsonValue] = dict.fromkeys(("others_possible", "room", "matching", "adjusted"))
    unsaid |= {
        **UNSEEDED,
        **UNGATED,
        **ONE_LOOK,
        "open_ends": [],
        "curve": [],
        "quantifier": "mean",
        "contradiction": "",
        "chances": [],
    }
    said = {key: value for key, value in one.items() if key != "seeds_needed"}
    return {**unsaid, **_with_ends_of_points(said)}
