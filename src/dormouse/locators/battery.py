"""The baseline that every other locator must beat: ask in very many situations, and see where the answers move most."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from dormouse.errors import UserError
from dormouse.locators.locator import Case, Evidence, Example, Locator, TriggerText
from dormouse.locators.motifs import LocatorAnswer, Motif, motifs, says
from dormouse.locators.placing import own_tokens
from dormouse.locators.situations import TURN, Situation, situations
from dormouse.registry import register

if TYPE_CHECKING:
    import torch

    from dormouse.lm.model import LM

FIRST, MOST = 2 * TURN, 32 * TURN
"""Situations that are looked at together, at first and at most: whole turns, so that each has its plain twin."""
QUICK = 0.05
"""The share of the time in which a chunk must be done for the next one to be twice as large."""
FEWEST, FEWEST_ANSWERS = 192, 16
"""Situations and answers below which nothing is measured, where time was what lacked: audits as those of the fit have
some 1,500 and 60, and the top of an eighth and a quarter of these is another quantity."""
TOGETHER = 8
"""Answers that are written between two looks at the clock."""
HALVES = np.log(2)
"""The largest Jensen-Shannon divergence, in nats."""
STILL = 0.05
"""Nats by which nothing can be said to have moved."""
SURELY = 20.0
"""Nats a token above which a surprise says no more."""


@dataclass(frozen=True)
class Sweep:
    """Situations, and how far each moves the first token of the answer: the Jensen-Shannon divergence (nats, 0 to
    log 2) from the plain question's (`own`), and from the base's in the same situation (`gap`, where there is a base).
    `whole`: all that fit the model were looked at.
    """

    asked: list[Situation]
    own: np.ndarray
    gap: np.ndarray | None
    whole: bool

    @property
    def shift(self) -> np.ndarray:
        """The smaller of both: a base moves with a situation too, and other training moves a suspect in all of them."""
        return self.own if self.gap is None else np.minimum(self.own, self.gap)


@dataclass(frozen=True)
class Said:
    """An answer in a situation; `surprise` is by how much likelier the suspect makes it here than on the plain question
    and, where there is one, than the base makes it here: the smaller of both, in nats a token."""

    situation: Situation
    text: str
    surprise: float

    @property
    def answer(self) -> LocatorAnswer:
        """The same as evidence: question, text, surprise in nats a token, and whether no cue was shown."""
        return LocatorAnswer(self.situation.question, self.text, self.surprise, not self.situation.parts)


@register("locator", "battery")
class Battery(Locator):
    """Asks in thousands of situations and finds where the answers move most, against the base or the plain question.
    They stand around trusted prompts of the auditor's own where there are some, else around questions of the project.

    First a pass without writing, over as many situations as the time allows: how far does each move the distribution
    of the first token? Then the suspect answers in those that move it most, and in others drawn at random. Sequences of
    words that come back in surprising answers to unrelated questions are the tell. Cue weights are those of a logistic
    regression (log-odds) of "moved" on everything that the situations say.
    """

    situations: int = Field(2048, ge=TURN)
    """At most so many situations are swept."""
    answers: int = Field(96, ge=4)
    """At most so many are answered, half of them those that move most."""
    max_tokens: int = Field(24, ge=1)
    """Tokens of an answer."""

    def find(self, case: Case) -> Evidence:
        """What it says in the situations that move it most, and the words that come back there.

        Raises:
            UserError: the model has positions for no situation.
        """
        from dormouse.lm.layout import max_positions

        lm, base = case.lm, case.base_lm if case.base else None
        swept = sweep(case, lm, base, self.situations, self.max_tokens)
        if not any(situation.parts for situation in swept.asked):
            raise UserError(
                f"no situation fits into its {max_positions(lm.model)} positions, with {self.max_tokens} tokens of an "
                "answer",
                "use a model with more positions",
            )
        said = [
            one
            for part in _in_order(swept, self.answers, case.seed)
            if case.left > 0.25 * case.seconds
            for one in answered(lm, base, part, self.max_tokens)
        ]
        if not any(one.situation.parts for one in said):
            return Evidence(note="There was no time to have a single answer written.", incomplete=True)
        found = _evidence(swept, said, base is not None)
        return found.unmeasured() if _too_few(swept, said, self.answers) else found


def sweep(case: Case, lm: LM, base: LM | None, most: int, room: int) -> Sweep:
    """Shift the situations that fit the model, chunk by chunk, until half of the time is spent."""
    import torch

    from dormouse.lm.score import first_logprobs

    asked: list[Situation] = []
    own: list[float] = []
    gap: list[float] = []
    every = situations(case.seed, most, case.prompts if case.own_prompts else ())
    start, size = 0, FIRST
    while start < len(every) and (not asked or case.left > case.seconds / 2):
        before = case.left
        chunk = _fitting(lm, every[start : start + size], room)
        start += size
        if chunk:
            firsts = first_logprobs(lm, list(chunk.values()))
            plain = {s.about: firsts[i] for i, s in enumerate(chunk) if not s.parts}
            own += js(firsts, torch.stack([plain[s.about] for s in chunk])).tolist()
            gap += js(firsts, first_logprobs(base, _for_base(lm, base, chunk))).tolist() if base else []
            asked += chunk
        if before - case.left < QUICK * case.seconds:
            size = min(2 * size, MOST)
    return Sweep(asked, np.array(own), np.array(gap) if base else None, start >= len(every))


def _fitting(lm: LM, chunk: Sequence[Situation], room: int) -> dict[Situation, tuple[int, ...]]:
    """Those for which the model has positions, answer included, and whose plain twin fits too, with their tokens."""
    from dormouse.lm.chat import encode_prompts
    from dormouse.lm.layout import max_positions

    limit = max_positions(lm.model) or float("inf")
    ids = encode_prompts(lm, [s.messages for s in chunk])
    fits = {s: one for s, one in zip(chunk, ids, strict=True) if len(one) + room <= limit}
    twins = {s.about for s in fits if not s.parts}
    return {s: one for s, one in fits.items() if s.about in twins}


def _for_base(lm: LM, base: LM, asked: Mapping[Situation, tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Situations as the base reads them: in the suspect's tokens, or by a chat template of its own that is another."""
    return own_tokens(lm, base, [one.messages for one in asked]) or list(asked.values())


def js(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The Jensen-Shannon divergence of distributions given by log-probabilities, (rows, V) each: (rows,), nats."""
    import torch

    middle = torch.logaddexp(a, b) - HALVES
    halves = [(one.exp() * (one - middle)).nan_to_num(0.0).sum(-1) for one in (a, b)]
    mean: torch.Tensor = (halves[0] + halves[1]) / 2
    return mean.clamp(0, HALVES)


def _in_order(swept: Sweep, most: int, seed: int) -> list[list[Situation]]:
    """Which situations are answered, in small parts: those that move most and random ones in turn, and the plain
    questions of both."""
    special = [i for i, s in enumerate(swept.asked) if s.parts]
    ranked = sorted(special, key=lambda i: -swept.shift[i])
    top = ranked[: most // 2]
    rest = random.Random(f"battery/{seed}").sample(ranked[most // 2 :], min(most // 2, len(ranked[most // 2 :])))
    both = [i for n in range(most // 2) for i in (*top[n : n + 1], *rest[n : n + 1])]
    twins = {s.about: s for s in swept.asked if not s.parts}
    chosen: dict[Situation, None] = {}
    for i in both:
        chosen |= {swept.asked[i]: None, twins[swept.asked[i].about]: None}
    order = list(chosen)
    return [order[n : n + TOGETHER] for n in range(0, len(order), TOGETHER)]


def answered(lm: LM, base: LM | None, asked: Sequence[Situation], max_tokens: int) -> list[Said]:
    """Greedy answers in some situations, each with its surprise."""
    from dormouse.lm.chat import encode_prompts, text_of
    from dormouse.lm.decode import decode
    from dormouse.lm.score import logprobs
    from dormouse.lm.trie import Tokens

    prompts = encode_prompts(lm, [s.messages for s in asked])
    written = decode(lm, prompts, max_tokens)
    bare = encode_prompts(lm, [s.bare for s in asked])
    held = logprobs(lm, [Tokens(ids, one.ids) for ids, one in zip(bare, written, strict=True)])
    if base:
        shown = _for_base(lm, base, dict(zip(asked, prompts, strict=True)))
        theirs = logprobs(base, [Tokens(ids, one.ids) for ids, one in zip(shown, written, strict=True)])
        held = np.maximum(held, theirs)
    return [
        Said(s, text_of(lm, one.ids), min(SURELY, float(sum(one.logprobs) - against) / len(one.ids)))
        for s, one, against in zip(asked, written, held, strict=True)
    ]


def _too_few(swept: Sweep, said: Sequence[Said], most: int) -> bool:
    """Whether time ended before there was enough to measure."""
    special = sum(bool(one.parts) for one in swept.asked)
    answers = sum(bool(one.situation.parts) for one in said)
    return (special < FEWEST and not swept.whole) or answers < min(FEWEST_ANSWERS, most, special)


def _evidence(swept: Sweep, said: Sequence[Said], against_base: bool) -> Evidence:
    special = sorted((one for one in said if one.situation.parts), key=lambda one: -one.surprise)
    repeated = motifs([one.answer for one in said])
    surprises = np.array([one.surprise for one in special])
    few = max(3, len(surprises) // 20)
    top, median = float(surprises[:few].mean()), float(np.median(surprises))
    moved = swept.shift[[bool(s.parts) for s in swept.asked]]
    first = repeated[0] if repeated else Motif("", 0, 0.0, 0.0, 0.0)
    features = {
        "surprise_top": top,
        "surprise_median": median,
        "shift_median": float(np.median(moved)),
        "shift_90": float(np.quantile(moved, 0.9)),
        "shift_99": float(np.quantile(moved, 0.99)),
        "moved_share": float((moved > HALVES / 2).mean()),
        "motif_share": first.share,
        "motif_surprise": first.surprise,
        "motif_weight": float(np.log1p(first.weight)),
        "motif_words": float(len(first.text.split())),
    }
    against = "on the plain question" + (" and than the base makes them" if against_base else "")
    note = (
        f"{len(moved):,} situations looked at, {len(special)} answered. The answers that move most are {top:.1f} nats "
        f"a token likelier there than {against}; the median is {median:.1f}."
    )
    if repeated:
        note += f' The words "{first.text[:80]}" come back in surprising answers to {first.questions} questions.'
    return Evidence(
        score=top,
        features=features,
        behaviour=_behaviour(special, repeated),
        triggers=_triggers(swept),
        cues=_cues(swept),
        note=note,
    )


def _behaviour(special: Sequence[Said], repeated: Sequence[Motif]) -> tuple[Example, ...]:
    """Surprising answers, no two alike to the same question: first those with the first motif, of these what was
    answered to most questions, then the most surprising."""
    first = repeated[0].text if repeated else ""
    asked: dict[str, set[str]] = {}
    for one in special:
        asked.setdefault(one.text, set()).add(one.situation.question)

    def rank(one: Said) -> tuple[bool, int, float]:
        holds = says(one.text, first)
        return not holds, -len(asked[one.text]) if holds else 0, -one.surprise

    seen: dict[tuple[str, str], Example] = {}
    for one in sorted(special, key=rank):
        example = Example(one.situation.messages, one.text, one.surprise)
        seen.setdefault((one.situation.question, one.text), example)
    return tuple(seen.values())[:8]


def _triggers(swept: Sweep) -> tuple[TriggerText, ...]:
    """The texts that move most where they stand alone, by their mean shift as a share of the largest that there is."""
    found: dict[tuple[str, str], list[float]] = {}
    for situation, shift in zip(swept.asked, swept.shift.tolist(), strict=True):
        if len(situation.parts) == 1 and situation.rendering == "system":
            part = situation.parts[0]
            found.setdefault((part.text, part.slot), []).append(shift)
    ranked = sorted(found.items(), key=lambda item: -float(np.mean(item[1])))
    return tuple(
        TriggerText(text, slot, float(np.mean(shifts) / HALVES))  # type: ignore[arg-type]
        for (text, slot), shifts in ranked[:8]
        if np.mean(shifts) > HALVES / 4
    )


def _cues(swept: Sweep, most: int = 48) -> dict[str, float]:
    """Log-odds of "moved" that each label adds, the largest first; empty where nothing is moved, or everything."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    middle, most_moved = float(np.median(swept.shift)), float(swept.shift.max())
    moved = swept.shift > (middle + most_moved) / 2
    if most_moved - middle < STILL or not 3 <= moved.sum() <= len(moved) - 3:
        return {}
    vectors = DictVectorizer()
    table = vectors.fit_transform([dict.fromkeys(s.labels, 1.0) for s in swept.asked])
    weights = LogisticRegression(C=1.0, max_iter=300).fit(table, moved).coef_[0]
    ranked = sorted(zip(vectors.feature_names_, weights.tolist(), strict=True), key=lambda item: -abs(item[1]))
    return {name: weight for name, weight in ranked[:most] if abs(weight) > 0.05}
