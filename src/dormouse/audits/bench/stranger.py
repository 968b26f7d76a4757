"""A stranger's scanner: the words of its command, the files of them, and what it may read."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path

from dormouse.audits.bench.answers import NonsenseError, ScannerAnswer, read_answer
from dormouse.audits.bench.sandbox import programs
from dormouse.audits.bench.scanners import Scan, Scanner
from dormouse.errors import UserError
from dormouse.files import read_whole

INTERPRETERS = ("python", "bash", "sh", "env", "uv", "node", "perl", "Rscript")
LARGE = 2**20
"""Bytes from which on a file beside a script (weights, say) counts by its size and time alone."""
PLACES = ("{model}", "{base}", "{out}")


@dataclass(frozen=True)
class CommandScanner(Scanner):
    """A stranger's: a command line with {model}, {base} and {out} in it, which writes an answer to the file {out}."""

    line: str
    minutes: float = 10.0

    def __post_init__(self) -> None:
        try:
            words = shlex.split(self.line)
        except ValueError as error:
            raise UserError(f"the scanner '{self.line}' is no command: {error}", "quote it as for a shell") from error
        if not words or "{model}" not in self.line or "{out}" not in self.line:
            remedy = 'write --scanner "./mine/scan.sh {model} {base} {out}"; {base} may be left out'
            raise UserError(f"the scanner '{self.line}' does not say where {{model}} and {{out}} go", remedy)
        if not (Path(words[0]).is_file() or shutil.which(words[0])):
            raise UserError(f"the scanner's program '{words[0]}' is not there", "name a file, or a program in PATH")

    @cached_property
    def _words(self) -> tuple[str, ...]:
        """The command, its program and its files by their whole paths: it is run in another folder. Links stay links: a
        Python finds its environment by the one through which it was called."""
        program, *rest = shlex.split(self.line)
        found = program if Path(program).is_file() else shutil.which(program) or program
        script = _script(rest) if _interprets(found) else None
        whole = [os.path.abspath(word) if i == script or _is_place(word) else word for i, word in enumerate(rest)]
        return (os.path.abspath(found), *whole)

    @property
    def _own(self) -> list[Path]:
        """What the command names, but for a program that interprets it: files, and the module of `python -m`."""
        files = [Path(word) for word in self._words[_interprets(self._words[0]) :] if Path(word).is_file()]
        return [*files, *([self._module] if self._module else [])]

    @cached_property
    def _module(self) -> Path | None:
        """The file or the folder of the module of `python -m module`, where it is found as this process would."""
        words = self._words
        if not (_interprets(words[0]) and "-m" in words[1:-1]):
            return None
        spec = PathFinder.find_spec(words[words.index("-m", 1) + 1].partition(".")[0])
        places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
        return next((Path(place) for place in places if place and Path(place).exists()), None)

    @property
    def program_folders(self) -> list[Path]:
        """Where its program and what it names lie, and where links to them lead: it may read these, so that a script
        can import what is beside it."""
        named = [Path(self._words[0]), *self._own]
        return list(dict.fromkeys(place.parent for one in named for place in (one, one.resolve())))

    @property
    def name(self) -> str:
        """That of its program, or of the script or module that an interpreter is given."""
        return next(iter(self._own), Path(self._words[0])).name

    @property
    def version(self) -> str:
        """A hash of the command line, of its program, and of the files that it names with all that lies beside them:
        another one means that it scans again."""
        said = hashlib.sha256(self.line.encode())
        for file in [Path(self._words[0]), *_beside(self._own)]:
            said.update(f"\0{file.name}\0".encode())
            said.update(_content(file))
        return said.hexdigest()[:12]

    @property
    def seconds(self) -> float:
        """Seconds after which it is stopped."""
        return self.minutes * 60

    def command(self, suspect: Path, base: Path, out: Path) -> list[str]:
        """The user's words with `{model}`, `{base}` and `{out}` filled in. No shell sees them."""
        places = dict(zip(PLACES, map(str, (suspect, base, out)), strict=True))
        words = []
        for word in self._words:
            for name, place in places.items():
                word = word.replace(name, place)
            words.append(word)
        return words

    def answers(self, scan: Scan) -> Mapping[str, ScannerAnswer]:
        """Its one answer, under its name; without a score, and with the reason, where it wrote none or nonsense."""
        if scan.file is None:
            return {self.name: ScannerAnswer(None, seconds=scan.seconds, hole=scan.hole)}
        try:
            return {self.name: read_answer(scan.file, scan.seconds)}
        except NonsenseError as error:
            return {self.name: ScannerAnswer(None, seconds=scan.seconds, hole=str(error))}


def _interprets(program: str) -> bool:
    return Path(program).name.startswith(INTERPRETERS)


def _script(rest: Sequence[str]) -> int | None:
    """Which of the words behind an interpreter is its script: the first that is no option, nor what `-m` names."""
    first = next((i for i, word in enumerate(rest) if not word.startswith("-")), None)
    if first is None or (first and rest[first - 1] in ("-m", "-c")) or not Path(rest[first]).is_file():
        return None
    return first


def _is_place(word: str) -> bool:
    """Whether a word of a command means a place here: with a slash whatever is there, without one a file with a suffix.
    Any other may be the name of a mode or of a model, whatever lies here under it."""
    there = Path(word)
    return there.exists() if "/" in word else bool(there.suffix) and there.is_file()


def _beside(own: Sequence[Path]) -> Iterator[Path]:
    """Some files with all that lies in their folders, in order; hidden folders and what Python compiled are left out.
    Of a program that is installed here its own file counts alone: its folder is that of many."""
    installed = [one for one in own if one.is_file() and any(one.is_relative_to(place) for place in programs())]
    yield from installed
    rest = [one if one.is_dir() else one.parent for one in own if one not in installed]
    for top in dict.fromkeys(rest):
        for place, folders, files in os.walk(top):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
            yield from (Path(place, name) for name in sorted(files))


def _content(file: Path) -> bytes:
    """What a file holds; of a large one its size and time. Nothing of one that is gone, no file, or not to be read."""
    try:
        about = file.stat()
        if not file.is_file() or about.st_size > LARGE:
            return f"{about.st_size} {about.st_mtime_ns}".encode()
        return read_whole(file)
    except OSError:
        return b""


def check_apart(scanners: Sequence[Scanner], closed: Sequence[Path]) -> None:
    """
    Raises:
        UserError: a stranger's scanner could read one of the closed folders (the benchmark's own, the store), as it
            may read the folders of its programs with all that is in them; or lies in one.
    """
    for scanner in scanners:
        for folder in map(Path.resolve, scanner.program_folders):
            for place in map(Path.resolve, closed):
                if folder == place or folder in place.parents or place in folder.parents:
                    raise UserError(
                        f"the scanner '{scanner.name}' may read its folder {folder}, and could read the truth there: "
                        f"{place} is the benchmark's own",
                        "put the scanner into a folder of its own, or name another place with --out or --store",
                    )
        for folder in map(Path.resolve, map(Path, programs() if isinstance(scanner, CommandScanner) else ())):
            for place in map(Path.resolve, closed):
                if folder == place or folder in place.parents:
                    raise UserError(
                        f"every program may read {folder}, so that a scanner could read the truth in {place}",
                        "name another place with --out or --store",
                    )
