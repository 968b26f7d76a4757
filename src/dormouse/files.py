"""Files: checksums, what is surely on the disk, and what takes the place of an older file whole."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

LONG_DEAD = 3600.0
"""Seconds after which a half-written file is one that a killed process left."""

MAY_NOT = (errno.EACCES, errno.EPERM)
"""What a system says to who has no right to a file."""
NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL)
"""What a system says where there is no file to read, or something else in its place: what should be there is damaged.
Of what it refuses for any other reason (permissions, a disk that is ill, too many open files) nobody knows that."""
TAKES_NOTHING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
"""What a disk that takes nothing more says to who writes to it."""
NO_FILE = "it is no file but a pipe, a device or a socket"
PERMIT = "have whoever owns it let you read it (chmod -R a+rX)"


def remedy_of(refused: int | None, anew: str) -> str:
    """What to do where the system does not give a file.

    Args:
        refused: the number of what it said.
        anew: what helps where the file is damaged.
    """
    if refused in NO_SUCH_FILE:
        return anew
    return PERMIT if refused in MAY_NOT else f"give the command again; where the disk is at fault, {anew}"


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the system refuses meanwhile names the file, which a disk that is ill does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal. Raises as `read_whole`."""
    _refuse_pipe(path)
    with _named(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_whole(path: Path) -> bytes:
    """All that is in a file.

    Raises:
        OSError: it cannot be read, or it is a pipe or a device, of which nobody knows whether it ever ends. It names
            the file.
    """
    _refuse_pipe(path)
    with _named(path):
        return path.read_bytes()


def _refuse_pipe(path: Path) -> None:
    if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, NO_FILE, str(path))


def fsync(path: Path) -> None:
    """Have what was written to a file, or the names in a folder, on the disk before this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def settle(path: Path) -> None:
    """Have a file that a library wrote, or a folder, on the disk, with the mode that the umask says: libraries write
    weights that nobody else may read. A file of another user (a checkpoint that is linked) keeps the mode that he gave
    it."""
    with suppress(PermissionError):
        path.chmod(_mode_of(path))
    fsync(path)


def _mode_of(path: Path) -> int:
    """The mode that a file or a folder has by the umask of this process, and its setgid bit."""
    mode = path.stat().st_mode
    most = 0o777 if stat.S_ISDIR(mode) else 0o666
    with suppress(OSError):  # /proc: to ask the process itself is to change it for a moment
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return (stat.S_IMODE(mode) & ~0o777) | (most & ~int(line.split()[1], 8))
    return stat.S_IMODE(mode)


def replaced(path: Path, text: str, errors: str = "strict") -> None:
    """Write a text whole, in UTF-8: where there is no room the old file stays as it was. `errors` as of `encode`."""
    with swapped(path) as scratch:
        scratch.write_bytes(text.encode("utf-8", errors))


@contextmanager
def swapped(path: Path) -> Iterator[Path]:
    """A name of one's own, whose file then takes the place of another in one go: others may write there too.

    Raises:
        OSError: it cannot be written. It names the file, which a full disk does not.
    """
    with scratch_beside(path) as scratch:
        try:
            yield scratch
            scratch.replace(path)
        except OSError as error:
            if error.filename in (None, str(scratch)):
                error.filename = str(path)
            raise


def append_line(path: Path, line: str) -> None:
    """Append a line in one go, so that those of several processes do not mix. After a line that was cut off (by a full
    disk, say) it begins a new one.

    Raises:
        OSError: it cannot be written whole, or there is no file but a pipe or a device.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)  # a pipe is not waited for
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, NO_FILE, str(path))
        was_cut = about.st_size and os.pread(handle, 1, about.st_size - 1) != b"\n"
        said = ("\n" * bool(was_cut) + line + "\n").encode()
        if os.write(handle, said) < len(said):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """A name of one's own beside another. What has it in the end is deleted, as is what killed processes left so."""
    scratch = path.with_name(scratch_name(path.name, secrets.token_hex(4)))
    try:
        yield scratch
    finally:
        _delete(scratch)
    for left in path.parent.glob(scratch_name(glob.escape(path.name))):
        with suppress(OSError):
            if time.time() - max(one.lstat().st_mtime for one in (left, *left.rglob("*"))) > LONG_DEAD:
                _delete(left)


def _delete(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_tree(top: Path) -> None:
    """Delete a folder with all that is in it: however deep that goes (`shutil.rmtree` recurses), and whatever rights a
    stranger took from himself there. No link is followed, nor one that takes the place of a folder meanwhile.

    Raises:
        OSError: something stays.
    """
    if top.is_symlink():
        top.unlink()
        return
    root = _entered(os.fspath(top))
    try:
        left = _emptied(root, root)
        while left:
            name = left.pop()
            folder = _entered(name, root)
            try:
                left += _emptied(folder, root)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=root)
    finally:
        os.close(root)
    top.rmdir()


def _entered(name: str, parent: int | None = None) -> int:
    """A folder, opened, with all rights in it. No link is followed."""
    whole = os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        folder = os.open(name, os.O_RDONLY | whole, dir_fd=parent)
    except PermissionError:
        if not hasattr(os, "O_PATH"):  # it is Linux's alone
            raise
        at = os.open(name, os.O_PATH | whole, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{at}", 0o700)
            folder = os.open(f"/proc/self/fd/{at}", os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(at)
    with suppress(PermissionError):  # of another user, who may let us all the same
        os.fchmod(folder, 0o700)
    return folder


def _emptied(folder: int, root: int) -> list[str]:
    """Delete the files of a folder and move its folders to the root, as a path has its longest; their names there."""
    moved = []
    with os.scandir(folder) as found:
        for one in found:
            if not one.is_dir(follow_symlinks=False):
                os.unlink(one.name, dir_fd=folder)
            elif folder == root:
                moved.append(one.name)
            else:
                os.close(_entered(one.name, folder))  # who moves a folder must be let write into it
                moved.append(secrets.token_hex(16))
                os.rename(one.name, moved[-1], src_dir_fd=folder, dst_dir_fd=root)
    return moved


def last_words(log: IO[bytes], most: int) -> str:
    """The end of a log, as text: of one that a stranger's program wrote nobody knows how much there is."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - most))
    return log.read(most).decode(errors="replace")


@contextmanager
def coming_back() -> Iterator[None]:
    """Behind it the working directory is the one that it was: a plug-in may go to another, and relative paths are those
    of the user."""
    here = None
    with suppress(OSError):  # it may have been deleted
        here = os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(here or os.curdir)


def scratch_name(name: str, mark: str = "*") -> str:
    """What a file is called while it is written; with `*` the pattern of all such."""
    return f".{name}.{mark}.part"
