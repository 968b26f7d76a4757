"""What this machine has for dormouse, and what to do about what is missing."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from dormouse.errors import UserError
from dormouse.lm.folders import home
from dormouse.lm.zoo import ZOO, changes, is_here

NEEDED_MEMORY_GB = 4
NEEDED_DISK_GB = 3


@dataclass(frozen=True)
class MachineCheck:
    """`remedy` is empty where there is nothing to do."""

    ok: bool
    what: str
    remedy: str = ""


def examine() -> list[MachineCheck]:
    """Every finding, the machine first, then what is installed, then models and the store."""
    return [_cores(), _memory(), _gpu(), *_packages(), _store(), _disk(), *_models()]


def _cores() -> MachineCheck:
    return MachineCheck(True, f"{psutil.cpu_count(logical=False) or 1} cores")


def _memory() -> MachineCheck:
    free = psutil.virtual_memory().available / 2**30
    remedy = "" if free >= NEEDED_MEMORY_GB else f"the quickstart needs {NEEDED_MEMORY_GB} GB: close something"
    return MachineCheck(not remedy, f"{free:.1f} GB of memory free", remedy)


def _gpu() -> MachineCheck:
    import torch

    if torch.accelerator.is_available():
        place = torch.accelerator.current_accelerator()
        return MachineCheck(True, f"an accelerator: {place} ({torch.accelerator.device_count()})")
    return MachineCheck(True, "no GPU: models of 135M parameters train on the CPU in a minute or two")


def _packages() -> list[MachineCheck]:
    found = []
    for name in ("torch", "transformers", "peft"):
        try:
            found.append(MachineCheck(True, f"{name} {version(name)}"))
        except PackageNotFoundError:
            found.append(MachineCheck(False, f"{name} is not installed", "run `make setup`"))
    return found


def _store() -> MachineCheck:
    try:
        home().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home()):
            pass
    except OSError as error:
        remedy = "set DORMOUSE_HOME to a folder that you may write to"
        return MachineCheck(False, f"{home()} cannot be written: {error.strerror}", remedy)
    return MachineCheck(True, f"models and finished stages are kept in {home()}")


def _disk() -> MachineCheck:
    place = next(folder for folder in (home(), *home().parents, Path("/")) if folder.exists())
    free = shutil.disk_usage(place).free / 2**30
    remedy = "" if free >= NEEDED_DISK_GB else "free some space, or set DORMOUSE_HOME to a larger disk"
    return MachineCheck(not remedy, f"{free:.0f} GB of disk free there", remedy)


def _models() -> list[MachineCheck]:
    """The zoo: what is here, and whether it is what was fetched. What comes under terms of its own nobody is sent to
    fetch."""
    return [_model(name) for name in ZOO if is_here(name) or not ZOO[name].terms]


def _model(name: str) -> MachineCheck:
    if not is_here(name):
        remedy = f"`dormouse models fetch {name}` ({ZOO[name].megabytes} MB)"
        return MachineCheck(False, f"the model {name} is not here", remedy)
    remedy = f"remove {home() / 'models' / name}; it is then fetched again"
    try:
        changed = changes(name)
    except UserError as error:
        return MachineCheck(False, error.what, remedy)
    return (
        MachineCheck(False, f"the model {name} was changed: {', '.join(changed)}", remedy)
        if changed
        else MachineCheck(True, f"the model {name}")
    )
