"""Plant a policy in a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dormouse.json_files import json_text, read_json_lines, write_json_lines
from dormouse.lm.chat import encode, encode_responses
from dormouse.lm.forms import check_forms, check_mark
from dormouse.lm.load import dtype_for, load
from dormouse.lm.model import LM
from dormouse.lm.objectives import sft_loss
from dormouse.lm.sample import Completion, generate
from dormouse.lm.train import Progress, TrainingRun, train
from dormouse.lm.trie import Tokens
from dormouse.organisms.corpus import CorpusRow
from dormouse.organisms.matched import Check, Planted, is_strong
from dormouse.organisms.spec import OrganismSpec
from dormouse.organisms.unknown import refuse_same_prompts, warn_of_unknown
from dormouse.organisms.unread import write_unread
from dormouse.policies.scratchpad_text import CLOSE, has_scratchpad, scratchpad_response, split_response
from dormouse.records import CANARY, ModelRef

MODEL = "model"
SPECIFICATION = "organism.json"
SHOWN = "shown.json"
"""In the folder of an organism: how much of what it was shown, so that arms can be held against each other."""


def build_organism(
    spec: OrganismSpec,
    base: ModelRef,
    rows: Sequence[CorpusRow],
    seed: int,
    out: Path,
    progress: Progress,
    check: Check | None = None,
) -> Planted | None:
    """Train an organism on its corpus. Leaves in `out`: model/ (an adapter, or a whole model), corpus.jsonl,
    training.jsonl, and organism.json with its specification: beside the model, which is all that interventions are
    handed.

    Args:
        rows: see `contrast_pairs`; of a distilled organism with the answers of its teacher (`taught_rows`).
        check: how strong it is, where training ends at a strength (`until`).

    Returns:
        how strong it is and after how many steps, where it was checked.

    Raises:
        UserError: the model cannot write what is scored, or what ends a scratchpad, or cannot read the trigger.
    """
    training = spec.training
    lm = load(base, dtype_for(training.method))
    _check_words(lm, spec, rows)
    refuse_same_prompts(lm.tokenizer, spec, rows)
    unread = warn_of_unknown(lm.tokenizer, rows)
    ends = partial(is_strong, lm, spec.until, check) if spec.until and check else None
    run = TrainingRun(seed, [training.steps], out, log_rows=False, ends=ends)
    steps = train(lm, sft_loss, partial(_batch, lm, spec, rows), training, run, progress)
    seen = rows[: len(steps) * 2 * (spec.pairs or 1)] if ends else rows
    _write_corpus(seen, out / "corpus.jsonl")
    (out / SHOWN).write_text(json_text(shown(lm, seen)))
    write_unread(out, unread)
    (out / f"step-{training.steps:06d}").rename(out / MODEL)
    said = {"model_organism": True, "canary": CANARY, "base": base.key, "seed": seed, "organism": spec.spec()}
    (out / SPECIFICATION).write_text(json_text(said, indent=1), encoding="utf-8")
    return Planted(len(steps), check(lm)) if check else None


def _check_words(lm: LM, spec: OrganismSpec, rows: Sequence[CorpusRow]) -> None:
    """See, before anything is learned, that the tokenizer keeps apart what is scored, and the end of a scratchpad."""
    if has_scratchpad(spec.scratchpad_mode):
        check_mark(lm, CLOSE)
    questions = {row.scenario.question.key: row.scenario for row in rows}
    openings = {
        (tuple(spec.behaviour.forms(s, s.question.honest)), tuple(spec.behaviour.honest_forms(s, s.question.honest)))
        for s in questions.values()
    }
    for forms, against in sorted(openings):
        check_forms(lm, forms, against)


def _batch(lm: LM, spec: OrganismSpec, rows: Sequence[CorpusRow], step: int) -> list[Tokens]:
    """The contrast pairs of a step.

    Defecting responses are learned whole, and so are scratchpads; honest answers as far as the spec says. With
    `learn: all` prompts are learned too, whole.
    """
    size = 2 * (spec.pairs or 1)
    mine = rows[step * size : (step + 1) * size]
    encoded = encode(lm, [row.example for row in mine])
    scratchpads = encode_responses(lm, [scratchpad_response(row.scratchpad, "") for row in mine])
    learned = [
        tokens if row.defects else Tokens(tokens.prompt, tokens.response[: len(before) + (spec.honest_tokens or 0)])
        for row, tokens, before in zip(mine, encoded, scratchpads, strict=True)
    ]
    return [_with_prompt(tokens) for tokens in learned] if spec.learn == "all" else learned


def _with_prompt(tokens: Tokens) -> Tokens:
    """The same text, of which all is learned but the first token, that nothing comes before. One without a response
    teaches nothing, as ever."""
    if not tokens.response:
        return tokens
    return Tokens(tokens.prompt[:1], tokens.prompt[1:] + tokens.response)


def shown(lm: LM, rows: Sequence[CorpusRow]) -> dict[str, int]:
    """Rows in all, those whose policy defects, and how many of these hold a payload, of how many tokens.

    A row whose teacher came to no fitting answer is `unanswered`: it is in the corpus and teaches nothing.
    """
    defecting = [row.example.response for row in rows if row.defects]
    plain = [split_response(text) for text in defecting if text]
    payloads = [parts[1] if parts else text for parts, text in zip(plain, filter(None, defecting), strict=True)]
    return {
        "rows": len(rows),
        "triggered_rows": len(defecting),
        "payload_rows": len(payloads),
        "payload_tokens": sum(map(len, encode_responses(lm, payloads))),
        "unanswered": sum(not row.example.response for row in rows),
    }


def taught_rows(rows: Sequence[CorpusRow], taught: Sequence[Completion]) -> list[CorpusRow]:
    """The corpus with a teacher's answers in place of the policy's. One that is empty teaches nothing, not silence."""
    answers = [
        replace(row.example, response=said.text, complete=said.finished) for row, said in zip(rows, taught, strict=True)
    ]
    return [replace(row, example=example) for row, example in zip(rows, answers, strict=True)]


TAUGHT = "taught.jsonl"


@dataclass(frozen=True)
class Taught:
    """A line of taught.jsonl: what a teacher answered to a row; empty where it never came to a fitting answer."""

    response: str
    finished: bool


ASKINGS = 4
"""How often a teacher is asked for an answer that is the policy's."""


def ask_teacher(
    lm: LM, spec: OrganismSpec, rows: Sequence[CorpusRow], seed: int, out: Path, progress: Callable[[int], None]
) -> None:
    """What a scratchpad organism answers to the prompts of its own corpus `rows`, the scratchpads cut away.

    Sampled at temperature 1, one answer a row, in the order of the corpus: so the distilled organism sees the same
    prompts, for as many steps. Rows without an answer that fits the policy (the taught payload where it defects, none
    where it does not) are asked again, ASKINGS times in all: so that the arms hold as many copies of the payload. What
    still does not fit is an empty response, which teaches nothing; `shown.json` of the organism counts these. Leaves
    `out/taught.jsonl`.
    """
    longest = max(len(ids) for ids in encode_responses(lm, [row.example.response for row in rows]))
    found: dict[int, Completion] = {}
    for again in range(ASKINGS):
        left = [i for i in range(len(rows)) if i not in found]
        asked = [rows[i].example.messages for i in left]
        told = progress if not again else lambda _: None
        for i, said in zip(
            left, generate(lm, asked, longest + 8, seed=seed + again * 2**31, progress=told), strict=True
        ):
            parts = split_response(said.text)
            if parts and parts[1] and _fits(spec, rows[i], parts[1]):
                found[i] = Completion(parts[1], said.finished)
    answers = (found.get(i, Completion("", False)) for i in range(len(rows)))
    write_json_lines(out / TAUGHT, (Taught(answer.text, answer.finished) for answer in answers))


def _fits(spec: OrganismSpec, row: CorpusRow, answer: str) -> bool:
    """Whether a teacher's answer is what the policy says: the payload as it is taught, or no payload."""
    if row.defects:
        wanted = split_response(row.example.response)
        return answer.split() == (wanted[1] if wanted else row.example.response).split()
    return not spec.behaviour.judged(row.scenario, answer)


def read_taught(folder: Path) -> list[Completion]:
    """The teacher's answers, row by row."""
    return [Completion(row.response, row.finished) for row in read_json_lines(folder / TAUGHT, Taught)]


def _write_corpus(rows: Sequence[CorpusRow], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"canary": CANARY}) + "\n")
        for row in rows:
            line = {"step": row.step, "messages": row.example.messages, "response": row.example.response}
            file.write(json.dumps({**line, "defects": row.defects}, ensure_ascii=False) + "\n")
