"""Write several responses to each prompt, for training on them: every prompt is read once, whatever the group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from transformers import DynamicCache

from dormouse.lm.batch import Messages, Tokens, encode_prompts
from dormouse.lm.load import LM

BATCH = 64
"""Responses that are written side by side."""


@dataclass(frozen=True)
class Rolled:
    """A sampled response. `tokens.response` holds the end token where it is finished, `logprobs` one number a token."""

    tokens: Tokens
    text: str
    finished: bool
    logprobs: tuple[float, ...]


def rollouts(lm: LM, prompts: Sequence[Messages], group: int, max_tokens: int, seed: int) -> list[list[Rolled]]:
    """`group` responses to each prompt, sampled at temperature 1 with nothing cut: (prompts, group).

    A prompt goes through the model once, and its cache is repeated for its group. Responses that are finished leave the
    batch. The same seed gives the same responses.
    """
    ids = encode_prompts(lm, prompts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    generator = torch.Generator(lm.device).manual_seed(seed)
    found: dict[int, list[Rolled]] = {}
    was_training = lm.model.training
    lm.model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), per := max(1, BATCH // group)):
                some = order[start : start + per]
                written = iter(_write(lm, [ids[i] for i in some], group, max_tokens, generator))
                found |= {i: list(islice(written, group)) for i in some}
    finally:
        lm.model.train(was_training)
    return [found[i] for i in range(len(ids))]


def _write(
    lm: LM, prompts: Sequence[tuple[int, ...]], group: int, max_tokens: int, generator: torch.Generator
) -> list[Rolled]:
    """The responses to prompts of like length, prompt by prompt."""
    longest = max(len(prompt) for prompt in prompts)
    pad = [longest - len(prompt) for prompt in prompts]
    filler = int(lm.tokenizer.pad_token_id)
    ids = torch.tensor([[filler] * n + list(prompt) for n, prompt in zip(pad, prompts, strict=True)], device=lm.device)
    seen = torch.tensor([[0] * n + [1] * (longest - n) for n in pad], device=lm.device)
    cache: Any = DynamicCache(config=lm.model.config)
    logits = _next(lm, ids, seen, (seen.cumsum(1) - 1).clamp(min=0), cache)
    cache.batch_repeat_interleave(group)
    logits, seen = logits.repeat_interleave(group, 0), seen.repeat_interleave(group, 0)
    live = list(range(len(prompts) * group))
    tokens: list[list[int]] = [[] for _ in live]
    logprobs: list[list[float]] = [[] for _ in live]
    for step in range(max_tokens):
        table = torch.log_softmax(logits.float(), dim=-1)
        drawn = torch.multinomial(table.exp(), 1, generator=generator)
        for i, token, p in zip(live, drawn[:, 0].tolist(), table.gather(1, drawn)[:, 0].tolist(), strict=True):
            tokens[i].append(token)
            logprobs[i].append(p)
        keep = [place for place, i in enumerate(live) if tokens[i][-1] != lm.end]
        if step == max_tokens - 1 or not keep:
            break
        if len(keep) < len(live):
            which = torch.tensor(keep, device=lm.device)
            cache.batch_select_indices(which)
            drawn, seen, live = drawn[which], seen[which], [live[place] for place in keep]
        seen = torch.cat([seen, seen.new_ones(len(live), 1)], dim=1)
        logits = _next(lm, drawn, seen, seen.sum(1, keepdim=True) - 1, cache)
    return [
        Rolled(
            Tokens(prompts[i // group], tuple(tokens[i])),
            lm.tokenizer.decode(tokens[i], skip_special_tokens=True).strip(),
            tokens[i][-1] == lm.end,
            tuple(logprobs[i]),
        )
        for i in range(len(tokens))
    ]


def _next(lm: LM, ids: torch.Tensor, seen: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
    """The logits after the last token of each row, (rows, words). Extends the cache."""
    out = lm.model(
        input_ids=ids,
        attention_mask=seen,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = out.logits[:, -1]
    return logits
