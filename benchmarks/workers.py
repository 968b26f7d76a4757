"""How long a worker takes to be there, started by itself (spawn) and forked from one that has imported torch.

    python benchmarks/workers.py

A worker is there when it has imported all that a stage needs. The second is what a study's second worker costs, or one
in place of a worker that was killed. Prints a table for docs/benchmarks.md.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import time
from multiprocessing import forkserver

from dormouse.execution.local import PRELOADED, starts


def there() -> None:
    """What a worker is to have imported."""
    for name in PRELOADED:
        importlib.import_module(name)


def seconds(kind: str) -> tuple[float, float]:
    """Wall seconds until a worker is there and gone, and of processor time (its own and its parents')."""
    context = starts() if kind == "forked" else multiprocessing.get_context("spawn")
    began, before = time.monotonic(), _spent()
    process = context.Process(target=there)  # type: ignore[attr-defined]
    process.start()
    process.join()
    return time.monotonic() - began, _spent() - before


def _spent() -> float:
    """Seconds of processor time of children that ended, and of the process that workers are forked from."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    living = 0.0
    if server:
        with open(f"/proc/{server}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        living = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return ended.ru_utime + ended.ru_stime + living


def main() -> None:
    print("| started | worker | wall | processor |")
    print("|---|---|---|---|")
    for kind in ("spawned", "forked"):
        for which in ("first", "second", "third"):
            wall, spent = seconds(kind)
            print(f"| {kind} | {which} | {wall:.2f} s | {spent:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
