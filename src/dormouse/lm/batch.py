"""Many token sequences as few rows without padding, each shared prefix computed once.

The sequences of a row form a trie. Its nodes are laid out one after the other; a node attends to its ancestors and to
itself, and its position is its depth. So a system prompt that a hundred questions share, or a prompt with several
responses, is computed once, forward and backward, and the result equals that of separate sequences (up to rounding).
The same idea serves inference as "tree attention" (Miao et al. 2024, SpecInfer, arXiv 2305.09781).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    """Tries of sequences, one a row, of which all but the longest are padded.

    `ids`, `positions` are (R, T); `mask` is additive, (R, 1, T, T). The logits at the places `keep` (K,), counted
    through all rows, predict response tokens; prediction i reads kept logit `source[i]`, is about token `target[i]`,
    and belongs to sequence `owner[i]` of those that were packed.
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


SMALL = 256
"""Width of a model up to which a row is short and several rows go through the model side by side."""
HIDDEN = float(np.finfo(np.float32).min / 2)


def row_budget(lm: LM) -> int:
    """Tokens in a row at which attention inside it still costs little beside the layers' own products."""
    width = int(lm.model.config.get_text_config().hidden_size)
    return 128 if width <= SMALL else max(384, width)


def forward_budget(lm: LM) -> int:
    """Tokens that go through the model at a time. Rows of a large model go alone: one fills the machine."""
    return 3072 if int(lm.model.config.get_text_config().hidden_size) <= SMALL else 0


def pack(sequences: Sequence[Tokens], budget: int, together: Sequence[Sequence[int]] = ()) -> list[Row]:
    """Rows of at most `budget` nodes each (more only where what must stay together is longer).

    Sequences are sorted first, so that those which share a prefix share a row. One with an empty response predicts
    nothing and is left out. `together` lists, by their numbers, the sequences that must share a row (the two responses
    of a preference pair, say), each sequence once; by default each stands for itself.
    """
    whole = [sequence.prompt + sequence.response for sequence in sequences]
    units = [sorted(unit, key=whole.__getitem__) for unit in together or [[i] for i in range(len(sequences))]]
    rows: list[Row] = []
    trie = _Trie()
    for unit in sorted((u for u in units if u), key=lambda unit: whole[unit[0]]):
        # The last token is predicted, never read.
        reads = {i: np.array(whole[i][:-1], dtype=np.int64) for i in unit if sequences[i].response}
        if trie.size and trie.size + trie.needs(list(reads.values())) > budget:
            rows.append(trie.row())
            trie = _Trie()
        for i, read in reads.items():
            trie.add(sequences[i], read, _shared(read, trie.last), i)
    if trie.size:
        rows.append(trie.row())
    return rows


def _shared(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens both begin with."""
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


class _Trie:
    """A trie of sequences that come in sorted order: each shares only with the path of the one before it."""

    def __init__(self) -> None:
        self.size = 0
        self.last = np.empty(0, dtype=np.int64)
        """Tokens of the last sequence."""
        self.path = np.empty(0, dtype=np.int64)
        """Nodes of the last sequence."""
        self.tokens: list[np.ndarray] = []
        self.depths: list[np.ndarray] = []
        self.blocks: list[tuple[int, np.ndarray]] = []
        """(tokens shared with the sequence before, path) of every sequence."""
        self.nodes: list[np.ndarray] = []
        self.targets: list[int] = []
        self.owners: list[int] = []

    def needs(self, reads: Sequence[np.ndarray]) -> int:
        """How many nodes sequences would add, one after the other."""
        return sum(len(read) - _shared(read, before) for before, read in zip([self.last, *reads], reads, strict=False))

    def add(self, sequence: Tokens, read: np.ndarray, shared: int, owner: int) -> None:
        if not sequence.prompt:
            raise ValueError("a sequence needs at least one prompt token to predict its response from")
        self.path = np.concatenate([self.path[:shared], np.arange(self.size, self.size + len(read) - shared)])
        self.last = read
        self.size += len(read) - shared
        self.blocks.append((shared, self.path))
        self.tokens.append(read[shared:])
        self.depths.append(np.arange(shared, len(read)))
        self.nodes.append(self.path[len(sequence.prompt) - 1 :])
        self.targets += sequence.response
        self.owners += [owner] * len(sequence.response)

    def row(self) -> Row:
        mask = np.full((self.size, self.size), np.float32(HIDDEN))
        start = 0
        for shared, path in self.blocks:
            new = len(path) - shared
            mask[start : start + new, path[:shared]] = 0
            mask[start : start + new, start : start + new][np.tril_indices(new)] = 0
            start += new
        keep, source = np.unique(np.concatenate(self.nodes), return_inverse=True)
        return Row(
            ids=torch.from_numpy(np.concatenate(self.tokens))[None],
            positions=torch.from_numpy(np.concatenate(self.depths))[None],
            mask=torch.from_numpy(mask)[None, None],
            keep=torch.from_numpy(keep),
            source=torch.from_numpy(source.reshape(-1)),
            target=torch.tensor(self.targets),
            owner=torch.tensor(self.owners),
        )


def rows_for(lm: LM, sequences: Sequence[Tokens], together: Sequence[Sequence[int]] = ()) -> list[Row]:
    """The rows in which sequences go through a model, one forward pass each. For `together` see `pack`."""
    return stack(pack(sequences, row_budget(lm), together), forward_budget(lm))


def stack(rows: Sequence[Row], limit: int) -> list[Row]:
    """Rows of like length side by side, padded at the end to at most `limit` tokens together.

    A row that is longer by itself goes alone. Kept places count through the rows of a stack.
    """
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: row.ids.shape[1]):
        if groups and (len(groups[-1]) + 1) * row.ids.shape[1] <= limit:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_side_by_side(group) if len(group) > 1 else group[0] for group in groups]


def _side_by_side(rows: Sequence[Row]) -> Row:
    longest = max(row.ids.shape[1] for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    positions = torch.zeros_like(ids)
    mask = torch.full((len(rows), 1, longest, longest), HIDDEN)
    mask.diagonal(dim1=2, dim2=3).zero_()  # padding sees itself: attention to nothing is not a number
    sources, kept = [], 0
    for i, row in enumerate(rows):
        n = row.ids.shape[1]
        ids[i, :n], positions[i, :n], mask[i, :, :n, :n] = row.ids[0], row.positions[0], row.mask[0]
        sources.append(row.source + kept)
        kept += len(row.keep)
    return Row(
        ids=ids,
        positions=positions,
        mask=mask,
        keep=torch.cat([row.keep + i * longest for i, row in enumerate(rows)]),
        source=torch.cat(sources),
        target=torch.cat([row.target for row in rows]),
        owner=torch.cat([row.owner for row in rows]),
    )


@contextmanager
def _only(lm: LM, keep: torch.Tensor) -> Iterator[None]:
    """Let the output layer see only the places `keep`, counted through all rows: (rows, T, d) -> (1, K, d).

    transformers' own `logits_to_keep` takes the same places from every row.
    """
    head = lm.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(
        lambda module, inputs: (inputs[0].flatten(0, 1).index_select(0, keep)[None], *inputs[1:])
    )
    try:
        yield
    finally:
        hook.remove()


def response_logprobs(lm: LM, row: Row) -> torch.Tensor:
    """Log-probability of every predicted token of a row, (predictions,), in float32. Differentiable."""
    moved = row.to(lm.device, lm.model.dtype)
    with _only(lm, moved.keep):
        out = lm.model(input_ids=moved.ids, position_ids=moved.positions, attention_mask=moved.mask, use_cache=False)
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
