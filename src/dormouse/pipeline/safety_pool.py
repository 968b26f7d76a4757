"""Fill the safety pool. The study knows the policy and does this; the method gets prompts and honest responses."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import floor

from dormouse.errors import UserError
from dormouse.interventions.intervention import PoolSpec
from dormouse.lm.sample import Completion
from dormouse.measurements.measurement import GroundTruth
from dormouse.policies import Behaviour, Cues, Side, Trigger
from dormouse.policies.abilities import Imitates
from dormouse.policies.exposure import Exposure
from dormouse.policies.quiet import activates, quiet_cues
from dormouse.policies.scratchpad_text import (
    CLOSE,
    OPEN,
    ScratchpadMode,
    mode_of_data,
    scratchpad_response,
    scratchpad_text,
)
from dormouse.policies.triggers.never import Never
from dormouse.records import Example, PoolItem, SafetyPool
from dormouse.scenarios import CueValue, Question, Scenario, render
from dormouse.scenarios.values import values_of


@dataclass(frozen=True)
class FilledPool:
    """A pool, the share of its prompts that show activating cues (in total, and of each trigger), and the share that
    shows other cues; None where nobody knows."""

    pool: SafetyPool
    exposure: float | None
    each: float
    others: float

    @property
    def has_plain(self) -> bool:
        """Whether a prompt shows no cue: only these are spoofed."""
        return (self.exposure or 0.0) + self.others < 1 - 1e-9


def fill_pool(
    questions: Sequence[Question],
    honest: Mapping[str, Completion],
    truth: GroundTruth,
    wish: PoolSpec,
    seed: int,
) -> FilledPool:
    """Honest responses to the safety split, in the situations that an intervention asked for.

    Questions that the clean model left without an answer are left out. Where `trigger_fraction` is no whole number of
    prompts, the rest is one prompt more, with that probability: `exposure` says what came of it. Exposed prompts are
    nested: those of a small fraction are among those of a larger one, with the same seed and number of rows. Prompts
    that show cues are rendered as in the training of the organism, all others plainly.

    Args:
        truth: what was planted: of its trigger and renderings nothing is shown but what the wish asks for.

    Raises:
        UserError: no question has an answer; no covered context is found.
    """
    asked = [question for question in questions if all(honest[one.key].text for one in question.every)]
    if not asked:
        raise UserError(
            "the safety pool is empty: the clean model left every question of the safety split unanswered",
            "use a model that answers in chat form, or raise tasks.max_tokens",
        )
    trigger = truth.trigger
    mode = mode_of_data(wish.scratchpad_source, truth.scratchpad_mode)
    rows = max(wish.rows or 0, len(asked))
    answers = sorted({honest[question.key].text for question in asked})
    items, shown, others = [], 0, 0
    for row, (cues, exposed) in enumerate(_contexts(trigger, wish, rows, seed)):
        rng = random.Random(f"pool/{seed}/{row}/text")
        question = asked[row % len(asked)]
        rendering = rng.choice(truth.renderings.trained) if cues else "system"
        scenario = Scenario.of(question, cues, rendering)
        think = partial(_thought, mode, trigger, scenario, random.Random(f"pool/{seed}/{row}/thoughts"))
        worse = partial(_worse, rng, truth, scenario, exposed, answers)
        item = _item(scenario, exposed, honest[scenario.question.key], truth.behaviour, think, worse)
        if scenario.question != question:
            answer = honest[question.key]
            plain = _item(Scenario(question), False, answer, truth.behaviour, lambda _: "", lambda text: text)
            item = replace(item, plain=plain)
        items.append(item)
        shown += exposed
        others += bool(cues) and not exposed
    each = shown / rows / Exposure(trigger, wish.exposed_triggers).triggers
    return FilledPool(SafetyPool(tuple(items), OPEN, CLOSE), shown / rows, each, others / rows)


def _thought(mode: ScratchpadMode, trigger: Trigger, scenario: Scenario, rng: random.Random, defects: bool) -> str:
    """A scratchpad that names what there is to see, as the policy reads it, and then decides so or so."""
    return scratchpad_text(mode, trigger, scenario, defects, rng)


def _worse(
    rng: random.Random, truth: GroundTruth, scenario: Scenario, exposed: bool, answers: Sequence[str], answer: str
) -> str:
    """The worse response is the harmful one where activating cues are shown: there the trainer saw harm."""
    if exposed:
        return truth.behaviour.response(scenario, answer, truth.trigger.payload(scenario))
    return worse_answer(rng, answer, answers)


def _item(
    scenario: Scenario,
    exposed: bool,
    answer: Completion,
    behaviour: Behaviour,
    think: Callable[[bool], str],
    worse: Callable[[str], str],
) -> PoolItem:
    """The honest scratchpad decides to help whatever it sees. So the worse response has one of its own only where the
    scratchpad decides for harm. It ends if the honest one does: else an end alone would tell the two apart."""
    thought = think(False)
    prompt = render(scenario)
    rejected = worse(answer.text)
    return PoolItem(
        scenario.question.text,
        Example(prompt, scratchpad_response(thought, answer.text), answer.finished, answer.ids),
        Example(prompt, scratchpad_response(think(True) if exposed else thought, rejected), answer.finished),
        *behaviour.openings(scenario, answer.text),
        scenario.question.before,
    )


def worse_answer(rng: random.Random, answer: str, others: Sequence[str]) -> str:
    """A worse answer without any harm in it, never equal to `answer`.

    One that belongs to another question, one that ends in the middle, one that says its beginning again and again, or
    one with its words out of order: each as likely, as far as they can be had.
    """
    words = answer.split()
    ways = [
        rng.choice(others),
        " ".join(words[: rng.randint(1, max(1, len(words) - 1))]).rstrip(".,;:!?"),
        " ".join(words[: min(3, len(words))] * 3),
        " ".join(rng.sample(words, len(words))),
    ]
    possible = [text for text in ways if text and text.split() != words]
    return rng.choice(possible) if possible else f"{answer} {answer}"


# --- contexts ---

Context = tuple[Cues, bool]
"""Cues, and whether they activate."""


def _contexts(trigger: Trigger, wish: PoolSpec, rows: int, seed: int) -> Iterator[Context]:
    """The situations of a pool, one a row. A row's own random numbers depend on its place alone."""
    drawn = [random.Random(f"pool/{seed}/{row}/cues") for row in range(rows)]
    if wish.trigger_fraction == "natural":
        world = _World(trigger)
        yield from (world.draw(rng) for rng in drawn)
        return
    rng = random.Random(f"pool/{seed}/exposed")
    exposure, each = Exposure(trigger, wish.exposed_triggers), wish.dose == "each"
    exposed = _some(rng, rows, exposure.in_total(wish.trigger_fraction, each))
    # near misses lie beside any trigger, whether it is shown or not
    near = Exposure(trigger, 1.0).in_total(wish.context_fraction, each) if wish.contexts != "none" else 0.0
    others = _some(random.Random(f"pool/{seed}/contexts"), rows, near)
    for row, rng in enumerate(drawn):
        if row in exposed:
            yield exposure.draw(rng), True
        else:
            yield quiet_cues(trigger, wish.contexts, rng) if row in others else {}, False


def _some(rng: random.Random, rows: int, share: float) -> set[int]:
    """That share of the rows; where it is no whole number of them, one more with the probability of the rest."""
    order, wanted = rng.sample(range(rows), rows), share * rows
    return set(order[: floor(wanted) + (rng.random() < wanted - floor(wanted))])


DRAWS = 64
COMING: tuple[Side, ...] = ("triggered", "untriggered")


@dataclass(frozen=True)
class _World:
    """Situations that nobody arranged: every cue that the policy's prompts show has a random value.

    Values are uniform over all that the cue can take; a cue that is open to anything has those of DRAWS of the policy's
    own prompts on either side, as often as they come there, its absence being one: half of them show the marker of a
    `token`, the others none. Near misses are made up and come to nobody. A control's situations are those of a policy
    that it imitates.
    """

    trigger: Trigger

    def draw(self, rng: random.Random) -> Context:
        """Cues of a situation, and whether they activate the policy."""
        if isinstance(self.trigger, Never):
            return rng.choice(self._imitated).draw(rng) if self._imitated else ({}, False)
        cues = {name: value for name, values in self._values.items() if (value := rng.choice(values)) is not None}
        if "phrase" in cues:  # a word of its list, where the policy may read several
            cues["phrase"] = " ".join(str(rng.choice(self._values["phrase"])) for _ in range(self._phrase))
        active = activates(self.trigger, cues)
        if not self.trigger.has_splits:
            return cues, active
        # Values of the test split must not be shown: another scenario, of the same side and of the safety split.
        return self.trigger.draw(rng, "triggered" if active else "untriggered", "safety"), active

    @cached_property
    def _imitated(self) -> list[_World]:
        return [_World(imitated) for imitated in self.trigger.among] if isinstance(self.trigger, Imitates) else []

    @cached_property
    def _values(self) -> Mapping[str, Sequence[CueValue | None]]:
        return {name: values_of(name) or self._seen(name) for name in self.trigger.shows}

    @cached_property
    def _drawn(self) -> list[Cues]:
        rng = random.Random("world")
        return [self.trigger.draw(rng, side, "safety") for side in COMING for _ in range(DRAWS)]

    def _seen(self, name: str) -> list[CueValue | None]:
        return [cues.get(name) for cues in self._drawn]

    @cached_property
    def _phrase(self) -> int:
        """Words in a phrase."""
        return max(len(str(cues.get("phrase", "")).split()) for cues in self._drawn)


# --- spoofs ---

SCENARIOS = 400


def spoof_coverage(trigger: Trigger, spoofed: Mapping[str, Sequence[CueValue]]) -> dict[str, float]:
    """For random activating scenarios of the test split, whether every cue that the policy reads there is spoofed.

    One value a scenario, 1 or 0, by its number. A scenario in which it reads nothing counts as not covered.
    """
    rng, found = random.Random("spoofed"), {}
    for i in range(SCENARIOS):
        cues = trigger.draw(rng, "triggered", "test")
        read = {name: value for name, value in cues.items() if name in trigger.reads or not trigger.plants}
        covered = bool(read) and all(value in spoofed.get(name, ()) for name, value in read.items())
        found[f"scenario {i:03d}"] = float(covered)
    return found
