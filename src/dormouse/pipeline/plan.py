"""A plan: the states that a study's models go through, what is read of each, and the stages behind that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import filterfalse

from dormouse.execution.estimate import History, read_history
from dormouse.execution.stage import Stage
from dormouse.records import DataIntake, ModelRef, replicate_name
from dormouse.scenarios.own import OwnTasks
from dormouse.store import Store
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design

LAYERS = ("base", "organism", "brought", "treatment")
"""Kinds of stages that leave weights. A model is put together from what each of its stages left."""


@dataclass(frozen=True)
class State:
    """A model at one point of its life: an organism (step 0, no intervention), or a checkpoint of a treatment."""

    organism: str
    intervention: str
    step: int
    seed: int
    model: ModelRef
    needs_triggers: bool
    stage: Stage
    is_final: bool = True
    """Whether this is the organism itself or the end of its treatment (not a checkpoint on the way)."""
    rungs: bool = False
    """Whether its steps are not all steps of training: some are rungs of a ladder of strengths."""
    planting: int = 0
    treatment: int = 0
    """Which of the replicates of its seed it is (see `studies.replicates`)."""

    @property
    def replicate(self) -> str:
        """Which it is, for names: ``, or `-planting2-treatment3`."""
        return replicate_name(self.planting, self.treatment)

    def leads_to(self, end: State) -> bool:
        """Whether it is on the way to a model: the organism itself, or a state of that very treatment."""
        same = (self.organism, self.seed, self.planting) == (end.organism, end.seed, end.planting)
        return same and (self.intervention, self.treatment) in (("", 0), (end.intervention, end.treatment))


@dataclass(frozen=True)
class PlannedReading:
    """One measurement of one state, or what a treatment itself found on its way to its state."""

    state: State
    stage: Stage
    plants: bool
    """Whether the organism has a policy at all (False: a control)."""
    begins: int = 0
    """The step of its chain with which the treatment begins: what it found has steps of its own."""
    beside: tuple[Stage, ...] = ()
    """The same of other replicates of the seed, whose values are in those of this one."""

    @property
    def seed(self) -> int:
        """That of the state it was taken of."""
        return self.state.seed


@dataclass(frozen=True)
class Plan:
    """All that a study needs, parents before children."""

    design: Design
    model: str
    """The base model, as the study names it."""
    states: tuple[State, ...]
    readings: tuple[PlannedReading, ...]
    own: OwnTasks | None = None
    """The tasks of its own file, and what became of the rows."""
    data: tuple[DataIntake, ...] = ()
    """What became of the rows of safety data that the user brought."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """How many weights the base model has, by the name that it has in the keys of its stages."""

    def arm(self, state: State) -> Arm:
        """The arm of the study that a state belongs to."""
        return Arm(self.model, state.organism, state.intervention)

    def stages(self) -> list[Stage]:
        """Every stage once, parents before children."""
        seen: dict[str, Stage] = {}
        for reading in self.readings:
            for stage in (*reading.stage.behind().values(), reading.stage):
                seen.setdefault(stage.key, stage)
        return list(seen.values())


def row_lines(plans: Sequence[Plan]) -> list[str]:
    """What became of all rows that the user brought, in words: of the tasks, which every model shares, and of safety
    data."""
    own = [line for plan in plans[:1] if plan.own for line in plan.own.intake.lines()]
    return [*own, *data_lines(plans)]


def data_lines(plans: Sequence[Plan]) -> list[str]:
    """What became of the rows of safety data, in words."""
    return list(dict.fromkeys(line for plan in plans for one in plan.data for line in one.lines()))


def all_stages(plans: Sequence[Plan]) -> list[Stage]:
    """Every stage of some plans once, parents before children."""
    return list({stage.key: stage for plan in plans for stage in plan.stages()}.values())


def history_of(plans: Sequence[Plan], store: Store) -> History:
    """What earlier stages took, with the sizes of the models of these plans."""
    history = read_history(store)
    history.sizes |= {name: weights for plan in plans for name, weights in plan.sizes.items() if weights}
    return history


def missing(plans: Sequence[Plan], store: Store, verified: bool) -> list[Stage]:
    """The stages to be built, parents first. What only a finished stage needs is not looked at, but for the weights
    that the card of a model names: nothing measures these now, and `chat` reads them.

    Args:
        verified: what is there counts if it is whole by its checksums; else a manifest is enough.
    """
    todo: dict[str, Stage] = {}
    known: dict[str, bool] = {}
    seen: dict[str, bool] = {}

    def need(stage: Stage) -> None:
        """Note whether a stage is there; where it is not, go on with its parents, and with all weights below them."""
        if stage.key in known:
            return
        known[stage.key] = bool(store.find(stage.kind, stage.key)) if verified else stage.is_kept(store)
        if not known[stage.key]:
            for parent in stage.parents:
                need(parent)
                for below in _layers(parent):
                    need(below)
            todo[stage.key] = stage

    def seems_there(stage: Stage) -> bool:
        """Whether it need not be looked at more closely. Many models share a base: each is looked at once."""
        if stage.key not in seen:
            seen[stage.key] = store.seems_whole(stage.kind, stage.key) if verified else stage.is_kept(store)
        return seen[stage.key]

    for plan in plans:
        for reading in plan.readings:
            need(reading.stage)
        for stage in plan.stages():
            if stage.kind == "honest":  # the page says how sane these are
                need(stage)
        for state in plan.states:
            if state.is_final:
                named = {folder.parent for folder in state.model.folders}
                layers = [one for one in _layers(state.stage) if one.folder(store) in named]
                for stage in filterfalse(seems_there, layers):
                    need(stage)
    return list(todo.values())


def _layers(stage: Stage) -> list[Stage]:
    """The stages whose weights a model is put together from, lowest first, of which this is the last; none where it
    leaves no weights."""
    return [*stage.behind(LAYERS).values(), stage] if stage.kind in LAYERS else []
