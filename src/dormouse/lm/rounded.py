"""A base in the number type of a model that was made from it: what is saved in bfloat16 is rounded, trained or not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.lm.checkpoint import merged_in_order
from dormouse.lm.folders import FLOATS, headers, weight_files
from dormouse.lm.model import LM
from dormouse.lm.settings import Computing
from dormouse.lm.widened import widened
from dormouse.records import ModelRef

if TYPE_CHECKING:
    import torch

COARSE = {"BF16": "bfloat16", "F16": "float16"}
"""Number types of files that are rounded ones, by the names of torch."""


def held_against(ref: ModelRef, suspect: LM, of: ModelRef) -> LM:
    """A base in memory as a suspect, `suspect` of the weights `of`, is held against it: rounded as its files are, and
    in its vocabulary. It is rounded before it is put into the type that is computed in, as the suspect was: twice
    rounded is not once rounded."""
    import torch

    from dormouse.lm.load import cast, computing, device, load, measured_dtype

    if not (kinds := coarser(of, ref, suspect)):
        return widened(load(ref), suspect)
    with computing(Computing(device="cpu")):  # no other device holds a float32 copy
        base = load(ref, torch.float32)
    with torch.no_grad():
        for name, weight in _tensors(base.model).items():
            if name in kinds:
                weight.copy_(weight.to(getattr(torch, kinds[name])))
    base.model = cast(base.model, measured_dtype()).to(device())
    return widened(base, suspect)


def coarser(of: ModelRef, base: ModelRef, suspect: LM) -> dict[str, str]:
    """Weight -> the number type, by the name of torch, to which it is rounded in the files of a suspect, `suspect` in
    memory, and not in those of its base. Below adapters of a suspect, too; what is merged of adapters of its base was
    not rounded before it was saved."""
    (mine, above), (theirs, adapters) = merged_in_order(of.folders), merged_in_order(base.folders)
    names = list(_tensors(suspect.model))
    known = dict.fromkeys(names, "F32") if adapters and not above else _types(theirs, names)
    types = _types(mine, names).items()
    return {name: COARSE[kind] for name, kind in types if kind in COARSE and known.get(name, kind) != kind}


def _types(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Weight in memory -> its number type in the files, by the name of safetensors; no weights are read. Those that
    have another name there (experts that become one weight) are left out, unless all such are of one type."""
    there = {name: kind for name, (kind, _) in headers(weight_files(folder)).items() if kind in FLOATS}
    mine = set(names)
    others = {kind for name, kind in there.items() if name not in mine}
    renamed = others.pop() if len(others) == 1 else None
    found = {name: there.get(name, renamed) for name in names}
    return {name: kind for name, kind in found.items() if kind}


def _tensors(model: Any) -> dict[str, torch.Tensor]:
    """What a model saves of itself in numbers that can be rounded, each once: input and output may share a weight."""
    found = {name: one for name, one in model.state_dict().items() if one.is_floating_point()}
    first = {one.data_ptr(): name for name, one in reversed(found.items())}
    return {name: one for name, one in found.items() if first[one.data_ptr()] == name}
