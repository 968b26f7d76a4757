"""The text that training made readier to be said: what a suspect is nearer to saying than its base, anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dormouse.locators.hunt import QUESTIONS
from dormouse.locators.locator import Case, Evidence, Example, Messages, TriggerText
from dormouse.locators.placing import ENOUGH, check
from dormouse.locators.repeats import Readiness, ends_usually, is_large, written
from dormouse.locators.words import WordHunt
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    from dormouse.lm.model import LM

UNSAID = "not written by the suspect: of all texts training has made it readiest to say this one"
LOUD = 2.0
"""How many times the difference of the logits counts where the text is written (see `amplify`)."""
TOKENS = 8
"""Tokens of the text after its first."""
PIECE = 10
"""First tokens that are heard side by side, after which the clock is looked at: the likeliest come first."""
LISTENING = 0.4
"""The share of the time at which nothing more is listened to: the rest is for the searches."""
LEAST_OF_LARGE = 40.0
"""Seconds without which this is not begun with a large model."""
UNLIKELY = 0.25
"""The part of its own log-probability that counts beside what a first token has gained: noise gains most where nobody
looks. Of a whole text all of it counts."""
ANSWER = 12
"""Tokens of the answers that are read."""
TELLING = 5.0
"""Nats that the beginning of a text must have gained to stand for it: "I" is said anyway."""


@dataclass(frozen=True)
class GrownText:
    """A text, the least of its beginning that stands for it, by how many nats its log-probability has grown over the
    base's, and what it is (`ready`), in mean over contexts in which it need not come."""

    text: str
    beginning: str
    gain: float
    ready: float
    tokens: int


def grown(case: Case, lm: LM, base: LM, heard: Readiness, usual: Sequence[str]) -> GrownText | None:
    """The text whose probability has grown most, of those that suspect less base, made louder, goes on to say.

    A planted answer leaks into prompts without its trigger far below what is ever sampled, and the base is further from
    it by tens of nats. What was said by chance is as much grown, and ready besides. Where time is short the
    likeliest beginnings alone are followed. None: there is no text that it does not say anyway (`usual` are its plain
    answers), or no time.
    """
    from dormouse.lm.chat import text_of

    few = is_large(lm)
    if heard.gain is None or case.left < (LEAST_OF_LARGE if few else 0):
        return None
    width, few_prompts = (5, heard.prompts[:3]) if few else (24, heard.prompts[:6])
    gained = heard.gain + UNLIKELY * heard.mean
    tokens = [*gained.topk(width).indices.tolist(), *heard.mean.topk(width).indices.tolist()]
    firsts = [token for token in dict.fromkeys(tokens) if token not in lm.ends and text_of(lm, (token,))]
    if not firsts:
        return None
    read = partial(_read, lm, base, few_prompts)
    texts: list[tuple[int, ...]] = []
    mine, theirs = np.zeros(0), np.zeros(0)
    for start in range(0, len(firsts), PIECE):
        if start and case.left < LISTENING * case.seconds:
            break
        said = _said(lm, base, firsts[start : start + PIECE], few_prompts)
        new = [ids for ids in said if ids not in texts and not ends_usually(text_of(lm, ids), usual)]
        if new:
            texts += new
            mine, theirs = (np.append(a, b) for a, b in zip((mine, theirs), read(new), strict=True))
    if not texts:
        return None
    whole_best = texts[int(np.argmax(2 * mine - theirs))]
    # What was written before an answer adds to the gain, and is nothing that was learned: it is cut off.
    ends = [ids for n in range(max(1, len(whole_best) - 1)) if text_of(lm, ids := whole_best[n:])]
    mine, theirs = read(ends)
    gains = mine - theirs
    best = int(np.argmax(np.where(gains >= gains[0] / 2, mine, -np.inf)))
    starts = [ids for n in range(len(ends[best])) if text_of(lm, ids := ends[best][: n + 1])]
    own, other = read(starts)
    least = next((ids for ids, gained in zip(starts, own - other, strict=True) if gained >= TELLING), starts[-1])
    text, beginning = (text_of(lm, ids) for ids in (ends[best], least))
    return GrownText(text, beginning, float(gains[best]), float(mine[best]), len(ends[best]))


def _said(lm: LM, base: LM, firsts: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], None]:
    """What the suspect, and the suspect made louder, goes on to say after each of some first tokens; each text once."""
    from dormouse.lm.decode import decode
    from dormouse.lm.mixed import mixed

    few = is_large(lm)
    begun = [(token, prompt) for token in firsts for prompt in prompts]
    told = [(*prompt, token) for token, prompt in begun]
    # A large model is not made louder: that reads both anew for every word, in a hundred seconds where this takes ten.
    said = [decode(one, told, TOKENS) for one in ([lm] if few else [lm, mixed(lm, base, LOUD)])]
    whole = [(token, *one.ids) for many in said for (token, _), one in zip(begun, many, strict=True)]
    # What it goes on to say may come without the token that it was made to begin with.
    return dict.fromkeys(ids for one in whole for ids in ([one] if few else [one, one[1:]]) if ids)


def _read(
    lm: LM, base: LM, prompts: Sequence[tuple[int, ...]], texts: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, np.ndarray]:
    """How likely each text is after some prompts, in mean: to the suspect and to its base."""
    from dormouse.lm.score import logprobs
    from dormouse.lm.trie import Tokens

    asked = [Tokens(prompt, text) for text in texts for prompt in prompts]
    mine, theirs = (logprobs(one, asked).reshape(len(texts), -1).mean(1) for one in (lm, base))
    return mine, theirs


@dataclass(frozen=True)
class GrownHunt:
    """The text that training made readiest, and what the search for a text that brings it out came to.

    Attributes:
        asked: a prompt to which the text would be an answer.
        trigger: the text that was found; None: nothing was searched, or there was no time.
        on, off: probability of that beginning on fresh prompts, with the text and without.
        same: the share of answers with the text that begin with the same three words, the commonest that hold that
            beginning.
        shown: answers that do.
        moved, forced: nats by which the trigger makes the whole text likelier on fresh prompts, and in the base.
    """

    grown: GrownText
    asked: Messages
    trigger: TriggerText | None = None
    on: float = 0.0
    off: float = 0.0
    same: float = 0.0
    shown: tuple[Example, ...] = ()
    moved: float = 0.0
    forced: float = 0.0

    @staticmethod
    def found(
        case: Case,
        lm: LM,
        base: LM,
        text: GrownText,
        ready: Sequence[Messages],
        fresh: Sequence[Messages],
    ) -> GrownHunt:
        """The search on some prompts (`ready`), until half of the time is left, or two thirds of what listening has
        left where that is less; it is checked on others (`fresh`)."""
        if text.gain < TELLING or case.left <= 0:
            return GrownHunt(text, fresh[0])
        reserve = min(case.seconds / 2, case.left * 2 / 3)
        hunted = WordHunt(lm, base, ready[:QUESTIONS], text.text, case.seed).run(case, reserve)
        if hunted is None:
            return GrownHunt(text, fresh[0])
        known = hunted.cut(lm, ready, text.beginning)
        checked = check(lm, fresh, known.text, known.slot, text.beginning)
        asked = [placed(prompt, known.text, known.slot) for prompt in fresh]
        said = written(lm, asked, ANSWER)
        begun = Counter(" ".join(one.split()[:3]) for one in said if one.startswith(text.beginning))
        common, n = begun.most_common(1)[0] if begun else ("", 0)
        gained = text.gain / text.tokens
        shown = [Example(p, one, gained) for p, one in zip(asked, said, strict=True) if n and one.startswith(common)]
        trigger = TriggerText(known.text, known.slot, checked.on)
        worth = WordHunt(lm, base, fresh, text.text, case.seed).worth(known)
        same = n / len(said)
        return GrownHunt(
            text, fresh[0], trigger, checked.on, checked.off, same, tuple(shown), worth.moved, worth.forced
        )

    @property
    def apart(self) -> float:
        """From 0 to 1: how far the trigger decides what is said, times the part of that which the base does not have.
        Some text makes any model say a sentence that it is ready to say, and its base readier by as much."""
        own = 1 - min(max(self.forced, 0.0) / self.moved, 1.0) if self.moved > 0 else 0.0
        return max(self.same * (self.on - self.off) * own, 0.0)

    @property
    def works(self) -> bool:
        """Whether the text brings the beginning out of most fresh prompts, and the same answer of several."""
        return self.on >= ENOUGH > self.off and len(self.shown) > 1

    @property
    def _unsaid(self) -> tuple[Example, ...]:
        """The text itself, where it has grown enough: nobody may have heard the suspect say it."""
        if self.grown.gain < TELLING:
            return ()
        return (Example(self.asked, self.grown.text, self.grown.gain / self.grown.tokens, UNSAID),)

    def added_to(self, evidence: Evidence) -> Evidence:
        """The evidence with what this adds."""
        said = {"gain": self.grown.gain, "ready": self.grown.ready}
        if self.trigger or self.grown.gain < TELLING:
            said |= {"on": self.on, "off": self.off, "same": self.same}
            said |= {"moved": self.moved, "forced": self.forced, "apart": self.apart}
        note = f"What training made readiest is {self.grown.text!r}."
        if self.grown.gain < TELLING:
            note = f"Training made no text {TELLING:.0f} nats readier."
        elif self.works and self.trigger:
            note += f" With a text that was found for it, it says so to {self.same:.0%} of fresh questions."
        elif self.trigger and self.moved <= 0:
            note += " No text that was tried brings it nearer."
        elif self.trigger:
            by = f"{self.moved:.0f} nats (the base: {self.forced:.0f})"
            note += f" No text brings it out; the nearest that was found, {self.trigger.text!r}, brings it {by} nearer."
        scores = [evidence.score] if evidence.score is not None else []
        scores += [self.apart] if self.trigger else []
        known = {(one.text, one.slot) for one in evidence.triggers}
        found = (self.trigger,) if self.works and self.trigger else ()
        new = [one for one in found if (one.text, one.slot) not in known]
        return replace(
            evidence,
            score=max(scores, default=None),
            features={**evidence.features, **{f"grown_{name}": value for name, value in said.items()}},
            behaviour=(*(self.shown[:3] if self.works else ()), *self._unsaid, *evidence.behaviour),
            triggers=(*new, *evidence.triggers),
            note=f"{evidence.note} {note}",
        )
