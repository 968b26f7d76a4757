"""What a study will take, said before it runs: `dormouse plan`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dormouse.claims.outlook import outlook
from dormouse.claims.pilot import pilot_lines
from dormouse.execution.estimate import counted, forecast, megabytes, said
from dormouse.execution.local import default_workers, memory
from dormouse.execution.stage import Stage
from dormouse.lm import zoo
from dormouse.lm.size import size_elsewhere, size_in
from dormouse.measurements.near_misses import has_near_misses
from dormouse.organisms.micro import MICRO
from dormouse.pipeline.items import numbers_of
from dormouse.pipeline.known_models import refuse_unknown_models
from dormouse.pipeline.plan import Plan, all_stages, history_of, missing, row_lines
from dormouse.pipeline.planner import make_plan
from dormouse.pipeline.results import read_finished
from dormouse.records import ModelRef, weights_by_name
from dormouse.store import Store
from dormouse.studies.design import Design
from dormouse.studies.seeds import any_seed


def preview(design: Design, store: Store, workers: int | None, pilot: Path | None = None) -> list[str]:
    """The lines of `dormouse plan`. Writes nothing, and fetches no model.

    Args:
        pilot: the folder of finished results of the same arms with other seeds.

    Raises:
        UserError: a model cannot be had, or the pilot holds no results, or shares a seed with the study.
    """
    outcome = _piloted(design, pilot) if pilot else []
    refuse_unknown_models(design)
    plans: list[Plan] = []
    absent: list[str] = []
    sizes: list[str] = []
    for model in design.models:
        place = design.place(model)
        folder = None if model in MICRO else zoo.there(place)
        bare = folder is not None and not any(folder.glob("*.safetensors")) and (folder / "config.json").is_file()
        base, weights = None if model in MICRO or bare else zoo.here(place), None
        if base is None and model not in MICRO:
            base = ModelRef((store.root,), f"{model}@absent")
            weights = _size(model, folder if bare else None, sizes)
            absent += [] if bare else [model]
        plans.append(make_plan(design, model, base, store, partial(_there, absent=absent), weights))
    todo = missing(plans, store, verified=False)
    chains = [sum(state.is_final and bool(state.intervention) for state in plan.states) for plan in plans]
    planted = [len({(state.organism, state.seed, state.planting) for state in plan.states}) for plan in plans]
    lines = [
        f"{model}: {counted(arms, 'organism')} (seeds counted), {counted(ends, 'treatment')}"
        for model, arms, ends in zip(design.models, planted, chains, strict=True)
    ]
    absent = list(dict.fromkeys(absent))
    lines += [*sizes, *map(_absence, absent)]
    lines += [*row_lines(plans), *_without_near_misses(design), *outlook(design), *outcome]
    if design.looks > 1:
        most = len(any_seed(design.study.seeds))
        lines.append(
            f"seeds: {len(design.every_seed)} at the first of {design.looks} looks, for which this is the plan; {most} "
            "at the last, if claims are undecided until then"
        )
    stages = all_stages(plans)
    lines += said(forecast(stages, todo, history_of(plans, store)), workers or default_workers(stages))
    return [*lines, *_memory(todo)]


def _size(model: str, folder: Path | None, lines: list[str]) -> int:
    """How many weights a model has that is not on this machine, or has none there; a line says what is known of it."""
    found = size_in(folder) if folder else size_elsewhere(model)
    weights = found.weights if found else int(weights_by_name(model) or 0)
    if weights:
        source = found.source if found else "its name"
        lines.append(f"{model}: {weights:,} weights, as {source} says; {megabytes(4 * weights)} in float32")
    else:
        lines.append(f"{model}: nobody here knows how large it is: time and memory are those of other models")
    if folder:
        lines.append(f"{model} has no weights: `dormouse run` needs them (*.safetensors)")
    return weights


def _without_near_misses(design: Design) -> list[str]:
    """Organisms of which no page will say how sharp the learned policy is."""
    planted = {name: one for name, one in design.study.organisms.items() if one.trigger.plants and one.trigger.told}
    without = [name for name, one in planted.items() if not has_near_misses(one)]
    return [f"{name}: this trigger has no near misses; name some with `near`" for name in without]


def _absence(name: str) -> str:
    """Where a model, or an adapter, is to come from: a folder that nobody finds may be one that was spelt wrong."""
    said = f"{name} is not on this machine: `dormouse run` fetches it"
    if name in zoo.ZOO:
        return said
    return (
        f"{said} as an id of the hub, as no folder of that name lies beside the study file or in the working directory"
    )


def _memory(todo: Sequence[Stage]) -> list[str]:
    """What the largest of the stages needs at a time, beside what this machine has."""
    if not todo:
        return []
    most, there = max(stage.memory for stage in todo), memory()
    said = f"memory: a stage needs up to {megabytes(most * 2**30)}, stages may fill {megabytes(there * 2**30)} here"
    return [said if most <= there else f"{said}: a larger machine is needed"]


def _piloted(design: Design, pilot: Path) -> list[str]:
    records = read_finished(pilot)[0]
    return pilot_lines(design, numbers_of(pilot, records), {one.seed for one in records if one.seed is not None})


def _there(name: str, absent: list[str]) -> Path | None:
    """The folder of an organism that was made elsewhere, or None, and its name among the absent ones."""
    if (found := zoo.there(name)) is None:
        absent.append(name)
    return found
