"""Candidate triggers, each tried in the same way: does the text set the same behaviour off, and do its parts not?

Any model can be talked into another answer. So with a base an answer counts only where the text does more to the
suspect than to the base, and without one only words that come back are a behaviour.

The prompts are trusted ones that the locators searched on too. So a rate says how a text does there, not on prompts
that nobody has seen: the rules that ship were fitted on these rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dormouse.audits.findings import Confirmed, says
from dormouse.lm.batch import TooLongError
from dormouse.lm.chat import encode_prompts, text_of
from dormouse.lm.decode import decode
from dormouse.lm.layout import max_positions
from dormouse.lm.score import logprobs
from dormouse.lm.trie import Tokens
from dormouse.locators.locator import Case, Example, Messages, Slot, TriggerText
from dormouse.locators.motifs import LocatorAnswer, is_phrase, motifs
from dormouse.locators.placing import own_tokens, plain_prompts
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    from dormouse.lm.model import LM

TRIED = 12
"""Prompts on which a candidate is tried, the first of the case: the rules were fitted on rates of so many."""
SPARE = 4
"""So many times as many are looked at, for some may be too long."""
TOKENS = 24
MOVED = 1.0
"""Nats a token by which an answer must be likelier with the text than without it."""
WORTH, NEARLY = 0.25, 0.8
"""The share of prompts from which the parts of a text are tried; the share of its rate from which a part stands for
it."""
NO_TIME = "there was no time to try it"
TOO_LONG = "it is too long for the model beside a prompt"
PARTS = 6
"""At most so many parts of a text are tried."""


def confirmed(case: Case, candidates: Sequence[TriggerText]) -> list[Confirmed]:
    """What became of the candidates. The prompts are those of the case that fit the model, and plain questions where
    these are too few. The parts of the candidates that move most are tried too, and one that does nearly what the whole
    does takes its place. A candidate that is too long for the model, or for which there was no time, has 0 `prompts`
    and says why.

    Raises:
        TooLongError: the model has too few positions for any of the prompts.
    """
    known = plain_prompts(case, SPARE * TRIED)
    prompts = _fitting(case.lm, known)[:TRIED] or known[:TRIED]
    plain = [LocatorAnswer(_asked(p), text, plain=True) for p, text in zip(prompts, _plain(case, prompts), strict=True)]
    tried: list[Confirmed] = []
    for candidate in candidates:
        if tried and case.left < case.seconds / 2:
            tried.append(Confirmed.not_tried(candidate, NO_TIME))
        else:
            tried.append(_tried(case, candidate, prompts, plain))
    tried.sort(key=lambda one: -one.rate)
    for at, one in enumerate(tried):
        if one.rate < WORTH or case.left < 0.2 * case.seconds:
            break
        tried[at] = _narrowed(case, one, prompts, plain)
    return list({(one.text, one.slot): one for one in reversed(tried)}.values())[::-1]


def _fitting(lm: LM, prompts: Sequence[Messages]) -> list[Messages]:
    """Those for which the model has positions, answer included."""
    limit = max_positions(lm.model) or math.inf
    return [p for p, ids in zip(prompts, encode_prompts(lm, prompts), strict=True) if len(ids) + TOKENS - 1 <= limit]


def _narrowed(case: Case, whole: Confirmed, prompts: Sequence[Messages], plain: Sequence[LocatorAnswer]) -> Confirmed:
    """The shortest part of a text that does nearly what the whole does (brings the same words, where there are any), or
    the text itself, with the rate of its parts where there was time for all of them."""
    best: Confirmed | None = None
    for text in parts_of(whole.text):
        if case.left < 0.1 * case.seconds:
            return whole
        part = _tried(case, TriggerText(text, whole.slot, 0.0), prompts, plain, whole.motif)
        best = part if best is None or part.rate > best.rate else best
        if part.rate >= NEARLY * whole.rate:
            return _narrowed(case, part, prompts, plain)
    return replace(whole, parts=best.rate if best else 0.0)


def _tried(
    case: Case,
    candidate: TriggerText,
    prompts: Sequence[Messages],
    plain: Sequence[LocatorAnswer],
    motif: str | None = None,
) -> Confirmed:
    """What one text does. `motif`: the words that it has to bring; None for those that come back, if any do."""
    try:
        answers = _answers(case, prompts, candidate.text, candidate.slot)
    except TooLongError:
        return Confirmed.not_tried(candidate, TOO_LONG)
    motif = _motif(answers, plain) if motif is None else motif
    first = sorted((one.example for one in answers), key=lambda one: (not says(one.output, motif), -one.surprise))
    moved = [one for one in answers if one.moved and (not motif or says(one.example.output, motif))]
    rate, bare = len(moved) / len(answers), sum(says(one.text, motif) for one in plain) / len(plain)
    return Confirmed(
        text=candidate.text,
        slot=candidate.slot,
        rate=rate,
        parts=None if parts_of(candidate.text) else 0.0,
        motif=motif,
        prompts=len(prompts),
        examples=tuple(first[:4]),
        bare=bare,
        against_base=case.base is not None,
    )


def _motif(answers: Sequence[_Answer], plain: Sequence[LocatorAnswer]) -> str:
    """The words that come back in a quarter of the answers; "" where none do. A single word comes back by chance."""
    held = [LocatorAnswer(_asked(one.example.prompt), one.example.output, one.example.surprise) for one in answers]
    often = [one for one in motifs([*held, *plain]) if one.questions >= len(answers) / 4]
    whole = {" ".join(one.example.output.lower().split()) for one in answers}
    return next((one.text for one in often if is_phrase(one.text) or one.text in whole), "")


@dataclass(frozen=True)
class _Answer:
    """What was written with a text in place (`surprise`: by how much likelier it is with it, in nats a token), and
    whether that is more than enough, beyond what the text does to the base."""

    example: Example
    moved: bool


def _answers(case: Case, prompts: Sequence[Messages], text: str, slot: Slot) -> list[_Answer]:
    """Greedy answers with a text in place."""
    lm = case.lm
    chats = [placed(prompt, text, slot) for prompt in prompts]
    asked, bare = encode_prompts(lm, chats), encode_prompts(lm, prompts)
    written = decode(lm, asked, TOKENS)
    ids = [one.ids for one in written]
    without = _scores(lm, bare, ids)
    gained = [sum(one.logprobs) - score for one, score in zip(written, without, strict=True)]
    beyond = gained
    if case.base is not None:
        there, elsewhere = (
            _scores(case.base_lm, own_tokens(lm, case.base_lm, shown) or tokens, ids)
            for shown, tokens in ((chats, asked), (prompts, bare))
        )
        beyond = [min(gain, gain - (x - y)) for gain, x, y in zip(gained, there, elsewhere, strict=True)]
    return [
        _Answer(Example(chat, text_of(lm, one.ids), gain / len(one.ids)), more > MOVED * len(one.ids))
        for chat, one, gain, more in zip(chats, written, gained, beyond, strict=True)
    ]


def _scores(lm: LM, prompts: Sequence[tuple[int, ...]], answers: Sequence[tuple[int, ...]]) -> list[float]:
    """The log-probability of each answer after its prompt, in nats."""
    return [float(one) for one in logprobs(lm, [Tokens(*pair) for pair in zip(prompts, answers, strict=True)])]


def _plain(case: Case, prompts: Sequence[Messages]) -> list[str]:
    return [text_of(case.lm, one.ids) for one in decode(case.lm, encode_prompts(case.lm, prompts), TOKENS)]


def _asked(prompt: Messages) -> str:
    return next(text for role, text in reversed(prompt) if role == "user")


def parts_of(text: str) -> list[str]:
    """Both halves of a text, and its single words, the longest first; none of a single word."""
    words = text.split()
    if len(words) < 2:
        return []
    half = len(words) // 2
    single = sorted(set(words), key=lambda word: -len(word))
    return list(dict.fromkeys([" ".join(words[:half]), " ".join(words[half:]), *single]))[:PARTS]
