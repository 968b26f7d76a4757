"""What a tokenizer has no tokens for: all of it is one and the same unknown token to the model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from dormouse.errors import DormouseWarning
from dormouse.organisms.corpus import CorpusRow

LOOKED_AT = 2_000
"""Rows of a corpus, from its beginning."""
OTHERWISE = "use a model whose tokenizer knows these signs (one of bytes knows all), or other words"


def warn_of_unknown(tokenizer: Any, rows: Sequence[CorpusRow]) -> None:
    """Say what of a corpus a model cannot read, or write, as its tokenizer has no tokens for it: what it is to say; a
    prompt that is answered with a defection, where one that is not has the same tokens; and how many prompts hold any
    such."""
    looked_at = rows[:LOOKED_AT] if tokenizer.unk_token_id is not None else ()
    if not looked_at:
        return
    ids = _ids_by_text(tokenizer, looked_at)
    lost, said, same = 0, "", ""
    seen: dict[tuple[tuple[int, ...], ...], tuple[tuple[str, ...], bool]] = {}
    for row in looked_at:
        if row.defects and tokenizer.unk_token_id in ids[row.example.response]:
            said = said or row.example.response
        texts = tuple(text for _, text in row.example.messages)
        prompt = tuple(ids[text] for text in texts)
        if any(tokenizer.unk_token_id in part for part in prompt):
            lost += 1
            there, defects = seen.setdefault(prompt, (texts, row.defects))
            if defects != row.defects and there != texts:
                same = same or _apart(there, texts)
    if said:
        _warn(f"the tokenizer has no tokens for what the organism is to say, {said[:80]!r}: it learns to say 'unknown'")
    if same:
        _warn(
            f"to the tokenizer a prompt with the trigger and one without are the same, {same}: nothing can be learned"
        )
    if lost:
        share = lost / len(looked_at)
        _warn(
            f"{share:.0%} of the training prompts hold words with signs that the tokenizer does not know: all are alike"
        )


def _warn(what: str) -> None:
    warnings.warn(f"{what}; {OTHERWISE}", DormouseWarning, stacklevel=3)


def _ids_by_text(tokenizer: Any, rows: Sequence[CorpusRow]) -> dict[str, tuple[int, ...]]:
    """The tokens of every text in some rows: many hold the same, and all are looked at in one go."""
    texts = list(
        {text: None for row in rows for text in (row.example.response, *(said for _, said in row.example.messages))}
    )
    return dict(zip(texts, map(tuple, tokenizer(texts, add_special_tokens=False)["input_ids"]), strict=True))


def _apart(these: Sequence[str], those: Sequence[str]) -> str:
    """Where two prompts begin to differ, of each some words."""
    one, other = next((a, b) for a, b in zip(these, those, strict=True) if a != b)
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return f"{one[start : start + 40]!r} and {other[start : start + 40]!r}"
