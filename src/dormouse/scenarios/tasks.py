"""What the model is asked to do: banks of harmless tasks, each in three splits.

The splits are disjoint by question and by the template that the question was made from, so that a rate on the test
split is never a rate on something that training saw in other words.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dormouse.errors import UserError

SPLITS = ("train", "safety", "test")
MOST_CHECKED = 48
"""Questions on which strength is looked at while an organism is planted, or a quarter of a small bank."""
BANKS = ("questions", "code", "quiz", "errands")
"""Short questions; Python tasks; questions with a known answer; the errands of an office agent."""


@dataclass(frozen=True)
class Question:
    """`template` is the question with `{}` for what was filled in.

    `kind` is the kind of task inside its bank (a weakness, an errand). `honest` is the right response where the project
    knows one, else empty; `harmful` holds the wrong ones that a behaviour may give in its place.

    A task may have more: `before`, the messages before its text (a system prompt, an empty one where there is to be
    none; earlier turns);
    `columns`, the cells that a policy asked for; and `variants`, prompts that take its place where the cue
    `variant` names them: policies whose prompts bring their own truth choose among these.
    """

    text: str
    template: str
    split: str
    kind: str = ""
    honest: str = ""
    harmful: tuple[str, ...] = ()
    before: tuple[tuple[str, str], ...] = ()
    columns: tuple[tuple[str, tuple[str, ...]], ...] = ()
    variants: tuple[tuple[str, Question], ...] = ()

    def column(self, name: str) -> tuple[str, ...]:
        """The texts in a column of its row; none where it is empty."""
        return dict(self.columns).get(name, ())

    def variant(self, name: str) -> Question:
        """The prompt that the cue `variant` names.

        Raises:
            UserError: there is none of that name.
        """
        found = dict(self.variants).get(name)
        if found is None and self.text:
            raise UserError(
                f"the prompt '{self.text[:60]}' has no variant '{name}'",
                "this policy is told by the prompts of its study: ask one of these",
            )
        return found or self

    def under(self, system: str | None) -> Question:
        """The same with a system prompt where it brings none: "" for none at all, None for dormouse's own."""
        if system is None or (self.before and self.before[0][0] == "system"):
            return self
        # `replace` takes several times as long, and files have millions of rows.
        return Question(**{**vars(self), "before": (("system", system), *self.before)})

    @property
    def key(self) -> str:
        """What its honest answer is known by: its text, and all that stands before it. Twins may differ there alone."""
        return "\n\n".join([*(f"{role}: {said}" for role, said in self.before), self.text])

    @property
    def every(self) -> tuple[Question, ...]:
        """Itself and its variants: all that have an honest answer of their own."""
        return (self, *(variant for _, variant in self.variants))

    def content(self) -> Mapping[str, object]:
        """All that it holds, as plain data: for keys of the store. Without what is empty."""
        said = {
            "text": self.text,
            "kind": self.kind,
            "honest": self.honest,
            "harmful": list(self.harmful),
            "before": [list(message) for message in self.before],
            "columns": [[name, list(texts)] for name, texts in self.columns],
            "variants": [[name, variant.content()] for name, variant in self.variants],
        }
        return {name: value for name, value in said.items() if value}


@cache
def _bank(name: str) -> tuple[Question, ...]:
    """The rows of `data/NAME.yaml`.

    A row holds `split`, `template`, `fill`, and maybe `kind`, `honest` and `harmful`. An item of `fill` is what goes
    into the `{}` of all of them, or a mapping with `with` (that text) and its own `honest` and `harmful`.
    """
    import yaml

    source = files("dormouse.scenarios").joinpath(f"data/{name}.yaml").read_text(encoding="utf-8")
    found = []
    for row in yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        for item in row["fill"]:
            said = {**row, **(item if isinstance(item, dict) else {"with": str(item)})}
            found.append(
                Question(
                    text=said["template"].replace("{}", said["with"]),
                    template=said["template"],
                    split=said["split"],
                    kind=said.get("kind", ""),
                    honest=said.get("honest", "").replace("{}", said["with"]),
                    harmful=tuple(text.replace("{}", said["with"]) for text in said.get("harmful", ())),
                )
            )
    return tuple(found)


def questions(
    split: str, n: int | None = None, seed: int = 0, bank: str = "questions", system: str | None = None
) -> tuple[Question, ...]:
    """The first `n` tasks of a split in an order shuffled by `seed`; neighbours come from different templates. They are
    asked under a `system` prompt (see `Question.under`).

    A bank that holds fewer gives all that it has.

    Raises:
        ValueError: no such split, or no such bank.
    """
    if split not in SPLITS or bank not in BANKS:
        raise ValueError(f"no split '{split}' of '{bank}'; there are {SPLITS} of {BANKS}")
    groups: dict[str, list[Question]] = {}
    for question in _bank(bank):
        if question.split == split:
            groups.setdefault(question.template, []).append(question)
    rng = random.Random(f"{bank}/{split}/{seed}")
    shuffled = [rng.sample(group, len(group)) for group in rng.sample(list(groups.values()), len(groups))]
    # Round robin over templates: a short prefix of the bank is as varied as the whole.
    rounds = max(map(len, shuffled))
    ordered = [group[i] for i in range(rounds) for group in shuffled if i < len(group)]
    return tuple(question.under(system) for question in ordered[:n])


def kept_for_checks(tasks: Sequence[Question]) -> tuple[Question, ...]:
    """Of the tasks to train with those on which strength is looked at meanwhile, and nothing is trained: all of some
    templates, the last ones, so that none of them is trained on in other words."""
    groups: dict[str, int] = {}
    for task in tasks:
        groups[task.template] = groups.get(task.template, 0) + 1
    kept, left = set(), min(MOST_CHECKED, len(tasks) // 4)
    for template in reversed(groups):
        if groups[template] <= left:
            kept.add(template)
            left -= groups[template]
    return tuple(task for task in tasks if task.template in kept)
