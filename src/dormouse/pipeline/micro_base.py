"""The micro models, which are made here: the stage that pretrains one, for studies and for whoever names one alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dormouse.execution.executors import do
from dormouse.execution.stage import LIBRARIES, Stage
from dormouse.pipeline import stages
from dormouse.pipeline.keyed import keyed
from dormouse.pipeline.study_tasks import every_task
from dormouse.records import ModelRef
from dormouse.store import Store


def base_stage(name: str, memory: float = LIBRARIES) -> Stage:
    """The stage that pretrains the micro model of that name."""
    about = {"model": name, "texts": every_task()}
    return keyed("base", f"base {name}", about, (), (), partial(stages.base, name), memory)


def made_base(name: str, stage: Stage, store: Store) -> ModelRef:
    """The weights that this stage leaves in a store."""
    return ModelRef((stage.folder(store) / "model",), f"{name}@{stage.key}")


def micro_base(name: str, store: Store, say: Callable[[str], None]) -> ModelRef:
    """A micro model as a study makes it; pretrained in this process where it is not in the store yet."""
    stage = base_stage(name)
    if store.find(stage.kind, stage.key) is None:
        say(f"{name} is not in the store yet: it is pretrained once, as a study does it")
    store.get(stage.kind, stage.key, stage.about, lambda folder: do(stage, folder, lambda share, what: None))
    return made_base(name, stage, store)
