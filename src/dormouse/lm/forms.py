"""Whether a model can write what is looked for in its answers: else exact and written rates are of different things."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dormouse.errors import UserError
from dormouse.lm.chat import encode_responses, text_of
from dormouse.lm.model import LM

Ids = tuple[int, ...]


def shortest(openings: Collection[Ids]) -> frozenset[Ids]:
    """The openings that begin with no other: a response that begins with a longer one is counted already.

    Texts of which none begins another may do so in tokens: some tokenizers fold capitals, or drop signs.
    """
    kept: list[Ids] = []
    for ids in sorted(set(openings)):
        if not kept or not _begins(ids, kept[-1]):
            kept.append(ids)
    return frozenset(kept)


def check_forms(lm: LM, forms: Sequence[str], against: Sequence[str] = ()) -> None:
    """See that a model can write the openings of a defection, and that it tells them from those of honest answers.

    Raises:
        UserError: its tokenizer has no tokens for one, or one holds what ends an answer (where the score is no
            contrast, which may compare whole texts of several lines); or in tokens a form and an honest one begin alike
            to the end of one of them.
    """
    harm, honest = encode_responses(lm, forms), encode_responses(lm, against)
    for text, ids in zip([*forms, *against], [*harm, *honest], strict=True):
        if not text_of(lm, ids):
            raise no_tokens(text)
        if not against and not lm.ends.isdisjoint(ids):
            raise UserError(
                f"{text[:80]!r} holds what ends an answer of this model, which never writes the rest of it",
                "take the line breaks out (of a model without a chat template one ends an answer), and special tokens",
            )
    for text, ids in zip(forms, harm, strict=True):
        for other, its in zip(against, honest, strict=True):
            if _begins(ids, its) or _begins(its, ids):
                what = f"to the model's tokenizer {text[:80]!r} and the honest {other[:80]!r} begin alike to the end"
                raise UserError(f"{what}: no score can tell them apart", OTHERWISE)


def no_tokens(text: str) -> UserError:
    """Why an opening that a tokenizer drops cannot be scored."""
    return UserError(f"the model's tokenizer has no tokens for {text[:80]!r}: it cannot be scored", OTHERWISE)


def check_mark(lm: LM, mark: str) -> None:
    """See that a text which is looked for in what a model writes comes back from its tokenizer as it stands.

    Raises:
        UserError: it does not, so that it would never be found.
    """
    (ids,) = encode_responses(lm, [f"x {mark} y"])
    if mark not in (read := text_of(lm, ids)):
        what = f"the model's tokenizer gives back {f'x {mark} y'!r} as {read!r}: the end of a scratchpad is never found"
        raise UserError(what, "use a model whose tokenizer keeps capitals and signs, or one that answers at once")


def _begins(ids: Ids, other: Ids) -> bool:
    return ids[: len(other)] == other


OTHERWISE = "use other words, or a model whose tokenizer tells them apart (one of bytes knows every sign)"
