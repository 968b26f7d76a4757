"""Which words of one prompt carry an outcome: integrated gradients over the embeddings, and words left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from dormouse.lm.chat import prompt_text, start_of, with_start
from dormouse.lm.model import LM
from dormouse.locators.locator import Messages
from dormouse.locators.surrogate.outcome import Outcome

STEPS = 16
ROWS = 1024
"""How many embeddings are looked up at a time: those of a whole vocabulary are as large as its weights."""
WORD = re.compile(r"\w+")


def integrated_gradients(lm: LM, ids: Sequence[int], outcome: Outcome, steps: int = STEPS) -> np.ndarray:
    """How much each token of a prompt adds to an outcome, in the outcome's unit: (tokens,), float64.

    The gradient is followed on a straight line from the mean embedding to the prompt's own, by the midpoint rule
    (Sundararajan et al. 2017, arXiv 1703.01365). What all tokens add comes near to how far the outcome moves on that
    line, the nearer the more `steps`.
    """
    layer = lm.model.get_input_embeddings()
    tokens = torch.tensor([list(ids)], device=lm.device)
    with torch.no_grad():
        own = layer(tokens).float()
        every = torch.arange(len(layer.weight), device=lm.device)
        sums = (layer(part).float().sum(0) for part in every.split(ROWS))  # what the layer gives: it may scale its rows
        base = (sum(sums, start=torch.zeros_like(own[0, 0])) / len(every)).expand_as(own)
    parts = (torch.arange(steps, device=lm.device, dtype=torch.float32) + 0.5) / steps
    slopes = torch.zeros_like(own)
    for part in parts:
        point = (base + part * (own - base)).requires_grad_()
        hook = layer.register_forward_hook(lambda *_, point=point: point.to(layer.weight.dtype))
        try:
            with torch.enable_grad():
                out = lm.model(input_ids=tokens, use_cache=False, output_hidden_states=outcome.token is None)
                slopes += torch.autograd.grad(_value(out, outcome), point)[0]
        finally:
            hook.remove()
    added: np.ndarray = (slopes / steps * (own - base)).sum(-1)[0].double().cpu().numpy()
    return added


def _value(out: Any, outcome: Outcome) -> torch.Tensor:
    """`Outcome.values` of one prompt, with a gradient."""
    if outcome.token is not None:
        logprob = out.logits[0, -1].float().log_softmax(-1)[outcome.token].clamp(max=-1e-6)
        odds: torch.Tensor = outcome.sign * (logprob - torch.log(-torch.expm1(logprob)))
        return odds
    state = out.hidden_states[outcome.layer][0, -1].float()
    direction = torch.as_tensor(outcome.direction, dtype=torch.float32, device=state.device)
    along: torch.Tensor = outcome.sign * 8.0 * (state @ direction - outcome.middle) / outcome.gap
    return along


def word_shares(
    lm: LM, prompt: Messages, outcome: Outcome, ids: Sequence[int] = (), steps: int = STEPS
) -> dict[str, float]:
    """Word of the messages -> what its tokens add to the outcome; a word that stands there twice counts once, summed.

    Args:
        ids: the prompt in tokens, where more follows it (a scratchpad), in place of its own.
    """
    text = prompt_text(lm, prompt)
    read = lm.tokenizer(text, add_special_tokens=False, return_offsets_mapping=lm.tokenizer.is_fast)
    if "offset_mapping" not in read:
        return {}  # a tokenizer in Python does not say where a token stands
    bare = tuple(read["input_ids"])
    before = len(with_start(bare, start_of(lm))) - len(bare)
    added = integrated_gradients(lm, ids or with_start(bare, start_of(lm)), outcome, steps)
    said = {word for _, content in prompt for word in WORD.findall(content)}
    found: dict[str, float] = {}
    for match in WORD.finditer(text):
        if match.group() not in said:
            continue
        for place, (start, end) in enumerate(read["offset_mapping"]):
            if start < match.end() and end > match.start():
                found[match.group()] = found.get(match.group(), 0.0) + float(added[before + place])
    return found


def without(prompt: Messages, word: str) -> Messages:
    """The prompt with every occurrence of a word left out."""
    gone: Callable[[str], str] = lambda text: re.sub(rf"\b{re.escape(word)}\b ?", "", text)  # noqa: E731
    return tuple((role, gone(content)) for role, content in prompt)
