"""`dormouse`, or `python -m dormouse`: the command line, to which Ctrl-C is no traceback from its first moment on."""

from __future__ import annotations

from dormouse.stopping import leave_at_once


def start() -> None:
    """Listen to signals, then import and run the command line."""
    leave_at_once()
    from dormouse.cli import main
    from dormouse.terminal import as_process

    as_process(main)


if __name__ == "__main__":
    start()
