"""What a study will take, said before it runs: `dormouse plan`."""

from __future__ import annotations

from pathlib import Path

from dormouse.claims.outlook import outlook
from dormouse.execution.estimate import forecast, read_history, said
from dormouse.execution.local import default_workers
from dormouse.lm import zoo
from dormouse.organisms.micro import MICRO
from dormouse.pipeline.plan import Plan, all_stages, missing, row_lines
from dormouse.pipeline.planner import make_plan, refuse_unknown_models
from dormouse.records import ModelRef
from dormouse.store import MANIFEST, Store
from dormouse.studies.design import Design


def preview(design: Design, store: Store, workers: int | None) -> list[str]:
    """The lines of `dormouse plan`. Writes nothing, and fetches no model."""
    refuse_unknown_models(design)
    plans: list[Plan] = []
    absent: list[str] = []
    for model in design.models:
        base = None if model in MICRO else zoo.here(model)
        if base is None and model not in MICRO:
            absent.append(model)
            base = ModelRef((store.root,), model)
        plans.append(make_plan(design, model, base, store, lambda name: _there(name, absent)))
    todo = missing(plans, store, lambda stage: (stage.folder(store) / MANIFEST).is_file())
    chains = [sum(state.is_final and bool(state.intervention) for state in plan.states) for plan in plans]
    planted = [len({(state.organism, state.seed) for state in plan.states}) for plan in plans]
    lines = [
        f"{model}: {arms} organisms (seeds counted), {ends} treatments"
        for model, arms, ends in zip(design.models, planted, chains, strict=True)
    ]
    absent = list(dict.fromkeys(absent))
    lines += [f"{name} is not on this machine: `dormouse run` fetches it" for name in absent]
    lines += [*row_lines(plans), *outlook(design)]
    stages = all_stages(plans)
    return [*lines, *said(forecast(stages, todo, read_history(store)), workers or default_workers(stages))]


def _there(name: str, absent: list[str]) -> Path | None:
    """The folder of an organism that was made elsewhere, or None, and its name among the absent ones."""
    zoo.refuse_unknown(name)
    if (found := zoo.there(name)) is None:
        absent.append(name)
    return found
