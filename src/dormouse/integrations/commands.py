"""`dormouse results` and `dormouse export`: what a study found and made, for the eye and for other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from dormouse.errors import UserError
from dormouse.options import PLUGIN
from dormouse.terminal import printable, say

A_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=A_FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--training", is_flag=True, help="The steps of its safety trainings; with --json what each was shown.")
@click.option("--csv", type=A_FILE, metavar="FILE", help="Write the records there, as a table.")
@click.option("--parquet", type=A_FILE, metavar="FILE", help="Write the records there, as Parquet.")
@click.option("--dataset", type=A_FILE, metavar="OUT", help="Write rates and answers there, for `datasets`.")
@click.option("--inspect", type=A_FILE, metavar="OUT", help="Write the answers there, as logs of Inspect.")
def results(folder: Path, as_json: bool, training: bool, **to: Path | None) -> None:
    """Print the records of a finished study, or how its safety trainings went; or write them for other programs."""
    from dormouse.outputs import refuse_old
    from dormouse.pipeline.results import in_lines, read_finished
    from dormouse.report.training_page import in_lines as steps_in_lines

    written = {kind: path for kind, path in to.items() if path is not None}
    if written and (as_json or training):
        what = f"--{next(iter(written))} writes the records, and --{'json' if as_json else 'training'} prints"
        raise UserError(what, "ask for one at a time")
    places = {Path(os.path.realpath(path)): path for path in written.values()}
    if len(places) < len(written):
        raise UserError(f"two things would be written to {min(written.values())}", "give each a name of its own")
    for place, inner in places.items():
        if outer := next((places[above] for above in place.parents if above in places), None):
            raise UserError(f"{inner} would lie in {outer}, which is written too", "name places side by side")
    for path in written.values():
        refuse_old(path)
    records, answers, about = read_finished(folder)
    for kind, path in written.items():
        WRITERS[kind](about.name, records, answers, path)
        click.echo(printable(f"wrote {path}"))
    if not written:
        told = False
        for line in steps_in_lines(folder, as_json) if training else in_lines(records, as_json):
            told = True
            click.echo(line if as_json else printable(line))
        if training and not told:
            why = "none of its treatments trains" if about.interventions else "it has no treatments"
            say(f"no safety training was done in '{about.name}': {why}")


def _csv(name: str, records: Any, answers: Any, out: Path) -> None:
    from dormouse.integrations.tables import write_csv

    write_csv(records, out)


def _parquet(name: str, records: Any, answers: Any, out: Path) -> None:
    from dormouse.integrations.tables import write_parquet

    write_parquet(records, out)


def _dataset(name: str, records: Any, answers: Any, out: Path) -> None:
    from dormouse.integrations.tables import write_dataset

    write_dataset(name, records, answers, out)


def _inspect(name: str, records: Any, answers: Any, out: Path) -> None:
    from dormouse.integrations.inspect_logs import write_logs

    write_logs(name, answers, out)


WRITERS: dict[str, Callable[[str, Any, Any, Path], None]] = {
    "csv": _csv,
    "parquet": _parquet,
    "dataset": _dataset,
    "inspect": _inspect,
}
"""Option -> what writes it: (name of the study, records, answers, where to)."""


@click.command()
@click.argument("folder", type=A_FILE)
@click.argument("out", type=A_FILE)
@click.option("--merged", is_flag=True, help="A whole model, the adapter added to the weights.")
@click.option("--adapter", is_flag=True, help="A peft adapter of the base model [where there is one].")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32", show_default=True)
@click.option("--push", metavar="ORG/NAME", help="Upload it to the Hugging Face hub too, after asking; private.")
@click.option("--public", is_flag=True, help="With --push: for all to see.")
@click.option("--lm-eval", "lm_eval", is_flag=True, help="Write a task of lm-eval beside it, in OUT.lm-eval.")
@PLUGIN
def export(folder: Path, out: Path, dtype: str, push: str | None, public: bool, lm_eval: bool, **form: bool) -> None:
    """Write a trained model to OUT, for other tools: transformers, peft, lm-eval, Inspect, vLLM.

    FOLDER is one such as runs/quickstart/models/year-seed0.
    """
    from dormouse.export import export as write
    from dormouse.integrations import hub_push
    from dormouse.integrations.lm_eval import beside, write_task
    from dormouse.outputs import refuse_old

    forms = [name for name, wanted in form.items() if wanted]
    if len(forms) > 1:
        raise UserError("a model is exported --merged or as an --adapter", "say one of them")
    if push:
        hub_push.check_name(push)
        if out.exists():
            raise UserError(f"{out} is there already", "name a new folder: what is uploaded is exported anew")
    elif public:
        raise UserError("--public is about an upload", "say where with --push ORG/NAME")
    if lm_eval:
        refuse_old(beside(out))
    for line in write(folder, out, cast(Any, forms[0] if forms else None), dtype):
        click.echo(printable(line))
    if lm_eval:
        click.echo(printable(write_task(folder, out)))
    if push:
        click.echo(
            printable(hub_push.push(folder, out, push, public, lambda question: click.confirm(printable(question))))
        )
