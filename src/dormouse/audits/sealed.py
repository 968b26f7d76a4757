"""What was found out once and is believed from then on: a file that holds it with a checksum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dormouse.errors import UserError, warn
from dormouse.files import swapped
from dormouse.json_files import Json, checked, digest, json_text, plain, read_json

T = TypeVar("T")
REMEDY = "remove it, and give the command again: it is found out anew"


@dataclass(frozen=True)
class SealedFile:
    """What stands in such a file: to what it is the answer (a hash), the answer, and `digest`, which is of both."""

    asked: str
    found: Json
    digest: str


def write_sealed(path: Path, asked: object, found: object, mode: int = 0o666) -> None:
    """Keep what was found, whole.

    Args:
        asked: all that it depends on, as JSON data.
        mode: who may read it; the umask takes from that.

    Raises:
        OSError: it cannot be written.
    """
    said = {"asked": digest(plain(asked)), "found": plain(found)}
    with swapped(path) as scratch:
        scratch.touch(mode=mode)
        scratch.write_text(json_text({**said, "digest": digest(said)}), encoding="utf-8")


def read_sealed(path: Path, asked: object, kind: type[T]) -> T | None:
    """What was found when this was asked; None where that is not known, with a warning where a file is not as it was
    written.

    Raises:
        UserError: the file is there and cannot be read: nobody knows whether it is damaged.
    """
    try:
        said = read_json(path, SealedFile, REMEDY)
        rest = {"asked": said.asked, "found": said.found}
        if said.digest == digest(rest) and said.asked == digest(plain(asked)):
            return checked(said.found, kind, str(path))
    except FileNotFoundError:
        return None
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise
    warn(f"{path} is not what was written there; what it said is found out again")
    return None
