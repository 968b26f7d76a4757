"""Resume points: what a training needs to go on after its process was killed, bit for bit.

    FOLDER/point.json                 the state, without its tensors; replaced in one go
    FOLDER/state-NNNNNN.safetensors   its tensors
    FOLDER/step-NNNNNN/               checkpoints that were saved so far

No pickle: a point that was tampered with can spoil a number, never run code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dormouse.errors import UserError, refusal, warn
from dormouse.files import NO_SUCH_FILE, fsync, read_whole, remedy_of, settle, sha256

POINT = "point.json"
FORMAT = 1
LEAST_WORK = 20
"""Writing takes at most one part of this many of the time."""


TABLE_WIDTH = 512
"""Numbers in a row of the tables whose sums are hashed."""


class Memory(Protocol):
    """Something beside the weights that changes as training goes on, such as what a red team has found so far."""

    def state(self) -> Any:
        """All of it, as plain JSON data."""
        ...

    def restore(self, state: Any) -> None:
        """Go back to that state."""
        ...


class Resume:
    """The resume point of one training, in a folder of its own.

    Args:
        about: what the training is, as JSON data. A point of another one is not used.
        every: seconds between two points, at least.
        writes: whether this process writes points, or only reads them.
    """

    def __init__(self, folder: Path, about: Any, every: float, writes: bool = True) -> None:
        self.folder, self.about, self.every, self.writes = folder, about, every, writes
        self.pause, self.last = every, time.monotonic()
        self.checked: dict[str, dict[str, str]] = {}
        """Checksums of the checkpoints so far, file by file."""

    def checkpoint(self, step: int) -> Path:
        """Where the weights of a step are kept while the training goes on."""
        return self.folder / f"step-{step:06d}"

    def due(self) -> bool:
        """Whether it is time for another point."""
        return self.writes and time.monotonic() - self.last >= self.pause

    def write(self, step: int, state: Any, finished: bool = False) -> None:
        """Write a point in place of the one before. Either is whole on the disk whenever the process dies."""
        started = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, torch.Tensor] = {}
        name = f"state-{step:06d}.safetensors"
        said = {"format": FORMAT, "about": self.about, "finished": finished, "state": _take_out(state, tensors)}
        save_file(tensors, self.folder / f"{name}.tmp")
        settle(self.folder / f"{name}.tmp")
        os.replace(self.folder / f"{name}.tmp", self.folder / name)
        for saved in self.folder.glob("step-*"):
            if saved.name not in self.checked:
                for path in (*saved.rglob("*"), saved):
                    settle(path)
                self.checked[saved.name] = _checksums(saved)
        said |= {"tensors": [name, sha256(self.folder / name)], "checkpoints": self.checked}
        self._replace(said)
        for old in self.folder.glob("state-*"):
            if old.name != name:
                old.unlink()
        self.last = time.monotonic()
        self.pause = max(self.every, (LEAST_WORK - 1) * (self.last - started))

    def _replace(self, said: Any) -> None:
        text = json.dumps(said)
        fresh = self.folder / f"{POINT}.tmp"
        fresh.write_text(json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "point": text}))
        fsync(fresh)
        os.replace(fresh, self.folder / POINT)
        fsync(self.folder)

    def read(self) -> tuple[Any, bool] | None:
        """The state of the last point, and whether the training was finished. None where there is no such point.

        What was left by a killed process after that point is deleted. A point that is damaged, or of another training,
        is deleted with a warning.

        Raises:
            UserError: it is there and cannot be read, so that nobody knows whether it is damaged. It stays.
        """
        found = self._found()
        self.checked = found[2] if found else {}
        if self.writes and self.folder.is_dir():
            self._clear(keep={*self.checked, *((POINT, found[3]) if found else ())})
        return found[:2] if found else None

    def _found(self) -> tuple[Any, bool, dict[str, dict[str, str]], str] | None:
        try:
            try:
                outer = json.loads(read_whole(self.folder / POINT))
            except FileNotFoundError:
                return None
            if hashlib.sha256(outer["point"].encode()).hexdigest() != outer["sha256"]:
                raise ValueError("the checksum of the point fails")
            said = json.loads(outer["point"])
            if (said["format"], said["about"]) != (FORMAT, json.loads(json.dumps(self.about))):
                self._warn("belongs to another training")
                return None
            name, checksum = said["tensors"]
            if sha256(self.folder / name) != checksum:
                raise ValueError("the checksum of the tensors fails")
            if any(_checksums(self.folder / step) != files for step, files in said["checkpoints"].items()):
                raise ValueError("the checksum of a checkpoint fails")
            state = _put_back(said["state"], load_file(self.folder / name))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
            if (refused := refusal(error)) and refused.errno not in NO_SUCH_FILE:
                raise self._unread(refused) from error
            self._warn("is damaged")
            return None
        return state, said["finished"], said["checkpoints"], name

    def _unread(self, refused: OSError) -> UserError:
        at = refused.filename or self.folder
        what = f"the resume point in {self.folder} cannot be read, and stays: {refused.strerror or refused} ({at})"
        return UserError(what, remedy_of(refused.errno, "remove that folder: the training starts anew"))

    def _warn(self, why: str) -> None:
        text = f"the resume point in {self.folder} {why}; the training starts anew"
        warn(text, level=5)

    def _clear(self, keep: set[str]) -> None:
        for path in self.folder.iterdir():
            if path.name not in keep:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def hand_over(self, out: Path) -> None:
        """Put the checkpoints where they belong; the folder keeps its own."""
        for saved in sorted(self.folder.glob("step-*")):
            shutil.rmtree(out / saved.name, ignore_errors=True)
            shutil.copytree(saved, out / saved.name, copy_function=_link_or_copy)

    def delete(self) -> None:
        """Forget this training. The folder above goes too, if nothing else is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()


def fingerprint(weights: Sequence[tuple[str, torch.Tensor]]) -> str:
    """A hash of named weights by sums of their bits, the same on every device: any weight that changed, and any two
    that changed places, make it another. It is no seal: whoever wants two models with one fingerprint can make them.
    """
    found = hashlib.sha256()
    for name, weight in weights:
        found.update(json.dumps([name, str(weight.dtype), list(weight.shape)]).encode())
        for part in _sums(weight.detach()):
            found.update(part.cpu().numpy().tobytes())
    return found.hexdigest()


def _sums(weight: torch.Tensor) -> Iterator[torch.Tensor]:
    """The bits of a weight as whole numbers in a table, added up by rows and by columns, and what is left over."""
    flat = weight.contiguous().view(-1).view(torch.uint8)
    if flat.storage_offset() % 8:
        flat = flat.clone()
    whole = len(flat) // (8 * TABLE_WIDTH) * 8 * TABLE_WIDTH
    table = flat[:whole].view(torch.int64).view(-1, TABLE_WIDTH)
    yield table.sum(1)
    yield table.sum(0)
    yield flat[whole:]


def _take_out(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Nested data as JSON. Tensors go into `tensors`, dense as the format wants them; a place is left for each."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name, "stride": list(value.stride())}
    if isinstance(value, dict):
        return {"dict": [[key, _take_out(inner, tensors)] for key, inner in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_take_out(inner, tensors) for inner in value]}
    return [_take_out(inner, tensors) for inner in value] if isinstance(value, list) else value


def _put_back(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The inverse of `_take_out`. Tensors get the layout that they had: with another, sums differ in the last bit."""
    if isinstance(value, list):
        return [_put_back(inner, tensors) for inner in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        dense = tensors[value["tensor"]]
        return torch.empty_strided(dense.shape, value["stride"], dtype=dense.dtype).copy_(dense)
    if "tuple" in value:
        return tuple(_put_back(inner, tensors) for inner in value["tuple"])
    return {key: _put_back(inner, tensors) for key, inner in value["dict"]}


LINKED_FROM_BYTES = 2**20


def _link_or_copy(source: str, target: str) -> None:
    """Large files are weights, which nobody writes into: two names for one file spare the room of a second model."""
    if os.path.getsize(source) >= LINKED_FROM_BYTES:
        with suppress(OSError):  # another disk, or one that has no links
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _checksums(folder: Path) -> dict[str, str]:
    """The checksum of each file below a folder. What the system refuses is an error: `rglob` leaves it out."""
    found: dict[str, str] = {}
    for above, _, names in os.walk(folder, onerror=_fail):
        found |= {str(Path(above, name).relative_to(folder)): sha256(Path(above, name)) for name in names}
    return dict(sorted(found.items()))


def _fail(error: OSError) -> None:
    raise error
