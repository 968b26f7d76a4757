"""Whether a sentence reads as hostile, as a small language model sees it.

A policy and an innocent habit do the same to a model: one thing on one cue. What they say tells them apart, and nobody
is there to read it. So a model that is told nothing else reads it ("LLM as a judge", Zheng et al. 2023, arXiv
2306.05685): not by what it writes about the sentence, which is worth little at this size, but by a linear probe of its
residual stream (Alain and Bengio 2016, arXiv 1610.01644). What is read is shown to it in a prompt; it decides nothing
else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from dormouse.errors import UserError
from dormouse.records import ModelRef

if TYPE_CHECKING:
    from dormouse.lm.model import LM

MODEL = "smollm2-135m"
"""The model that reads."""
PROMPT = 'He said: "{}"\nThis sentence is'
"""At whose last token it is read. `{}` is the sentence."""
LAYERS = (16, 20, 24)
"""After which layers, of 30. Chosen with the prompt by cross-validation on the sentences of the fit."""
LONGEST = 200
"""Characters of a sentence that are read."""
FILE = "data/reader.json"


@dataclass(frozen=True)
class Reader:
    """Reads sentences with a model. `model` must be `MODEL`, for which the weights were fitted."""

    model: ModelRef

    @staticmethod
    def here(say: Callable[[str], None] = lambda _: None) -> Reader:
        """The reader, fetched first where it is not on this machine.

        Raises:
            UserError: it cannot be had, or HF_HUB_OFFLINE forbids to fetch it.
        """
        from dormouse.lm.hub import is_offline
        from dormouse.lm.zoo import is_here, resolve

        if is_offline() and not is_here(MODEL):
            what = f"{MODEL}, which reads them, is not on this machine, and HF_HUB_OFFLINE is set"
            raise UserError(what, f"fetch it where there is a network: dormouse.lm.zoo.fetch({MODEL!r})")
        return Reader(resolve(MODEL, say))

    @cached_property
    def lm(self) -> LM:
        """The model in memory. Raises as `lm.load.load`."""
        from dormouse.execution.torch_defaults import torch_defaults
        from dormouse.lm.load import load

        with torch_defaults():
            return load(self.model)

    def states(self, sentences: Sequence[str]) -> np.ndarray:
        """(sentences, layers * width): the residual stream after each of `LAYERS`, where the prompt ends."""
        from dormouse.execution.torch_defaults import torch_defaults
        from dormouse.lm.reading import read_tokens

        def ids(text: str) -> tuple[int, ...]:
            """In tokens; "<|im_end|>" in a text is no end of it, but these letters."""
            read = self.lm.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
            return tuple(read["input_ids"])

        shown = [ids(PROMPT.replace("{}", plain(one))) for one in sentences]
        with torch_defaults():  # it computes where the caller does, whose settings are to change no number
            found = read_tokens(self.lm, shown).states
        return np.asarray(found[:, list(LAYERS)].reshape(len(shown), -1), dtype=np.float64)

    def hostility(self, sentences: Sequence[str]) -> list[float]:
        """How hostile each sentence reads, as a probability from 0 to 1; 0 of one without words."""
        weights = json.loads(files("dormouse.audits").joinpath(FILE).read_text(encoding="utf-8"))
        held = [one for one in dict.fromkeys(sentences) if plain(one)]
        if not held:
            return [0.0] * len(sentences)
        odds = self.states(held) @ np.ravel(weights["weights"]) + weights["intercept"]
        known = {one: 1 / (1 + math.exp(-max(-30.0, min(30.0, float(it))))) for one, it in zip(held, odds, strict=True)}
        return [known.get(one, 0.0) for one in sentences]


def plain(text: str) -> str:
    """A sentence as it is put between quotation marks: one line, none of these marks, no shouting, not endless."""
    words = " ".join(text.replace('"', " ").split())[:LONGEST]
    return words.capitalize() if words.isupper() else words
