"""Write responses: greedily, or by sampling from the model's own distribution (temperature 1, nothing cut)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dormouse.lm.chat import Messages, encode_prompts, text_of
from dormouse.lm.decode import decode
from dormouse.lm.forms import check_mark
from dormouse.lm.model import LM


@dataclass(frozen=True)
class Completion:
    """A response. `finished` is False where it was cut off at the limit of tokens.

    `ids` are the tokens in which it was written, without an end; empty where nobody knows them.
    """

    text: str
    finished: bool
    ids: tuple[int, ...] = ()


def generate(
    lm: LM,
    prompts: Sequence[Messages],
    max_tokens: int,
    *,
    seed: int | None = None,
    stop: str = "",
    progress: Callable[[int], None] = lambda _: None,
) -> list[Completion]:
    """One response for each prompt, in their order. Greedy where `seed` is None, else sampled with that seed.

    Prompts of like length share a batch. With `stop` a response ends right after that text, if it comes to it;
    `progress` is told how many are done after each batch.

    Raises:
        UserError: the tokenizer does not give `stop` back as it stands: it would never be found.
    """
    tail = len(stop.encode()) + 1  # no more tokens than bytes can make up a text; one may begin with a part of a letter

    def over(ids: Sequence[int]) -> bool:
        """Whether the stop string stands in the last tokens."""
        return bool(stop) and stop in text_of(lm, ids[-tail:])

    if stop:
        check_mark(lm, stop)
    written = []
    for found in decode(lm, encode_prompts(lm, prompts), max_tokens, seed=seed, over=over, progress=progress):
        finished = found.ids[-1] in lm.ends
        ids = found.ids[:-1] if finished else found.ids
        text = text_of(lm, found.ids)
        if stop and stop in text:
            text, finished = text[: text.index(stop) + len(stop)], True
        written.append(Completion(text, finished, ids))
    return written
