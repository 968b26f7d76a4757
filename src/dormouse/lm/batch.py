"""Many token sequences as few rows without padding, each shared prefix computed once.

The sequences of a row form a trie. Its nodes are laid out one after the other; a node attends to its ancestors and to
itself, and its position is its depth. So a system prompt that a hundred questions share, or a prompt with several
responses, is computed once, forward and backward, and the result equals that of separate sequences (up to rounding).
The same idea serves inference as "tree attention" (Miao et al. 2024, SpecInfer, arXiv 2305.09781).

Models through whose layers a trie has no exact way get plain rows, a sequence each (see `layout`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from dormouse.errors import UserError
from dormouse.lm.layout import accepts, max_positions, tree_attention
from dormouse.lm.model import LM
from dormouse.lm.trie import PackedRow, Tokens, pack

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


def rows_for(lm: LM, sequences: Sequence[Tokens], together: Sequence[Sequence[int]] = ()) -> list[PackedRow]:
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


class TooLongError(UserError):
    """A text has more tokens than the model has positions for."""


def check_length(lm: LM, tokens: int) -> None:
    """
    Raises:
        TooLongError: so many tokens are more than the model has positions for.
    """
    limit = max_positions(lm.model)
    if limit and tokens > limit:
        raise TooLongError(
            f"a prompt with its response has {tokens} tokens, and the model ({type(lm.model).__name__}) has "
            f"{limit} positions",
            "use a model with more positions, or shorter tasks, prompts and answers (tasks: max_tokens)",
        )


def _side_by_side_plain(sequences: Sequence[Tokens], units: Sequence[tuple[int, ...]], limit: int) -> list[PackedRow]:
    """Plain rows of like length side by side, at most `limit` tokens in a forward pass with their padding."""

    def longest(unit: tuple[int, ...]) -> int:
        """Tokens of the longest sequence in a unit: what its row is padded to."""
        return max(len(sequences[i]) for i in unit)

    groups: list[list[int]] = []
    for unit in sorted(units, key=longest):
        if groups and (len(groups[-1]) + len(unit)) * longest(unit) <= limit:
            groups[-1] += unit
        else:
            groups.append(list(unit))
    return [_plain(sequences, group) for group in groups]


def _plain(sequences: Sequence[Tokens], members: Sequence[int], apart: bool = False) -> PackedRow:
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
    return PackedRow(
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


def stack(rows: Sequence[PackedRow], limit: int) -> list[PackedRow]:
    """Rows of like length side by side, padded at the end to at most `limit` tokens together.

    A row that is longer by itself goes alone. Kept places count through the rows of a stack.
    """
    groups: list[list[PackedRow]] = []
    for row in sorted(rows, key=lambda row: row.ids.shape[1]):
        if groups and (len(groups[-1]) + 1) * row.ids.shape[1] <= limit:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_side_by_side(group) if len(group) > 1 else group[0] for group in groups]


def _side_by_side(rows: Sequence[PackedRow]) -> PackedRow:
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
    return PackedRow(
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
def only(lm: LM, keep: torch.Tensor) -> Iterator[list[bool]]:
    """Let the output layer see only the places `keep`, counted through all rows: (rows, T, d) -> (1, K, d).

    transformers' own `logits_to_keep` takes the same places from every row. What is yielded is empty until it was done.
    """
    done: list[bool] = []
    mine = threading.local()  # which `torch.compile` can follow: it cannot ask which thread this is
    mine.asked = True

    def cut(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Drop from the input of the head, once, the places of which no prediction is asked. Another thread that uses
        the model keeps all of its own."""
        if not hasattr(mine, "asked"):
            return None
        done.append(True)
        return (inputs[0].flatten(0, 1).index_select(0, keep)[None], *inputs[1:])

    head = lm.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(cut) if head is not None else None
    try:
        yield done
    finally:
        if hook:
            hook.remove()


def response_logprobs(lm: LM, row: PackedRow) -> torch.Tensor:
    """Log-probability of every predicted token of a row, (predictions,), in float32. Differentiable."""
    moved = row.to(lm.device)
    chosen: torch.Tensor = _ChosenLogprob.apply(response_logits(lm, moved), moved.source, moved.target)
    return chosen


def response_logits(lm: LM, moved: PackedRow) -> torch.Tensor:
    """The logits at the places `keep` of a row that is on the model's device: (K, vocabulary), float32."""
    if moved.apart:
        width = moved.ids.shape[1]
        parts = [
            _kept_logits(lm, moved.ids[i : i + 1, :n], moved.keep[moved.keep // width == i] % width)
            for i, n in enumerate(moved.lengths.tolist())
        ]
        return torch.cat(parts)
    if moved.ancestors is None:
        return _kept_logits(lm, moved.ids, moved.keep)
    with tree_attention(moved.ancestors, moved.positions):
        # A plain mask keeps transformers from seeing separate texts where positions jump.
        plain = torch.ones_like(moved.ids)
        return _kept_logits(lm, moved.ids, moved.keep, attention_mask=plain, position_ids=moved.positions)


def _kept_logits(lm: LM, ids: torch.Tensor, keep: torch.Tensor, **more: torch.Tensor) -> torch.Tensor:
    """The logits at the places `keep` of some rows: (K, vocabulary), float32."""
    said = {name: value for name, value in more.items() if accepts(lm.model, name)}
    with only(lm, keep) as cut:
        logits = lm.model(input_ids=ids, use_cache=False, **said).logits
    kept: torch.Tensor = logits[0] if cut else logits.flatten(0, 1).index_select(0, keep)
    return kept.float()


class _ChosenLogprob(torch.autograd.Function):
    """log_softmax(logits)[source, target] with one buffer of the size of the logits, which the backward reuses.

    A vocabulary of 50,000 makes these buffers the largest of a step. Backward can run once.
    """

    @staticmethod
    def forward(ctx: Any, logits: Any, source: Any, target: Any) -> torch.Tensor:
        """logits (places, vocabulary) -> log-probability of `target[i]` at place `source[i]`."""
        logprobs = torch.log_softmax(logits, dim=-1)
        ctx.save_for_backward(source, target)
        ctx.logprobs = logprobs
        return logprobs[source, target]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The gradient of the logits, from the kept log-probabilities: one hot minus softmax, times what comes in."""
        source, target = ctx.saved_tensors
        total = torch.zeros(len(ctx.logprobs), dtype=grads[0].dtype, device=grads[0].device)
        total.index_add_(0, source, grads[0])
        grad = ctx.logprobs.exp_().mul_(-total[:, None])
        del ctx.logprobs
        return grad.index_put_((source, target), grads[0], accumulate=True), None, None
