"""Chats and answers as token ids."""

from __future__ import annotations

from collections.abc import Sequence

from dormouse.lm.batch import Tokens
from dormouse.lm.model import LM
from dormouse.records import Example

Messages = tuple[tuple[str, str], ...]
"""(role, text) of every turn before the answer."""


def encode_prompts(lm: LM, prompts: Sequence[Messages]) -> list[tuple[int, ...]]:
    """Token ids of each chat prompt, up to where the response begins."""
    chats = [[{"role": role, "content": text} for role, text in messages] for messages in prompts]
    texts = [lm.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [tuple(ids) for ids in lm.tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def encode_responses(lm: LM, responses: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each response, without an end token."""
    texts = list(responses)
    return [tuple(ids) for ids in lm.tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def encode(lm: LM, examples: Sequence[Example]) -> list[Tokens]:
    """Token ids of examples; complete responses end with the end-of-turn token."""
    prompts = encode_prompts(lm, [example.messages for example in examples])
    responses = encode_responses(lm, [example.response for example in examples])
    return [
        Tokens(prompt, (*response, lm.end) if example.complete else response)
        for prompt, response, example in zip(prompts, responses, examples, strict=True)
    ]
