"""Work through a plan, and write down what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from dormouse.errors import UserError
from dormouse.execution.estimate import History, forecast
from dormouse.execution.executors import Watcher, homeless
from dormouse.execution.journal import JOURNAL, Journal, why
from dormouse.execution.launched import refuse_launched
from dormouse.execution.scheduler import make_executor, slots, work_through
from dormouse.execution.stage import Stage
from dormouse.json_files import digest
from dormouse.lm import zoo
from dormouse.locks import holding
from dormouse.organisms.micro import MICRO
from dormouse.pipeline.folder import begin, claim_folder, write_out
from dormouse.pipeline.keyed import read_code_anew
from dormouse.pipeline.known_models import refuse_unknown_models
from dormouse.pipeline.live import LiveWatcher
from dormouse.pipeline.looked import looked
from dormouse.pipeline.plan import Plan, all_stages, history_of, missing, row_lines
from dormouse.pipeline.planner import make_plan
from dormouse.pipeline.results import make_results, read_answered, results_key
from dormouse.records import ModelRef
from dormouse.storage.references import in_use
from dormouse.store import Store
from dormouse.studies.design import Design


def run_study(
    design: Design,
    text: str,
    out: Path,
    store: Store,
    watcher: Watcher,
    workers: int | None = None,
    executor: str = "local",
) -> None:
    """Run a study, or as much of it as is not in the store yet, and report on it in `out`.

    Args:
        text: the study file as it was written, for the report.
        workers: how many stages are worked on at a time, each in a process of its own where it is more than one;
            None leaves it to the machine, or to the cluster.
        executor: `local` (processes of this machine), `ray` (a cluster), or one of a plug-in.

    Raises:
        UserError: `out` holds something else, the model cannot be had, or a stage cannot be done; then all others are
            done, and the report shows the hole.
    """
    refuse_launched()
    _refuse_absent(design, executor)
    claim_folder(out, design.study.name)
    form = ""
    with ExitStack() as using:  # from the first look to the last
        for look in range(design.looks):
            plans = make_plans(
                design.at_look(look),
                store,
                lambda name: zoo.resolve(name, watcher.say),
                lambda name: zoo.folder_of(name, watcher.say),
            )
            for line in row_lines(plans) if look == 0 else ():
                watcher.say(line)
            # before it is asked what is there: it may be pruned meanwhile
            needs = _needs(plans)
            form = form or digest(sorted(needs))
            using.enter_context(in_use(store, out, design.study.name, needs, form))
            if isinstance(watcher, LiveWatcher):
                watcher.follow(plans, store, out)
            if not _run(plans, text, out, store, watcher, workers, executor):
                break


def _refuse_absent(design: Design, executor: str) -> None:
    """Refuse at once a device, or a type, that a study names and this machine lacks, if its stages are done here. Who
    names none never loads torch for it: this process lives as long as the study.

    Raises:
        UserError: it lacks it.
    """
    if executor == "local" and design.study.computing.said():
        from dormouse.lm.load import refuse_absent

        refuse_absent(design.study.computing)


def _needs(plans: Sequence[Plan]) -> set[str]:
    """The keys of all entries of a study: of its stages, whether they are measured or not, and of its results."""
    waiting = [reading.stage for plan in plans for reading in plan.readings]
    waiting += [state.stage for plan in plans for state in plan.states]
    found = {results_key(plans, ())[0]}
    while waiting:
        stage = waiting.pop()
        if stage.key not in found:
            found.add(stage.key)
            waiting += stage.parents
    return found


def _run(
    plans: Sequence[Plan],
    text: str,
    out: Path,
    store: Store,
    watcher: Watcher,
    workers: int | None,
    executor: str,
) -> bool:
    """Run a study with the seeds of a look. Returns whether it goes on, as a claim is undecided and there are more."""
    goes_on, journal = False, Journal(out / JOURNAL)
    todo = missing(plans, store, verified=True)
    begin(plans, text, out, store)
    workers = workers or _workers(executor, plans, todo)
    lost: dict[str, UserError] = {}
    with holding(out / JOURNAL):
        journal.write("planned", None, **_planned(plans, todo, store, workers))
        try:
            if todo:
                doer = make_executor(executor, store, workers, watcher, journal)
                lost = work_through(todo, store, doer, watcher, journal)
            if not all(reading.stage.key in lost for plan in plans for reading in plan.readings):
                results = make_results(plans, store, lost)
                goes_on = not lost and looked(plans[0].design, read_answered(results.folder), out, watcher)
                if not goes_on or todo:
                    write_out(plans, text, out, store, results, watcher, lost)
            if lost:
                raise _incomplete(lost, todo)
        except BaseException as error:
            journal.write("ended", error=why(error))
            raise
        journal.write("ended")
    return goes_on


def _workers(executor: str, plans: Sequence[Plan], todo: Sequence[Stage]) -> int:
    """How many stages are worked on at a time where nobody says: one where no other process could do them."""
    if not todo or (executor == "local" and homeless(todo)):
        return 1
    return slots(executor, all_stages(plans))


def _incomplete(lost: Mapping[str, UserError], todo: Sequence[Stage]) -> UserError:
    """What is said at the end of a study with holes: each reason once, with the first stage that it stopped."""
    failed = [(stage, lost[stage.key]) for stage in todo if stage.key in lost]
    roots = [(stage, error) for stage, error in failed if not any(key in lost for key in stage.behind())]
    reasons = {error.what: f"{stage.name}: {error.what}" for stage, error in reversed(roots)}
    said = "; ".join(reversed(reasons.values()))
    beside = f" ({len(failed) - len(roots)} more stand on them)" if len(failed) > len(roots) else ""
    remedy = "; ".join(dict.fromkeys(error.remedy for _, error in roots))
    return UserError(
        f"{len(roots)} of {len(todo)} stages failed{beside}. {said}",
        f"{remedy}. All other stages are done; the same command tries these again",
    )


def make_plans(
    design: Design,
    store: Store,
    base: Callable[[str], ModelRef],
    folder_of: Callable[[str], Path | None] = zoo.there,
) -> list[Plan]:
    """The stages of a study, model by model; `base` finds a model that is not made here, `folder_of` organisms that
    were made elsewhere."""
    refuse_unknown_models(design)
    read_code_anew()
    bases = {model: None if model in MICRO else base(design.place(model)) for model in design.models}
    return [make_plan(design, model, found, store, folder_of) for model, found in bases.items()]


def _planned(plans: Sequence[Plan], todo: Sequence[Stage], store: Store, workers: int) -> dict[str, object]:
    """What the journal says of the stages ahead: how many, and what they will take."""
    rows = forecast(all_stages(plans), todo, history_of(plans, store) if todo else History())
    return {
        "todo": {kind: row.todo for kind, row in rows.items() if row.todo},
        "kept": {kind: row.kept for kind, row in rows.items() if row.kept},
        "seconds": {kind: row.each for kind, row in rows.items() if row.each},
        "workers": workers,
    }
