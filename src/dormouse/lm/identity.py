"""The content address of a folder of weights."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from pathlib import Path

from dormouse.errors import UserError
from dormouse.files import read_whole, replaced, sha256
from dormouse.json_files import json_text, read_json
from dormouse.lm.folders import check_folder, describing, home, weights_in

DROPOUT = re.compile(rb'"dropout"\s*:\s*([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)')
"""Of a tokenizer; or of a word of that name in its vocabulary, which has a whole number. (All merges left out, which is
1, splits a text the same way each time.)"""
A_MOMENT = 2_000_000_000
"""Nanoseconds after which a file that is changed again has another time of change, on any file system."""


def identity(folder: Path, remember: bool = True) -> str:
    """A content address of a model folder, whatever it is called: how many thousand weights it has, by which the times
    of models are compared, and the hash of its weights, configuration and tokenizer.

    Hashes are remembered, so that a second look at large weights is free (unless `remember` is false: then nothing is
    written): by path, inode, size and the times of the last write and of the last change, which no program can set. A
    file that changed a moment ago is not remembered: it may change again within the same tick of the clock. What is
    gone, or has changed since, is forgotten.
    """
    digest = hashlib.sha256()
    for name, checksum in checksums(folder, remember).items():
        digest.update(f"{name}:{checksum}\n".encode())
    return f"{weights_in(folder) // 1000}k@{digest.hexdigest()[:16]}"


def checksums(folder: Path, remember: bool = True) -> dict[str, str]:
    """The checksums of the weights, configuration and tokenizer in a model folder, by name, as `identity` finds them.

    Raises:
        UserError: see `check_folder`; or its tokenizer draws at random.
    """
    files = [*check_folder(folder), *describing(folder)]
    _refuse_dropout(folder / "tokenizer.json")
    memo_path = home() / "models" / "identities.json"
    try:
        memo = read_json(memo_path, dict[str, str])
    except (OSError, UserError):
        memo = {}
    sums, fresh = {}, False
    for path in files:
        at = _state(path)
        found = memo.get(at) or sha256(path)
        if at not in memo and time.time_ns() - path.stat().st_ctime_ns > A_MOMENT:
            memo[at], fresh = found, True
        sums[path.relative_to(folder).as_posix()] = found
    if fresh and remember:
        with contextlib.suppress(OSError):  # what cannot be remembered is worked out again
            memo_path.parent.mkdir(parents=True, exist_ok=True)
            replaced(memo_path, json_text({at: found for at, found in memo.items() if _is_state(at)}))
    return sums


def _refuse_dropout(tokenizer: Path) -> None:
    """
    Raises:
        UserError: it merges at random, as for training some do: the same text would be other tokens each time.
    """
    with contextlib.suppress(OSError):  # there need not be one
        rates = [one.decode() for one in DROPOUT.findall(read_whole(tokenizer))]
        if drawn := [rate for rate in rates if float(rate) and not rate.isdigit()]:
            raise UserError(
                f"the tokenizer in {tokenizer} splits texts at random (dropout {drawn[0]})",
                'say "dropout": null there: that is for training, and no number could be made twice',
            )


def _state(path: Path) -> str:
    """What changes whenever a file does."""
    stat = path.stat()
    return "|".join(map(str, (path.resolve(), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)))


def _is_state(at: str) -> bool:
    """Whether the file of this state is still in it."""
    try:
        return _state(Path(at.rsplit("|", 4)[0])) == at
    except OSError:
        return False
