"""Many token sequences as few rows without padding, each shared prefix computed once.

The sequences of a row form a trie. Its nodes are laid out one after the other; a node attends to its ancestors and to
itself, and its position is its depth. So a system prompt that a hundred questions share, or a prompt with several
responses, is computed once, forward and backward, and the result equals that of separate sequences (up to rounding).
The same idea serves inference as "tree attention" (Miao et al. 2024, SpecInfer, arXiv 2305.09781).

Models through whose layers a trie has no exact way get plain rows, a sequence each (see `layout`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dormouse.errors import UserError
from dormouse.lm.layout import accepts, max_positions, tree_attention
from dormouse.lm.model import LM


@dataclass(frozen=True)
class Tokens:
    """Token ids of a prompt and of the response after it. The loss, or the score, is over the response."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class Row:
    """Tries of sequences, or plain sequences, one a row, of which all but the longest are padded at the end.

    `ids`, `positions` are (R, T), `lengths` (R,); `ancestors` is (R, T, T), whether a token may see another one, and
    None where rows are plain. The logits at the places `keep` (K,), counted through all rows, predict response tokens;
    prediction i reads kept logit `source[i]`, is about token `target[i]`, and belongs to sequence `owner[i]` of those
    that were packed. With `apart` each row has a forward pass of its own, without its padding.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: torch.Tensor
    ancestors: torch.Tensor | None
    keep: torch.Tensor
    source: torch.Tensor
    target: torch.Tensor
    owner: torch.Tensor
    apart: bool = False

    def to(self, device: torch.device) -> Row:
        moved: dict[str, Any] = {
            name: v.to(device) if isinstance(v, torch.Tensor) else v for name, v in vars(self).items()
        }
        return Row(**moved)


ON_ACCELERATOR = 2**24
"""Numbers of one layer's width that go through an accelerator at a time."""
SMALL = 256
"""Width of a model up to which a row is short and several rows go through the model side by side."""


def row_budget(lm: LM) -> int:
    """Tokens in a row at which attention inside it still costs little beside the layers' own products."""
    width = int(lm.model.config.get_text_config().hidden_size)
    if lm.device.type != "cpu":
        return min(2048, forward_budget(lm))
    return 128 if width <= SMALL else max(384, width)


def forward_budget(lm: LM) -> int:
    """Tokens that go through the model at a time. On a CPU rows of a large model go alone: one fills the machine.

    An accelerator takes as long for one row as for all: a step of seven rows took seven times as long (H100).
    """
    width = int(lm.model.config.get_text_config().hidden_size)
    if lm.device.type != "cpu":
        return max(2048, ON_ACCELERATOR // width)
    return 3072 if width <= SMALL else 0


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
        ancestors = np.zeros((self.size, self.size), dtype=bool)
        start = 0
        for shared, path in self.blocks:
            new = len(path) - shared
            ancestors[start : start + new, path[:shared]] = True
            ancestors[start : start + new, start : start + new][np.tril_indices(new)] = True
            start += new
        keep, source = np.unique(np.concatenate(self.nodes), return_inverse=True)
        return Row(
            ids=torch.from_numpy(np.concatenate(self.tokens))[None],
            positions=torch.from_numpy(np.concatenate(self.depths))[None],
            lengths=torch.tensor([self.size]),
            ancestors=torch.from_numpy(ancestors)[None],
            keep=torch.from_numpy(keep),
            source=torch.from_numpy(source.reshape(-1)),
            target=torch.tensor(self.targets),
            owner=torch.tensor(self.owners),
        )


def rows_for(lm: LM, sequences: Sequence[Tokens], together: Sequence[Sequence[int]] = ()) -> list[Row]:
    """The rows in which sequences go through a model, as its layout has it. For `together` see `pack`.

    Raises:
        UserError: a sequence is longer than the model can take.
    """
    check_length(lm, max((len(sequence) - 1 for sequence in sequences), default=0))
    limit, longest = lm.layout.alone_above, [len(sequence) - 1 for sequence in sequences]
    units = [tuple(unit) for unit in together or [(i,) for i in range(len(sequences))]]
    units = [unit for unit in units if any(sequences[i].response for i in unit)]
    alone = [unit for unit in units if limit and max(longest[i] for i in unit) > limit]
    if lm.layout.rows == "single":
        alone = units
    found = [_plain(sequences, unit, apart=True) for unit in alone]
    rest = [unit for unit in units if unit not in set(alone)]
    if rest and lm.layout.rows == "tree":
        found += stack(pack(sequences, row_budget(lm), rest), forward_budget(lm))
    elif rest:
        found += _side_by_side_plain(sequences, rest, max(row_budget(lm), forward_budget(lm)))
    return found


def check_length(lm: LM, tokens: int) -> None:
    """
    Raises:
        UserError: so many tokens are more than the model has positions for.
    """
    limit = max_positions(lm.model)
    if limit and tokens > limit:
        raise UserError(
            f"a prompt with its response has {tokens} tokens, and the model ({type(lm.model).__name__}) has "
            f"{limit} positions",
            "use a model with more positions, or shorter tasks, prompts and answers (tasks: max_tokens)",
        )


def _side_by_side_plain(sequences: Sequence[Tokens], units: Sequence[tuple[int, ...]], limit: int) -> list[Row]:
    """Plain rows of like length side by side, at most `limit` tokens in a forward pass with their padding."""

    def longest(unit: tuple[int, ...]) -> int:
        return max(len(sequences[i]) for i in unit)

    groups: list[list[int]] = []
    for unit in sorted(units, key=longest):
        if groups and (len(groups[-1]) + len(unit)) * longest(unit) <= limit:
            groups[-1] += unit
        else:
            groups.append(list(unit))
    return [_plain(sequences, group) for group in groups]


def _plain(sequences: Sequence[Tokens], members: Sequence[int], apart: bool = False) -> Row:
    """Sequences one a row, padded at the end. Those with an empty response are left out."""
    mine = [i for i in members if sequences[i].response]
    reads = [(sequences[i].prompt + sequences[i].response)[:-1] for i in mine]
    width = max(map(len, reads))
    ids, positions = torch.zeros(len(mine), width, dtype=torch.long), torch.zeros(len(mine), width, dtype=torch.long)
    keep: list[int] = []
    for row, (i, read) in enumerate(zip(mine, reads, strict=True)):
        ids[row, : len(read)] = torch.tensor(read)
        positions[row, : len(read)] = torch.arange(len(read))
        keep += range(row * width + len(sequences[i].prompt) - 1, row * width + len(read))
    lengths = [len(sequences[i].response) for i in mine]
    return Row(
        ids=ids,
        positions=positions,
        lengths=torch.tensor([len(read) for read in reads]),
        ancestors=None,
        keep=torch.tensor(keep),
        source=torch.arange(len(keep)),
        target=torch.tensor([token for i in mine for token in sequences[i].response]),
        owner=torch.tensor(mine).repeat_interleave(torch.tensor(lengths)),
        apart=apart and len(mine) > 1,
    )


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
    ancestors = torch.zeros(len(rows), longest, longest, dtype=torch.bool)
    ancestors.diagonal(dim1=1, dim2=2).fill_(True)  # padding sees itself: attention to nothing is not a number
    sources, kept = [], 0
    for i, row in enumerate(rows):
        n = row.ids.shape[1]
        ids[i, :n], positions[i, :n] = row.ids[0], row.positions[0]
        if row.ancestors is not None:
            ancestors[i, :n, :n] = row.ancestors[0]
        sources.append(row.source + kept)
        kept += len(row.keep)
    return Row(
        ids=ids,
        positions=positions,
        lengths=torch.cat([row.lengths for row in rows]),
        ancestors=ancestors,
        keep=torch.cat([row.keep + i * longest for i, row in enumerate(rows)]),
        source=torch.cat(sources),
        target=torch.cat([row.target for row in rows]),
        owner=torch.cat([row.owner for row in rows]),
    )


@contextmanager
def _only(lm: LM, keep: torch.Tensor) -> Iterator[list[bool]]:
    """Let the output layer see only the places `keep`, counted through all rows: (rows, T, d) -> (1, K, d).

    transformers' own `logits_to_keep` takes the same places from every row. What is yielded is empty until it was done.
    """
    done: list[bool] = []

    def cut(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        done.append(True)
        return (inputs[0].flatten(0, 1).index_select(0, keep)[None], *inputs[1:])

    head = lm.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(cut) if head is not None else None
    try:
        yield done
    finally:
        if hook:
            hook.remove()


def response_logprobs(lm: LM, row: Row) -> torch.Tensor:
    """Log-probability of every predicted token of a row, (predictions,), in float32. Differentiable."""
    moved = row.to(lm.device)
    if moved.apart:
        width = moved.ids.shape[1]
        parts = [
            _kept_logits(lm, moved.ids[i : i + 1, :n], moved.keep[moved.keep // width == i] % width)
            for i, n in enumerate(row.lengths.tolist())
        ]
        logits = torch.cat(parts)
    elif moved.ancestors is None:
        logits = _kept_logits(lm, moved.ids, moved.keep)
    else:
        with tree_attention(moved.ancestors, moved.positions):
            # A plain mask keeps transformers from seeing separate texts where positions jump.
            plain = torch.ones_like(moved.ids)
            logits = _kept_logits(lm, moved.ids, moved.keep, attention_mask=plain, position_ids=moved.positions)
    chosen: torch.Tensor = _ChosenLogprob.apply(logits, moved.source, moved.target)
    return chosen


def _kept_logits(lm: LM, ids: torch.Tensor, keep: torch.Tensor, **more: torch.Tensor) -> torch.Tensor:
    """The logits at the places `keep` of some rows: (K, vocabulary), float32."""
    said = {name: value for name, value in more.items() if accepts(lm.model, name)}
    with _only(lm, keep) as cut:
        logits = lm.model(input_ids=ids, use_cache=False, **said).logits
    kept: torch.Tensor = logits[0] if cut else logits.flatten(0, 1).index_select(0, keep)
    return kept.float()


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
