"""What each kind of stage does. Heavy imports are inside, so that a plan is made without loading torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from dormouse.interventions.findings import SAMPLES, Finding
from dormouse.interventions.intervention import Intervention
from dormouse.measurements.measurement import Measurement, Sizes, Subject
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import Behaviour, Trigger
from dormouse.policies.reasoning import Reasoning
from dormouse.records import ModelRef, Suspect
from dormouse.scenarios import Question, Renderings

Tick = Callable[[float, str], None]
"""Told the share of a stage that is done, and a few words about it."""
ANSWERS = "answers.jsonl"


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


def honest(
    base: ModelRef,
    asked: Sequence[Question],
    max_tokens: int,
    scored: bool,
    insane: Literal["stop", "allow"],
    out: Path,
    tick: Tick,
) -> None:
    """The clean model answers every question; what is measured on is `scored` too."""
    from dormouse.lm.load import dtype_for, load, measured_dtype
    from dormouse.organisms.honest import score_honest, write_honest

    lm = load(base, dtype_for("lora"))
    write_honest(lm, asked, max_tokens, out, lambda done: tick(done / len(asked), f"{done} answers"), insane)
    if scored:  # in the type in which models are measured, which on a CPU is float32
        score_honest(lm if lm.model.dtype == measured_dtype() else load(base), asked, out)


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
    renderings: Renderings,
    reasoning: Reasoning,
    honest_folder: Path,
    seed: int,
    out: Path,
    tick: Tick,
) -> None:
    """Treat a suspect. The policy goes no further than the pool, and what is said of it afterwards."""
    from dormouse.organisms.honest import read_honest
    from dormouse.pipeline.safety_pool import fill_pool, spoof_coverage

    wish, spoofed = intervention.pool_wish, intervention.spoofed
    filled = fill_pool(asked, read_honest(honest_folder), trigger, behaviour, wish, seed, renderings, reasoning)
    steps = intervention.checkpoints()[-1]
    intervention.apply(Suspect(suspect), filled.pool, seed, out, _training_tick(tick, steps))
    said = [Finding("exposure", steps, {"pool": filled.exposure})] if wish.needs_triggers else []
    if spoofed:
        said.append(Finding("spoof_coverage", steps, spoof_coverage(trigger, spoofed), "proportion", "test"))
    with (out / SAMPLES).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(found.to_json(), ensure_ascii=False) + "\n" for found in said)


def findings(treated: Path, out: Path, tick: Tick) -> None:
    """What a treatment found on its way: kept apart from its weights, which are large to read again."""
    for name in (SAMPLES, ANSWERS):
        found = treated / name
        (out / name).write_bytes(found.read_bytes() if found.is_file() else b"")
    tick(1.0, "")


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
    from dormouse.organisms.honest import read_clean, read_honest

    subject = Subject(
        lm=shared(model),
        model=model,
        clean=base,
        clean_logprobs=read_clean(honest_folder),
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
