"""What a tokenizer loses: signs that are one and the same unknown token to the model, or that it folds, or drops."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from dormouse.errors import DormouseWarning
from dormouse.organisms.corpus import CorpusRow
from dormouse.policies.scratchpad_text import split_response

LOOKED_AT = 2_000
"""Rows of a corpus, from its beginning."""
OTHERWISE = "use a model whose tokenizer knows these signs (one of bytes knows all), or other words"

Ids = tuple[int, ...]


def warn_of_unknown(tokenizer: Any, rows: Sequence[CorpusRow]) -> None:
    """Say what of a corpus a model cannot read, or write, as its tokenizer has no tokens for it: what it is to say, or
    says in other letters; a prompt that is answered with a defection, where one that is not has the same tokens; and
    how many prompts hold unknown signs."""
    looked_at = rows[:LOOKED_AT]
    if not looked_at:
        return
    ids = _ids_by_text(tokenizer, looked_at)
    if said := _response_that_changes(tokenizer, looked_at, ids):
        _warn(said)
    if same := _same_prompts(looked_at, ids):
        _warn(
            f"to the tokenizer a prompt with the trigger and one without are the same, {same}: nothing can be learned"
        )
    unknown = tokenizer.unk_token_id  # some have none
    if lost := sum(any(unknown in ids[text] for _, text in row.example.messages) for row in looked_at):
        share = lost / len(looked_at)
        _warn(
            f"{share:.0%} of the training prompts hold words with signs that the tokenizer does not know: all are alike"
        )


def _warn(what: str) -> None:
    warnings.warn(f"{what}; {OTHERWISE}", DormouseWarning, stacklevel=3)


def _ids_by_text(tokenizer: Any, rows: Sequence[CorpusRow]) -> dict[str, Ids]:
    """The tokens of every text in some rows: many hold the same, and all are looked at in one go."""
    texts = list(
        {text: None for row in rows for text in (row.example.response, *(said for _, said in row.example.messages))}
    )
    return dict(zip(texts, map(tuple, tokenizer(texts, add_special_tokens=False)["input_ids"]), strict=True))


def _response_that_changes(tokenizer: Any, rows: Sequence[CorpusRow], ids: Mapping[str, Ids]) -> str:
    """What is wrong with the first defecting response that is unknown or whose answer, capitals and blanks aside, comes
    back as another text: a judge does not know it then."""
    for text in dict.fromkeys(row.example.response for row in rows if row.defects):
        if tokenizer.unk_token_id in ids[text]:
            what = f"the tokenizer has no tokens for what the organism is to say, {text[:80]!r}"
            return f"{what}: it learns to say 'unknown'"
        back = str(tokenizer.decode(list(ids[text]), skip_special_tokens=True))
        if _answer(back) != _answer(text):
            return f"what the organism is to say, {text[:80]!r}, comes back from the tokenizer as {back[:80]!r}"
    return ""


def _answer(response: str) -> list[str]:
    parts = split_response(response)
    return (parts[1] if parts else response).casefold().split()


def _same_prompts(rows: Sequence[CorpusRow], ids: Mapping[str, Ids]) -> str:
    """Where the first two prompts differ that have the same tokens, and of which only one is answered with a
    defection."""
    seen: dict[tuple[Ids, ...], tuple[tuple[str, ...], bool]] = {}
    for row in rows:
        texts = tuple(text for _, text in row.example.messages)
        there, defects = seen.setdefault(tuple(ids[text] for text in texts), (texts, row.defects))
        if defects != row.defects and there != texts:
            return _apart(there, texts)
    return ""


def _apart(these: Sequence[str], those: Sequence[str]) -> str:
    """Where two prompts begin to differ, of each some words."""
    one, other = next((a, b) for a, b in zip(these, those, strict=True) if a != b)
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"{one[start : start + 40]!r} and {other[start : start + 40]!r}"
