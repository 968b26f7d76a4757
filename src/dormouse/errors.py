"""The two kinds of failure that a user may see. Anything else that reaches a terminal is a bug of ours.

And what there is to know of an error of somebody else's: what it says, what the system refused, whether memory ran out.
"""

from __future__ import annotations

import errno
import os
import re
import warnings


class UserError(Exception):
    """Something the user can fix. `what` says what is wrong, `remedy` how to fix it.

    The command line prints both, without a traceback, and exits with code 2.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.remedy}"


class DivergedError(UserError):
    """A training that comes to nothing: from where it stopped it would come there again."""


class DormouseWarning(UserWarning):
    """Something was wrong and was fixed (a damaged store entry that was rebuilt). Printed by `warn`, never fatal."""


def warn(text: str, level: int = 2) -> None:
    """Give a DormouseWarning. Where warnings are made errors (by `python -W error`, or in a plug-in) it is printed all
    the same: what it tells of is mended, and no reason to lose a study.

    Args:
        level: whose line it is said to be of, as `stacklevel` of `warnings.warn`: 2 for who calls the caller.
    """
    try:
        warnings.warn(text, DormouseWarning, stacklevel=level + 1)
    except DormouseWarning:
        with warnings.catch_warnings():
            warnings.simplefilter("always", DormouseWarning)
            warnings.warn(text, DormouseWarning, stacklevel=level + 1)


MORE_MEMORY = "use fewer workers (--workers 1), a smaller batch or model, or more memory; what was finished is kept"


def reason(error: BaseException, letters: int = 300) -> str:
    """What an error says, on one line, as text that any file takes; its type, where it says nothing or cannot."""
    return utf8(" ".join(_text_of(error).split())[:letters] or type(error).__name__)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of a plug-in, whose text is its own
        return ""


def utf8(text: str) -> str:
    """A text with halves of characters written out: the name of a file holds some that is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def with_type(error: BaseException, letters: int = 300) -> str:
    """The type of an error and what it says: `ValueError: no such thing`."""
    name, said = type(error).__name__, reason(error, letters)
    return name if said == name else f"{name}: {said}"


REFUSED = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\](?: [^'\"]*: '([^']+)')?")
"""How an error of somebody else's gives the number of what the system refused in words, and perhaps the file."""


def refusal(error: BaseException | None) -> OSError | None:
    """What the operating system refused, if that is what an error is about. Libraries have errors of their own for it:
    they give its number in words (Rust's; `shutil.Error`, for all files at once), or have it as their cause.
    """
    seen: list[int] = []
    while error and id(error) not in seen:  # `raise error from error` makes a circle
        if isinstance(error, OSError) and error.errno:
            return error
        if said := REFUSED.search(_text_of(error)):
            number = int(said[1] or said[2])
            return OSError(number, os.strerror(number), said[3])
        seen.append(id(error))
        error = error.__cause__
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, of the machine or of a device. torch has an error of its own
    for a GPU alone."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    refused = refusal(error)
    return (refused is not None and refused.errno == errno.ENOMEM) or "memory: you tried to allocate" in reason(error)
