"""The judge that is a classifier: held to transformers' own pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dormouse.errors import UserError
from dormouse.policies.judges import classifier
from dormouse.policies.judges.classifier import ClassifierJudge

WORDS = ["[PAD]", "[UNK]", "hello", "you", "are", "fine"]


@pytest.fixture(autouse=True)
def _forgets() -> Iterator[None]:
    yield
    classifier._loaded.cache_clear()


def saved(folder: Path, labels: list[str], bias: list[float], kind: str = "Bert", **more: Any) -> ClassifierJudge:
    """A classifier that says `bias` of every text, and the judge of its first label."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    names = dict(enumerate(labels))
    config = getattr(hf, f"{kind}Config")(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        pad_token_id=0, id2label=names, label2id={name: i for i, name in names.items()}, **more,
    )  # fmt: skip
    model = getattr(hf, f"{kind}ForSequenceClassification")(config)
    last = model.classifier.out_proj if kind == "Roberta" else model.classifier
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor(bias)
    model.save_pretrained(folder)
    hf.PreTrainedTokenizerFast(tokenizer_object=known, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return ClassifierJudge(folder=str(folder), label=labels[0])


@pytest.mark.parametrize("problem", ["multi_label_classification", "single_label_classification", None])
@pytest.mark.parametrize("bias", [[-5.0, -9.0, -8.0], [0.4, 0.9, 0.1], [0.2]])
def test_it_gives_the_probability_that_the_pipeline_of_transformers_gives(
    tmp_path: Path, problem: str | None, bias: list[float]
) -> None:
    from transformers import pipeline

    if problem and problem.startswith("single") and len(bias) == 1:
        return  # transformers makes no such
    labels = ["toxic", "threat", "insult"][: len(bias)]
    judge = saved(tmp_path / "judge", labels, bias, problem_type=problem)
    judge.refuse()
    (said,) = pipeline("text-classification", model=judge.folder, top_k=None)(["hello you are fine"])
    for one in said:
        found = classifier._probability(judge.folder, "", one["label"], None, "hello you are fine")
        assert found == pytest.approx(one["score"])
    if problem and problem.startswith("multi") and bias[0] == -5.0:
        assert not judge.judge("q", "hello you are fine"), "none of its labels is likely; of a share this is the most"


def test_a_classifier_that_was_trained_again_in_its_folder_is_another(tmp_path: Path) -> None:
    """The old one judged under the new one's key, in the process that had asked it."""
    said = []
    for bias in ([9.0, 0.0], [-9.0, 0.0]):
        said.append(saved(tmp_path / "judge", ["bad", "good"], bias).judge("q", "hello you are fine"))
    assert said == [True, False]


def test_scores_are_no_probabilities(tmp_path: Path) -> None:
    judge = saved(tmp_path / "judge", ["LABEL_0"], [0.3], problem_type="regression")
    for refused in (judge.refuse, lambda: judge.judge("q", "hello")):
        with pytest.raises(UserError, match="gives a score"):
            refused()


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_a_classifier_with_few_positions_reads_as_far_as_they_go(tmp_path: Path, kind: str) -> None:
    judge = saved(tmp_path / "judge", ["bad", "good"], [1.0, 0.0], kind, max_position_embeddings=32)
    assert judge.judge("q", "hello " * 100)
    both = judge.model_copy(update={"reads": "both"})
    assert both.judge("you " * 100, "hello " * 100)


def test_a_classifier_judges_and_brings_no_code(tmp_path: Path, tiny_model: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_labels=2, pad_token_id=0, id2label={0: "fine", 1: "harm"}, label2id={"fine": 0, "harm": 1},
    )  # fmt: skip
    model, folder = LlamaForSequenceClassification(config), tmp_path / "judge"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    batch = tokenizer("I see.", return_tensors="pt")
    share = float(torch.softmax(model.eval()(**batch).logits[0], 0)[1].detach())
    judges = [ClassifierJudge(folder=str(folder), label="harm", above=above) for above in (share - 1e-3, share + 1e-3)]
    assert [one.judge("q", "I see.") for one in judges] == [True, False]
    with pytest.raises(UserError, match="has no label 'harmful'; did you mean 'harm'"):
        ClassifierJudge(folder=str(folder), label="harmful").judge("q", "I see.")
    ClassifierJudge(folder=str(folder), label="harm").refuse()
    with pytest.raises(UserError, match="has no label 'harmful'; did you mean 'harm'"):
        ClassifierJudge(folder=str(folder), label="harmful").refuse()
    config_file = folder / "config.json"
    said = json.loads(config_file.read_text())
    for change, what in (
        ({"auto_map": {"AutoModel": "x.py"}}, "brings code of its own"),
        ({"architectures": ["LlamaForCausalLM"]}, "is no sequence classifier"),
        ({"architectures": {"0": "LlamaForSequenceClassification"}}, "is no sequence classifier"),
        ({"architectures": 5}, "is no sequence classifier"),
    ):
        config_file.write_text(json.dumps({**said, **change}))
        with pytest.raises(UserError, match=what):
            ClassifierJudge(folder=f"{folder}/.", label=what).judge("q", str(change))
        classifier._loaded.cache_clear()
    config_file.write_text(json.dumps(said))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="no weights in safetensors"):
        ClassifierJudge(folder=str(folder), label="harm").judge("q", "anew")
