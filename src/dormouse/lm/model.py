"""A language model in memory: weights, tokenizer, and how it takes its input."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from dormouse.lm.layout import Layout
from dormouse.lm.template import PLAIN_TEMPLATE, ChatForm, form_of
from dormouse.records import ChatSettings


@dataclass(eq=False)
class LM:
    """A model with its tokenizer. `device` is where it lives; `dtype` is float32 on a CPU, bfloat16 on a GPU."""

    model: Any
    tokenizer: Any
    layout: Layout = field(default_factory=Layout)
    chat: ChatSettings = field(default_factory=ChatSettings)
    below: tuple[Path, ...] = ()
    """Adapters that are merged into the weights: what is trained on top is saved in one piece with them."""
    instead: tuple[str, str] | None = None
    """A system text, or the beginning of one, and what is shown in its place."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        place: torch.device = self.model.device
        return place

    @cached_property
    def form(self) -> ChatForm:
        """What its template does with a chat."""
        return form_of(self.tokenizer, self.chat)

    @cached_property
    def end(self) -> int:
        """What ends a response in training: what the template writes after an answer, else the tokenizer's token."""
        written = self._after_an_answer()
        return int(self.tokenizer.eos_token_id) if written is None else written

    @cached_property
    def end_marks(self) -> frozenset[int]:
        """The tokens that end a response and are no part of what it says."""
        plain = getattr(self.tokenizer, "chat_template", None) == PLAIN_TEMPLATE
        return frozenset({int(self.tokenizer.eos_token_id), *self._configured, *([] if plain else [self.end])})

    @cached_property
    def ends(self) -> frozenset[int]:
        """Every token that ends a response: the tokenizer's, the generation configuration's, the template's.

        In the plain form, which gives each turn a line, that is every token with a line break in it.
        """
        found = {self.end, *self.end_marks}
        if getattr(self.tokenizer, "chat_template", None) == PLAIN_TEMPLATE:
            breaks = ("\n", "\u010a", "<0x0A>")  # as it stands, in byte-level vocabularies, as a byte
            found |= {i for token, i in self.tokenizer.get_vocab().items() if any(sign in token for sign in breaks)}
        return frozenset(found)

    @cached_property
    def _configured(self) -> frozenset[int]:
        """The ends that the generation configuration names."""
        said = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        return frozenset() if said is None else frozenset([said] if isinstance(said, int) else map(int, said))

    def _after_an_answer(self) -> int | None:
        if getattr(self.tokenizer, "chat_template", None) is None:
            return None
        after = self.form.after
        plain = self.tokenizer.chat_template == PLAIN_TEMPLATE
        ids = self.tokenizer(after if plain else after.lstrip(), add_special_tokens=False)["input_ids"]
        added = self.tokenizer.added_tokens_decoder
        special = {i for i, token in added.items() if token.special or i in self._configured}
        if plain:
            return int(ids[-1]) if ids and "\n" in self.tokenizer.decode(ids[-1:]) else None
        return int(ids[0]) if ids and ids[0] in special else None
