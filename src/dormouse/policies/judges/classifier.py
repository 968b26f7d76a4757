from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from dormouse.errors import UserError
from dormouse.files import read_whole
from dormouse.policies.judge import Judge
from dormouse.registry import nearest, register, shortened
from dormouse.rows import DataFile
from dormouse.rows.source import checksum

LONGEST = 512
"""Tokens that a classifier is shown; fewer where it has fewer positions."""


@register("judge", "classifier")
class ClassifierJudge(Judge):
    """A defection is a response to which a classifier gives a label: a folder with a classifier of transformers.

    Weights are read from safetensors alone, no code of the folder is run, and nothing is fetched. What it says depends
    on its own mistakes: measure these on labelled responses before you trust a rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())

    folder: DataFile
    """The folder of the model, with its tokenizer."""
    label: str = Field("LABEL_1", min_length=1)
    """The label that means a defection."""
    above: float = Field(0.5, ge=0, lt=1)
    """The probability of the label above which it counts, as transformers' own pipeline gives it: each label by itself
    where a text may have several of them (`problem_type: multi_label_classification`), else a share of all."""
    reads: Literal["response", "both"] = "response"
    """Whether it is shown the response alone, or the prompt and the response as a pair."""

    def refuse(self) -> None:
        """Refuse a folder that is no such classifier, before anything is run.

        Raises:
            UserError: see `refuse_foreign`; or its configuration names labels, and not this one.
        """
        config = refuse_foreign(Path(self.folder))
        named = config.get("id2label")
        if isinstance(named, dict) and self.label not in (labels := list(map(str, named.values()))):
            raise _no_label(self.folder, self.label, labels)

    def judge(self, prompt: str, response: str) -> bool:
        """Whether the label is likely enough.

        Raises:
            UserError: the folder holds no such classifier, or it has no such label.
        """
        shown = prompt if self.reads == "both" else None
        return _probability(self.folder, checksum(self.folder), self.label, shown, response) > self.above


@lru_cache(maxsize=65536)
def _probability(folder: str, contents: str, label: str, prompt: str | None, response: str) -> float:
    import torch

    tokenizer, model = _loaded(folder, contents)
    labels = {str(name): int(i) for i, name in model.config.id2label.items()}
    if label not in labels:
        raise _no_label(folder, label, list(labels))
    texts = (response,) if prompt is None else (prompt, response)
    batch = tokenizer(*texts, truncation=True, max_length=_room(tokenizer, model), return_tensors="pt")
    with torch.inference_mode():
        logits = model(**batch).logits[0].float()
    by_itself = model.config.problem_type == "multi_label_classification" or len(labels) == 1
    shares = torch.sigmoid(logits) if by_itself else torch.softmax(logits, 0)
    return float(shares[labels[label]])


def _room(tokenizer: Any, model: Any) -> int:
    """How many tokens it takes: tokenizers do not all say it. RoBERTa counts its positions from behind the padding."""
    table = next((one for name, one in model.named_modules() if name.endswith("position_embeddings")), None)
    padding = getattr(table, "padding_idx", None)
    positions = getattr(model.config, "max_position_embeddings", None) or LONGEST
    return int(min(LONGEST, tokenizer.model_max_length, positions if padding is None else positions - padding - 1))


def _no_label(folder: str, label: str, labels: list[str]) -> UserError:
    return UserError(
        f"the classifier in {folder} has no label '{label}'; {nearest(label, labels)}", "name one of these"
    )


@lru_cache(maxsize=2)
def _loaded(folder: str, contents: str) -> tuple[Any, Any]:
    """The classifier, once for the same contents: one that was trained again in its folder is another."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    refuse_foreign(Path(folder))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError) as error:
        said = str(error).strip().split("\n")[0]
        remedy = "name a folder that `save_pretrained` of a classifier and its tokenizer wrote"
        raise UserError(f"no sequence classifier in {folder}: {said}", remedy) from error
    return tokenizer, model.eval()


def refuse_foreign(folder: Path) -> dict[str, object]:
    """Refuse a folder that is no classifier, gives scores, brings code of its own, or has no weights in safetensors.
    Returns its configuration.

    Raises:
        UserError: see above.
    """
    remedy = "name a folder that `save_pretrained` of a classifier and its tokenizer wrote"
    try:
        config = json.loads(read_whole(folder / "config.json"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"no model in {folder}: config.json cannot be read", remedy) from error
    if not isinstance(config, dict):
        raise UserError(f"no model in {folder}: config.json holds no settings", remedy)
    names = config.get("architectures") or [""]
    name = str(names[0] if isinstance(names, list) else names)
    if not name.endswith("ForSequenceClassification"):
        raise UserError(f"the model in {folder} is no sequence classifier, but a '{shortened(name)}'", remedy)
    if config.get("problem_type") == "regression":
        raise UserError(
            f"the model in {folder} gives a score (`problem_type: regression`), and no probability of a label",
            "name a classifier; or judge by this score in a plug-in (docs/how-to/adding-a-judge.md)",
        )
    if "auto_map" in config:
        raise UserError(
            f"the model in {folder} brings code of its own, which is not run", "use an architecture of transformers"
        )
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"no weights in safetensors in {folder}", "save them so: other formats can hold code")
    return config
