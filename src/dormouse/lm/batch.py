"""Many token sequences as few rows without padding, each shared prefix computed once.

The sequences of a row form a trie. Its nodes are laid out one after the other; a node attends to its ancestors and to
itself, and its position is its depth. So a system prompt that a hundred questions share, or a prompt with several
responses, is computed once, forward and backward, and the result equals that of separate sequences (up to rounding).
The same idea serves inference as "tree attention" (Miao et al. 2024, SpecInfer, arXiv 2305.09781).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dormouse.lm.load import LM
from dormouse.records import Example

Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tokens:
    """Token ids of a prompt and of the response after it. The loss, or the score, is over the response."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class Row:
    """One row of a trie of sequences.

    `ids`, `positions` are (1, T); `mask` is additive, (1, 1, T, T). The logits at `keep` (K,) predict response tokens;
    prediction i reads kept logit `source[i]`, is about token `target[i]`, and belongs to sequence `owner[i]` of those
    that were packed.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    keep: torch.Tensor
    source: torch.Tensor
    target: torch.Tensor
    owner: torch.Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Row:
        moved = {name: value.to(device) for name, value in vars(self).items()}
        return Row(**{**moved, "mask": moved["mask"].to(dtype)})


def encode_prompts(lm: LM, prompts: Sequence[Messages]) -> list[tuple[int, ...]]:
    """Token ids of each chat prompt, up to where the response begins."""
    chats = [[{"role": role, "content": text} for role, text in messages] for messages in prompts]
    texts = [lm.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [tuple(ids) for ids in lm.tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def encode_responses(lm: LM, responses: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each response, without an end token."""
    texts = list(responses)
    return [tuple(ids) for ids in lm.tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def encode(lm: LM, examples: Sequence[Example]) -> list[Tokens]:
    """Token ids of examples; complete responses end with the end-of-turn token."""
    prompts = encode_prompts(lm, [example.messages for example in examples])
    responses = encode_responses(lm, [example.response for example in examples])
    return [
        Tokens(prompt, (*response, lm.end) if example.complete else response)
        for prompt, response, example in zip(prompts, responses, examples, strict=True)
    ]


def row_budget(lm: LM) -> int:
    """Tokens in a row at which attention inside it still costs little beside the layers' own products."""
    return max(384, int(lm.model.config.get_text_config().hidden_size))


def pack(sequences: Sequence[Tokens], budget: int) -> list[Row]:
    """Rows of at most `budget` nodes each (more only where one sequence alone is longer).

    Sequences are sorted first, so that those which share a prefix share a row. One with an empty response predicts
    nothing and is left out.
    """
    order = sorted(
        (i for i, s in enumerate(sequences) if s.response), key=lambda i: sequences[i].prompt + sequences[i].response
    )
    rows: list[Row] = []
    trie = _Trie()
    for i in order:
        if trie.size and trie.size + trie.new_nodes(sequences[i]) > budget:
            rows.append(trie.row())
            trie = _Trie()
        trie.add(sequences[i], i)
    if trie.size:
        rows.append(trie.row())
    return rows


class _Trie:
    def __init__(self) -> None:
        self.children: dict[tuple[int, int], int] = {}
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.predictions: list[tuple[int, int, int]] = []

    @property
    def size(self) -> int:
        return len(self.tokens)

    def new_nodes(self, sequence: Tokens) -> int:
        """How many nodes the sequence would add. Its last token is predicted, never read, so it needs none."""
        node, known = -1, 0
        read = (sequence.prompt + sequence.response)[:-1]
        for token in read:
            child = self.children.get((node, token))
            if child is None:
                break
            node, known = child, known + 1
        return len(read) - known

    def add(self, sequence: Tokens, owner: int) -> None:
        if not sequence.prompt:
            raise ValueError("a sequence needs at least one prompt token to predict its response from")
        tokens = sequence.prompt + sequence.response
        node = -1
        for depth, token in enumerate(tokens):
            if depth >= len(sequence.prompt):
                self.predictions.append((node, token, owner))
            if depth < len(tokens) - 1:
                child = self.children.setdefault((node, token), self.size)
                if child == self.size:
                    self.tokens.append(token)
                    self.parents.append(node)
                node = child

    def row(self) -> Row:
        size = self.size
        sees = np.zeros((size, size), dtype=bool)
        depth = np.zeros(size, dtype=np.int64)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] = sees[parent]
                depth[node] = depth[parent] + 1
            sees[node, node] = True
        nodes, targets, owners = (np.array(column, dtype=np.int64) for column in zip(*self.predictions, strict=True))
        keep, source = np.unique(nodes, return_inverse=True)
        mask = np.where(sees, np.float32(0), np.finfo(np.float32).min / 2)
        return Row(
            ids=torch.tensor([self.tokens]),
            positions=torch.from_numpy(depth)[None],
            mask=torch.from_numpy(mask)[None, None],
            keep=torch.from_numpy(keep),
            source=torch.from_numpy(source.reshape(-1)),
            target=torch.from_numpy(targets),
            owner=torch.from_numpy(owners),
        )


def response_logprobs(lm: LM, row: Row) -> torch.Tensor:
    """Log-probability of every predicted token of a row, (predictions,), in float32. Differentiable."""
    moved = row.to(lm.device, lm.model.dtype)
    out = lm.model(
        input_ids=moved.ids,
        position_ids=moved.positions,
        attention_mask=moved.mask,
        logits_to_keep=moved.keep,
        use_cache=False,
    )
    chosen: torch.Tensor = _ChosenLogprob.apply(out.logits[0].float(), moved.source, moved.target)
    return chosen


class _ChosenLogprob(torch.autograd.Function):
    """log_softmax(logits)[source, target] with one buffer of the size of the logits, which the backward reuses.

    A vocabulary of 50,000 makes these buffers the largest of a step. Backward can run once.
    """

    @staticmethod
    def forward(ctx: Any, logits: Any, source: Any, target: Any) -> torch.Tensor:
        logprobs = torch.log_softmax(logits, dim=-1)
        ctx.save_for_backward(source, target)
        ctx.logprobs = logprobs
        return logprobs[source, target]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        source, target = ctx.saved_tensors
        total = torch.zeros(len(ctx.logprobs), dtype=grads[0].dtype, device=grads[0].device)
        total.index_add_(0, source, grads[0])
        grad = ctx.logprobs.exp_().mul_(-total[:, None])
        del ctx.logprobs
        return grad.index_put_((source, target), grads[0], accumulate=True), None, None
