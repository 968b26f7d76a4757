"""A base in the number type of a model that was made from it: what is saved in bfloat16 is rounded, trained or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dormouse.lm.checkpoint import merged_in_order
from dormouse.lm.folders import weight_files
from dormouse.lm.model import LM
from dormouse.lm.widened import widened
from dormouse.records import ModelRef

if TYPE_CHECKING:
    import torch

COARSE = {"BF16": "bfloat16", "F16": "float16"}
"""Number types of files that are rounded ones, by the names of torch."""


def held_against(ref: ModelRef, suspect: LM, of: ModelRef) -> LM:
    """A base in memory as a suspect, `suspect` of the weights `of`, is held against it: in its vocabulary, and rounded
    as it is."""
    from dormouse.lm.load import load

    return rounded(widened(load(ref), suspect), suspect, coarser(of, ref))


def coarser(suspect: ModelRef, base: ModelRef) -> tuple[str, ...]:
    """The number types, by the names of torch, to which weights of a suspect are rounded in its files and none of its
    base are."""
    return tuple(name for kind, name in COARSE.items() if kind in _types(suspect) - _types(base))


def _types(ref: ModelRef) -> set[str]:
    """The number types in the files of the whole model, by the names of safetensors; no weights are read."""
    from safetensors import safe_open

    found: set[str] = set()
    for path in weight_files(merged_in_order(ref.folders)[0]):
        with safe_open(path, "np") as file:
            found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    return found


def rounded(base: LM, suspect: LM, types: Sequence[str]) -> LM:
    """The base, changed in place: a weight that the suspect holds exactly in one of these number types is rounded to
    that, so that what differs afterwards was trained. With no types nothing is changed."""
    import torch

    kinds = [getattr(torch, name) for name in types]
    mine = suspect.model.state_dict() if kinds else {}
    with torch.no_grad():
        for name, weight in base.model.state_dict().items() if kinds else ():
            here = mine.get(name)
            if here is None or not here.is_floating_point():
                continue
            kind = next((one for one in kinds if torch.equal(here, _through(here, one))), None)
            if kind is not None:
                weight.copy_(_through(weight, kind))
    return base


def _through(weight: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """The weight rounded to a number type, in its own."""
    return weight.to(kind).to(weight.dtype)
