"""GGUF -> safetensors, once. Only for files whose checksum dormouse knows."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def gguf_to_safetensors(file: Path, out: Path) -> None:
    """Expand a quantised GGUF to float32 safetensors with its tokenizer and chat template in `out`.

    For a process of its own: it changes the library that reads GGUF.
    """
    where: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    # transformers reads the file three times over and draws up the same map for every tensor: most of the time.
    for slow in ("GGUFReader", "get_tensor_name_map"):
        setattr(gguf, slow, cache(getattr(gguf, slow)))
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
        model: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # transformers refuses to save "a model quantized with gguf"; these weights are expanded by now.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(**where).save_pretrained(out)


if __name__ == "__main__":
    gguf_to_safetensors(Path(sys.argv[1]), Path(sys.argv[2]))
