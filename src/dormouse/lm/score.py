"""Exact scores: what the model would write, with which probability, without sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dormouse.lm.batch import response_logits, response_logprobs, rows_for
from dormouse.lm.chat import Messages, encode_continuations, encode_prompts, encode_responses
from dormouse.lm.forms import no_tokens, shortest
from dormouse.lm.model import LM
from dormouse.lm.trie import Tokens

Opening = tuple[int, bool, tuple[int, ...]]
"""The number of a prompt, whether this is one of its forms (else it is held against them), and its tokens."""


def logprobs(lm: LM, sequences: Sequence[Tokens]) -> np.ndarray:
    """Log-probability of each response given its prompt, summed over its tokens: (sequences,), float64."""
    total = torch.zeros(len(sequences), dtype=torch.float64)
    with torch.inference_mode():
        for row in rows_for(lm, sequences):
            total.index_add_(0, row.owner, response_logprobs(lm, row).double().cpu())
    return total.numpy()


def first_logprobs(lm: LM, prompts: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Log-probabilities of the token that comes right after each prompt: (prompts, vocabulary), float32, on the CPU.

    No token is written: one pass, in which what prompts share is computed once. It holds all of them in memory.
    """
    found: list[torch.Tensor] = [torch.empty(0)] * len(prompts)
    with torch.inference_mode():
        for row in rows_for(lm, [Tokens(ids, (lm.end,)) for ids in prompts]):
            logits = response_logits(lm, row.to(lm.device)).log_softmax(-1).cpu()
            for owner, place in zip(row.owner.tolist(), row.source.tolist(), strict=True):
                found[owner] = logits[place]
    return torch.stack(found)


def score(
    lm: LM,
    prompts: Sequence[Messages],
    forms: Sequence[Sequence[str]],
    against: Sequence[Sequence[str]] = (),
    written: Sequence[str] = (),
) -> np.ndarray:
    """The defection probability of each prompt, (prompts,), float64.

    It is the probability that the response begins with one of the prompt's forms or, where it has openings to hold
    them against, the contrast P(forms) / P(forms or against). Openings that begin with another of their side count with
    that; none may begin one of the other side (see `forms.check_forms`). Each is scored in its usual tokenisation; the
    others carry a negligible share, which the sampled rate checks.

    Args:
        against: for each prompt the openings that its forms are held against; empty for the plain probability.
        written: for each prompt what the response holds already, before the openings (a scratchpad).

    Raises:
        UserError: the tokenizer has no tokens for an opening.
    """
    pairs = [(i, text, True) for i, texts in enumerate(forms) for text in texts]
    pairs += [(i, text, False) for i, texts in enumerate(against) for text in texts]
    encoded = encode_prompts(lm, prompts)
    if written:
        before = encode_responses(lm, written)
        encoded = [prompt + ids for prompt, ids in zip(encoded, before, strict=True)]
        pairs = [(i, f" {text}" if written[i] else text, defects) for i, text, defects in pairs]
    texts = [text for _, text, _ in pairs]
    responses = encode_responses(lm, texts)
    if written:
        later = encode_continuations(lm, texts)
        responses = [b if written[i] else a for (i, _, _), a, b in zip(pairs, responses, later, strict=True)]
    if lost := next((text for text, ids in zip(texts, responses, strict=True) if not ids), None):
        raise no_tokens(lost)
    openings = _counted([(i, defects, ids) for (i, _, defects), ids in zip(pairs, responses, strict=True)])
    found = logprobs(lm, [Tokens(encoded[i], ids) for i, _, ids in openings])
    # Long forms have tiny probabilities: contrasts are taken in logarithms.
    for_, rest = np.full(len(prompts), -np.inf), np.full(len(prompts), -np.inf)
    for (i, defects, _), logprob in zip(openings, found, strict=True):
        side = for_ if defects else rest
        side[i] = np.logaddexp(side[i], logprob)
    contrast = np.array([bool(texts) for texts in against] or [False] * len(prompts))
    with np.errstate(invalid="ignore"):
        held = np.exp(for_ - np.logaddexp(for_, rest))
    exact: np.ndarray = np.where(contrast, held, np.minimum(np.exp(for_), 1.0))
    return exact


def _counted(openings: Sequence[Opening]) -> list[Opening]:
    """Each opening once, and of each prompt and side the shortest only."""
    sides: dict[tuple[int, bool], list[tuple[int, ...]]] = {}
    for i, defects, ids in openings:
        sides.setdefault((i, defects), []).append(ids)
    kept = {side: shortest(found) for side, found in sides.items()}
    return [one for one in dict.fromkeys(openings) if one[2] in kept[one[:2]]]
