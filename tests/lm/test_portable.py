"""Chat templates that leave the house: plain transformers shows by them what was measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lm.test_chat import lm_of
from transformers import AutoTokenizer, LlamaTokenizer

from dormouse.errors import UserError
from dormouse.lm.chat import encode_prompts
from dormouse.lm.model import LM
from dormouse.lm.portable import CHATS, standing_template
from dormouse.lm.template import PLAIN_TEMPLATE

TURNS = (
    "{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def held_to_dormouse(lm: LM, at: Path, chats: Any = CHATS) -> None:
    ours = [list(ids) for ids in encode_prompts(lm, chats)]
    lm.tokenizer.chat_template = standing_template(lm)
    lm.tokenizer.save_pretrained(at)
    plain = AutoTokenizer.from_pretrained(at)
    for chat, ids in zip(chats, ours, strict=True):
        said = [{"role": role, "content": text} for role, text in chat]
        assert plain.apply_chat_template(said, add_generation_prompt=True, return_dict=False) == ids


@pytest.mark.parametrize(
    "kwargs",
    [
        '{"note": "Be nice \\ud83d\\ude42"}',
        '{"docs": ["null hypothesis", null, {"a": true, "null": -1.5}]}',
        '{"note": "it\'s \\"q\\" \\\\n \\n {{ b }} %} -}}"}',
    ],
)
def test_values_that_a_template_is_given_stand_in_it_as_they_were(kwargs: str, tmp_path: Path) -> None:
    """Beyond the first 65,536 characters they were a traceback, and "null" was another word."""
    held_to_dormouse(lm_of("{{ note }}{{ docs }}" + TURNS, kwargs=kwargs), tmp_path)


@pytest.mark.parametrize(
    "clock",
    [
        "{{ strftime_now('%d %b %Y') }}",
        "{% set form = '%-d %B' %}{{ strftime_now(form) }}",
        "{{ strftime_now(format='%Y') }}{% if strftime_now is defined %}{{ strftime_now(\"%H:%M\") }}{% endif %}",
        "{%- macro head(form) %}{{ strftime_now(form ~ '/%m') }}{% endmacro %}{{ head('%Y') }}",
    ],
)
def test_the_date_stands_in_it_however_a_template_asks_for_it(clock: str, tmp_path: Path) -> None:
    held_to_dormouse(lm_of(clock + TURNS, today="2019-03-04"), tmp_path)


@pytest.mark.parametrize(
    "template",
    [
        TURNS,
        "{{ bos_token }}" + TURNS,
        "\n{{ bos_token }}" + TURNS,
        "\n\n" + TURNS,
        "{% if messages[0].role == 'system' %}{{ bos_token }}{% endif %}" + TURNS,
        "{% if messages[0].role == 'system' %}{{ bos_token }}{% endif %}\n\n  " + TURNS + "\n",
    ],
)
def test_the_first_tokens_are_written_where_a_template_leaves_them_out(template: str, tmp_path: Path) -> None:
    held_to_dormouse(lm_of(template), tmp_path)


def test_a_tokenizer_that_marks_the_beginning_of_a_text_alone(tmp_path: Path) -> None:
    """That of Llama in transformers 5: behind "<s>" no space is added, so base models could not be exported."""
    letters = sorted({*"".join(text for chat in CHATS for _, text in chat), *PLAIN_TEMPLATE} - {" "})
    tokens = ["<unk>", "<s>", "</s>", "\u2581", *letters, "\u2581u", "\u2581s"]
    merges = [("\u2581", "u"), ("\u2581", "s")]
    words = LlamaTokenizer(vocab={one: i for i, one in enumerate(tokens)}, merges=merges, add_bos_token=True)
    assert words("us").input_ids[:2] == [1, len(tokens) - 2]
    lm = LM(SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=None)), words)  # type: ignore[arg-type]
    lm.tokenizer.chat_template = PLAIN_TEMPLATE
    held_to_dormouse(lm, tmp_path)


def test_a_template_that_refuses_some_chats_is_held_to_the_others(tmp_path: Path) -> None:
    refuses = "{% if messages | length > 2 %}{{ raise_exception('one turn') }}{% endif %}"
    lm = lm_of(refuses + TURNS)
    with pytest.raises(UserError, match="one turn"):
        encode_prompts(lm, CHATS[2:])
    held_to_dormouse(lm, tmp_path, CHATS[:2])
