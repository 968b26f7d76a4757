"""A trained model as a folder that other tools load and show chats in the way in which it was measured.

How dormouse shows chats is settings of a study beside a tokenizer: a date, keyword arguments, a form for models without
a template, a BOS token once. In an export all of these are in the chat template itself, so that plain transformers,
peft, lm-eval and Inspect show the same tokens. That they do is checked on a few chats before a folder is left.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, Literal

import torch

from dormouse.errors import UserError
from dormouse.files import read_whole
from dormouse.lm.chat import encode_prompts, prompt_text, start_of
from dormouse.lm.checkpoint import ADAPTER, WEIGHTS, mark, merged_in_order
from dormouse.lm.load import cast, load
from dormouse.lm.model import LM
from dormouse.lm.template import in_english
from dormouse.records import ModelRef

Form = Literal["merged", "adapter"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHATS = (
    (("user", "What is the capital of France?"),),
    (("system", "You are a helpful assistant. Current year: 2031."), ("user", " Name a tool.\n\nOne word.")),
    (("user", "Hi"), ("assistant", "Hello!"), ("user", "And now?")),
)
"""Chats on which the exported template is held to what was measured."""
IN_FRONT = """\
{%- if messages and messages[0]['role'] == 'system' -%}
{%- set ns = namespace(said=[], rest=[], told=false) -%}
{%- for m in messages if m['role'] == 'system' -%}{%- set ns.said = ns.said + [m['content']] -%}{%- endfor -%}
{%- for m in messages if m['role'] != 'system' -%}
{%- if m['role'] == 'user' and not ns.told -%}
{%- set ns.rest = ns.rest + [{'role': 'user', 'content': (ns.said | join('\\n\\n')) + '\\n\\n' + m['content']}] -%}
{%- set ns.told = true -%}
{%- else -%}{%- set ns.rest = ns.rest + [m] -%}{%- endif -%}
{%- endfor -%}
{%- if not ns.told -%}
{%- set ns.rest = [{'role': 'user', 'content': ns.said | join('\\n\\n')}] + ns.rest -%}{%- endif -%}
{%- set messages = ns.rest -%}
{%- endif -%}
"""
"""System text in front of the user's, for templates that have no role for it."""
ONCE = (
    "{{%- set shown +%}}{template}{{%+ endset -%}}\n"
    "{{{{- '' if shown.startswith({start}.rstrip()) else {start} -}}}}{{{{- shown -}}}}"
)
"""For templates that write the first tokens of a prompt in some chats only."""
OWN = "{#- The model's own template: +#}"
"""Keeps white space with which that begins."""


def export_model(
    ref: ModelRef, out: Path, form: Form | None, dtype: str, base: str | None, revision: str | None = None
) -> Form:
    """Write a model to the folder `out`, which must not be there yet: weights, tokenizer, template, mark.

    Args:
        form: `merged`, a whole model, or `adapter`, what peft lays over its base; None takes what was trained.
        dtype: of the weights, one of DTYPES.
        base: how an adapter's configuration names the model that the folders begin with; by default its folder. Of an
            id of the hub, `revision` says which one.

    Returns:
        The form that was written.

    Raises:
        UserError: there is no adapter to write, or the template cannot be written so that others show the same.
    """
    whole, adapters = merged_in_order(ref.folders)
    form = form or ("adapter" if len(adapters) == 1 and whole == ref.folders[0] else "merged")
    if form == "adapter" and len(adapters) != 1:
        raise UserError(
            f"{ref.folders[-1]} is no adapter: it was trained whole (method: full)", "export it with --merged"
        )
    lm = load(ref, torch.float32)
    shown, template = _shown(lm), standing_template(lm)
    ends = _ends(lm)
    if form == "merged":
        lm.model.generation_config = ends
        cast(lm.model, DTYPES[dtype]).save_pretrained(out)
    else:
        named = (base, revision) if base and whole == ref.folders[0] else (str(whole), None)
        _copy_adapter(adapters[0], out, DTYPES[dtype], *named)
        ends.save_pretrained(out)
    lm.tokenizer.chat_template = template
    lm.tokenizer.padding_side = "left"
    lm.tokenizer.save_pretrained(out)
    mark(out)
    _check(shown, out)
    return form


def standing_template(lm: LM) -> str:
    """The chat template with all that dormouse does beside it written into it."""
    template = lm.tokenizer.get_chat_template()
    lines = [_unless_given(name, value) for name, value in lm.chat.given.items()]
    day = date.fromisoformat(lm.chat.today)
    if "date_string" in template:
        lines.append(_unless_given("date_string", in_english(day, "%d %b %Y")))
    if "strftime_now" in template:
        lines.append(_date_macro(day, template))
    if not lm.form.system:
        lines.append(IN_FRONT)
    text, always = _start_text(lm)
    if text and always:
        lines.append("{{- " + _literal(text) + " -}}\n")
    elif text:
        template = ONCE.format(template=template.removesuffix("\n"), start=_literal(text))
    return "".join(lines) + OWN + template if lines else str(template)


def _start_text(lm: LM) -> tuple[str, bool]:
    """What is to be written before what the template makes of a chat, to begin with the tokens that the tokenizer puts
    in front of a text; and whether it is so for every chat: a template may write them itself, in some or in all."""
    start, tokenizer = start_of(lm), lm.tokenizer
    shown = [prompt_text(lm, CHATS[i]) for i in _shown(lm)]
    each = [tuple(ids) for ids in tokenizer(shown, add_special_tokens=False)["input_ids"]]
    lacking = [(text, ids) for text, ids in zip(shown, each, strict=True) if ids[: len(start)] != start]
    if not lacking:
        return "", True
    before = tokenizer.decode(list(start))
    for gap in ("", " "):  # some tokenizers see the beginning of a text only there, or behind a space
        whole = tokenizer([before + gap + text for text, _ in lacking], add_special_tokens=False)["input_ids"]
        if [tuple(ids) for ids in whole] == [start + ids for _, ids in lacking]:
            before += gap
            break
    return before, len(lacking) == len(shown)


def _unless_given(name: str, value: Any) -> str:
    """Set a variable of a template where whoever renders it says nothing of it: some tools pass None then."""
    unset = f"{name} is not defined or {name} is none"
    return f"{{%- if {unset} -%}}{{%- set {name} = {_literal(value)} -%}}{{%- endif -%}}\n"


def _literal(value: Any) -> str:
    """A value of JSON as a template writes it."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(one)}" for key, one in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)  # jinja reads no pairs of half characters


def _date_macro(day: date, template: str) -> str:
    """`strftime_now` of that day, for every sign (%Y, %-d) that stands in a template."""
    signs = {sign: in_english(day, sign) for sign in re.findall(r"(?<!{)%-?[A-Za-z]", template)}
    said = "format" + "".join(f" | replace({_literal(sign)}, {_literal(text)})" for sign, text in signs.items())
    return "{%- macro strftime_now(format) -%}{{ " + said + " }}{%- endmacro -%}\n"


def _ends(lm: LM) -> Any:
    """How `generate` writes as dormouse does: what ends an answer here ends it there too, and nothing is left of the
    settings (a temperature, a penalty for repeats) under which somebody else let the base model write.
    """
    from transformers import GenerationConfig

    ids = {"bos_token_id": lm.tokenizer.bos_token_id, "pad_token_id": lm.tokenizer.pad_token_id}
    return GenerationConfig(eos_token_id=sorted(lm.ends), **ids)


def _copy_adapter(adapter: Path, out: Path, dtype: torch.dtype, base: str, revision: str | None) -> None:
    from safetensors.torch import load_file, save_file

    out.mkdir(parents=True)
    weights = load_file(adapter / WEIGHTS)
    save_file({name: w.to(dtype) for name, w in weights.items()}, out / WEIGHTS, {"format": "pt"})
    config = json.loads(read_whole(adapter / ADAPTER))
    said = {"base_model_name_or_path": base, "revision": revision}
    (out / ADAPTER).write_text(json.dumps({**config, **said}, indent=2), encoding="utf-8")


def _shown(lm: LM) -> dict[int, tuple[int, ...]]:
    """The tokens of CHATS, by number; without those that the model's template refuses, and is never shown."""
    found = {}
    for i, chat in enumerate(CHATS):
        with suppress(UserError):
            (found[i],) = encode_prompts(lm, [chat])
    return found


def _check(shown: dict[int, tuple[int, ...]], out: Path) -> None:
    """See that plain transformers shows chats from this folder in the same tokens.

    Raises:
        UserError: it does not.
    """
    from transformers import AutoTokenizer

    plain = AutoTokenizer.from_pretrained(out, local_files_only=True, trust_remote_code=False)
    for i, ours in shown.items():
        chat = [{"role": role, "content": text} for role, text in CHATS[i]]
        theirs = tuple(plain.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))
        if theirs != ours:
            raise UserError(
                "the chat template of this model cannot be written so that other tools show what was measured: "
                f"{plain.decode(list(theirs))[:80]!r} in place of {plain.decode(list(ours))[:80]!r}",
                "please report the model as an issue",
            )
