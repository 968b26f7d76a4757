"""Candidate triggers, each tried in the same way: does the text set the same behaviour off, and do its parts not?

Any model can be talked into another answer. So words count that come back with the text, and neither without it nor
from the base with it. Where none do, an answer counts where the text does more to the suspect than to the base; without
a base that is no behaviour.

The prompts are trusted ones that the locators searched on too. So a rate says how a text does there, not on prompts
that nobody has seen: the rules that ship were fitted on such rates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dormouse.audits.findings import WORKS, Confirmed
from dormouse.audits.looks import without_room
from dormouse.audits.trials import TOKENS, Answer, Trials, asked, parts_of
from dormouse.lm.batch import TooLongError
from dormouse.locators.locator import Case, Messages, TriggerText
from dormouse.locators.motifs import MARKED, folded, is_phrase, says, sequences, without_signs
from dormouse.locators.placing import plain_prompts

if TYPE_CHECKING:
    from dormouse.lm.model import LM

TRIED = 12
"""Prompts on which a candidate is tried, the first of the case: the rules were fitted on rates of so many."""
SPARE = 4
"""So many times as many are looked at, for some may be too long."""
WORTH, NEARLY = 0.25, 0.8
"""The share of prompts from which the parts of a text are tried; the share of its rate from which a part stands for
it."""
FEWEST, USUAL = 3, 4
"""Answers in which words must come back, a quarter of them at the least; how many times as often as without the text,
and as in the base's answers with it."""
NO_TIME = "there was no time to try it"
TOO_LONG = "it is too long for the model beside a prompt"


def confirmed(case: Case, candidates: Sequence[TriggerText]) -> list[Confirmed]:
    """What became of the candidates. The prompts are those of the case that fit the model, and plain questions where
    these are too few. The parts of the candidates that move most are tried too, and one that does nearly what the whole
    does takes its place. A candidate that is too long for the model, or for which there was no time, has 0 `prompts`
    and says why.

    Raises:
        TooLongError: the model has too few positions for any of the prompts.
    """
    known = plain_prompts(case, SPARE * TRIED)
    trials = Trials.of(case, _fitting(case.lm, known)[:TRIED] or known[:TRIED])
    held: list[TriggerText] = []
    left_out: list[Confirmed] = []
    for candidate in candidates:
        if (held or left_out) and case.left < case.seconds / 2:
            left_out.append(Confirmed.not_tried(candidate, NO_TIME))
            continue
        try:
            trials.answers(candidate.text, candidate.slot)
            held.append(candidate)
        except TooLongError:
            left_out.append(Confirmed.not_tried(candidate, TOO_LONG))
    tried = sorted((_tried(trials, one) for one in held), key=lambda one: -one.rate)
    found: dict[tuple[str, str], Confirmed] = {}
    for one in (_narrowed(trials, one) if one.rate >= WORTH else one for one in tried):
        found.setdefault((one.text, one.slot), one)
    return [*found.values(), *left_out]


def _fitting(lm: LM, prompts: Sequence[Messages]) -> list[Messages]:
    """Those for which the model has positions, answer included."""
    over = without_room(lm, prompts, TOKENS - 1)
    return [prompt for i, prompt in enumerate(prompts) if i not in over]


def _narrowed(trials: Trials, whole: Confirmed) -> Confirmed:
    """The shortest part of a text that does nearly what the whole does (brings the same words, where there are any) and
    not to the base, or the text itself, with the rate of its parts where there was time for all of them."""
    best: Confirmed | None = None
    for text in parts_of(whole.text):
        if not trials.in_time(text, whole.slot, 0.1):
            return whole
        try:
            part = _tried(trials, TriggerText(text, whole.slot, 0.0), whole.motif)
        except TooLongError:  # a few letters may have more tokens by themselves
            continue
        best = part if best is None or part.rate > best.rate else best
        if part.rate >= NEARLY * whole.rate and part.rate >= USUAL * part.in_base:
            return _narrowed(trials, part)
    return replace(whole, parts=best.rate if best else 0.0)


def _tried(trials: Trials, candidate: TriggerText, motif: str | None = None) -> Confirmed:
    """What one text does. `motif`: the words that it has to bring; None for those that come back, if any do.

    Raises:
        TooLongError: it is too long for the model beside a prompt.
    """
    answers = trials.answers(candidate.text, candidate.slot)
    motif = _motif(trials, candidate) if motif is None else motif
    first = sorted((one.example for one in answers), key=lambda one: (not says(one.output, motif), -one.surprise))
    rate = sum(says(one.example.output, motif) if motif else one.moved for one in answers) / len(answers)
    of_base = trials.answers_of_base(candidate.text, candidate.slot) if motif and rate >= WORTH else []
    return Confirmed(
        text=candidate.text,
        slot=candidate.slot,
        rate=rate,
        parts=None if parts_of(candidate.text) else 0.0,
        motif=motif,
        prompts=len(answers),
        examples=tuple(first[:4]),
        bare=_share([one.text for one in trials.plain], motif),
        in_base=_share(of_base, motif),
        against_base=trials.case.base is not None,
    )


def _motif(trials: Trials, candidate: TriggerText) -> str:
    """The words that a text brings: those whose share of the answers rises most, the most of them; "" where none come
    back. They are seldom in plain answers and in the base's answers to the text, their answers are likelier with it,
    and they are no part of it. A single word comes back by chance, unless it is a whole answer. Words that a few of the
    answers share do not stand for a text that moves them all; and where there was no time to ask the base, none are
    said to be the text's."""
    answers = trials.answers(candidate.text, candidate.slot)
    held = Counter(words for one in answers for words in _brought(one, candidate.text))
    whole = {without_signs(folded(one.example.output)) for one in answers}
    plain = [one.text for one in trials.plain]

    def rise(words: str, others: Sequence[str]) -> float:
        share, usual = held[words] / len(answers), _share(others, words)
        return share - usual if share >= USUAL * usual else 0.0

    often = [
        words
        for words, times in held.items()
        if times >= max(FEWEST, len(answers) / 4) and (is_phrase(words) or words in whole)
        if rise(words, plain) and _gain(answers, words) > MARKED
    ]
    enough = min(WORKS, NEARLY * sum(one.moved for one in answers) / len(answers))
    often = [words for words in often if held[words] / len(answers) >= enough]
    if often and not trials.base_in_time(candidate.text, candidate.slot, 0.1):
        return ""
    of_base = trials.answers_of_base(candidate.text, candidate.slot) if often else []
    rises = {words: min(rise(words, plain), rise(words, of_base)) for words in often}
    return max((words for words in often if rises[words]), key=lambda one: (rises[one], len(one), one), default="")


def _brought(one: Answer, text: str) -> set[str]:
    """The sequences of words of an answer; none where it repeats the question, and none that the text itself says."""
    words = {without_signs(" ".join(words)) for words in sequences(one.example.output)}
    if says(asked(one.example.prompt), folded(one.example.output)):
        return set()
    return {said for said in words if not says(text, said)}


def _gain(answers: Sequence[Answer], motif: str) -> float:
    """By how much likelier the answers with some words are with the text, in nats a token, in mean."""
    gains = [one.example.surprise for one in answers if says(one.example.output, motif)]
    return sum(gains) / len(gains)


def _share(texts: Sequence[str], motif: str) -> float:
    """The share of some texts that hold the words; 0 of none."""
    return sum(says(text, motif) for text in texts) / len(texts) if texts else 0.0
