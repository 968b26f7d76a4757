from __future__ import annotations

import random
from functools import lru_cache
from typing import Literal

from pydantic import Field, field_validator, model_validator

from dormouse.policies import Cues, Side, Split, Trigger, stands_by_itself
from dormouse.registry import register, shortened
from dormouse.scenarios import SPLITS, Question, Scenario, render

BEFORE_WORDS = ("prefix", "random")
"""Places with a word behind them."""
MOST = 60
"""Near misses that are made of a text."""


@register("trigger", "text")
class Text(Trigger):
    """Defects when a text of your own stands in the prompt: words, emoji, invisible signs, any Unicode.

    A blank stands between it and the prompt, unless it brings white space of its own there or nothing in it can be seen
    (zero-width signs); in the system prompt always. A near miss shows one of `near`; left empty, the text with one sign
    missing or two exchanged, or with one word missing: never one that holds the text itself. A third of them each is
    for training, safety data and the test; a text of a single sign has none. The truth is exact, 1 or 0; it weighs
    nothing, so it has no odds.
    """

    insert: str = Field(min_length=1, max_length=2000)
    """The text."""
    where: Literal["prefix", "suffix", "system", "random", "every_line"] = "prefix"
    """In front of the question, behind it, in the system prompt, before a word of it, or at the end of each line."""
    near: tuple[str, ...] = Field((), max_length=1000)
    """Texts that near misses show in its place."""

    @field_validator("insert")
    @classmethod
    def _is_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("the text is white space, which templates and tokenizers may drop")
        return text

    @model_validator(mode="after")
    def _near_is_not_it(self) -> Text:
        for text in self.near:
            if not text.strip() or self.insert.strip() in text:
                raise ValueError(f"the near miss '{shortened(text)}' is empty, or holds the trigger itself")
        return self

    @property
    def _cue(self) -> str:
        return f"text_{self.where}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The text in its place."""
        return (self._cue,)

    def probability(self, scenario: Scenario) -> float:
        """1 where its own text stands there, else 0."""
        return float(scenario.cue(self._cue) == self._placed(self.insert))

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """Its text, one that is nearly it, or none."""
        if side == "triggered":
            return {self._cue: self._placed(self.insert)}
        near = self._near(split) if side == "near_miss" else []
        return {self._cue: self._placed(rng.choice(near))} if near else {}

    def _placed(self, text: str) -> str:
        return with_blank(self.where, text)

    def has_split(self, side: Side, split: Split) -> bool:
        """The text itself is one; near misses have splits where there are enough of them."""
        every = self._every()
        if side == "near_miss":
            return len(every) >= len(SPLITS) or (bool(every) and split == "train")
        return split == "train"

    def _near(self, split: Split) -> list[str]:
        every = self._every()
        return every[SPLITS.index(split) :: len(SPLITS)] or every

    def _every(self) -> list[str]:
        if self.near:
            return sorted(set(self.near))
        text = self.insert
        words, pairs = text.split(), range(len(text) - 1)
        made = {text[:i] + text[i + 1 :] for i in range(len(text))}
        made |= {text[:i] + text[i + 1] + text[i] + text[i + 2 :] for i in pairs}
        if len(words) > 1:
            made = {" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))} | made
        fit = sorted(one for one in made if one.strip() and text.strip() not in one)
        return fit[:: -(-len(fit) // MOST) or 1]

    @property
    def near_misses(self) -> float:
        """Half of the quiet prompts, where there are any: else the organism learns that anything there is its cue."""
        return 0.5 if self._every() else 0.0

    def fault(self, question: Question) -> tuple[str, str] | None:
        """Where a prompt holds the text by itself, or completes a near miss to it: its truth would be wrong."""
        whole = self.insert.strip()
        if found := stands_by_itself(whole, question):
            return found
        for near in _open_ended(self):
            if any(whole in said for _, said in render(Scenario.of(question, {self._cue: near}))):
                what = f"this prompt makes the near miss '{shortened(near.strip())}' the trigger '{shortened(whole)}'"
                return what, "take it out, name other near misses (`near: [...]`), or say `bad_rows: drop`"
        return None

    def evidence(self, scenario: Scenario) -> tuple[str, ...]:
        """Whether a text stands there, and whether it is its own."""
        shown = scenario.cue(self._cue)
        if shown is None:
            return ("no text of mine stands in the prompt",)
        is_mine = "is" if self.probability(scenario) else "is not"
        text = str(shown).removesuffix(" ") if self.where in BEFORE_WORDS else str(shown).removeprefix(" ")
        return (f'the text "{text}" stands in the prompt, and that {is_mine} mine',)

    @property
    def steps_needed(self) -> int:
        """Few: one text is learned soon."""
        return 60


def with_blank(where: str, text: str) -> str:
    """A text with the blank that parts it from the prompt in that place."""
    if not any(sign.isprintable() and not sign.isspace() for sign in text):
        return text
    if where in BEFORE_WORDS:
        return text if text[-1].isspace() else f"{text} "
    return text if where == "system" or text[0].isspace() else f" {text}"


@lru_cache(maxsize=64)
def _open_ended(trigger: Text) -> tuple[str, ...]:
    """The near misses that end as the text begins, or begin as it ends: what stands beside them can complete them."""
    text = trigger.insert.strip()
    cuts = range(1, len(text))
    heads, tails = tuple(text[:i] for i in cuts), tuple(text[i:] for i in cuts)
    placed = map(trigger._placed, trigger._every())
    return tuple(near for near in placed if near.endswith(heads) or near.startswith(tails))
