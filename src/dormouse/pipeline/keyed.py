"""A stage and its key: what makes its numbers is in it, the code too."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from dormouse.execution.stage import LIBRARIES, Stage
from dormouse.json_files import digest
from dormouse.lm.settings import AUTO, Computing
from dormouse.pipeline import stages
from dormouse.registry import PlugIn
from dormouse.sources import Code, code_of, forget

USES = ("measure", "lora", "full")
"""What a model is loaded for, as far as that says in which type: to measure it, or to train it by a method."""


def classes_of(*plugins: PlugIn) -> list[type[PlugIn]]:
    """The classes of plug-ins, of those inside them too: what they do is their code."""
    found: list[type[PlugIn]] = []
    for plugin in plugins:
        found.append(type(plugin))
        for name in type(plugin).model_fields:
            value = getattr(plugin, name)
            inner = value if isinstance(value, tuple) else (value,)
            found += classes_of(*(one for one in inner if isinstance(one, PlugIn)))
    return list(dict.fromkeys(found))


def keyed(
    kind: str,
    name: str,
    about: Mapping[str, object],
    plugins: Sequence[PlugIn],
    parents: tuple[Stage, ...],
    work: partial[None],
    memory: float = LIBRARIES,
) -> Stage:
    """A stage. What makes its numbers is in its key: what it is about, the function that does the work and the plug-ins
    that it is given, with all code that these use (see `sources`), and its parents."""
    key = digest([kind, about, _code(work.func, *classes_of(*plugins)), [parent.key for parent in parents]])
    return Stage(kind, name, key, about, parents, work, memory)


def computed(stage: Stage, settings: Computing, use: str = "") -> Stage:
    """The stage in the type and on the device that a study names. What numbers depend on is in its key: the weights of
    a base that is made here are float32, whatever is said.

    Args:
        use: what it loads models for, where that says in which type: one of USES. Of all else nothing is noted.
    """
    if use in USES:
        stage = replace(stage, computed_in=partial(stages.computed_in, settings, use))
    said = {key: value for key, value in settings.said().items() if key != "dtype" or stage.kind != "base"}
    key, about = stage.key, stage.about
    if said:
        key, about = digest([key, said]), {**about, "computed": said}
    if settings == AUTO:
        return stage
    return replace(
        stage, key=key, about=about, work=partial(stages.computed, settings, stage.work), device=settings.device
    )


@cache
def _code(*roots: Any) -> Code:
    return code_of(*roots)


def read_code_anew() -> None:
    """Forget what code said, in a notebook or a console: a cell may have been run again since, a file reloaded."""
    notebook = sys.modules.get("IPython")
    if hasattr(sys, "ps1") or (notebook is not None and notebook.get_ipython() is not None):
        forget()
        _code.cache_clear()
