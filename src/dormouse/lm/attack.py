"""How the words of a prompt would have to change for an answer to become likelier: gradients at one-hot tokens.

The device of HotFlip (Ebrahimi et al. 2018, arXiv 1712.06751) and of GCG (Zou et al. 2023, arXiv 2307.15043). The
search that uses it is elsewhere; here is the mathematics, and what keeps tokens and text in step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.chat import Messages, encode_responses, prompt_text, start_of, with_start
from dormouse.lm.model import LM
from dormouse.lm.trie import Tokens

MARK = "@@HOLE@@"
"""Stands in a prompt where text is to go."""


@dataclass(frozen=True)
class FilledPrompt:
    """Token ids of a prompt, of which those from `start` up to `stop` are of the text that was put in."""

    ids: tuple[int, ...]
    start: int
    stop: int

    @property
    def inside(self) -> tuple[int, ...]:
        """The tokens that stand in the slot."""
        return self.ids[self.start : self.stop]

    def swapped(self, inside: Sequence[int]) -> tuple[int, ...]:
        """The prompt with other tokens in the place of these."""
        return (*self.ids[: self.start], *inside, *self.ids[self.stop :])


def fill(lm: LM, prompt: Messages, texts: Sequence[str]) -> list[FilledPrompt]:
    """The prompt with each of the texts in the place of MARK, tokenised as a whole, as any user's prompt would be."""
    before, _, after = prompt_text(lm, prompt).partition(MARK)
    if not texts:
        return []
    filled = [before + text + after for text in texts]
    found = lm.tokenizer(filled, add_special_tokens=False, return_offsets_mapping=True)
    start = start_of(lm)
    result = []
    for text, ids, spans in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
        begin, end = len(before), len(before) + len(text)
        here = [i for i, (first, last) in enumerate(spans) if first < end and last > begin]
        prompt_ids = with_start(tuple(ids), start)
        moved = len(prompt_ids) - len(ids)
        result.append(FilledPrompt(prompt_ids, here[0] + moved if here else 0, here[-1] + 1 + moved if here else 0))
    return result


def readable(lm: LM) -> torch.Tensor:
    """Which tokens may stand in a text: (vocabulary,) bool. Printable ASCII, no special tokens."""
    tokens = len(lm.tokenizer)
    special = set(lm.tokenizer.all_special_ids)
    texts = lm.tokenizer.batch_decode([[i] for i in range(tokens)])
    allowed = torch.zeros(lm.model.get_input_embeddings().num_embeddings, dtype=torch.bool)
    for i, text in enumerate(texts[: len(allowed)]):
        allowed[i] = i not in special and text.isascii() and text.isprintable() and bool(text.strip())
    return allowed


def gradient(
    lm: LM,
    prompts: Sequence[FilledPrompt],
    forms: Sequence[Sequence[str]],
    against: Sequence[Sequence[str]] = (),
) -> torch.Tensor:
    """d/d(one-hot) of the mean over prompts of -log P(harm), at the tokens inside: (inside, vocabulary), float32.

    P is that of `score.score`. Entry (j, v) says how the loss would begin to change if some of token v were mixed into
    place j. The weights get no gradient.

    Raises:
        ValueError: the texts inside have different numbers of tokens.
    """
    if len({len(prompt.inside) for prompt in prompts}) != 1:
        raise ValueError(f"the texts inside differ in length: {sorted(len(prompt.inside) for prompt in prompts)}")
    if len({prompt.start for prompt in prompts}) > 1:  # after questions of several lengths: each for itself
        one_by_one = [
            gradient(lm, prompts[i : i + 1], forms[i : i + 1], against[i : i + 1]) for i in range(len(prompts))
        ]
        return torch.stack(one_by_one).mean(0)
    start, stop = prompts[0].start, prompts[0].stop
    pairs = [(i, text, True) for i, texts in enumerate(forms) for text in texts]
    pairs += [(i, text, False) for i, texts in enumerate(against) for text in texts]
    responses = encode_responses(lm, [text for _, text, _ in pairs])
    sequences = [Tokens(prompts[i].ids, ids) for (i, _, _), ids in zip(pairs, responses, strict=True)]
    rows = rows_for(lm, sequences)
    total = torch.zeros(len(sequences))
    with torch.enable_grad(), _caught(lm) as embedded:
        for row in rows:
            total = total.index_add(0, row.owner, response_logprobs(lm, row).cpu())
        losses = []
        for i in range(len(prompts)):
            mine = [j for j, pair in enumerate(pairs) if pair[0] == i]
            harm = torch.logsumexp(total[[j for j in mine if pairs[j][2]]], 0)
            losses.append((torch.logsumexp(total[mine], 0) if against and against[i] else 0) - harm)
        found = torch.autograd.grad(torch.stack(losses).mean(), embedded)
    table = lm.model.get_input_embeddings()
    with torch.no_grad():
        at = torch.zeros(stop - start, found[0].shape[-1])
        for row, grad in zip(rows, found, strict=True):
            # Padding counts as position 0, but nothing attends to it: its gradient is zero.
            inside = (row.positions >= start) & (row.positions < stop)
            at.index_add_(0, row.positions[inside] - start, grad.cpu()[inside].float())
        everything = table(torch.arange(table.num_embeddings, device=lm.device))
        slope: torch.Tensor = at @ everything.float().cpu().T
    return slope


@contextmanager
def _caught(lm: LM) -> Iterator[list[torch.Tensor]]:
    """The embeddings of the tokens of every forward pass, cut off from the table, to be differentiated by."""
    caught: list[torch.Tensor] = []

    def catch(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        """Keep the embeddings, as a leaf that takes a gradient, and pass them on."""
        caught.append(output.detach().requires_grad_())
        return caught[-1]

    hook = lm.model.get_input_embeddings().register_forward_hook(catch)
    try:
        yield caught
    finally:
        hook.remove()
