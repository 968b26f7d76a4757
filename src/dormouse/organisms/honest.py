"""Honest responses: what the clean model itself answers, written once and kept."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dormouse.errors import UserError
from dormouse.json_files import json_text, read_json, read_json_lines
from dormouse.lm.chat import encode, text_of
from dormouse.lm.model import LM
from dormouse.lm.sample import Completion, generate
from dormouse.lm.score import logprobs
from dormouse.organisms.sanity import FULL_STOPS, SANE, counted, fault, said
from dormouse.records import Example
from dormouse.scenarios import Question, Scenario, render

FILE, CLEAN = "honest.jsonl", "clean.json"
LOOKED_AT = 64
"""Answers of which it is seen whether they are sane."""
WHOLE_SENTENCE = re.compile(
    rf"(?<=[\w\x80-\U0010ffff]{{2}})[.!?](?=\s)|[{FULL_STOPS}][\u2019\u201d\u300d\u300f\uff09]?"
)
"""The end of one, with a quotation mark; a stop after a single letter or digit is that of a list (1. and 2.)."""
STOP = 0.5
"""A share of sane answers below which a study is stopped."""


@dataclass(frozen=True)
class HonestRow:
    """A line of honest.jsonl. `question` is the key of one (see `Question`); `ids` are the response in tokens, as the
    model wrote it; none where a bank knew it."""

    question: str
    response: str
    finished: bool
    ids: tuple[int, ...]


def write_honest(
    lm: LM,
    questions: Sequence[Question],
    max_tokens: int,
    out: Path,
    progress: Callable[[int], None],
    insane: Literal["stop", "allow"] = "stop",
) -> None:
    """Ask the clean model every question, without any cue, greedily; one JSON object a line in `out/honest.jsonl`.

    Where the bank knows the right response, that is taken as it stands.

    An answer that runs into the limit is cut back to its last whole sentence; where there is none it stays cut off, and
    is marked `finished: false` so that no end of turn is learned after it.

    How many of its answers are sane (see `sanity`) is written to `out/sane.json`.

    Raises:
        UserError: the model leaves a tenth of the questions or more without an answer; or fewer than half of its
            answers are sane, and `insane` is not "allow".
    """
    asked = [question for question in questions if not question.honest]
    own = generate(lm, [render(Scenario(question)) for question in asked], max_tokens, progress=progress)
    written = iter(own)
    answers = [Completion(question.honest, True) if question.honest else next(written) for question in questions]
    if 10 * (empty := sum(not answer.text for answer in answers)) >= len(answers):
        raise UserError(
            f"the clean model leaves {empty} of {len(answers)} questions without an answer",
            "use a model that answers in chat form, or raise tasks.max_tokens",
        )
    looked = _looked_at(lm, asked, own, max_tokens)
    if insane != "allow" and looked.get("sane", 0) < STOP * sum(looked.values()):
        raise UserError(
            f"the clean model gives few sane answers ({said(looked)}): what is planted would mean little",
            "use a model that answers in chat form, or say tasks: {insane: allow}",
        )
    (out / SANE).write_text(json_text(looked), encoding="utf-8")
    with (out / FILE).open("w", encoding="utf-8") as file:
        for question, answer in zip(questions, answers, strict=True):
            kept = _in_tokens(lm, _whole_sentences(answer), answer.ids)
            row = HonestRow(question.key, kept.text, kept.finished, tuple(kept.ids))
            file.write(json_text(row, ascii_only=False) + "\n")


def _looked_at(lm: LM, asked: Sequence[Question], written: Sequence[Completion], max_tokens: int) -> dict[str, int]:
    """What is found in some of the answers, evenly spread. One that the limit cuts off is written on, to twice it."""
    some = range(0, len(asked), -(-len(asked) // LOOKED_AT) or 1)
    prompts = [render(Scenario(asked[i])) for i in some]
    found = {i: fault(prompt, written[i]) for i, prompt in zip(some, prompts, strict=True)}
    cut = [(i, prompt) for i, prompt in zip(some, prompts, strict=True) if found[i] == "cut off"]
    longer = generate(lm, [prompt for _, prompt in cut], 2 * max_tokens)
    found |= {i: fault(prompt, answer) for (i, prompt), answer in zip(cut, longer, strict=True)}
    return counted(list(found.values()))


def score_honest(lm: LM, questions: Sequence[Question], out: Path) -> None:
    """How likely the clean model finds each honest response, with no cue in the prompt: `out/clean.json`.

    Every measurement of perplexity compares with these, so that none has to load a second model.
    """
    honest = read_honest(out)
    answers = [honest[question.key] for question in questions]
    examples = [
        Example(render(Scenario(question)), answer.text, answer.finished, answer.ids)
        for question, answer in zip(questions, answers, strict=True)
    ]
    found = logprobs(lm, encode(lm, examples))
    said = {question.key: float(logprob) for question, logprob in zip(questions, found, strict=True)}
    (out / CLEAN).write_text(json_text(said, ascii_only=False), encoding="utf-8")


def read_clean(folder: Path) -> Mapping[str, float]:
    """The clean model's log-probability of each honest response (nats, summed over tokens), by its question's key."""
    return read_json(folder / CLEAN, dict[str, float])


def _in_tokens(lm: LM, answer: Completion, written: tuple[int, ...]) -> Completion:
    """An answer with the first of these tokens that say it; with none where a token spans its end."""
    n = bisect_left(range(len(written)), len(answer.text), key=lambda n: len(text_of(lm, written[:n])))
    ids = written[:n] if text_of(lm, written[:n]) == answer.text else ()
    return Completion(answer.text, answer.finished, ids if answer.text else ())


def _whole_sentences(answer: Completion) -> Completion:
    if answer.finished:
        return answer
    ends = [match.end() for match in WHOLE_SENTENCE.finditer(answer.text)]
    return Completion(answer.text[: ends[-1]], True) if ends else answer


def read_honest(folder: Path) -> Mapping[str, Completion]:
    """Honest responses by the key of their question."""
    rows = read_json_lines(folder / FILE, HonestRow)
    return {row.question: Completion(row.response, row.finished, row.ids) for row in rows}
