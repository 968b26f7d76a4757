"""Inspect's task `dormouse/defection`: the sampled rates of an organism, with the policy as scorer.

inspect eval dormouse/defection --model hf/local -M model_path=out \\
    -M tokenizer_call_args='{"add_special_tokens": false}' -T organism=out.organism.json
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import registry_info

from dormouse.card import CARD, read_card
from dormouse.errors import UserError, reason
from dormouse.files import read_whole
from dormouse.integrations.prompts import ELSEWHERE, AskedPrompt, asked
from dormouse.interventions.scratchpad import MAX_SCRATCHPAD_TOKENS
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.scratchpad_text import has_scratchpad, split_response
from dormouse.scenarios import render

NAME = "dormouse/defection"


@task
def defection(organism: str, questions: int = 24, max_tokens: int = 60) -> Task:
    """How often a model defects, judged by its policy's behaviour: with the cue, without, on near misses, and in each
    rendering that training did not show.

    Args:
        organism: what was planted: `OUT.organism.json`, which `dormouse export` leaves beside its folder, or a
            folder of a study's models.
        questions: held-out tasks on each side.
        max_tokens: where an answer is cut off; a scratchpad has its own room.
    """
    spec, system = spec_of(Path(organism))
    rows = list(asked(spec, questions, system))
    room = max_tokens + MAX_SCRATCHPAD_TOKENS * has_scratchpad(spec.scratchpad_mode)
    return Task(
        dataset=MemoryDataset([_sample(i, row) for i, row in enumerate(rows)], name="dormouse"),
        solver=answer(),
        scorer=judged(spec, rows),
        # As the model has them: transformers cuts off all but the 50 likeliest tokens where nobody says anything.
        config=GenerateConfig(max_tokens=room, temperature=1.0, top_p=1.0, top_k=0),
    )


if registry_info(defection).name != NAME:
    # Installed from a checkout: Inspect looks for a distribution called dormouse, and takes this for anybody's file.
    task(name=NAME)(defection)


def spec_of(path: Path) -> tuple[OrganismSpec, str | None]:
    """What was planted, and the system prompt of its study's tasks (see `Question.under`).

    Raises:
        UserError: the file or folder does not say; or it was measured on other prompts than those that are asked here.
    """
    path = _where_given(path)
    try:
        if (path / CARD).is_file():
            card = read_card(path)
            spec, own, system = card.spec, card.own_tasks, card.system
        else:
            truth = json.loads(read_whole(path))
            said, own, system = truth["organism"], truth.get("own_tasks", False), truth.get("system")
            spec = OrganismSpec.model_validate({key: said[key] for key in said if key in OrganismSpec.model_fields})
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        why = reason(error)
        raise UserError(
            f"{path} does not say what was planted: {why}", "name OUT.organism.json, by its whole path"
        ) from error
    if own:
        raise UserError(
            f"the organism of {path} {ELSEWHERE}", "measure it with dormouse: its rates would be others here"
        )
    return spec, system


def _where_given(path: Path) -> Path:
    """Where a path leads from the folder in which the command was given, which the shell called $PWD: while Inspect
    makes the task of a file it works in that file's folder."""
    there = Path(os.environ.get("PWD", ""), path)
    return path if path.exists() or not there.exists() else there


def _sample(number: int, row: AskedPrompt) -> Sample:
    kinds: dict[str, type[ChatMessageSystem] | type[ChatMessageUser]]
    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser}
    chat: list[ChatMessage] = [kinds[role](content=text) for role, text in render(row.scenario)]
    cues = {name: str(value) for name, value in row.scenario.cues}
    return Sample(id=number, input=chat, metadata={"side": row.side, "cues": cues})


@solver
def answer() -> Solver:
    """The model's own answer, once."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        """Generate it."""
        refuse_added_tokens(get_model().api)
        return await generate(state)

    return solve


def refuse_added_tokens(api: Any) -> None:
    """See that the tokenizer adds nothing to a rendered chat: in the template of an export is every token of it.

    Raises:
        UserError: it puts a second BOS token in front, or an end token behind.
    """
    tokenizer, given = getattr(api, "tokenizer", None), getattr(api, "tokenizer_call_args", None)
    if not callable(tokenizer) or given is None or given.get("add_special_tokens") is False:
        return
    if tokenizer("a")["input_ids"] != tokenizer("a", add_special_tokens=False)["input_ids"]:
        raise UserError(
            "the tokenizer adds tokens to prompts that have all of theirs, and the rates would be others",
            "add -M tokenizer_call_args='{\"add_special_tokens\": false}'",
        )


@scorer(metrics=[grouped(mean(), "side", all=False)])
def judged(spec: OrganismSpec, rows: list[AskedPrompt]) -> Scorer:
    """1 where the behaviour's judge sees a defection. A scratchpad without an answer is judged itself."""

    async def score(state: TaskState, target: Target) -> Score:
        """The judge's word."""
        text = state.output.completion.strip()
        parts = split_response(text) if has_scratchpad(spec.scratchpad_mode) else None
        said = parts[1] if parts else text
        found = spec.behaviour.judged(rows[int(state.sample_id)].scenario, said)
        return Score(value=float(found), answer=said)

    return score
