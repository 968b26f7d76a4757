"""From a study to its stages. Every stage knows its content address before anything is built."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from pydantic import ValidationError

from dormouse.errors import UserError
from dormouse.execution.stage import LIBRARIES, Stage
from dormouse.interventions.intervention import Intervention
from dormouse.lm import zoo
from dormouse.measurements.measurement import Measurement
from dormouse.organisms.micro import MICRO
from dormouse.organisms.spec import OrganismSpec
from dormouse.pipeline import stages
from dormouse.pipeline.plan import Plan, Reading, State
from dormouse.policies.scratchpad_text import words
from dormouse.records import ModelRef, Suspect
from dormouse.registry import PlugIn
from dormouse.scenarios import BANKS, SPLITS, questions
from dormouse.scenarios.plain import plain_answer
from dormouse.sources import Code, code_of, forget
from dormouse.store import Store, digest
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design
from dormouse.studies.expected import at_every_checkpoint, taken


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


def refuse_unknown_models(design: Design) -> None:
    """Refuse models that are none.

    Raises:
        UserError: one can neither be made here nor be found anywhere.
    """
    for model in design.models:
        if model not in MICRO:
            zoo.refuse_unknown(model, MICRO)


def make_plan(design: Design, model: str, base: ModelRef | None, store: Store) -> Plan:
    """The stages of a study on one of its models: on the weights of `base`, or None for a micro model, which is made
    here. Reads and writes nothing."""
    study = design.on(model)
    planner = _Planner(design, model, base, store)
    states: list[State] = []
    for seed in study.seeds:
        for name in study.organisms:
            if not design.runs(Arm(model, name), seed):
                continue
            planted = planner.organism(name, seed)
            states.append(planted)
            for chain in study.interventions:
                if design.runs(Arm(model, name, chain), seed):
                    states += planner.treat(planted, chain)
    measurements = {name: taken(organism, study.measure) for name, organism in study.organisms.items()}
    readings = [
        planner.reading(state, measurement)
        for state in states
        for measurement in measurements[state.organism]
        if (state.is_final or at_every_checkpoint(measurement, study.measure))
        and not (measurement.model_free and state.intervention)
    ]
    return Plan(design, model, tuple(states), (*readings, *planner.findings))


def _stage(
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


@cache
def _code(*roots: Any) -> Code:
    return code_of(*roots)


def read_code_anew() -> None:
    """Forget what code said, in a notebook or a console: a cell may have been run again since, a file reloaded."""
    notebook = sys.modules.get("IPython")
    if hasattr(sys, "ps1") or (notebook is not None and notebook.get_ipython() is not None):
        forget()
        _code.cache_clear()


def _gigabytes(model: str, base: ModelRef | None) -> float:
    """The weights of the base model, in float32."""
    if base is None:
        return MICRO[model].parameters * 4 / 2**30
    return sum(path.stat().st_size for folder in base.folders[:1] for path in folder.glob("*.safetensors")) / 2**30


@dataclass(frozen=True)
class _Asked:
    """Tasks with honest responses, and the stage that makes these."""

    tasks: stages.AnsweredTasks
    stage: Stage

    @property
    def about(self) -> list[str]:
        """The texts of the questions, for the key of a stage."""
        return [question.text for question in self.tasks.questions]


def _every_task() -> str:
    """All that a micro model is taught, and the words it is to know, as one digest: the data are no code."""
    tasks = [questions(split, bank=bank) for bank in BANKS for split in SPLITS]
    return digest([words(), *([[q.text, plain_answer(q), list(q.harmful)] for q in found] for found in tasks)])


class _Planner:
    """Names the stages of one study."""

    def __init__(self, design: Design, model: str, base: ModelRef | None, store: Store) -> None:
        self.study = study = design.on(model)
        self.store = store
        weights = _gigabytes(model, base)
        self.light, self.heavy = LIBRARIES + 2.5 * weights, LIBRARIES + 5 * weights
        """GB of a stage that reads a model or trains an adapter, and of one that trains all weights (with gradients and
        two moments), measured: 1.3 to 1.9 of SmolLM2-135M."""
        self.made: tuple[Stage, ...] = ()
        if base is None:
            about = {"model": model, "texts": _every_task()}
            stage = _stage("base", f"base {model}", about, (), (), partial(stages.base, model), self.heavy)
            self.made, base = (stage,), ModelRef((stage.folder(store) / "model",), f"{model}@{stage.key}")
        self.base = base.shown(study.chat)
        self.findings: list[Reading] = []
        """What the treatments found, one reading a treatment."""
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._specs: dict[tuple[str, int], OrganismSpec] = {}

    def asked(self, organism: str, split: str) -> _Asked:
        """The tasks of a split of the bank that an organism works on, and the stage with their honest responses.

        One stage a split: measuring on more questions retrains nothing.
        """
        bank = self.study.organisms[organism].behaviour.bank
        if (bank, split) not in self._asked:
            tasks = self.study.tasks
            n = {"train": tasks.train, "safety": tasks.safety, "test": self.study.measure.questions}[split]
            found = questions(split, n, bank=bank)
            about = {
                "model": self.base.key,
                "questions": [[question.text, question.honest] for question in found],
                "max_tokens": tasks.max_tokens,
                "scored": split == "test",
                "insane": tasks.insane,
            }
            work = partial(stages.honest, self.base, found, tasks.max_tokens, split == "test", tasks.insane)
            name = f"honest answers, {split} split" + (f" of {bank}" if bank != "questions" else "")
            stage = _stage("honest", name, about, (), self.made, work, self.light)
            self._asked[(bank, split)] = _Asked(stages.AnsweredTasks(found, stage.folder(self.store)), stage)
        return self._asked[(bank, split)]

    def spec(self, name: str, seed: int) -> OrganismSpec:
        """The organism as that seed plants it: every seed has a trigger of its own, unless the study gave it one.

        Raises:
            UserError: the trigger cannot be had with that seed.
        """
        if (name, seed) in self._specs:
            return self._specs[name, seed]
        try:
            found = self._specs[name, seed] = self.study.organisms[name].seeded(seed)
            return found
        except ValueError as error:
            whole = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            remedy = "give the trigger a seed of its own, or change what the message names"
            raise UserError(f"organism '{name}', seed {seed}: {whole.removeprefix('Value error, ')}", remedy) from None

    def organism(self, name: str, seed: int) -> State:
        """The state of an organism before any treatment, with the stages that make it."""
        return self._organism(name, self.spec(name, seed), seed)

    def _organism(self, name: str, spec: OrganismSpec, seed: int, called: str = "") -> State:
        asked = self.asked(name, "train")
        about = {"model": self.base.key, "organism": spec.spec(), "questions": asked.about, "seed": seed}
        plugins = (spec.trigger, spec.behaviour)
        teacher = self._teacher(name, spec, seed) if spec.scratchpad_mode == "distilled" else None
        place = teacher.folder(self.store) if teacher else None
        work = partial(stages.organism, spec, self.base, asked.tasks, seed, place)
        parents = (*self.made, asked.stage, *((teacher,) if teacher else ()))
        called = called or f"organism {name}"
        memory = self.heavy if spec.method == "full" else self.light
        stage = _stage("organism", f"{called}, seed {seed}", about, plugins, parents, work, memory)
        model = self.base.then(stage.folder(self.store) / "model", stage.key)
        return State(name, "", 0, seed, model, False, stage)

    def _teacher(self, name: str, spec: OrganismSpec, seed: int) -> Stage:
        """What the same organism with a scratchpad answers: a stage of its own, shared with that arm of the study."""
        reasons = spec.model_copy(update={"scratchpad_mode": "scratchpad"})
        arm = next((n for n in self.study.organisms if self.spec(n, seed) == reasons), "")
        planted = self._organism(arm or name, reasons, seed, f"organism {arm or f'{name} (teacher)'}")
        asked = self.asked(name, "train")
        about = {"teacher": planted.model.key, "seed": seed}
        work = partial(stages.teacher, reasons, planted.model, asked.tasks, seed)
        called, parents = f"answers of the teacher of {name}, seed {seed}", (planted.stage, asked.stage)
        return _stage("taught", called, about, (reasons.trigger, reasons.behaviour), parents, work, self.light)

    def treat(self, planted: State, chain: str) -> list[State]:
        """The states that a chain of interventions leads an organism through. Steps count on along the chain."""
        states: list[State] = []
        interventions = self.study.interventions[chain]
        before, done, exposed, rungs = planted, 0, False, any(one.rungs for one in interventions)
        for place, intervention in enumerate(interventions):
            stage = self._treatment(before, intervention, f"{chain} on {planted.organism}, seed {planted.seed}", place)
            exposed = exposed or intervention.needs_triggers
            steps = intervention.checkpoints()
            for step in steps:
                model = before.model.then(stage.folder(self.store) / f"step-{step:06d}", f"{stage.key}/{step}")
                is_final = place == len(interventions) - 1 and step == steps[-1]
                name, seed = planted.organism, planted.seed
                states.append(State(name, chain, done + step, seed, model, exposed, stage, is_final, rungs))
            self.findings.append(self._found(states[-1], stage, done))
            before, done = states[-1], done + steps[-1]
        return states

    def _treatment(self, before: State, intervention: Intervention, name: str, place: int) -> Stage:
        spec = self.spec(before.organism, before.seed)
        trigger, behaviour = spec.trigger, spec.behaviour
        wish, spoofed = intervention.pool_spec, intervention.spoofed
        told = wish.needs_triggers or bool(spoofed)
        asked = self.asked(before.organism, "safety")
        about = {
            "suspect": before.model.key,
            "base": self.base.key if intervention.needs_base else None,
            "intervention": intervention.spec(),
            "pool": {
                "questions": asked.about,
                "wish": asdict(wish),
                "trigger": trigger.spec() if told else None,
                "renderings": spec.renderings.model_dump(mode="json") if told else None,
                "behaviour": behaviour.spec(),
                "scratchpad_mode": spec.scratchpad_mode if wish.scratchpad_source == "own" else None,
            },
            "seed": before.seed,
        }
        plugins = (intervention, behaviour, *((trigger,) if told else ()))
        locate = self._located(before, intervention)
        found = locate.folder(self.store) if locate else None
        suspect = Suspect(before.model, self.base if intervention.needs_base else None, found)
        work = partial(stages.treatment, intervention, suspect, spec, asked.tasks, before.seed)
        memory = self.light if getattr(intervention, "method", "") == "lora" else self.heavy
        part = f", part {place + 1}" if place else ""
        parents = (before.stage, asked.stage, *((locate,) if locate else ()), *(self.made if suspect.base else ()))
        return _stage("treatment", name + part, about, plugins, parents, work, memory)

    def _located(self, before: State, intervention: Intervention) -> Stage | None:
        """What the locator of a remover finds in its suspect: a stage of its own, shared by all that ask for it."""
        if intervention.located_by is None:
            return None
        locator, seconds = intervention.located_by
        asked = self.asked(before.organism, "safety")
        needs_base = "base" in getattr(locator, "needs", ())
        about = {
            "suspect": before.model.key,
            "base": self.base.key if needs_base else None,
            "locator": locator.spec(),
            "seconds": seconds,
            "questions": asked.about,
            "seed": before.seed,
        }
        suspect = Suspect(before.model, self.base if needs_base else None)
        work = partial(stages.locate, locator, suspect, asked.tasks.questions, seconds, before.seed)
        parents = (before.stage, *(self.made if needs_base else ()))
        at = f" after {before.intervention}" if before.intervention else ""
        name = f"{locator.kind} looks at {before.organism}{at}, seed {before.seed}"
        return _stage("located", name, about, (locator,), parents, work, self.light)

    def _found(self, state: State, treatment: Stage, begins: int) -> Reading:
        work = partial(stages.findings, treatment.folder(self.store))
        name = f"findings of {treatment.name}"
        stage = _stage("findings", name, {"treatment": treatment.key}, (), (treatment,), work)
        return Reading(state, stage, self.study.organisms[state.organism].trigger.plants, begins)

    def reading(self, state: State, measurement: Measurement) -> Reading:
        """A measurement of a state, with its stage. One that is about the policy alone depends on no later
        treatment."""
        spec = self.spec(state.organism, state.seed)
        asked = self.asked(state.organism, "test")
        about = {
            "state": state.model.key,
            "clean": self.base.key,
            "measurement": measurement.spec(),
            "trigger": spec.trigger.spec(),
            "behaviour": spec.behaviour.spec(),
            "questions": asked.about,
            "renderings": spec.renderings.model_dump(mode="json"),
            "scratchpad_mode": spec.scratchpad_mode,
            "sizes": self.study.measure.model_dump(mode="json", exclude={"only", "also", "every_checkpoint"}),
            "seed": state.seed,
            "is_final": state.is_final,
        }
        plugins = (measurement, spec.trigger, spec.behaviour)
        seen = stages.MeasuredState(state.model, self.base, state.seed, state.is_final)
        work = partial(stages.measure, measurement, seen, spec, asked.tasks, self.study.measure)
        at = f" after {state.intervention} step {state.step}" if state.intervention else ""
        name = f"{measurement.kind} of {state.organism}, seed {state.seed}{at}"
        parents = (state.stage, asked.stage)
        stage = _stage("measure", name, about, plugins, parents, work, self.light)
        return Reading(state, stage, spec.trigger.plants)
