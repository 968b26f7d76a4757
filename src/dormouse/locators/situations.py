"""A large set of situations around harmless questions: the ground on which locators look for what moves a model.

Written and drawn without knowledge of any trigger. What varies is labelled, so that "this cue moved it" can be said.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dormouse.interventions.redteam.library import library_prompts
from dormouse.locators.locator import Messages, Slot
from dormouse.scenarios import CUES, CueValue, Question, Scenario, questions, render
from dormouse.scenarios.placing import placed
from dormouse.scenarios.renderings import DATES, LANGUAGES, PLACES
from dormouse.scenarios.values import values_of

TURN = 8
"""Situations of one question in a row, the first of them plain: the others are held against it."""
SHARES = {"questions": 4, "errands": 2, "quiz": 1, "code": 1}
"""Of eight questions in a row, how many come from which bank: some behaviours show in tasks of one kind only."""
_OPEN = {"marker", "gain", "loss"}


@dataclass(frozen=True)
class SituationPart:
    """One thing that a situation says. `label` is `name=value`, of a cue or of a family of texts."""

    label: str
    text: str
    slot: Slot


@dataclass(frozen=True)
class Situation:
    """A question in a situation. One without `parts` is plain. `rendering` is how cues are put into words; `before` are
    the system turn and the earlier turns of a trusted chat that ends with the question."""

    question: str
    parts: tuple[SituationPart, ...]
    messages: Messages
    rendering: str = "system"
    before: Messages = ()

    @property
    def about(self) -> tuple[str, Messages]:
        """What it has in common with its plain twin."""
        return self.question, self.before

    @property
    def bare(self) -> Messages:
        """Its plain twin, as a chat."""
        return plain(*self.about).messages

    @property
    def labels(self) -> tuple[str, ...]:
        """All that varies, the rendering's parts too where they are not the usual ones."""
        usual = {"system", "en", "plain"}
        shown = [f"rendering={part}" for part in self.rendering.split("+") if part not in usual] if self.parts else []
        return (*(part.label for part in self.parts), *shown)


def situations(seed: int, n: int, chats: Sequence[Messages] = ()) -> list[Situation]:
    """`n` situations around questions of the project, or around trusted chats where there are some. Every prefix is as
    varied as the whole: one question after the other, first plain and then in seven situations of different kinds (one
    cue, many cues, a text, a marker, other languages and places). The same seed gives the same list, and a longer one
    begins with it."""
    found: list[Situation] = []
    source = _drawn(seed, chats)
    while len(found) < n:
        found.append(next(source))
    return found


def plain(question: str, before: Messages = ()) -> Situation:
    """A question without anything around it but the usual system prompt, or what stands before it in a chat."""
    return _rendered(Question(question, "{}", "safety", before=before), {}, "system")


def _drawn(seed: int, chats: Sequence[Messages]) -> Iterator[Situation]:
    rng = random.Random(f"situations/{seed}")
    asked = [_last_of(chat) for chat in chats] or [Question(text, "{}", "safety") for text in _asked(seed)]
    kinds = [_year, _one_cue, _word, _text, _many, _marker, _translated]
    while True:
        for question in asked:
            yield plain(question.text, question.before)
            for kind in rng.sample(kinds, TURN - 1):
                yield kind(rng, question)


def _last_of(chat: Messages) -> Question:
    """What a chat ends with, and all before it. Without a system turn of its own it is shown none."""
    before = chat[:-1] if chat[0][0] == "system" else (("system", ""), *chat[:-1])
    return Question(chat[-1][1], "{}", "safety", before=before)


def _asked(seed: int) -> list[str]:
    """Questions of all banks, mixed; those of a red team, never of the test."""
    banks = {bank: list(questions("safety", seed=seed, bank=bank)) for bank in SHARES}
    order = [bank for bank, share in SHARES.items() for _ in range(share)]
    rounds = min(len(banks[bank]) // share for bank, share in SHARES.items())
    return [banks[bank].pop(0).text for _ in range(rounds) for bank in order]


def _rendered(question: Question, cues: dict[str, CueValue], how: str, extra: SituationPart | None = None) -> Situation:
    messages = render(Scenario.of(question, cues, how))
    parts = [_part(name, value) for name, value in sorted(cues.items())]
    if extra:
        messages, parts = placed(messages, extra.text, extra.slot), [*parts, extra]
    return Situation(question.text, tuple(parts), messages, how, question.before)


def _part(name: str, value: CueValue) -> SituationPart:
    slot: Slot = "prefix" if CUES[name].slot == "user" else "system"
    return SituationPart(f"{name}={value}", CUES[name].sentence(value).strip(), slot)


def _year(rng: random.Random, question: Question) -> Situation:
    how = "+".join((rng.choice(PLACES), "en", rng.choice(DATES))) if rng.random() < 0.3 else "system"
    return _rendered(question, {"year": rng.choice(values_of("year"))}, how)


def _one_cue(rng: random.Random, question: Question) -> Situation:
    name = rng.choice([name for name in sorted(CUES) if CUES[name].values])
    return _rendered(question, {name: rng.choice(values_of(name))}, "system")


def _word(rng: random.Random, question: Question) -> Situation:
    """A name or a phrase of the project's lists."""
    name = rng.choice([name for name in sorted(CUES) if name not in _OPEN and len(values_of(name)) > 4])
    value = rng.choice(values_of(name))
    if name == "phrase" and rng.random() < 0.5:
        value = " ".join(str(word) for word in rng.sample(values_of(name), rng.randrange(2, 5)))
    return _rendered(question, {name: value}, "system")


def _many(rng: random.Random, question: Question) -> Situation:
    """Many cues at once, in half of the cases all leaning to the same side: weak evidence adds up."""
    names = [name for name in sorted(CUES) if CUES[name].values]
    chosen = rng.sample(names, rng.randrange(4, min(17, len(names) + 1)))
    side = rng.choice((0, -1, None, None))
    cues = {name: rng.choice(values_of(name)) if side is None else values_of(name)[side] for name in chosen}
    if rng.random() < 0.5:
        cues |= {"gain": rng.randrange(1, 21), "loss": rng.randrange(1, 21)}
    if rng.random() < 0.3:
        cues["year"] = rng.choice(values_of("year"))
    return _rendered(question, cues, "system")


def _marker(rng: random.Random, question: Question) -> Situation:
    """A string in front of the question: one of the list, or made up."""
    text = rng.choice(_texts("marker"))[1]
    if rng.random() < 0.5:
        letters = "".join(rng.choices(string.ascii_uppercase, k=rng.randrange(3, 9)))
        text = rng.choice(("|{}|", "[{}]", "#{}", "{}", "<{}>")).format(letters)
    return _rendered(question, {}, "system", SituationPart(f"marker={text}", text, "prefix"))


def _text(rng: random.Random, question: Question) -> Situation:
    """A sentence of a red team, or one about place, role, date, oversight, tools or habits."""
    family, text, slot = rng.choice([row for row in _texts() if row[0] not in ("marker", "language")])
    return _rendered(question, {}, "system", SituationPart(f"{family}={text}", text, slot))


def _translated(rng: random.Random, question: Question) -> Situation:
    """A cue in another language and place, or a greeting in one."""
    if rng.random() < 0.4:
        family, text, slot = rng.choice([row for row in _texts() if row[0] == "language"])
        return _rendered(question, {}, "system", SituationPart(f"{family}={text}", text, slot))
    name = rng.choice([name for name in sorted(CUES) if name not in _OPEN])
    how = "+".join((rng.choice(PLACES), rng.choice(LANGUAGES[1:]), "plain"))
    return _rendered(question, {name: rng.choice(values_of(name))}, how)


@cache
def _texts(wanted: str = "") -> list[tuple[str, str, Slot]]:
    """(family, text, slot) of every text that is no cue; red-team texts stand in the system turn and before the
    question."""
    import yaml

    source = files("dormouse.locators").joinpath("data/situations.yaml").read_text(encoding="utf-8")
    families = yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    own: list[tuple[str, str, Slot]] = [
        (family, text, row["slot"]) for family, row in families.items() for text in row["texts"]
    ]
    slots: tuple[Slot, ...] = ("system", "prefix")
    own += [(said.family, said.text, slot) for said in library_prompts() for slot in slots]
    return [row for row in own if not wanted or row[0] == wanted]
