"""The process in which an audit touches a model: one task after the other, each read from standard input.

Whatever a locator does to its process (hang, crash, exhaust the memory) ends this process and nothing else. Tasks and
replies are JSON: nothing is unpickled on either side.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dormouse.audits.evidence import checked, to_json
from dormouse.audits.models import Models
from dormouse.errors import UserError
from dormouse.locators.locator import Case, TriggerText
from dormouse.records import ChatSettings, ModelRef, Suspect


def _ends_with(parent: int) -> None:
    """End this process soon after the one that started it, whatever it does then: nobody would wait for it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def serve() -> None:
    """Work off the tasks of standard input, until it is closed. Each reply is a file that appears whole."""
    for line in sys.stdin:
        task = json.loads(line)
        reply = Path(task["reply"])
        scratch = reply.with_suffix(".part")
        scratch.write_text(json.dumps(answer(task)), encoding="utf-8")
        os.replace(scratch, reply)


def answer(task: Mapping[str, Any]) -> dict[str, Any]:
    """What a task gives (`found`), or what the user can mend about it (`refused`), or what it raised."""
    tasks: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "warm": _warm,
        "look": _look,
        "find": _find,
        "confirm": _confirm,
    }
    try:
        return {"found": tasks[task["do"]](task)}
    except UserError as error:
        return {"refused": [error.what, error.remedy]}
    except (Exception, SystemExit) as error:  # a plug-in may raise anything
        return {"raised": f"{type(error).__name__}: {error}"[:500]}


def _warm(task: Mapping[str, Any]) -> None:
    """Import what takes long and many locators use."""

    import dormouse.lm.load  # noqa: F401


def _look(task: Mapping[str, Any]) -> dict[str, Any]:
    """What kind of model it is, and whether the base fits it."""
    from dormouse.audits.looks import look

    case = _case(task)
    return look(case.lm, case.base_lm if case.base else None)


def _find(task: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence of one locator."""
    from dormouse.registry import get

    sys.path += [place for place in task["path"] if place not in sys.path]
    importlib.import_module(task["module"])
    spec = dict(task["locator"])
    locator: Any = get("locator", spec.pop("kind")).model_validate(spec)
    return to_json(checked(locator.find(_case(task))))


def _confirm(task: Mapping[str, Any]) -> list[dict[str, Any]]:

    from dormouse.audits.confirm import confirmed

    case = _case(task)
    return [asdict(one) for one in confirmed(case, case.candidates)]


def _case(task: Mapping[str, Any]) -> Case:
    prompts = tuple(tuple((role, text) for role, text in prompt) for prompt in task["prompts"])
    base = Suspect(_ref(task["base"])) if task["base"] else None
    candidates = tuple(TriggerText(**one) for one in task.get("candidates", ()))
    seconds, seed = float(task["seconds"]), int(task["seed"])
    return MODELS.lend(Case(Suspect(_ref(task["suspect"])), base, prompts, seconds, seed, candidates))


def _ref(said: Mapping[str, Any]) -> ModelRef:
    return ModelRef(tuple(map(Path, said["folders"])), said["key"], ChatSettings(**said["chat"]))


MODELS = Models()
TASKS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "warm": _warm,
    "look": _look,
    "find": _find,
    "confirm": _confirm,
}

if __name__ == "__main__":
    _ends_with(os.getppid())
    serve()
