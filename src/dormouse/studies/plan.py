"""From a study to its stages. Every stage knows its content address before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dormouse.interventions.intervention import Intervention
from dormouse.measurements.measurement import Measurement
from dormouse.records import ModelRef
from dormouse.registry import PlugIn, plugins
from dormouse.scenarios import questions
from dormouse.store import Store, code_version, digest
from dormouse.studies import stages
from dormouse.studies.spec import Study


@dataclass(frozen=True)
class Stage:
    """A unit of work with a content address. `work(folder, tick)` fills the folder of its entry."""

    kind: str
    name: str
    key: str
    about: Mapping[str, Any]
    parents: tuple[Stage, ...]
    work: Callable[[Path, stages.Tick], None]

    def folder(self, store: Store) -> Path:
        return store.place(self.kind, self.key)


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
    ends: bool = True
    """Whether this is the organism itself or the end of its treatment (not a checkpoint on the way)."""


@dataclass(frozen=True)
class Reading:
    """One measurement of one state."""

    state: State
    stage: Stage
    plants: bool
    """Whether the organism has a policy at all (False: a control)."""


@dataclass(frozen=True)
class Plan:
    """All that a study needs, parents before children."""

    study: Study
    states: tuple[State, ...]
    readings: tuple[Reading, ...]

    def stages(self) -> list[Stage]:
        """Every stage once, parents before children."""
        seen: dict[str, Stage] = {}
        for reading in self.readings:
            for stage in _with_parents(reading.stage):
                seen.setdefault(stage.key, stage)
        return list(seen.values())


def _with_parents(stage: Stage) -> Iterator[Stage]:
    for parent in stage.parents:
        yield from _with_parents(parent)
    yield stage


def modules_of(plugin: PlugIn) -> list[str]:
    """The modules whose code a plug-in is, those of the plug-ins inside it too."""
    found = [type(plugin).__module__]
    for name in type(plugin).model_fields:
        value = getattr(plugin, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, PlugIn):
                found += modules_of(inner)
    return found


def make_plan(study: Study, base: ModelRef, store: Store) -> Plan:
    """The stages of a study on a base model. Reads and writes nothing."""
    planner = _Planner(study, base, store)
    states: list[State] = []
    for seed in study.seeds:
        for name in study.organisms:
            planted = planner.organism(name, seed)
            states.append(planted)
            for chain in study.interventions:
                states += planner.treat(planted, chain)
    kinds = [cls() for cls in plugins("measurement").values()]
    readings = [
        planner.reading(state, measurement)
        for state in states
        for measurement in kinds
        if isinstance(measurement, Measurement)
        and measurement.applies(study.organisms[state.organism].trigger)
        and (state.ends or measurement.along)
    ]
    return Plan(study, tuple(states), tuple(readings))


def _stage(
    kind: str, name: str, about: Mapping[str, Any], code: list[str], parents: tuple[Stage, ...], work: Any
) -> Stage:
    key = digest([kind, about, code_version(*code), [parent.key for parent in parents]])
    return Stage(kind, name, key, about, parents, work)


class _Planner:
    """Names the stages of one study."""

    def __init__(self, study: Study, base: ModelRef, store: Store) -> None:
        self.study, self.base, self.store = study, base, store
        tasks = study.tasks
        self.asked = {
            "train": questions("train", tasks.train),
            "safety": questions("safety", tasks.safety),
            "test": questions("test", study.measure.questions),
        }
        self.honest = {split: self._honest(split) for split in self.asked}

    def _honest(self, split: str) -> Stage:
        """The clean model's answers to a split. One stage a split: measuring on more questions retrains nothing."""
        limit = self.study.tasks.max_tokens
        about = {"model": self.base.key, "questions": self.texts(split), "max_tokens": limit}
        work = partial(stages.honest, self.base, self.asked[split], limit)
        return _stage("honest", f"honest answers, {split} split", about, ["dormouse.organisms.honest"], (), work)

    def texts(self, split: str) -> list[str]:
        return [question.text for question in self.asked[split]]

    def organism(self, name: str, seed: int) -> State:
        spec = self.study.organisms[name]
        about = {"model": self.base.key, "organism": spec.spec(), "questions": self.texts("train"), "seed": seed}
        code = ["dormouse.organisms.build", *modules_of(spec.trigger), *modules_of(spec.behaviour)]
        work = partial(
            stages.organism, spec, self.base, self.asked["train"], self.honest["train"].folder(self.store), seed
        )
        stage = _stage("organism", f"organism {name}, seed {seed}", about, code, (self.honest["train"],), work)
        model = self.base.then(stage.folder(self.store) / "model", stage.key)
        return State(name, "", 0, seed, model, False, stage)

    def treat(self, planted: State, chain: str) -> list[State]:
        """The states that a chain of interventions leads an organism through. Steps count on along the chain."""
        states: list[State] = []
        interventions = self.study.interventions[chain]
        before, done, exposed = planted, 0, False
        for place, intervention in enumerate(interventions):
            stage = self._treatment(before, intervention, f"{chain} on {planted.organism}, seed {planted.seed}", place)
            exposed = exposed or intervention.needs_triggers
            steps = intervention.checkpoints()
            for step in steps:
                model = before.model.then(stage.folder(self.store) / f"step-{step:06d}", f"{stage.key}/{step}")
                ends = place == len(interventions) - 1 and step == steps[-1]
                states.append(State(planted.organism, chain, done + step, planted.seed, model, exposed, stage, ends))
            before, done = states[-1], done + steps[-1]
        return states

    def _treatment(self, before: State, intervention: Intervention, name: str, place: int) -> Stage:
        trigger = self.study.organisms[before.organism].trigger
        coverage = intervention.pool_coverage
        about = {
            "suspect": before.model.key,
            "intervention": intervention.spec(),
            "pool": {"questions": self.texts("safety"), "trigger": trigger.spec() if coverage else None},
            "seed": before.seed,
        }
        code = ["dormouse.studies.pool", *modules_of(intervention)] + (modules_of(trigger) if coverage else [])
        work = partial(
            stages.treatment,
            intervention,
            before.model,
            self.asked["safety"],
            trigger,
            self.honest["safety"].folder(self.store),
            before.seed,
        )
        part = f", part {place + 1}" if place else ""
        return _stage("treatment", name + part, about, code, (before.stage, self.honest["safety"]), work)

    def reading(self, state: State, measurement: Measurement) -> Reading:
        spec = self.study.organisms[state.organism]
        about = {
            "state": state.model.key,
            "clean": self.base.key,
            "measurement": measurement.spec(),
            "trigger": spec.trigger.spec(),
            "behaviour": spec.behaviour.spec(),
            "questions": self.texts("test"),
            "sizes": self.study.measure.model_dump(mode="json"),
            "seed": state.seed,
            "ends": state.ends,
        }
        plugged = [*modules_of(measurement), *modules_of(spec.trigger), *modules_of(spec.behaviour)]
        work = partial(
            stages.measure,
            measurement,
            state.model,
            self.base,
            spec,
            self.asked["test"],
            self.honest["test"].folder(self.store),
            state.seed,
            self.study.measure,
            state.ends,
        )
        at = f" after {state.intervention} step {state.step}" if state.intervention else ""
        name = f"{measurement.kind} of {state.organism}, seed {state.seed}{at}"
        parents = (state.stage, self.honest["test"])
        stage = _stage("measure", name, about, ["dormouse.studies.stages", *plugged], parents, work)
        return Reading(state, stage, spec.trigger.plants)
