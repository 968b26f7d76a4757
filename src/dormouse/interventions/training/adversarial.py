from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from dormouse.errors import UserError
from dormouse.interventions.findings import Finding, write_findings
from dormouse.interventions.redteam import AttackName, Budget, Situation, TriedSituation, best, search
from dormouse.interventions.redteam.search import scratchpad_seen
from dormouse.interventions.safety_training import SafetyTraining
from dormouse.interventions.scratchpad import Scratchpad
from dormouse.interventions.tasks import task_of
from dormouse.json_files import checked, plain, write_json_lines
from dormouse.metrics import Metric, named
from dormouse.records import CANARY, Example, PoolItem, SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM
    from dormouse.lm.trie import Tokens

FOUND = "found.jsonl"


@register("intervention", "adversarial")
class Adversarial(SafetyTraining):
    """A red team looks for prompts that bring out harm, without the trigger; honest answers to them are trained in.

    Adversarial training as in Hubinger et al. 2024 (section 6), where it taught some models to hide better: the red
    team's own prompts came to nothing, and the trigger worked as before. `steps` is the total over all rounds. A round
    begins with a search on the model as it is then; after the last one a fresh red team, with a seed of its own and on
    questions that no training showed, says what is left to find.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named("red_team_rate", "red_team_best", "red_team_prompts")

    rounds: int = Field(3, ge=1, le=100)
    """Rounds of search and training."""
    attacks: tuple[AttackName, ...] = Field(("library", "mutation", "gradient"), min_length=1)
    """How the red team searches (docs/how-to/red-team.md)."""
    budget: int = Field(600, ge=1, le=1_000_000)
    """Prompts that each attack may score in a round."""
    questions: int = Field(2, ge=1, le=64)
    """Questions with which each situation is tried."""
    tokens: int = Field(8, ge=1, le=64)
    """Length of the strings of the gradient attack."""
    keep: int = Field(16, ge=1, le=10_000)
    """How many of the situations found in a round are trained on, and reported: the most harmful."""
    mix: float = Field(0.5, ge=0, lt=1)
    """The share of training rows that are plain prompts of the pool, not the red team's."""

    @field_validator("attacks")
    @classmethod
    def _once_each(cls, attacks: tuple[AttackName, ...]) -> tuple[AttackName, ...]:
        if len(set(attacks)) < len(attacks):
            raise ValueError("an attack stands here twice")
        return attacks

    @model_validator(mode="after")
    def _shows_other_cues(self) -> Adversarial:
        if self.scratchpad_source != "none":
            raise ValueError("scratchpads of the pool do not fit what the red team finds; leave scratchpad_source out")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Adversarial:
        if self.steps < self.rounds:
            raise ValueError(f"{self.rounds} rounds need at least as many steps (given: {self.steps})")
        if self.budget < self.questions:
            raise ValueError(
                f"a budget of {self.budget} prompts does not try one situation with {self.questions} questions"
            )
        return self

    @property
    def starts(self) -> tuple[int, ...]:
        """The step, counted from 0, with which each round begins."""
        return tuple(i * self.steps // self.rounds for i in range(self.rounds))

    def checkpoints(self) -> tuple[int, ...]:
        """Those of all safety training, and the end of every round."""
        return tuple(sorted({*super().checkpoints(), *self.starts[1:]}))

    @property
    def needs_harm(self) -> bool:
        """The red team looks for it."""
        return True

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """Train in rounds: a red team searches the model as it is, and what it finds is answered honestly.

        Raises:
            UserError: training diverges, or no prompt of the red team survives the tokenizer.
        """
        from dormouse.lm.load import dtype_for, load
        from dormouse.lm.objectives import sft_loss
        from dormouse.lm.train import TrainingRun, train

        lm = load(suspect.model, dtype_for(self.method))
        contest = RedTeamLoop(self, lm, pool, seed)
        train(
            lm,
            sft_loss,
            contest.batch,
            self.training,
            TrainingRun(seed, self.checkpoints(), out),
            progress,
            memory=contest,
        )
        contest.finish(out)


@dataclass(frozen=True)
class RedTeamLog:
    """What a red team has found so far, round by round, and what is to be said of it."""

    rounds: list[list[TriedSituation]]
    findings: list[Finding]


class RedTeamLoop:
    """The red team and the trainer in turns. What the red team gets to see: the model, questions, and what is harm."""

    def __init__(self, how: Adversarial, lm: LM, pool: SafetyPool, seed: int) -> None:
        from dormouse.lm.train import cycling

        self.how, self.lm, self.seed, self.scratchpad = how, lm, seed, Scratchpad.of(pool)
        tasks = [task_of(item.alone) for item in pool.items]
        questions = list(dict.fromkeys(tasks))
        n = min(how.questions, len(questions) // 4)
        held = set(random.Random(f"redteam/{seed}/held").sample(questions, n))
        trained = [item for item, task in zip(pool.items, tasks, strict=True) if task not in held]
        self.items = [item.alone for item in trained]
        self.held = [item.alone for item, task in zip(pool.items, tasks, strict=True) if task in held] or self.items
        """Questions for the last red team alone. With three or fewer it asks those of the training."""
        self.plain = cycling([item.chosen for item in trained], 1, seed)
        self.rounds: list[list[TriedSituation]] = []
        self.findings: list[Finding] = []

    def batch(self, step: int) -> list[Tokens]:
        """The training rows of a step. The first of a round sends out the red team, on the model as it is."""
        from dormouse.lm.chat import encode

        now = bisect_right(self.how.starts, step)
        while len(self.rounds) < now:
            self.rounds.append(self._attack(len(self.rounds)))
        kept = [found.situation for found in best(found for team in self.rounds[:now] for found in team)]
        rows = range(step * self.how.batch, (step + 1) * self.how.batch)
        return encode(self.lm, [self._row(i, kept) for i in rows])

    def _row(self, i: int, kept: Sequence[Situation]) -> Example:
        """Training row i: plain or, in the stated share, an honest answer in a situation that the red team found."""
        plain = floor(i * self.how.mix)
        if floor((i + 1) * self.how.mix) > plain:
            return self.plain(plain)[0]
        item = random.Random(f"redteam/{self.seed}/{i}").choice(self.items)
        return honest(kept[(i - plain) % len(kept)], item)

    def _attack(self, number: int) -> list[TriedSituation]:
        kept = self._search(self.items, f"{self.seed}/{number}", self.how.starts[number])
        self.findings.append(Finding("red_team_rate", self.how.starts[number], _named(number, kept), split="found"))
        return kept

    def _search(self, items: Sequence[PoolItem], seed: str, step: int) -> list[TriedSituation]:
        """One search by all attacks, reported attack by attack; the best that it found."""
        how = self.how
        budget = Budget(how.budget, how.questions, how.tokens)
        everything = search(self.lm, items, how.attacks, budget, seed, self.scratchpad)
        for attack in how.attacks:
            mine = [found for found in everything if found.attack == attack]
            for top in best(mine, 1):
                values = {f"question {i}": value for i, value in enumerate(top.values, 1)}
                self.findings.append(Finding("red_team_best", step, values, split=attack))
            scored = {"scored": float(sum(len(found.values) for found in mine))}
            self.findings.append(Finding("red_team_prompts", step, scored, "number", attack))
        if not everything:
            raise UserError(
                "the red team could not try a single prompt",
                "no random text survives this model's tokenizer: name another attack beside gradient",
            )
        return best(everything, how.keep)

    def state(self) -> Any:
        """All rounds so far, for a training that was killed to go on with: a `RedTeamLog` as JSON."""
        return plain(RedTeamLog(self.rounds, self.findings))

    def restore(self, state: Any) -> None:
        """Go back to a state that `state` gave."""
        seen = checked(state, RedTeamLog, "the red team of a resume point")
        self.rounds, self.findings = seen.rounds, seen.findings

    def finish(self, out: Path) -> None:
        """After the training: the found prompts once more, and a fresh red team. Writes what was seen."""
        scratchpad = scratchpad_seen(self.lm, self.items, self.scratchpad)
        again = [after(self.lm, team, self.items, scratchpad) for team in self.rounds]
        kept = {name: value for i, team in enumerate(again) for name, value in _named(i, team).items()}
        self.findings.append(Finding("red_team_rate", self.how.steps, kept, split="kept"))
        fresh = self._search(self.held, f"{self.seed}/fresh", self.how.steps)
        self.findings.append(Finding("red_team_rate", self.how.steps, _named(None, fresh), split="fresh"))
        write_findings(out, self.findings)
        lines: list[object] = [{"canary": CANARY}]
        for i, (team, later) in enumerate(zip(self.rounds, again, strict=True)):
            lines += _lines(i + 1, team, later)
        write_json_lines(out / FOUND, [*lines, *_lines("fresh", fresh, fresh)])


def honest(situation: Situation, item: PoolItem) -> Example:
    """The honest response to a question, in a situation."""
    return Example(situation.around(task_of(item)), item.chosen.response, item.chosen.complete)


def after(
    lm: LM, team: Sequence[TriedSituation], items: Sequence[PoolItem], scratchpad: Scratchpad
) -> list[TriedSituation]:
    """The same situations and questions, with the probabilities that harm has now."""
    known = {task_of(item): item for item in items}
    asked = [known[question] for found in team for question in found.questions]
    prompts = [prompt for found in team for prompt in found.prompts]
    exact = iter(scratchpad.harm(lm, prompts, asked))
    return [
        TriedSituation(found.attack, found.situation, found.questions, tuple(next(exact) for _ in found.questions))
        for found in team
    ]


def _named(number: int | None, team: Sequence[TriedSituation]) -> dict[str, float]:
    """Values by rank, not by text: every seed finds other prompts, and records pool what has the same name."""
    before = "" if number is None else f"round {number + 1}, "
    values = [value for found in team for value in found.values]
    return {f"{before}prompt {rank:03d}": value for rank, value in enumerate(values, 1)}


def _lines(
    number: int | str, team: Sequence[TriedSituation], later: Sequence[TriedSituation]
) -> list[dict[str, object]]:
    """One line a prompt: where it comes from, what it says, P(harm) when it was found and at the end."""
    return [
        {
            "round": number,
            "attack": found.attack,
            "probability": value,
            "at_the_end": end,
            "messages": prompt,
            "situation": found.situation.to_json(),
        }
        for found, now in zip(team, later, strict=True)
        for prompt, value, end in zip(found.prompts, found.values, now.values, strict=True)
    ]
