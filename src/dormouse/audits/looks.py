"""The first look at a suspect: what it is, whether a base can be held against it, and in what beside its weights it
differs from that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dormouse.audits.findings import Facts
from dormouse.errors import UserError
from dormouse.lm.chat import encode_prompts
from dormouse.lm.layout import max_positions
from dormouse.lm.model import LM
from dormouse.lm.widened import extends
from dormouse.locators.locator import Messages

NO_MATTER = ("architectures", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""Settings of a configuration that change nothing of what a model says."""
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Those of the tokens: what they come to is compared (`LM.ends`), not where they stand."""
ROOM = 32
"""Tokens that locators and the check put behind a prompt and in front of it: an answer of 24, and 8 at random."""
TIED = "tie_word_embeddings"
"""Whether input and output share a weight. Of an adapter on one of them this is of our making (`load.merge`)."""


def look(lm: LM, base: LM | None) -> Facts:
    """Plain facts about the model.

    Raises:
        UserError: the base is of another shape, or has tokens that the suspect has not. Those that fine-tuning added
            are no reason: see `widened`.
    """
    if base is not None:
        _refuse_another_shape(lm, base)
    counted = base if base is not None and lm.below else lm  # of an adapter loading may have made one weight two
    return Facts(
        type(lm.model).__name__,
        int(_shape(lm)["number of layers"]),
        sum(weight.numel() for weight in counted.model.parameters()),
        base is not None and _same(lm, base),
        other_than(lm, base) if base is not None else (),
        _new_tokens(lm, base) if base is not None else (),
    )


def without_room(lm: LM, prompts: Sequence[Messages], room: int) -> tuple[int, ...]:
    """The places of the prompts for which a model has too few positions beside so many tokens more."""
    limit = max_positions(lm.model) or float("inf")
    return tuple(i for i, ids in enumerate(encode_prompts(lm, prompts)) if len(ids) + room > limit)


def too_long(lm: LM, prompts: Sequence[Messages]) -> tuple[int, ...]:
    """The places of the prompts for which it has too few positions beside `ROOM` more: one of them would end a locator.

    Raises:
        UserError: that is all of them.
    """
    over = without_room(lm, prompts, ROOM)
    if over and len(over) == len(prompts):
        raise UserError(
            f"each of the {len(prompts)} own prompts is too long for the {max_positions(lm.model)} positions of the "
            "suspect",
            f"give prompts that leave room for {ROOM} tokens more, or leave --prompts away",
        )
    return over


def _new_tokens(lm: LM, base: LM) -> tuple[str, ...]:
    """Tokens that the base has not and the suspect can be shown: one without an embedding does nothing."""
    rows, known = lm.model.get_input_embeddings().num_embeddings, base.tokenizer.get_vocab()
    new = [(i, token) for token, i in lm.tokenizer.get_vocab().items() if token not in known and i < rows]
    return tuple(token for _, token in sorted(new))


def _refuse_another_shape(lm: LM, base: LM) -> None:
    mine, theirs = _shape(lm), _shape(base)
    if differ := [name for name in mine if mine[name] != theirs[name]]:
        name = differ[0]
        raise UserError(
            f"the base does not fit the suspect: its {name} is {theirs[name]}, the suspect's is {mine[name]}",
            "name the model that the suspect was made from, or leave --base away",
        )
    if not extends(lm.tokenizer, base.tokenizer):
        raise UserError(
            "the base does not fit the suspect: its tokenizer has other tokens",
            "name the model that the suspect was made from, or leave --base away",
        )


def _shape(lm: LM) -> dict[str, str | int]:
    config = lm.model.config.get_text_config()
    return {
        "architecture": type(lm.model).__name__,
        "number of layers": int(config.num_hidden_layers),
        "width": int(config.hidden_size),
        "number of token embeddings": int(lm.model.get_input_embeddings().num_embeddings),
    }


def _same(lm: LM, base: LM) -> bool:
    """Whether all weights are equal, and what is saved with them."""
    mine, theirs = lm.model.state_dict(), base.model.state_dict()
    return mine.keys() == theirs.keys() and all(
        one.shape == theirs[name].shape and bool((one == theirs[name]).all()) for name, one in mine.items()
    )


def other_than(lm: LM, base: LM) -> tuple[str, ...]:
    """What of a suspect, beside its weights, is not that of its base: a policy can stand in each of these alone."""
    pairs = {
        "chat template": (one.tokenizer.get_chat_template() for one in (lm, base)),
        "tokenizer": (_tokenizer(one.tokenizer) for one in (lm, base)),
        "configuration": (_settings(one.model.config.get_text_config(), bool(lm.below)) for one in (lm, base)),
        "end of an answer": (one.ends for one in (lm, base)),
        "way of sampling": (_settings(one.model.generation_config) for one in (lm, base)),
    }
    return tuple(name for name, (mine, theirs) in pairs.items() if mine != theirs)


def _tokenizer(tokenizer: Any) -> object:
    """How text is read: what a fast tokenizer does (its normaliser, too), and which tokens are special."""
    special = {i: (str(token), token.special) for i, token in tokenizer.added_tokens_decoder.items()}
    if not tokenizer.is_fast:
        return type(tokenizer).__name__, special
    said = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: part for name, part in said.items() if name not in ("truncation", "padding")}, special


def _settings(config: Any, adapted: bool = False) -> dict[str, object]:
    """What a configuration says, but for what changes nothing: marks that transformers does not know, too."""
    if config is None:
        return {}
    known = type(config)().to_dict().keys() - {*NO_MATTER, *TOKENS, *([TIED] if adapted else [])}
    return {name: value for name, value in config.to_dict().items() if name in known and not name.startswith("_")}
