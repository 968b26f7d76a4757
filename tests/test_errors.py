"""What there is to know of somebody else's error."""

from __future__ import annotations

import errno
import shutil
import warnings
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from dormouse.errors import DormouseWarning, is_out_of_memory, reason, refusal, warn, with_type


class MuteError(Exception):
    """An error of a plug-in that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("no\n  such thing"), "no such thing"),
        (ValueError("  "), "ValueError"),
        (ValueError("half \ud800"), "half \\ud800"),
        (MuteError(), "MuteError"),
    ],
)
def test_an_error_is_one_line_of_text(error: Exception, says: str) -> None:
    assert reason(error) == says
    assert with_type(error) in (says, f"ValueError: {says}")


FULL = OSError(errno.ENOSPC, "No space left on device", "/store/a")


def caused(cause: Exception | None) -> Exception:
    """An error of a library that has another as its cause."""
    error = RuntimeError("cannot be saved")
    error.__cause__ = cause or error
    return error


@pytest.mark.parametrize(
    ("error", "file"),
    [
        (FULL, "/store/a"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), None),
        (shutil.Error([("/other" * 99, "/store", str(FULL)), ("/other", "/store", str(FULL))]), "/store/a"),
        (shutil.Error([("/other", "/store", str(OSError(*FULL.args, "/store/a", None, "/store/b")))]), "/store/a"),
        (shutil.Error([("/other", "/store", str(OSError(*FULL.args[:2])))]), None),
        (caused(caused(FULL)), "/store/a"),
    ],
)
def test_what_the_system_refused(error: Exception, file: str | None) -> None:
    """Libraries say it in words alone, or as the cause of an error of their own."""
    told = refusal(error)
    assert told is not None
    assert (told.errno, told.strerror, told.filename) == (*FULL.args[:2], file)


@pytest.mark.parametrize("error", [OSError("of a library"), MuteError(), caused(None), caused(ValueError("no"))])
def test_what_no_system_refused(error: Exception) -> None:
    assert refusal(error) is None


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8"), True),
        (SafetensorError("Cannot allocate memory (os error 12)"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("sizes do not fit"), False),
    ],
)
def test_no_memory_is_known_by_what_it_says(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


@pytest.mark.parametrize("how", ["error", "always", "ignore"])
def test_a_warning_of_ours_is_never_fatal(how: Any) -> None:
    """With PYTHONWARNINGS=error, or after a plug-in's `simplefilter("error")`, a finished study had no report."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter(how)
        warn("it was made again", level=1)
        assert warnings.filters[0][0] == how
    assert [(str(one.message), one.category) for one in said] == [("it was made again", DormouseWarning)] * (
        how != "ignore"
    )
    assert {one.filename for one in said} <= {__file__}
