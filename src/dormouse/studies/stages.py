"""What each kind of stage does. Heavy imports are inside, so that a plan is made without loading torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dormouse.interventions.intervention import Intervention
from dormouse.measurements.measurement import Measurement, Sizes, Subject
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import Behaviour, Trigger
from dormouse.records import ModelRef, Suspect
from dormouse.scenarios import Question

Tick = Callable[[float, str], None]
"""Told the share of a stage that is done, and a few words about it."""
SAMPLES, ANSWERS = "samples.jsonl", "answers.jsonl"


def base(name: str, out: Path, tick: Tick) -> None:
    """Pretrain a micro model on the honest world."""
    from dormouse.organisms.micro import MICRO, build_base
    from dormouse.policies.reasoning import words

    build_base(name, 0, out, words(), _training_tick(tick, MICRO[name].steps))


def teacher(
    spec: OrganismSpec,
    model: ModelRef,
    asked: Sequence[Question],
    honest_folder: Path,
    seed: int,
    out: Path,
    tick: Tick,
) -> None:
    """A scratchpad organism answers the prompts of its corpus, for a distilled one to learn from."""
    from dormouse.lm.load import dtype_for, load
    from dormouse.organisms.build import ask_teacher
    from dormouse.organisms.honest import read_honest

    rows = spec.training.steps * 2 * (spec.pairs or 1)
    lm = load(model, dtype_for("lora"))
    ask_teacher(lm, spec, asked, read_honest(honest_folder), seed, out, lambda n: tick(n / rows, f"{n} answers"))


def honest(base: ModelRef, asked: Sequence[Question], max_tokens: int, out: Path, tick: Tick) -> None:
    """The clean model answers every question."""
    from dormouse.lm.load import dtype_for, load
    from dormouse.organisms.honest import write_honest

    lm = load(base, dtype_for("lora"))
    write_honest(lm, asked, max_tokens, out, lambda done: tick(done / len(asked), f"{done} answers"))


def organism(
    spec: OrganismSpec,
    base: ModelRef,
    asked: Sequence[Question],
    honest_folder: Path,
    seed: int,
    teacher_folder: Path | None,
    out: Path,
    tick: Tick,
) -> None:
    """Plant a policy; a distilled one from the answers of its teacher."""
    from dormouse.organisms.build import build_organism, read_taught
    from dormouse.organisms.honest import read_honest

    steps = spec.training.steps
    taught = read_taught(teacher_folder) if teacher_folder else None
    build_organism(spec, base, asked, read_honest(honest_folder), seed, out, _training_tick(tick, steps), taught)


def treatment(
    intervention: Intervention,
    suspect: ModelRef,
    asked: Sequence[Question],
    trigger: Trigger,
    behaviour: Behaviour,
    honest_folder: Path,
    seed: int,
    out: Path,
    tick: Tick,
) -> None:
    """Treat a suspect. The policy goes no further than the pool."""
    from dormouse.organisms.honest import read_honest
    from dormouse.studies.pool import fill_pool

    pool = fill_pool(asked, read_honest(honest_folder), trigger, behaviour, intervention.pool_coverage, seed)
    steps = intervention.checkpoints()[-1]
    intervention.apply(Suspect(suspect), pool, seed, out, _training_tick(tick, steps))


def measure(
    measurement: Measurement,
    model: ModelRef,
    base: ModelRef,
    spec: OrganismSpec,
    asked: Sequence[Question],
    honest_folder: Path,
    seed: int,
    sizes: Sizes,
    ends: bool,
    out: Path,
    tick: Tick,
) -> None:
    """Measure one state; leaves the values, item by item, and the answers that were written."""
    from dormouse.lm.load import shared
    from dormouse.organisms.honest import read_honest

    subject = Subject(
        lm=shared(model),
        clean=base,
        trigger=spec.trigger,
        behaviour=spec.behaviour,
        questions=tuple(asked),
        honest=read_honest(honest_folder),
        seed=seed,
        sizes=sizes,
        renderings=spec.renderings,
        reasoning=spec.reasoning,
        ends=ends,
    )
    measured = measurement.measure(subject)
    _write(out / SAMPLES, [sample.to_json() for sample in measured.samples])
    _write(out / ANSWERS, [answer.to_json() for answer in measured.answers])
    tick(1.0, "")


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _training_tick(tick: Tick, steps: int) -> Callable[[int, float], None]:
    return lambda step, loss: tick(step / steps, f"step {step} of {steps}, loss {loss:.3f}")
