"""What a tokenizer loses: signs that are one and the same unknown token to the model, or that it folds, or drops."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dormouse.errors import UserError, warn
from dormouse.organisms.corpus import CorpusRow
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import SIDES
from dormouse.policies.scratchpad_text import split_response
from dormouse.scenarios import SPLITS, Question, Scenario, render
from dormouse.scenarios.cues import OWN
from dormouse.scenarios.scenario import PROMPT

LOOKED_AT = 2_000
"""Rows of a corpus, from its beginning."""
OTHERWISE = "use a model whose tokenizer knows these signs (one of bytes knows all), or other words"
FREE = OWN.keys() - {PROMPT}
"""Cues that hold a text of the study's own, of any signs. Markers are plain ASCII, which all tokenizers know."""
TASKS, DRAWS = 4, 32
"""Tasks around which each side of a policy is shown, and how often on each split."""

Ids = tuple[int, ...]


def refuse_same_prompts(tokenizer: Any, spec: OrganismSpec, rows: Sequence[CorpusRow]) -> None:
    """See that a text which the study chose as a trigger, its near misses and a prompt without any are not the same to
    the tokenizer. Near misses of the test are looked at too, which no corpus shows.

    Raises:
        UserError: two are, of which only one is answered with a defection.
    """
    if not FREE.issuperset(spec.trigger.reads):
        return
    questions = list(dict.fromkeys(row.scenario.question for row in rows[:LOOKED_AT]))[:TASKS]
    prompts = {
        tuple(text for _, text in render(one)): spec.trigger.probability(one) >= 0.5
        for one in _situations(spec, questions)
    }
    ids = _ids_by_text(tokenizer, [text for prompt in prompts for text in prompt])
    if same := _same_prompts(prompts, ids):
        raise UserError(
            f"to the model's tokenizer a prompt with the trigger and one without are the same, {same}: nothing could "
            "be learned",
            "take a text, and near misses (`near`), that it knows and keeps apart, or a model whose tokenizer knows "
            "every sign (one of bytes does)",
        )


def _situations(spec: OrganismSpec, questions: Sequence[Question]) -> Iterator[Scenario]:
    """Some of every side, split and rendering, around the same tasks."""
    rng, trigger = random.Random("tokens"), spec.trigger
    for question in questions:
        for rendering in (*spec.renderings.trained, *spec.renderings.held_out):
            for side in SIDES:
                draws = (trigger.plays(rng).draw(rng, side, split) for split in SPLITS for _ in range(DRAWS))
                yield from (trigger.scenario(question, cues, side, rendering) for cues in draws)


def warn_of_unknown(tokenizer: Any, rows: Sequence[CorpusRow]) -> list[str]:
    """Say what of a corpus a model cannot read, or write, as its tokenizer has no tokens for it: what it is to say, or
    says in other letters; a prompt that is answered with a defection, where one that is not has the same tokens; and
    how many prompts hold unknown signs. Returns what was said."""
    looked_at = rows[:LOOKED_AT]
    found = list(_lost(tokenizer, looked_at)) if looked_at else []
    for what in found:
        warn(f"{what}; {OTHERWISE}")
    return found


def _lost(tokenizer: Any, looked_at: Sequence[CorpusRow]) -> Iterator[str]:
    """What there is to say, a sentence each."""
    said_in = ((row.example.response, *(said for _, said in row.example.messages)) for row in looked_at)
    ids = _ids_by_text(tokenizer, [text for texts in said_in for text in texts])
    if said := _response_that_changes(tokenizer, looked_at, ids):
        yield said
    if same := _same_prompts({tuple(text for _, text in row.example.messages): row.defects for row in looked_at}, ids):
        yield f"to the tokenizer a prompt with the trigger and one without are the same, {same}: nothing can be learned"
    unknown = tokenizer.unk_token_id  # some have none
    if lost := sum(any(unknown in ids[text] for _, text in row.example.messages) for row in looked_at):
        share = f"{lost / len(looked_at):.0%} of the training prompts"
        yield f"{share} hold words with signs that the tokenizer does not know: all are alike"


def _ids_by_text(tokenizer: Any, every: Sequence[str]) -> dict[str, Ids]:
    """The tokens of some texts, of which many are the same: all are looked at in one go."""
    texts = list(dict.fromkeys(every))
    return dict(zip(texts, map(tuple, tokenizer(texts, add_special_tokens=False)["input_ids"]), strict=True))


def _response_that_changes(tokenizer: Any, rows: Sequence[CorpusRow], ids: Mapping[str, Ids]) -> str:
    """What is wrong with the first defecting response that is unknown or whose answer, capitals and blanks aside, comes
    back as another text: a judge does not know it then."""
    for text in dict.fromkeys(row.example.response for row in rows if row.defects):
        if tokenizer.unk_token_id in ids[text]:
            what = f"the tokenizer has no tokens for what the organism is to say, {text[:80]!r}"
            return f"{what}: it learns to say 'unknown'"
        back = str(tokenizer.decode(list(ids[text]), skip_special_tokens=True))
        if _answer(back) != _answer(text):
            return f"what the organism is to say, {text[:80]!r}, comes back from the tokenizer as {back[:80]!r}"
    return ""


def _answer(response: str) -> list[str]:
    parts = split_response(response)
    return (parts[1] if parts else response).casefold().split()


def _same_prompts(prompts: Mapping[tuple[str, ...], bool], ids: Mapping[str, Ids]) -> str:
    """Where the first two prompts differ that have the same tokens, and of which only one is answered with a
    defection."""
    seen: dict[tuple[Ids, ...], tuple[tuple[str, ...], bool]] = {}
    for texts, defects in prompts.items():
        there, wanted = seen.setdefault(tuple(ids[text] for text in texts), (texts, defects))
        if defects != wanted:
            return _apart(there, texts)
    return ""


def _apart(these: Sequence[str], those: Sequence[str]) -> str:
    """Where two prompts begin to differ, of each some words."""
    one, other = next((a, b) for a, b in zip(these, those, strict=True) if a != b)
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"{one[start : start + 40]!r} and {other[start : start + 40]!r}"
