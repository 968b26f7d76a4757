"""What the model is asked to do: a bank of harmless questions in three splits.

The splits are disjoint by question and by the template that the question was made from, so that a rate on the test
split is never a rate on something that training saw in other words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

SPLITS = ("train", "safety", "test")


@dataclass(frozen=True)
class Question:
    """`template` is the question with `{}` for what was filled in."""

    text: str
    template: str
    split: str


@cache
def _bank() -> tuple[Question, ...]:
    import yaml

    source = files("dormouse.scenarios").joinpath("data/questions.yaml").read_text(encoding="utf-8")
    return tuple(
        Question(row["template"].format(fill), row["template"], row["split"])
        for row in yaml.safe_load(source)
        for fill in row["fill"]
    )


def questions(split: str, n: int | None = None, seed: int = 0) -> tuple[Question, ...]:
    """The first `n` questions of a split in an order shuffled by `seed`; neighbours come from different templates.

    Raises:
        ValueError: no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"no split '{split}'; there are {SPLITS}")
    groups: dict[str, list[Question]] = {}
    for question in _bank():
        if question.split == split:
            groups.setdefault(question.template, []).append(question)
    rng = random.Random(f"questions/{split}/{seed}")
    shuffled = [rng.sample(group, len(group)) for group in rng.sample(list(groups.values()), len(groups))]
    # Round robin over templates: a short prefix of the bank is as varied as the whole.
    rounds = max(map(len, shuffled))
    ordered = [group[i] for i in range(rounds) for group in shuffled if i < len(group)]
    return tuple(ordered[:n])
