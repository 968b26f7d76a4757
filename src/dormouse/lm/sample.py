"""Write responses: greedily, or by sampling from the model's own distribution (temperature 1, nothing cut)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import GenerationConfig

from dormouse.lm.batch import Messages, encode_prompts
from dormouse.lm.load import LM

BATCH = 64


@dataclass(frozen=True)
class Written:
    """A response. `finished` is False where it was cut off at the limit of tokens."""

    text: str
    finished: bool


@contextmanager
def _contiguous_head(lm: LM) -> Iterator[None]:
    """Give the output layer contiguous input.

    For a slice, as it gets after the prompt, torch copies the whole layer once for each sequence of a bfloat16 batch:
    more than half of the time of a short generation.
    """
    head = lm.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(), *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()


def write(
    lm: LM,
    prompts: Sequence[Messages],
    max_tokens: int,
    *,
    seed: int | None = None,
    stop: str = "",
    progress: Callable[[int], None] = lambda _: None,
) -> list[Written]:
    """One response for each prompt, in their order. Greedy where `seed` is None, else sampled with that seed.

    Prompts of like length share a batch. With `stop` a response ends right after that text, if it comes to it;
    `progress` is told how many are done after each batch.
    """
    ids = encode_prompts(lm, prompts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    result: list[Written | None] = [None] * len(ids)
    config = GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=seed is not None,
        temperature=1.0 if seed is not None else None,
        top_k=0 if seed is not None else None,
        top_p=1.0 if seed is not None else None,
        pad_token_id=lm.tokenizer.pad_token_id,
        eos_token_id=lm.end,
    )
    with torch.random.fork_rng(), torch.inference_mode(), _contiguous_head(lm):
        torch.manual_seed(seed or 0)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            padded = lm.tokenizer.pad({"input_ids": [list(ids[i]) for i in batch]}, return_tensors="pt").to(lm.device)
            until = {"stop_strings": [stop], "tokenizer": lm.tokenizer} if stop else {}
            out = lm.model.generate(**padded, generation_config=config, **until)[:, padded["input_ids"].shape[1] :]
            for i, tokens in zip(batch, out.tolist(), strict=True):
                finished = lm.end in tokens
                kept = tokens[: tokens.index(lm.end)] if finished else tokens
                text = lm.tokenizer.decode(kept, skip_special_tokens=True).strip()
                if stop and stop in text:
                    text, finished = text[: text.index(stop) + len(stop)], True
                result[i] = Written(text, finished)
            progress(start + len(batch))
    return [written for written in result if written is not None]
