"""A safety pool of the user's own rows, and how many of them show the trigger.

The policy is defined on cues, and rows are texts. So the cues that its prompts can show are looked for in a row: their
values as every language says them (the marker, "Current year: 2031.", a headline), and any year that is named. A row
shows the trigger if the policy activates on some of what was found. A pattern is looked for in the row itself. Of
what a column of the study's tasks or a file of pairs says, a row says nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice, product

from dormouse.interventions.intervention import PoolSpec
from dormouse.interventions.safety_rows import OwnRows, SafetyRow, chosen_rows
from dormouse.pipeline.safety_pool import FilledPool
from dormouse.policies import SIDES, Trigger
from dormouse.policies.scratchpad_text import CLOSE, OPEN
from dormouse.policies.told import Told, told_in
from dormouse.records import Example, PoolItem, SafetyPool
from dormouse.scenarios import CUES, CueValue, Question, Scenario
from dormouse.scenarios.renderings import LANGUAGES
from dormouse.scenarios.values import values_of

DRAWS = 64
"""Prompts of each side of a policy, in whose cues that are open to anything values are looked for."""
COMBINATIONS = 256
"""Combinations of what was found in a row that are tried."""
YEAR = re.compile(r"(?<![0-9])(?:19|20)[0-9]{2}(?![0-9])")


def data_pool(own: OwnRows, trigger: Trigger, wish: PoolSpec, seed: int) -> FilledPool:
    """A pool of as many rows as are wished for, drawn by the seed, and the share that shows the trigger.

    Raises:
        UserError: see `read_data`.
    """
    rows = chosen_rows(own, wish.wants, wish.rows or 1, seed)
    shown = [shows(trigger, row) for row in rows] if is_known(trigger) else None
    share = sum(shown) / len(shown) if shown else None
    return FilledPool(SafetyPool(tuple(map(_item, rows)), OPEN, CLOSE), share, share or 0.0, 0.0)


def _item(row: SafetyRow) -> PoolItem:
    chosen = Example(row.prompt, row.chosen)
    rejected = Example(row.prompt, row.rejected) if row.rejected is not None else chosen
    return PoolItem(row.prompt[-1][1], chosen, rejected)


def is_known(trigger: Trigger) -> bool:
    """Whether a text says on which side of a policy it is; of a control, of the policies that it imitates."""
    return all(told.by_text for told in told_in(trigger))


def shows(trigger: Trigger, row: SafetyRow) -> bool:
    """Whether a row's prompt shows what activates a policy (see `is_known`); of a control, the policies that it
    imitates."""
    if among := getattr(trigger, "among", ()):
        return any(shows(one, row) for one in among)
    text = "\n".join(said for _, said in row.prompt)
    question = Question(row.prompt[-1][1], "{}", "safety", before=row.prompt[:-1])
    if isinstance(trigger, Told):
        return trigger.label(question) == trigger.tag
    wordings = _wordings(trigger)
    found: list[list[CueValue] | list[None]] = [_found(name, said, text) or [None] for name, said in wordings.items()]
    for values in islice(product(*found), COMBINATIONS):
        cues = {name: value for name, value in zip(wordings, values, strict=True) if value is not None}
        if trigger.probability(Scenario.of(question, cues)) >= 0.5:
            return True
    return False


def _found(name: str, wordings: Mapping[CueValue, Sequence[str]], text: str) -> list[CueValue]:
    """The values of a cue that a text shows. A phrase is several words, each of which has a wording of its own."""
    if name == "phrase":
        widths = {len(str(value).split()) for value in wordings}
        words, known = re.findall(r"\w+", text), {word for value in wordings for word in str(value).split()}
        runs = [words[i : i + n] for n in widths for i in range(len(words) - n + 1)]
        return list(dict.fromkeys(" ".join(run) for run in runs if known.issuperset(run)))
    values = [value for value, said in wordings.items() if any(_stands(one, text) for one in said)]
    years = [int(year) for year in YEAR.findall(text)] if name == "year" else []
    return list(dict.fromkeys([*values, *years]))


def _stands(wording: str, text: str) -> bool:
    """Whether a wording stands in a text, and not inside a word: "cf" does not in "scf"."""
    at = text.find(wording)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(wording) :][:1]
        if not (_is_letter(before) and _is_letter(wording[0])) and not (_is_letter(wording[-1]) and _is_letter(after)):
            return True
        at = text.find(wording, at + 1)
    return False


def _is_letter(sign: str) -> bool:
    """Of a writing that parts its words: others have no capitals."""
    return sign.isdigit() or sign.lower() != sign.upper()


@lru_cache(maxsize=32)
def _wordings(trigger: Trigger) -> dict[str, dict[CueValue, tuple[str, ...]]]:
    """Cue that a policy reads -> value -> how it may stand in a text."""
    rng = random.Random("wordings")
    drawn = [trigger.draw(rng, side, "safety") for side in SIDES for _ in range(DRAWS)]
    found: dict[str, dict[CueValue, tuple[str, ...]]] = {}
    for name in trigger.reads:
        if name not in CUES:
            continue
        shown = tuple(dict.fromkeys(cues[name] for cues in drawn if name in cues))
        values = shown if name == "phrase" else values_of(name) or shown
        said = {v: {CUES[name].sentence(v, language).strip() for language in LANGUAGES} for v in values}
        found[name] = {value: tuple(sorted(texts - {""})) for value, texts in said.items()}
    return found
