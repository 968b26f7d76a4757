"""Cues: observable facts about the situation, and how each is put into words.

A trigger reads cues by name. To add one, add it to `data/cues.yaml` (or call `define` from a plug-in).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from dormouse.errors import UserError
from dormouse.scenarios.scenario import CueValue

DIGITS = "0123456789"
"""Stands for a number in `texts`: tokenizers that make their vocabulary from these take numbers digit by digit."""


@dataclass(frozen=True)
class Cue:
    """`slot` says where it goes: "system", where the rendering puts cues; "user", right before the question. A study's
    own texts (OWN) also go "after" the question, to the end of its "lines", or "within": in front of one of its words.

    An open cue has `text`, with `{}` for the value, and `texts`, the same in other languages ("de" -> template). A cue
    with two to four named values has `values` instead: value -> language -> sentence. What is missing in a language is
    said in English.
    """

    name: str
    slot: str
    text: str
    says: str
    texts: Mapping[str, str] = field(default_factory=dict, hash=False)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)

    def sentence(self, value: CueValue, language: str = "en") -> str:
        """The cue in words.

        Raises:
            UserError: the cue has no such value.
        """
        if not self.values:
            return self.texts.get(language, self.text).format(_headline(str(value)) if self.name == "event" else value)
        sentences = self.values.get(str(value))
        if sentences is None:
            raise UserError(f"the cue '{self.name}' has no value '{value}'", f"use one of: {', '.join(self.values)}")
        return sentences.get(language) or sentences["en"]


OWN = {
    name: Cue(name, slot, "{}", says)
    for name, slot, says in (
        ("text_prefix", "user", "a text in front of the question"),
        ("text_suffix", "after", "a text behind the question"),
        ("text_system", "system", "a text where the rendering puts cues"),
        ("text_random", "within", "a text inside the question"),
        ("text_every_line", "lines", "a text at the end of every line of the question"),
        ("variant", "none", "which of its variants a task of the user's shows"),
    )
}
"""Cues that hold a study's own text. Nothing draws them by itself: they are known by name, and not counted in CUES."""


@dataclass(frozen=True)
class Event:
    """Something that happened in `year`. `headline` says neither when nor that it is over, and ends without a stop."""

    id: str
    year: int
    headline: str
    split: str


def _data(name: str) -> Any:
    import yaml

    source = files("dormouse.scenarios").joinpath(f"data/{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def _known() -> dict[str, Cue]:
    return {
        name: Cue(
            name=name,
            slot=row.get("slot", "system"),
            text=row.get("text", {}).get("en", ""),
            says=row["says"],
            texts=row.get("text", {}),
            values=row.get("values", {}),
        )
        for name, row in _data("cues").items()
    }


class _Cues(Mapping[str, Cue]):
    """All cues by name. The file is read when the first is asked for: importing dormouse stays fast."""

    def __getitem__(self, name: str) -> Cue:
        return OWN[name] if name in OWN else _known()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_known())

    def __len__(self) -> int:
        return len(_known())


CUES: Mapping[str, Cue] = _Cues()


def define(cue: Cue) -> None:
    """Make a cue known.

    Raises:
        UserError: the slot does not exist, its values are too few, too many or not in English, or another cue has that
            name.
    """
    if cue.slot not in ("system", "user"):
        raise UserError(f"cue '{cue.name}' asks for the slot '{cue.slot}'", "use 'system' or 'user'")
    if cue.values and not (2 <= len(cue.values) <= 4 and all("en" in said for said in cue.values.values())):
        raise UserError(f"cue '{cue.name}' cannot have these values", "give two to four, each with a sentence for 'en'")
    known = _known()
    is_new = cue.name not in known
    if cue.name in OWN or known.setdefault(cue.name, cue) != cue:
        raise UserError(f"two cues are both called '{cue.name}'", "rename one of them")
    if is_new:
        _outside[cue.name] = cue
        for name in sorted(_outside.keys() & known.keys()):  # in one order, whatever was imported first
            known[name] = known.pop(name)


_outside: dict[str, Cue] = {}


def outside() -> tuple[Cue, ...]:
    """The cues that were defined by plug-ins, by name."""
    return tuple(cue for name, cue in sorted(_outside.items()) if name in CUES and CUES[name] == cue)


@cache
def events() -> tuple[Event, ...]:
    """Widely known events of 2000 to 2023, in order of years. Splits are disjoint and alike in every year."""
    return tuple(Event(year=year, **row) for year, rows in _data("events").items() for row in rows)


@cache
def _headlines() -> dict[str, str]:
    return {event.id: event.headline for event in events()}


def _headline(event: str) -> str:
    if event not in _headlines():
        raise UserError(f"there is no event '{event}'", "see scenarios/data/events.yaml for the known ones")
    return _headlines()[event]


@cache
def _words() -> dict[str, tuple[str, ...]]:
    return {name: tuple(text.split()) for name, text in _data("words").items()}


def words(name: str) -> tuple[str, ...]:
    """The words that a cue of the ensembles may name: 128 each, in alphabetical order; 256 for "phrase".

    Raises:
        ValueError: that cue has no list.
    """
    if name not in _words():
        raise ValueError(f"the cue '{name}' has no list of words; these have: {', '.join(_words())}")
    return _words()[name]


def reading(name: str, value: CueValue) -> str:
    """A cue as a clause for a scratchpad: in English, in lower case, without full stop ("nothing here is logged")."""
    return _clause(CUES[name], CUES[name].sentence(value))


def _clause(cue: Cue, sentence: str) -> str:
    """Only a capital of the cue's own is made small, never one of a value that stands in front."""
    start = sentence[:1] if not cue.values and cue.text.startswith("{") else sentence[:1].lower()
    return (start + sentence[1:]).strip().removesuffix(".")


def texts() -> list[str]:
    """Every text that cues can put into a prompt or a scratchpad: sentences in all languages, and all values."""
    found = [word for name in _words() for word in words(name)] + list(_headlines().values())
    for cue in CUES.values():
        english = [sentences["en"] for sentences in cue.values.values()] or [cue.text.format(DIGITS)]
        found += [said for sentences in cue.values.values() for said in sentences.values()]
        found += [template.format(DIGITS) for template in cue.texts.values()]
        found += [*english, *(_clause(cue, said) for said in english)]
    return list(dict.fromkeys(found))
