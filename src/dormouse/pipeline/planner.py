"""From a study to its stages. Every stage knows its content address before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dormouse.errors import UserError
from dormouse.execution.stage import LIBRARIES, Stage
from dormouse.interventions.intervention import Intervention, without_unsaid
from dormouse.lm import zoo
from dormouse.lm.folders import weights_in
from dormouse.measurements.measurement import Measurement
from dormouse.organisms.micro import MICRO
from dormouse.organisms.spec import OrganismSpec
from dormouse.pipeline import stages
from dormouse.pipeline.brought_along import BroughtAlong
from dormouse.pipeline.keyed import any_outside, computed, keyed
from dormouse.pipeline.micro_base import base_stage, made_base
from dormouse.pipeline.plan import Plan, PlannedReading, State
from dormouse.pipeline.study_tasks import bank_name, check_shown, measured_texts, split_of, tasks_of
from dormouse.policies.scratchpad_text import mode_of_data
from dormouse.records import ModelRef, Suspect
from dormouse.rows.source import CONTENTS
from dormouse.store import Store
from dormouse.studies.arms import Arm
from dormouse.studies.design import Design
from dormouse.studies.expected import CHECK, at_every_checkpoint, is_told, taken
from dormouse.studies.replicates import numbered


def make_plan(
    design: Design,
    model: str,
    base: ModelRef | None,
    store: Store,
    folder_of: Callable[[str], Path | None] = zoo.there,
    weights: int | None = None,
) -> Plan:
    """The stages of a study on one of its models: on the weights of `base`, or None for a micro model, which is made
    here. Writes nothing, and reads no more than what organisms are that were made elsewhere.

    Args:
        folder_of: finds these by name; by default on this machine.
        weights: how many the model has; by default as many as are in its folder.
    """
    study = design.on(model)
    if weights is None:
        weights = MICRO[model].parameters if base is None else sum(map(weights_in, base.folders[:1]))
    planner = _Planner(design, model, base, store, folder_of, weights)
    states: list[State] = []
    for seed in design.every_seed:
        for name in study.organisms:
            if not design.runs(Arm(model, name), seed):
                continue
            for planted in planner.plantings(name, seed):
                states.append(planted)
                if study.organisms[name].until:
                    planner.findings.append(planner.found(planted, planted.stage, 0))
                for chain in study.interventions:
                    if design.runs(Arm(model, name, chain), seed):
                        states += planner.treatments(planted, chain)
    measurements = {name: taken(organism, study.measure) for name, organism in study.organisms.items()}
    readings = [
        planner.reading(state, measurement)
        for state in states
        for measurement in measurements[state.organism]
        if (state.is_final or at_every_checkpoint(measurement, study.measure))
        and not (measurement.model_free and state.intervention)
    ]
    taken_in = tuple(planner.brought.intakes)
    sizes = {planner.base.key.partition("@")[0]: weights}
    return Plan(design, model, tuple(states), (*readings, *planner.findings), planner.own, taken_in, sizes)


@dataclass(frozen=True)
class _Asked:
    """Tasks with honest responses, and the stage that makes these."""

    tasks: stages.AnsweredTasks
    stage: Stage

    @property
    def about(self) -> list[object]:
        """The questions, for the key of a stage: the texts of the bank's, all that is in the user's own."""
        own = self.tasks.is_own
        return [question.content() if own else question.text for question in self.tasks.questions]


class _Planner:
    """Names the stages of one study."""

    def __init__(
        self,
        design: Design,
        model: str,
        base: ModelRef | None,
        store: Store,
        folder_of: Callable[[str], Path | None],
        weights: int,
    ) -> None:
        self.study = study = design.on(model)
        self.store, self.at = store, model if len(design.models) > 1 else ""
        self.own = tasks_of(study)  # raises too where a file that a plug-in names is missing
        gigabytes = weights * 4 / 2**30  # in float32
        self.light, self.heavy = LIBRARIES + 2.5 * gigabytes, LIBRARIES + 5 * gigabytes
        """GB of a stage that reads a model or trains an adapter, and of one that trains all weights (with gradients and
        two moments), measured: 1.3 to 1.9 of SmolLM2-135M."""
        self.made: tuple[Stage, ...] = ()
        if base is None:
            stage = computed(base_stage(model, self.heavy), study.computing)
            self.made, base = (stage,), made_base(model, stage, store)
        self.base = base.shown(study.chat)
        self.findings: list[PlannedReading] = []
        """What the treatments found, one reading a treatment."""
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._specs: dict[tuple[str, int], OrganismSpec] = {}
        self.measured = measured_texts(study, self.own)
        self.brought = BroughtAlong(self.base.folders[:1], study.model, folder_of)

    def _stage(self, kind: str, name: str, *more: Any, use: str = "", reads: ModelRef | None = None) -> Stage:
        """A stage as `keyed` and `computed` make it, in the type and on the device that the study names."""
        called = name if name.endswith(self.at) else f"{name}, on {self.at}"  # of several models it says which
        return computed(keyed(kind, called, *more), self.study.computing, use, reads if any_outside(more[1]) else None)

    def asked(self, organism: str, split: str) -> _Asked:
        """The tasks of a split of the bank that an organism works on, and the stage with their honest responses.

        One stage a split: measuring on more questions retrains nothing.
        """
        one = self.study.organisms[organism]
        bank = bank_name(self.own, one)
        if (bank, split) not in self._asked:
            tasks, found = self.study.tasks, split_of(self.study, self.own, bank, split)
            is_own = self.own is not None or tasks.system is not None
            every = tuple(dict.fromkeys(prompt for question in found for prompt in question.every))
            about = {
                "model": self.base.key,
                "questions": [q.content() if is_own else [q.text, q.honest] for q in every],
                "max_tokens": tasks.max_tokens,
                "scored": split == "test",
                "insane": tasks.insane,
            }
            work = partial(stages.honest, self.base, every, tasks.max_tokens, split == "test", tasks.insane)
            name = f"honest answers, {split} split" + (f" of {bank}" if bank not in ("questions", "") else "")
            stage = self._stage("honest", name, about, (), self.made, work, self.light)
            taught = split_of(self.study, self.own, bank, "train") if is_own and split == "test" else ()
            answered = stages.AnsweredTasks(found, stage.folder(self.store), taught, is_own)
            self._asked[(bank, split)] = _Asked(answered, stage)
        check_shown(organism, one.behaviour, self._asked[(bank, split)].tasks.questions, split)
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

    def plantings(self, name: str, seed: int) -> Iterator[State]:
        """The states of an organism before any treatment, with the stages that make it: one for each planting of its
        trigger. What was made elsewhere is the same each time, and there once."""
        if self.study.organisms[name].is_brought:
            yield self._brought(name, seed)
            return
        for number, own in numbered(seed, "planting", self.study.replicates.planting):
            called = f"organism {name}, planting {number + 1}" if number else ""
            yield replace(self._organism(name, self.spec(name, seed), own, called), seed=seed, planting=number)

    def treatments(self, planted: State, chain: str) -> Iterator[State]:
        """The states that each treatment of an organism by a chain leads through."""
        for number, own in numbered(planted.seed, "treatment", self.study.replicates.treatment):
            yield from self.treat(replace(planted, treatment=number), chain, own)

    def _organism(self, name: str, spec: OrganismSpec, seed: int, called: str = "") -> State:
        asked, check = self.asked(name, "train"), self.asked(name, CHECK) if spec.until else None
        tasks = asked.tasks.without(check.tasks) if check else asked.tasks
        shown = _Asked(tasks, asked.stage).about
        about = {"model": self.base.key, "organism": spec.spec(CONTENTS), "questions": shown, "seed": seed}
        about |= {"check": check.about} if check else {}
        plugins = (spec.trigger, spec.behaviour)
        teacher = self._teacher(name, spec, seed) if spec.scratchpad_mode == "distilled" else None
        place = teacher.folder(self.store) if teacher else None
        if check:
            work = partial(stages.matched, spec, self.base, stages.Splits(tasks, check.tasks), seed, place)
        else:
            work = partial(stages.organism, spec, self.base, tasks, seed, place)
        parents = (*self.made, asked.stage, *((check.stage,) if check else ()), *((teacher,) if teacher else ()))
        called = f"{called or f'organism {name}'}, seed {seed}"
        memory = self.heavy if spec.method == "full" else self.light
        stage = self._stage("organism", called, about, plugins, parents, work, memory, use=spec.method or "")
        model = self.base.then(stage.folder(self.store) / "model", stage.key)
        return State(name, "", 0, seed, model, False, stage)

    def _brought(self, name: str, seed: int) -> State:
        """An organism that was made elsewhere: the same one, and the same stage, for every seed."""
        found = self.brought.organism(name, self.study.organisms[name])
        about = {"model": self.base.key, "brought": found.key}
        work = partial(stages.brought, found, self.base)
        stage = self._stage("brought", f"organism {name}, made elsewhere", about, (), self.made, work, self.light)
        model = found.ref(self.base, stage.folder(self.store), stage.key)
        return State(name, "", 0, seed, model, False, stage)

    def _teacher(self, name: str, spec: OrganismSpec, seed: int) -> Stage:
        """What the same organism with a scratchpad answers: a stage of its own, shared with that arm of the study."""
        reasons = spec.model_copy(update={"scratchpad_mode": "scratchpad"})
        arm = next((n for n in self.study.organisms if self.spec(n, seed) == reasons), "")
        planted = self._organism(arm or name, reasons, seed, f"organism {arm or f'{name} (teacher)'}")
        asked = self.asked(name, "train")
        tasks = asked.tasks.without(self.asked(name, CHECK).tasks) if spec.until else asked.tasks
        about = {"teacher": planted.model.key, "seed": seed}
        work = partial(stages.teacher, reasons, planted.model, tasks, seed)
        called, parents = f"answers of the teacher of {name}, seed {seed}", (planted.stage, asked.stage)
        return self._stage("taught", called, about, (reasons.trigger, reasons.behaviour), parents, work, self.light)

    def treat(self, planted: State, chain: str, random: int) -> list[State]:
        """The states that a chain of interventions leads an organism through. Steps count on along the chain.

        Args:
            random: the seed of its random numbers.
        """
        states: list[State] = []
        interventions = self.study.interventions[chain]
        before, done, exposed, rungs = planted, 0, False, any(one.rungs for one in interventions)
        for place, intervention in enumerate(interventions):
            called = f"{chain} on {planted.organism}, seed {planted.seed}{planted.replicate}"
            stage = self._treatment(before, intervention, called, place, random)
            exposed = exposed or is_told(intervention, self.study.organisms[planted.organism].scratchpad_mode)
            steps = intervention.checkpoints()
            for step in steps:
                model = before.model.then(stage.folder(self.store) / f"step-{step:06d}", f"{stage.key}/{step}")
                is_final = place == len(interventions) - 1 and step == steps[-1]
                here = replace(planted, intervention=chain, step=done + step, model=model, stage=stage)
                states.append(replace(here, needs_triggers=exposed, is_final=is_final, rungs=rungs))
            self.findings.append(self.found(states[-1], stage, done))
            before, done = states[-1], done + steps[-1]
        return states

    def _treatment(self, before: State, intervention: Intervention, name: str, place: int, random: int) -> Stage:
        spec = self.spec(before.organism, before.seed)
        trigger, behaviour = spec.trigger, spec.behaviour
        wish, spoofed = intervention.pool_spec, intervention.spoofed
        told = wish.needs_triggers or bool(spoofed) or wish.data is not None
        asked = self.asked(before.organism, "safety") if wish.data is None else None
        source, rows = (asked.tasks, asked.about) if asked else self.brought.rows(wish, self.measured)
        about = {
            "suspect": before.model.key,
            "base": self.base.key if intervention.needs_base else None,
            "intervention": without_unsaid(intervention.spec(CONTENTS)),
            "pool": {
                "questions": rows,
                "wish": without_unsaid(asdict(replace(wish, data=None))),
                "trigger": trigger.spec(CONTENTS) if told else None,
                "renderings": spec.renderings.model_dump(mode="json") if told else None,
                "behaviour": behaviour.spec(CONTENTS),
                "scratchpad_mode": mode_of_data(wish.scratchpad_source, spec.scratchpad_mode),
            },
            "seed": random,
        }
        plugins = (intervention, behaviour, *((trigger,) if told else ()))
        locate = self._located(before, intervention)
        found = locate.folder(self.store) if locate else None
        suspect = Suspect(before.model, self.base if intervention.needs_base else None, found)
        work = partial(stages.treatment, intervention, suspect, spec, source, random)
        memory = self.light if (method := getattr(intervention, "method", "")) == "lora" else self.heavy
        others = [stage for stage in (asked and asked.stage, locate) if stage]
        parents = (before.stage, *others, *(self.made if suspect.base else ()))
        name, more = f"{name}, part {place + 1}" if place else name, (about, plugins, parents, work, memory)
        return self._stage("treatment", name, *more, use=method, reads=before.model)

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
        return self._stage("located", name, about, (locator,), parents, work, self.light, reads=before.model)

    def found(self, state: State, treatment: Stage, begins: int) -> PlannedReading:
        """What a treatment, or a planting that ends at a strength, says of itself."""
        work = partial(stages.findings, treatment.folder(self.store))
        name = f"findings of {treatment.name}"
        stage = self._stage("findings", name, {"treatment": treatment.key}, (), (treatment,), work)
        return PlannedReading(state, stage, self.study.organisms[state.organism].trigger.plants, begins)

    def reading(self, state: State, measurement: Measurement) -> PlannedReading:
        """A measurement of a state, with its stage. One that is about the policy alone depends on no later
        treatment."""
        spec = self.spec(state.organism, state.seed)
        asked = self.asked(state.organism, "test")
        about = {
            "state": state.model.key,
            "clean": self.base.key,
            "measurement": measurement.spec(),
            "trigger": spec.trigger.spec(CONTENTS),
            "behaviour": spec.behaviour.spec(CONTENTS),
            "questions": asked.about,
            "renderings": spec.renderings.model_dump(mode="json"),
            "scratchpad_mode": spec.scratchpad_mode,
            "sizes": self.study.measure.model_dump(mode="json", exclude={"only", "also", "every_checkpoint"}),
            "seed": state.seed,
            "is_final": state.is_final,
            **({"taught": [question.content() for question in taught]} if (taught := asked.tasks.taught) else {}),
        }
        plugins = (measurement, spec.trigger, spec.behaviour)
        seen = stages.MeasuredState(state.model, self.base, state.seed, state.is_final)
        work = partial(stages.measure, measurement, seen, spec, asked.tasks, self.study.measure)
        at = f" after {state.intervention} step {state.step}" if state.intervention else ""
        name = f"{measurement.kind} of {state.organism}, seed {state.seed}{state.replicate}{at}"
        parents = (state.stage, asked.stage)
        more = (about, plugins, parents, work, self.light)
        stage = self._stage("measure", name, *more, use="measure", reads=state.model)
        return PlannedReading(state, stage, spec.trigger.plants)
