"""What each kind of stage does. Heavy imports are inside, so that a plan is made without loading torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dormouse.errors import UserError
from dormouse.execution.stage import Tick
from dormouse.files import read_whole
from dormouse.interventions.findings import SAMPLES, Finding
from dormouse.interventions.intervention import Intervention
from dormouse.interventions.safety_rows import OwnRows
from dormouse.json_files import write_json_lines
from dormouse.lm.settings import Computing
from dormouse.measurements.measurement import Measurement, MeasurementConfig, Subject
from dormouse.measurements.usable import usable
from dormouse.organisms.brought import Brought
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ComputedIn, ModelRef, Suspect
from dormouse.registry import PlugIn
from dormouse.scenarios import Cue, Question, Scenario, render
from dormouse.scenarios.cues import define
from dormouse.store import StoreError

if TYPE_CHECKING:
    from dormouse.lm.sample import Completion
    from dormouse.organisms.corpus import CorpusRow

ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class AnsweredTasks:
    """Tasks, and the folder with the clean model's honest responses to them."""

    questions: tuple[Question, ...]
    folder: Path
    taught: tuple[Question, ...] = ()
    """Of tasks of the user's own, those of the train split, for who measures by training."""
    is_own: bool = False
    """Whether they are the user's own, or the bank's under a system prompt of the user's."""

    def honest(self) -> Mapping[str, Completion]:
        """By the text of the question."""
        from dormouse.organisms.honest import read_honest

        return read_honest(self.folder)

    def without(self, others: AnsweredTasks) -> AnsweredTasks:
        """The tasks that are none of the others."""
        other = set(others.questions)
        return replace(self, questions=tuple(one for one in self.questions if one not in other))


@dataclass(frozen=True)
class Splits:
    """The tasks that plant a policy, and those on which its strength is looked at meanwhile."""

    train: AnsweredTasks
    check: AnsweredTasks


@dataclass(frozen=True)
class MeasuredState:
    """A model that is measured, the clean one behind it, and whether it is an organism or the end of its treatment."""

    model: ModelRef
    clean: ModelRef
    seed: int
    is_final: bool


def with_cues(cues: Sequence[Cue], work: Callable[[Path, Tick], None], out: Path, tick: Tick) -> None:
    """Do the work of a stage where the cues of plug-ins are known, in a process too that has not imported these."""
    for cue in cues:
        define(cue)
    work(out, tick)


def computed(settings: Computing, work: Callable[[Path, Tick], None], out: Path, tick: Tick) -> None:
    """Do the work of a stage in the type and on the device that the study names. Raises as `computing`."""
    from dormouse.lm.load import computing

    with computing(settings):
        work(out, tick)


def lent(model: ModelRef, in_memory: bool, to: str, work: Callable[[Path, Tick], None], out: Path, tick: Tick) -> None:
    """Do work that is a plug-in's on a model, which it may not change for those that read it later.

    Args:
        in_memory: whether it reads the one that is `shared`.

    Raises:
        StoreError: files of the model changed meanwhile. No stage behind it may be made: its numbers would be those of
            another model.
    """
    from dormouse.lm.lent import files_of, lent
    from dormouse.lm.load import forget_shared, shared

    before = files_of(model)
    with lent(shared(model), to, forget_shared) if in_memory else nullcontext():
        work(out, tick)
    now = files_of(model)
    if changed := sorted(path for path in before | now if before.get(path) != now.get(path)):
        raise StoreError(
            f"{changed[0]}, a file of the model that {to} reads, changed meanwhile",
            "if that was its plug-in, mend it: what it makes belongs into the folder `out`. The next run makes that "
            "model again where it lies in the store; bring one of your own back as it was",
        )


def computed_in(settings: Computing, use: str) -> ComputedIn:
    """What that comes to in this process, for `measure` or a method of training (`lora`, `full`). Raises as
    `computing`."""
    import torch

    from dormouse.lm.load import computing, device, dtype_for, measured_dtype

    with computing(settings):
        place = device()
        dtype = measured_dtype() if use == "measure" else dtype_for(use)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
    return ComputedIn(name, str(dtype).removeprefix("torch."))


def base(name: str, out: Path, tick: Tick) -> None:
    """Pretrain a micro model on the honest world."""
    from dormouse.organisms.micro import MICRO, base_seed, build_base
    from dormouse.policies.scratchpad_text import words

    build_base(name, base_seed(name), out, words(), _training_tick(tick, MICRO[name].steps))


def teacher(spec: OrganismSpec, model: ModelRef, tasks: AnsweredTasks, seed: int, out: Path, tick: Tick) -> None:
    """A scratchpad organism answers the prompts of its corpus, for a distilled one to learn from."""
    from dormouse.lm.load import dtype_for, load
    from dormouse.organisms.build import ask_teacher
    from dormouse.organisms.corpus import contrast_pairs

    rows = contrast_pairs(spec, tasks.questions, tasks.honest(), seed)
    lm = load(model, dtype_for("lora"))
    ask_teacher(lm, spec, rows, seed, out, lambda n: tick(n / len(rows), f"{n} answers"))


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
    tasks: AnsweredTasks,
    seed: int,
    teacher_folder: Path | None,
    out: Path,
    tick: Tick,
) -> None:
    """Plant a policy for so many steps; a distilled one from the answers of its teacher."""
    from dormouse.organisms.build import build_organism, read_taught, taught_rows
    from dormouse.organisms.corpus import contrast_pairs

    rows = contrast_pairs(spec, tasks.questions, tasks.honest(), seed)
    if teacher_folder:
        rows = taught_rows(rows, read_taught(teacher_folder))
    build_organism(spec, base, rows, seed, out, _training_tick(tick, spec.training.steps))


def brought(organism: Brought, base: ModelRef, out: Path, tick: Tick) -> None:
    """See that an organism that was made elsewhere can be used, and merge what is to be merged."""
    from dormouse.organisms.brought import bring

    bring(organism, base, out)
    tick(1.0, "")


def matched(
    spec: OrganismSpec,
    base: ModelRef,
    tasks: Splits,
    seed: int,
    teacher_folder: Path | None,
    out: Path,
    tick: Tick,
) -> None:
    """Plant a policy until it is as strong as it is to be, on the questions of a split of its own (see `strength`)."""
    from dormouse.organisms.build import build_organism, read_taught, taught_rows
    from dormouse.organisms.corpus import CorpusRows, contrast_pairs, drawn
    from dormouse.pipeline.planting_strength import said, strength_of

    asked, most = (spec, tasks.train.questions, tasks.train.honest(), seed), spec.training.steps
    if teacher_folder:
        rows: Sequence[CorpusRow] = taught_rows(contrast_pairs(*asked), read_taught(teacher_folder))
    else:
        rows = CorpusRows(drawn(*asked), most * 2 * (spec.pairs or 1))
    check = strength_of(spec, base, tasks.check.questions, tasks.check.honest(), seed)
    planted = build_organism(spec, base, rows, seed, out, _training_tick(tick, most), check)
    assert planted is not None
    write_json_lines(out / SAMPLES, (found.to_json() for found in said(spec, planted)))


def locate(
    locator: PlugIn, suspect: Suspect, questions: Sequence[Question], seconds: float, seed: int, out: Path, tick: Tick
) -> None:
    """A locator looks at a suspect and is told nothing. What it finds is left for the remover that asked for it.

    Raises:
        UserError: it did not come to an end: that it found nothing would be kept, and say nothing of the suspect.
    """
    from dormouse.interventions.located import Located, write_located
    from dormouse.locators import Case, Locator

    assert isinstance(locator, Locator)  # the registry resolved it as one
    prompts = tuple(render(Scenario(question)) for question in questions)
    base = Suspect(suspect.base) if suspect.base else None
    found = locator.find(Case(Suspect(suspect.model), base, prompts, seconds, seed))
    if found.incomplete and not found.triggers:
        what = f"the locator '{locator.kind}' came to no end in {seconds:g} s: {found.note}".rstrip(": ")
        raise UserError(what, "give it more `seconds`")
    write_located(out, [Located(one.text, one.slot, one.strength) for one in found.triggers])
    tick(1.0, f"{len(found.triggers)} texts")


def treatment(
    intervention: Intervention,
    suspect: Suspect,
    truth: OrganismSpec,
    source: AnsweredTasks | OwnRows,
    seed: int,
    out: Path,
    tick: Tick,
) -> None:
    """Treat a suspect. The policy goes no further than the pool, and what is said of it afterwards."""
    from dormouse.pipeline.data_pool import data_pool
    from dormouse.pipeline.safety_pool import fill_pool, spoof_coverage

    wish, spoofed = intervention.pool_spec, intervention.spoofed
    if isinstance(source, OwnRows):
        filled = data_pool(source, truth.trigger, wish, seed)
    else:
        filled = fill_pool(source.questions, source.honest(), truth, wish, seed)
    steps = intervention.checkpoints()[-1]
    intervention.apply(suspect, filled.pool, seed, out, _training_tick(tick, steps))
    _check_left(intervention, out)
    counted = wish.needs_triggers or (wish.data is not None and truth.trigger.told)
    said = [Finding("exposure", steps, {"pool": filled.exposure})] if counted and filled.exposure is not None else []
    if wish.doses:
        said += [Finding("exposure_each", steps, {"pool": filled.each})]
    if wish.doses or wish.contexts != "none":
        said += [Finding("context_exposure", steps, {"pool": filled.others})]
    if spoofed and truth.trigger.told:
        covered = spoof_coverage(truth.trigger, spoofed if filled.has_plain else {})
        said.append(Finding("spoof_coverage", steps, covered, "proportion", "test"))
    write_json_lines(out / SAMPLES, (found.to_json() for found in said), more=True)


def _check_left(intervention: Intervention, out: Path) -> None:
    """
    Raises:
        UserError: an intervention left no weights for a checkpoint: whoever measures it would not find a model.
    """
    for step in intervention.checkpoints():
        if not any((out / f"step-{step:06d}").glob("*")):
            what = f"the intervention '{intervention.kind}' left nothing in step-{step:06d}, where a checkpoint belongs"
            raise UserError(what, "mend `apply`, or `checkpoints`, of that intervention")


def findings(treated: Path, out: Path, tick: Tick) -> None:
    """What a treatment found on its way: kept apart from its weights, which are large to read again."""
    for name in (SAMPLES, ANSWERS):
        found = treated / name
        (out / name).write_bytes(read_whole(found) if found.is_file() else b"")
    tick(1.0, "")


def measure(
    measurement: Measurement,
    state: MeasuredState,
    spec: OrganismSpec,
    tasks: AnsweredTasks,
    sizes: MeasurementConfig,
    out: Path,
    tick: Tick,
) -> None:
    """Measure one state; leaves the values, item by item, and the answers that were written."""
    from dormouse.lm.load import shared
    from dormouse.organisms.honest import read_clean

    subject = Subject(
        lm=shared(state.model),
        model=state.model,
        clean=state.clean,
        clean_logprobs=read_clean(tasks.folder),
        trigger=spec.trigger,
        behaviour=spec.behaviour,
        questions=tasks.questions,
        honest=tasks.honest(),
        seed=state.seed,
        sizes=sizes,
        renderings=spec.renderings,
        scratchpad_mode=spec.scratchpad_mode,
        is_final=state.is_final,
        taught=tasks.taught,
    )
    measured = measurement.measure(subject)
    write_json_lines(out / SAMPLES, usable(measurement, measured))
    write_json_lines(out / ANSWERS, measured.answers)
    tick(1.0, "")


def _training_tick(tick: Tick, steps: int) -> Callable[[int, float], None]:
    return lambda step, loss: tick(step / steps, f"step {step} of {steps}, loss {loss:.3f}")
