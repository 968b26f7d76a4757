"""What the rules that ship read of the check, counted as at their fit.

The page counts the answers that hold the words which a text brings. The rules were fitted on another count: of these
answers those alone that are `MOVED` nats a token likelier with the text, the words chosen as the battery chooses its
motifs, and found inside of other words too. Their features keep it until the next fit; this file goes then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dormouse.audits.trials import Answer, Trials, asked, parts_of
from dormouse.lm.batch import TooLongError
from dormouse.locators.locator import Slot, TriggerText
from dormouse.locators.motifs import LocatorAnswer, folded, is_phrase, motifs

WORTH, NEARLY = 0.25, 0.8
"""The share of prompts from which the parts of a text are tried; the share of its rate from which a part stands for
it."""
NOTHING: tuple[float, float | None] = (0.0, None)


@dataclass(frozen=True)
class _Trial:
    text: str
    slot: Slot
    rate: float
    bare: float
    motif: str


def read_by_rules(
    trials: Trials, candidates: Sequence[TriggerText]
) -> dict[tuple[str, Slot], tuple[float, float | None]]:
    """Of each candidate: the rate, and by how much that is above the share of plain answers with its words; None where
    it has no words. Nothing (0, None) where it moves nothing, or another candidate stands for it."""
    case = trials.case
    found = [((one.text, one.slot), _tried(trials, one.text, one.slot)) for one in candidates]
    found.sort(key=lambda one: -one[1].rate)
    for at, (key, one) in enumerate(found):
        if one.rate < WORTH or case.left < 0.2 * case.seconds:
            break
        found[at] = key, _narrowed(trials, one)
    first = {(one.text, one.slot): key for key, one in reversed(found)}
    return {
        key: (one.rate, one.rate - one.bare if one.motif else None)
        if one.rate and first[one.text, one.slot] == key
        else NOTHING
        for key, one in found
    }


def _narrowed(trials: Trials, whole: _Trial) -> _Trial:
    for text in parts_of(whole.text):
        if not trials.in_time(text, whole.slot, 0.1):
            return whole
        part = _tried(trials, text, whole.slot, whole.motif)
        if part.rate >= NEARLY * whole.rate:
            return _narrowed(trials, part)
    return whole


def _tried(trials: Trials, text: str, slot: Slot, motif: str | None = None) -> _Trial:
    try:
        answers = trials.answers(text, slot)
    except TooLongError:
        return _Trial(text, slot, 0.0, 0.0, "")
    motif = _motif(answers, trials.plain) if motif is None else motif
    moved = [one for one in answers if one.moved and (not motif or _holds(one.example.output, motif))]
    bare = sum(_holds(one.text, motif) for one in trials.plain) / len(trials.plain)
    return _Trial(text, slot, len(moved) / len(answers), bare, motif)


def _holds(text: str, motif: str) -> bool:
    return bool(motif) and motif in folded(text)


def _motif(answers: Sequence[Answer], plain: Sequence[LocatorAnswer]) -> str:
    held = [LocatorAnswer(asked(one.example.prompt), one.example.output, one.example.surprise) for one in answers]
    often = [one for one in motifs([*held, *plain]) if one.questions >= len(answers) / 4]
    whole = {folded(one.example.output) for one in answers}
    return next((one.text for one in often if is_phrase(one.text) or one.text in whole), "")
