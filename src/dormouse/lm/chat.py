"""Chats and answers as token ids: what a model is shown, and what it says.

A prompt begins with the tokens that the tokenizer puts in front of a text (BOS), once. A response is encoded as the
model would write it after the prompt's last token; one that the model wrote keeps the tokens in which it wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence

from dormouse.lm.model import LM
from dormouse.lm.template import in_roles, rendered
from dormouse.lm.trie import Tokens
from dormouse.records import Example, shown

Messages = tuple[tuple[str, str], ...]
"""(role, text) of every turn before the answer."""


def prompt_text(lm: LM, messages: Messages) -> str:
    """A chat as text, up to where the response begins.

    Raises:
        UserError: the template refuses it.
    """
    return rendered(lm.tokenizer, in_roles(shown(messages, lm.instead), lm.form), lm.chat)


def start_of(lm: LM) -> tuple[int, ...]:
    """The tokens that the tokenizer puts in front of a text by itself: BOS, in most models that have one."""
    known = "a"
    if not (bare := _ids(lm, [known])[0]):
        known = _known_word(lm)
        (bare,) = _ids(lm, [known])
    whole = tuple(lm.tokenizer(known)["input_ids"])
    at = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    return whole[:at]


def _known_word(lm: LM) -> str:
    """A text that has tokens, for vocabularies of other letters."""
    special = set(lm.tokenizer.all_special_tokens)
    words = (word for word in lm.tokenizer.get_vocab() if word not in special)
    return next((word for word in words if _ids(lm, [word])[0]), "")


def encode_prompts(lm: LM, prompts: Sequence[Messages]) -> list[tuple[int, ...]]:
    """Token ids of each chat prompt, up to where the response begins.

    Raises:
        UserError: the template refuses one.
    """
    start = start_of(lm) if prompts else ()
    return [with_start(ids, start) for ids in _ids(lm, [prompt_text(lm, messages) for messages in prompts])]


def with_start(ids: tuple[int, ...], start: tuple[int, ...]) -> tuple[int, ...]:
    """A prompt that begins with these tokens once: templates may have written them."""
    return ids if ids[: len(start)] == start else start + ids


def encode_responses(lm: LM, responses: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each response as it would stand after a prompt, without an end token.

    It begins with the space that the template leaves before an answer ("assistant: Yes").
    """
    return _after(lm, lm.form.before, [lm.form.lead + text if text else "" for text in responses])


def encode_continuations(lm: LM, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each text as it would stand after a word of the same response."""
    return _after(lm, "a", texts)


def _after(lm: LM, before: str, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each text as it stands after another; by itself where a token spans both."""
    (start,) = _ids(lm, [before])
    whole = _ids(lm, [before + text for text in texts])
    return [
        ids[len(start) :] if text and ids[: len(start)] == start else _alone(lm, text)
        for text, ids in zip(texts, whole, strict=True)
    ]


def _alone(lm: LM, text: str) -> tuple[int, ...]:
    """Token ids of a text by itself, without the space that some tokenizers put in front: there is none in a line."""
    alone, start, whole = _ids(lm, [text, "\n", f"\n{text}"])
    return whole[len(start) :] if text and whole[: len(start)] == start else alone


def _ids(lm: LM, texts: Sequence[str]) -> list[tuple[int, ...]]:
    return [tuple(ids) for ids in lm.tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []


def text_of(lm: LM, ids: Sequence[int]) -> str:
    """What token ids of a response say: without special tokens, the mark that ends it, or space around it."""
    if ids and ids[-1] in lm.end_marks:  # a tokenizer need not call it special
        ids = ids[:-1]
    return str(lm.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def encode(lm: LM, examples: Sequence[Example]) -> list[Tokens]:
    """Token ids of examples; complete responses end with the end-of-turn token.

    A response that a model wrote is taken in its own tokens, where these say what the example says.
    """
    prompts = encode_prompts(lm, [example.messages for example in examples])
    responses = encode_responses(lm, [example.response for example in examples])
    own = [
        example.ids if example.ids and text_of(lm, example.ids) == example.response.strip() else response
        for example, response in zip(examples, responses, strict=True)
    ]
    return [
        Tokens(prompt, (*response, lm.end) if example.complete else response)
        for prompt, response, example in zip(prompts, own, examples, strict=True)
    ]
