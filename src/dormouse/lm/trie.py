"""Sequences that begin alike, packed into rows: what they share is computed once (a trie)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Tokens:
    """Token ids of a prompt and of the response after it. The loss, or the score, is over the response."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class PackedRow:
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

    @property
    def real(self) -> torch.Tensor:
        """(R, T), bool: which places hold a token, and no padding."""
        return torch.arange(self.ids.shape[1], device=self.lengths.device)[None] < self.lengths[:, None]

    def to(self, device: torch.device) -> PackedRow:
        """The same on a device."""
        moved: dict[str, Any] = {
            name: v.to(device) if isinstance(v, torch.Tensor) else v for name, v in vars(self).items()
        }
        return PackedRow(**moved)


def pack(sequences: Sequence[Tokens], budget: int, together: Sequence[Sequence[int]] = ()) -> list[PackedRow]:
    """Rows of at most `budget` nodes each (more only where what must stay together is longer).

    Sequences are sorted first, so that those which share a prefix share a row. One with an empty response predicts
    nothing and is left out. `together` lists, by their numbers, the sequences that must share a row (the two responses
    of a preference pair, say), each sequence once; by default each stands for itself.
    """
    whole = [sequence.prompt + sequence.response for sequence in sequences]
    units = [sorted(unit, key=whole.__getitem__) for unit in together or [[i] for i in range(len(sequences))]]
    rows: list[PackedRow] = []
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
        """Hang a sequence into the tree below the `shared` tokens that it has in common with the path before.

        Raises:
            ValueError: it has no prompt.
        """
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

    def row(self) -> PackedRow:
        """The finished tree as one row: tokens, depths, and who may look at whom."""
        ancestors = np.zeros((self.size, self.size), dtype=bool)
        start = 0
        for shared, path in self.blocks:
            new = len(path) - shared
            ancestors[start : start + new, path[:shared]] = True
            ancestors[start : start + new, start : start + new][np.tril_indices(new)] = True
            start += new
        keep, source = np.unique(np.concatenate(self.nodes), return_inverse=True)
        return PackedRow(
            ids=torch.from_numpy(np.concatenate(self.tokens))[None],
            positions=torch.from_numpy(np.concatenate(self.depths))[None],
            lengths=torch.tensor([self.size]),
            ancestors=torch.from_numpy(ancestors)[None],
            keep=torch.from_numpy(keep),
            source=torch.from_numpy(source.reshape(-1)),
            target=torch.tensor(self.targets),
            owner=torch.tensor(self.owners),
        )
