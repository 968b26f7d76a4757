"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

OUT = click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
STORE = click.option(
    "--store", type=click.Path(path_type=Path), help="Folder of finished stages [$DORMOUSE_HOME/store]."
)
WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    envvar="DORMOUSE_WORKERS",
    help="Stages worked on at a time [one for each core, as far as memory goes].",
)
EXECUTOR = click.option(
    "--executor",
    default="local",
    show_default=True,
    help="Where stages are worked on: `local` (this machine), `ray` (RAY_ADDRESS), `slurm`, or a plug-in's.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
PLUGIN = click.option(
    "--plugin",
    "plugin",
    type=click.Path(path_type=Path),
    multiple=True,
    envvar="DORMOUSE_PLUGINS",
    expose_value=False,
    is_eager=True,
    callback=lambda ctx, option, files: _load_plugins(files),
    help="A Python file that registers plug-ins. May be given several times.",
)
QUIET = click.option("--quiet", is_flag=True, help="Plain lines in place of progress bars, for logs.")


def _load_plugins(files: tuple[Path, ...]) -> None:
    from dormouse.registry import load_plugin

    for file in files:
        load_plugin(file)
