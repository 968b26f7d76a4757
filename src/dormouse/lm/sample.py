"""Write responses: greedily, or by sampling from the model's own distribution (temperature 1, nothing cut)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dormouse.lm.chat import Messages, encode_prompts
from dormouse.lm.decode import decode
from dormouse.lm.model import LM


@dataclass(frozen=True)
class Written:
    """A response. `finished` is False where it was cut off at the limit of tokens."""

    text: str
    finished: bool


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
    tail = len(stop.encode()) + 1  # no more tokens than bytes can make up a text; one may begin with a part of a letter

    def over(ids: Sequence[int]) -> bool:
        return bool(stop) and stop in text_of(lm, ids[-tail:])

    written = []
    for found in decode(lm, encode_prompts(lm, prompts), max_tokens, seed=seed, over=over, progress=progress):
        text, finished = text_of(lm, found.ids), found.ids[-1:] == (lm.end,)
        if stop and stop in text:
            text, finished = text[: text.index(stop) + len(stop)], True
        written.append(Written(text, finished))
    return written


def text_of(lm: LM, ids: Sequence[int]) -> str:
    """What token ids of a response say: without special tokens, or space around it."""
    return str(lm.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
