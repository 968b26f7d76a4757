"""`dormouse bench audit`. Words are checked here, and nothing heavy is loaded before they are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from dormouse.options import PLUGIN, QUIET, STORE
from dormouse.terminal import printable


@click.group()
def bench() -> None:
    """Benchmarks with a known truth."""


@bench.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/bench-audit"), show_default=True)
@click.option("--organisms", type=click.IntRange(0, 10_000), default=120, show_default=True)
@click.option("--controls", type=click.IntRange(0, 10_000), default=120, show_default=True)
@click.option(
    "--model", "models", multiple=True, default=("micro-60k", "micro-250k"), show_default=True, help="Base models."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the zoo.")
@click.option("--locators", default="", metavar="KIND,...", help="Those of the audit [all]; `none` leaves it out.")
@click.option(
    "--scanner",
    "scanners",
    multiple=True,
    metavar="COMMAND",
    help='A scanner of your own: "./mine/scan.sh {model} {base} {out}". May be given several times.',
)
@click.option("--minutes", type=click.FloatRange(0.01, 10_000), default=1.0, show_default=True, help="For a suspect.")
@click.option("--no-test", is_flag=True, help="Make and scan the development half alone.")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True)
@STORE
@QUIET
@PLUGIN
def audit(out: Path, store: Path | None, quiet: bool, no_test: bool, locators: str, **given: Any) -> None:
    """Make a zoo of organisms and controls, and score scanners on it that are told nothing.

    What is finished is kept in OUT and in the store: the same command goes on from there.
    """
    from dormouse.api.run import open_store
    from dormouse.audits.bench.board import headline, write_board
    from dormouse.audits.bench.run import asked, run
    from dormouse.audits.zoo.make import ZooSize
    from dormouse.progress import watch

    size = ZooSize(*(given.pop(name) for name in ("organisms", "controls", "models", "seed")))
    size = replace(size, halves=("development",)) if no_test else size
    wanted = asked(out, size, locators, test=not no_test, **given)
    with watch(quiet) as watcher:
        board = run(wanted, open_store(store), watcher, partial(write_board, out))
    for line in headline(board):
        click.echo(printable(line))
    click.echo(printable(f"leaderboard: {out / 'leaderboard.html'}"))
