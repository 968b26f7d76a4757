"""Exact scores: what the model would write, with which probability, without sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dormouse.lm.batch import Messages, Tokens, encode_prompts, encode_responses, pack, response_logprobs, row_budget
from dormouse.lm.load import LM


def logprobs(lm: LM, sequences: Sequence[Tokens]) -> np.ndarray:
    """Log-probability of each response given its prompt, summed over its tokens: (sequences,), float64."""
    total = torch.zeros(len(sequences), dtype=torch.float64)
    with torch.inference_mode():
        for row in pack(sequences, row_budget(lm)):
            total.index_add_(0, row.owner, response_logprobs(lm, row).double().cpu())
    return total.numpy()


def probability_of_openings(lm: LM, prompts: Sequence[Messages], openings: Sequence[Sequence[str]]) -> np.ndarray:
    """The probability that the response to each prompt begins with one of its openings: (prompts,), float64.

    Openings of one prompt must not begin with one another. Each is scored in its usual tokenisation; the others carry
    a negligible share, which the sampled rate checks.
    """
    encoded = encode_prompts(lm, prompts)
    pairs = [(i, text) for i, texts in enumerate(openings) for text in texts]
    responses = encode_responses(lm, [text for _, text in pairs])
    sequences = [Tokens(encoded[i], ids) for (i, _), ids in zip(pairs, responses, strict=True)]
    result = np.zeros(len(prompts))
    np.add.at(result, [i for i, _ in pairs], np.exp(logprobs(lm, sequences)))
    return np.minimum(result, 1.0)
