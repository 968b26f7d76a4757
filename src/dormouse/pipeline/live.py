"""Tells of each model of a study as soon as all that is measured of it is there, while the others are still made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from dormouse.entry import MANIFEST
from dormouse.errors import reason
from dormouse.execution.executors import Watcher
from dormouse.pipeline.folder import link_model, named_models
from dormouse.pipeline.own_records import records_on_the_way
from dormouse.pipeline.plan import Plan, State
from dormouse.records import Record
from dormouse.store import Store

Tell = Callable[[Path, Sequence[Record]], None]
"""Is given the folder of a model in the results, and the records of its organism before and after its treatment."""


class LiveWatcher:
    """A watcher that passes all on to another one, and tells of models that are finished."""

    def __init__(self, watcher: Watcher, tell: Tell) -> None:
        self.watcher, self.tell = watcher, tell
        self.waiting: dict[int, set[str]] = {}
        """Number of a model -> the keys of stages that are not there yet."""
        self.keys: dict[str, set[str]] = {}
        """Name of a stage -> its keys."""
        self.lock = threading.Lock()

    def follow(self, plans: Sequence[Plan], store: Store, out: Path) -> None:
        """From now on these are the models. What is finished already is nothing new."""
        self.models, self.store = named_models(plans, out), store
        self.waiting, self.keys = {}, {}
        for at, (plan, state, _) in enumerate(self.models):
            stages = [state.stage, *(reading.stage for reading in plan.readings if reading.state.leads_to(state))]
            missing = [stage for stage in stages if not stage.is_kept(store)]
            for stage in missing:
                self.keys.setdefault(stage.name, set()).add(stage.key)
            if missing:
                self.waiting[at] = {f"{stage.kind}/{stage.key}" for stage in missing}

    def done(self, name: str, seconds: float) -> None:
        """Tell of the models of which this was the last stage."""
        self.watcher.done(name, seconds)
        with self.lock:
            for at, missing in [(at, left) for at, left in self.waiting.items() if self._is_among(name, left)]:
                missing -= {one for one in missing if (self.store.root / "entries" / one / MANIFEST).is_file()}
                if not missing:
                    del self.waiting[at]
                    self._tell(*self.models[at])

    def _is_among(self, name: str, left: set[str]) -> bool:
        return any(one.rpartition("/")[2] in self.keys.get(name, ()) for one in left)

    def _tell(self, plan: Plan, state: State, folder: Path) -> None:
        try:
            link_model(plan, state, folder)
            self.tell(folder, records_on_the_way(plan, self.store, state))
        except Exception as error:  # of a tracker, of any kind: the study goes on, and all is told at its end
            self.watcher.say(f"{state.organism} {state.intervention} could not be reported yet: {reason(error)}")

    def say(self, text: str) -> None:
        """As the other watcher does."""
        self.watcher.say(text)

    def start(self, stages: int) -> None:
        """As the other watcher does."""
        self.watcher.start(stages)

    def stage(self, name: str) -> None:
        """As the other watcher does."""
        self.watcher.stage(name)

    def tick(self, name: str, share: float, text: str) -> None:
        """As the other watcher does."""
        self.watcher.tick(name, share, text)

    def failed(self, name: str, why: str) -> None:
        """As the other watcher does."""
        self.watcher.failed(name, why)
