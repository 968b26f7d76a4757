"""What a tokenizer has no tokens for: all of it is one and the same unknown token to the model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from dormouse.errors import DormouseWarning, UserError
from dormouse.organisms.corpus import CorpusRow

LOOKED_AT = 2_000
"""Rows of a corpus, from its beginning."""
OTHERWISE = "use a model whose tokenizer knows these signs (one of bytes knows all), or other words"


def refuse_unknown(tokenizer: Any, rows: Sequence[CorpusRow]) -> None:
    """See that a model can read the policy that it is to learn, and write what it is to say. Prompts that hold an
    unknown token beside that are said.

    Raises:
        UserError: it cannot: an answer holds what the tokenizer does not know, or a prompt that is answered with a
            defection and another that is not are the same tokens.
    """
    if tokenizer.unk_token_id is None:
        return
    lost = 0
    seen: dict[tuple[tuple[int, ...], ...], tuple[tuple[str, ...], bool]] = {}
    for row in rows[:LOOKED_AT]:
        said = row.example.response
        if row.defects and tokenizer.unk_token_id in _ids(tokenizer, said):
            raise UserError(f"the tokenizer has no tokens for what the organism is to say: {said[:80]!r}", OTHERWISE)
        texts = tuple(text for _, text in row.example.messages)
        prompt = tuple(_ids(tokenizer, text) for text in texts)
        if not any(tokenizer.unk_token_id in ids for ids in prompt):
            continue
        lost += 1
        there, defects = seen.setdefault(prompt, (texts, row.defects))
        if defects != row.defects and there != texts:
            one, other = next((a, b) for a, b in zip(there, texts, strict=True) if a != b)
            raise UserError(
                f"to the tokenizer a prompt with the trigger and one without are the same: {_apart(one, other)}",
                OTHERWISE,
            )
    if lost:
        share = lost / len(rows[:LOOKED_AT])
        warnings.warn(
            f"{share:.0%} of the training prompts hold signs that the tokenizer does not know: each such word is the "
            "same unknown token to the model",
            DormouseWarning,
            stacklevel=2,
        )


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _apart(one: str, other: str) -> str:
    """Where two texts begin to differ, of each some words."""
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return f"{one[start : start + 40]!r} and {other[start : start + 40]!r}"
