"""How large a model is that is not loaded, and may not be on this machine: for estimates. Fetches no weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dormouse.errors import UserError, reason
from dormouse.lm.configuration import read_config, refuse_code
from dormouse.lm.folders import weights_in
from dormouse.lm.hub import of_revision
from dormouse.records import weights_by_name

MEASURED = 300e6
"""Weights up to which our learning rates were tried."""
MOST_LAYERS = 2000
PATIENCE = 5.0
"""Seconds that the hub has to answer."""


@dataclass(frozen=True)
class Size:
    """How many weights a model has, and what says so."""

    weights: int
    source: str


def weights_of(model: str) -> float | None:
    """How many weights a model has that a study names: those in its folder, else the number in its name. What lies in
    the cache of the hub is not asked: a study means the same before and after its model was fetched."""
    try:
        folder = Path(model).expanduser()
        found = weights_in(folder) if folder.is_dir() else 0
    except (OSError, RuntimeError, ValueError):  # no path at all
        found = 0
    return found or weights_by_name(model)


def rate_for(lr: float, model: str) -> float:
    """A learning rate that suits models of up to MEASURED weights, for this one: the larger ones get less, by the
    fourth root. That is the exponent 0.78 in the width which Schulman et al. 2025 ("LoRA Without Regret") found for
    Llamas, whose width grows about as the cube root of their weights."""
    weights = weights_of(model)
    return lr if not weights or weights <= MEASURED else float(f"{lr * (MEASURED / weights) ** 0.25:.2g}")


def size_in(folder: Path) -> Size | None:
    """The size of a model in a folder: that of its weights; where none are there, that which its configuration
    describes (transformers builds it without any numbers).

    Raises:
        UserError: the configuration names code, or a size that no model has.
    """
    if found := weights_in(folder):
        return Size(found, "its files")
    path = folder / "config.json"
    if not path.is_file():
        return None
    try:
        refuse_code(read_config(path), path, MOST_LAYERS)
        return Size(_described(folder), "its configuration")
    except UserError:
        raise
    except Exception as error:  # of transformers, of many kinds
        why = reason(error, 200)
        raise UserError(f"{path} describes no model: {why}", "copy the model again") from error


def _described(folder: Path) -> int:
    import torch
    from transformers import AutoModelForCausalLM

    from dormouse.lm.opening import configuration

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(folder))
    return sum(weight.numel() for weight in model.parameters())


def size_elsewhere(name: str) -> Size | None:
    """The size of a model that is not on this machine, as the hub says it (one question, nothing is fetched); None if
    it says nothing."""
    import huggingface_hub

    plain, revision = of_revision(name)
    try:
        asked = huggingface_hub.HfApi().model_info(plain, revision=revision, timeout=PATIENCE, expand=["safetensors"])
        if asked.safetensors and asked.safetensors.total > 0:
            return Size(asked.safetensors.total, "the hub")
    except Exception:  # no network, no such model, gated, or no answer in time
        pass
    return None
