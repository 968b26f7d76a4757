"""The process in which an audit touches a model: one task after the other, each read from standard input.

Whatever a locator does to its process (hang, crash, exhaust the memory) ends this process, with all that it has
started, and nothing else. Tasks and replies are JSON: nothing is unpickled on either side.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dormouse.audits.ending import in_a_child
from dormouse.audits.evidence import checked, fitting
from dormouse.audits.models import Models
from dormouse.audits.worker_messages import WorkerReply, WorkerTask
from dormouse.errors import UserError, utf8, with_type
from dormouse.json_files import json_text, parse


def serve() -> None:
    """Work off the tasks of standard input, until it is closed. Each reply is a file that appears whole."""
    for line in sys.stdin:
        task = parse(line.encode(), WorkerTask, "a task of an audit")
        reply = Path(task.reply)
        scratch = reply.with_suffix(".part")
        scratch.write_text(json_text(answer(task)), encoding="utf-8")
        os.replace(scratch, reply)


def answer(task: WorkerTask) -> WorkerReply:
    """What a task gives, or what the user can mend about it, or what it raised."""
    try:
        reply = TASKS[task.do](task)
        json_text(reply)  # what cannot be written (a half of a character) is the locator's fault, too
        return reply
    except UserError as error:
        return WorkerReply(refused=(utf8(str(error.what)), utf8(str(error.remedy))))
    except (Exception, SystemExit) as error:  # a plug-in may raise anything
        return WorkerReply(raised=with_type(error, 500))


def _warm(task: WorkerTask) -> WorkerReply:
    """Import what takes long and many locators use: none of them is to pay for it out of its own time."""
    import sklearn.linear_model
    import sklearn.model_selection  # noqa: F401

    import dormouse.lm.load  # noqa: F401

    return WorkerReply()


def _look(task: WorkerTask) -> WorkerReply:
    """What kind of model it is, and whether the base fits it."""
    from dormouse.audits.looks import look, too_long
    from dormouse.lm.rounded import coarser

    case = MODELS.lend(task.case)
    over = too_long(case.lm, case.prompts) if case.own_prompts else ()
    if case.base is None:
        return WorkerReply(facts=replace(look(case.lm, None), too_long=over))
    types = tuple(sorted({*coarser(case.suspect.model, case.base.model, case.lm).values()}))
    return WorkerReply(facts=replace(look(case.lm, case.base_lm), rounded=types, too_long=over))


def _find(task: WorkerTask) -> WorkerReply:
    """The evidence of one locator. What it changes of this process is put back."""
    from dormouse.execution.left_as_found import left_as_found
    from dormouse.registry import get

    sys.path += [place for place in task.path if place not in sys.path]
    importlib.import_module(task.module)
    spec = dict(task.locator)
    locator: Any = get("locator", str(spec.pop("kind"))).model_validate(spec)
    case = MODELS.lend(task.case)
    config = case.lm.model.config.get_text_config()
    layers, heads = int(config.num_hidden_layers), getattr(config, "num_attention_heads", None)
    with left_as_found(case.seed):
        found = locator.find(case)
    return WorkerReply(evidence=fitting(checked(found), layers, heads if isinstance(heads, int) else None))


def _confirm(task: WorkerTask) -> WorkerReply:
    """What becomes of candidate triggers."""
    from dormouse.audits.confirm import confirmed

    case = MODELS.lend(task.case)
    return WorkerReply(confirmed=tuple(confirmed(case, case.candidates)))


MODELS = Models()
TASKS: Mapping[str, Callable[[WorkerTask], WorkerReply]] = {
    "warm": _warm,
    "look": _look,
    "find": _find,
    "confirm": _confirm,
}

if __name__ == "__main__":
    in_a_child()
    serve()
