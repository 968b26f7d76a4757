"""`dormouse play`: the playground from the command line."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import click

from dormouse.options import PLUGIN
from dormouse.stopping import CTRL_C, Stopped
from dormouse.terminal import say


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the page [any that is free].")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address: no other machine is let in.")
@click.option("--no-browser", is_flag=True, help="Do not open the page, only say where it is.")
@PLUGIN
def play(folders: tuple[Path, ...], port: int, host: str, no_browser: bool) -> None:
    """Move the cues of an organism in a browser, and see what it would do.

    Each of FOLDERS is a run (runs/quickstart), a model of one (runs/quickstart/models/year-seed0), or any folder with a
    model, of which nothing is known then. Ctrl-C ends it.
    """
    serve(folders, host, port, opens=not no_browser, say=say)


def serve(folders: Sequence[Path], host: str, port: int, opens: bool, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UserError: a folder holds no model, the first model is damaged, or the address cannot be had.
    """
    from dormouse.integrations.play.server import loopback

    address = loopback(host)
    from dormouse.integrations.play.folders import subjects
    from dormouse.integrations.play.game import Game

    found = subjects(folders, say)
    from dormouse.integrations.play.moves import Bench
    from dormouse.integrations.play.server import Server

    bench = Bench()
    first = found[0]
    say(f"loading {first.name}")
    bench.models.reader(next(one for one in first.states if one.shown).model)
    server = Server(address, port, Game(found), bench)
    try:
        click.echo(f"playground: {server.url}")
        say("It answers this machine only. Ctrl-C ends it.")
        if opens and (sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)):
            threading.Thread(target=_open, args=(server.url,), daemon=True).start()
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt as stopped:
        say("\nclosed.")
        if isinstance(stopped, Stopped) and stopped.code != CTRL_C:
            sys.exit(stopped.code)
    finally:
        server.close()


def _open(url: str) -> None:
    """Open the page in a browser, and wait for its end where that is how it runs. One of the terminal would take this
    one, and runs no scripts: it is opened only where the user names it, in BROWSER."""
    with suppress(webbrowser.Error):  # there is none: where the page is has been said
        found = webbrowser.get()
        of_terminal = isinstance(found, webbrowser.GenericBrowser | webbrowser.Elinks)
        if "BROWSER" in os.environ or not of_terminal or isinstance(found, webbrowser.BackgroundBrowser):
            found.open(url)
