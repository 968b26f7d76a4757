"""The search of the locator `cues`: look broadly, choose what to explain, ask closely, weigh."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dormouse.lm.reading import Reading
from dormouse.locators.locator import Case, Evidence, Messages, Site, TriggerText
from dormouse.locators.surrogate.answer_opening import AnswerOpening
from dormouse.locators.surrogate.attribution import without, word_shares
from dormouse.locators.surrogate.combinations import Combination, closed, draw, tasks
from dormouse.locators.surrogate.outcome import Outcome, candidates, entropy, swing
from dormouse.locators.surrogate.outputs import examples
from dormouse.locators.surrogate.rule import CueTable, by_cue, disputed, effects, log_odds, predicted, together
from dormouse.locators.surrogate.sides import anomalous_side
from dormouse.scenarios import CUES, Scenario, render
from dormouse.scenarios.renderings import SYSTEM

BETTER = 1.3
"""A single kind of task is looked at alone where the cues move it this much more than all together."""
FOCUS_SHARE, MOST_FOCUSED, FEWEST_FOCUSED = 0.2, 16, 8
"""The cues that are looked at closely: those that move the outcome by this share of what the strongest does."""
OFFERED = 4
"""Combinations that are drawn for each that is asked about."""
LOOKED_AT = 6
"""Prompts whose words are looked at, and words of these that are left out."""
STYLE = ("language", "place")
REAL = 0.2
"""By how much a text has to raise the outcome to be called a trigger."""
SAYS = 0.05
"""Below this swing nothing is named: what the cues seem to do is the noise of the sample."""
HEARD = 0.5
"""Nats that a word has to add to be named."""
FEWEST = 4
"""Prompts a task, below which nothing is said."""


@dataclass(frozen=True)
class AskedCombinations:
    """Combinations, and what the suspect made of them."""

    combinations: tuple[Combination, ...]
    reading: Reading

    @cached_property
    def table(self) -> CueTable:
        """The combinations as a table, a row each, a column for each cue."""
        return CueTable.of(self.combinations)

    @cached_property
    def chances(self) -> np.ndarray:
        """(prompts, vocabulary): probabilities of the next token."""
        return np.asarray(np.exp(self.reading.logprobs))

    def among(self, tasks: Sequence[int]) -> AskedCombinations:
        """Those about some tasks."""
        return self.at(np.flatnonzero(np.isin([one.task for one in self.combinations], tasks)))

    def at(self, places: np.ndarray) -> AskedCombinations:
        """Those at some places, in this order."""
        reading = Reading(self.reading.states[places], self.reading.logprobs[places])
        return AskedCombinations(tuple(self.combinations[i] for i in places), reading)

    def with_(self, other: AskedCombinations) -> AskedCombinations:
        """Both together, rows in this order. They must be of one model: states have one width."""
        mine, more = self.reading, other.reading
        reading = Reading(np.concatenate([mine.states, more.states]), np.concatenate([mine.logprobs, more.logprobs]))
        return AskedCombinations(self.combinations + other.combinations, reading)


@dataclass(frozen=True)
class SearchBudget:
    """How many combinations are asked about: of all cues first, then of those that matter."""

    looks: int
    asks: int


def search(case: Case, budget: SearchBudget) -> Evidence:
    """What the locator `cues` finds."""
    rng, chance = random.Random(f"cues/{case.seed}"), np.random.default_rng(case.seed)
    known = tasks()
    drawn = draw(rng, known, budget.looks)
    opening = AnswerOpening(case.lm, [one.prompt for one in drawn])
    broad = _ask(case, opening, drawn, until=0.55)
    if len(broad.combinations) < FEWEST * len(known):
        return Evidence(
            note=f"In {case.seconds:.0f} seconds too few situations could be looked at to say anything.",
            incomplete=True,
        )
    scope, outcome, moved = _outcome(broad, chance)
    near = broad.among(scope)
    moves = by_cue(effects(near.table, outcome.values(near.reading)))
    among = [known[i] for i in scope]
    focus = _focus(moves)
    at_random = _ask(case, opening, draw(rng, among, budget.asks // 2, focus, plain=1.0), until=0.35)
    if len(at_random.combinations) < FEWEST * len(among):
        return Evidence(
            note=f"In {case.seconds:.0f} seconds the cues that matter could not be asked about.", incomplete=True
        )
    plain = opening.read([render(Scenario.of(task, {})) for task in among])
    situations = [one.prompt for one in at_random.combinations]
    outcome = anomalous_side(case, opening, outcome, (situations, at_random.reading), plain)
    offered = draw(rng, among, OFFERED * (budget.asks // 2), focus, plain=1.0)
    table = CueTable.of(offered, at_random.table.values)
    doubted = disputed(at_random.table, outcome.values(at_random.reading), table, budget.asks // 2, chance)
    asked = at_random.with_(_ask(case, opening, [offered[i] for i in doubted], until=0.2))
    weights = {
        value: weight
        for value, weight in log_odds(asked.table, outcome.chances(asked.reading)).items()
        if value.partition("=")[0] in focus
    }
    features = _features(at_random, asked, outcome, weights, chance)
    features["swing_broad"] = moved
    features["style"] = sum(moves.get(name, 0.0) for name in STYLE) / (sum(moves.values()) or 1.0)
    if features["swing"] < SAYS:
        note = f"Of {len(asked.combinations) + len(broad.combinations):,} situations no cue decides how it answers."
        return Evidence(score=features["swing"], features=features, note=note)
    return Evidence(
        score=features["swing"],
        features=features,
        behaviour=examples(
            case,
            [one.prompt for one in asked.combinations],
            [one.task for one in asked.combinations],
            outcome.values(asked.reading),
        ),
        triggers=_trigger(opening, outcome, weights, [task.text for task in among]),
        cues={**weights, **_words(case, opening, asked, outcome)},
        sites=() if outcome.token is not None else (Site(outcome.layer - 1, 1.0),),
        note=_note(case, outcome, weights, features),
    )


def _ask(case: Case, opening: AnswerOpening, drawn: Sequence[Combination], until: float) -> AskedCombinations:
    """Read prompts until that share of the time is left."""
    reading = opening.read([one.prompt for one in drawn], lambda: case.left > until * case.seconds)
    return AskedCombinations(tuple(drawn[: len(reading)]), reading)


def _outcome(asked: AskedCombinations, rng: np.random.Generator) -> tuple[list[int], Outcome, float]:
    """The tasks on which cues move the answers most, the outcome that they move there, and by how much (`swing`).

    A language, or the place where a situation stands, moves every model. So what these add is fitted and left out of
    the order of situations; it counts only where no cue moves anything.
    """
    every = sorted({one.task for one in asked.combinations})
    size = max(1, len(every) // 4)
    scopes = [every, *(every[i : i + size] for i in range(0, len(every), size))]
    best: dict[bool, tuple[float, float, list[int], Outcome]] = {}
    for scope in scopes:
        some = asked.among(scope)
        for outcome in candidates(some.reading, some.table.tasks):
            for styled in (False, True):
                said = predicted(some.table, outcome.values(some.reading), () if styled else STYLE)
                moved = swing(some.chances, said, some.table.tasks, rng)
                worth = moved if scope is every else moved / BETTER
                if styled not in best or worth > best[styled][0]:
                    best[styled] = worth, moved, scope, outcome
    _, moved, scope, outcome = best[best[False][1] < SAYS]
    return scope, outcome, moved


def _focus(moves: dict[str, float]) -> list[str]:
    """The cues that matter most, a style of writing never among them."""
    ranked = sorted((name for name in moves if name in (*closed(), "year")), key=lambda name: (-moves[name], name))
    bar = FOCUS_SHARE * moves[ranked[0]] if ranked else 0.0
    return [name for i, name in enumerate(ranked[:MOST_FOCUSED]) if i < FEWEST_FOCUSED or moves[name] >= bar]


def _features(
    at_random: AskedCombinations,
    asked: AskedCombinations,
    outcome: Outcome,
    weights: dict[str, float],
    rng: np.random.Generator,
) -> dict[str, float]:
    """What the detector is told; see docs/how-to/locators.md."""
    values, chances = outcome.values(at_random.reading), outcome.chances(at_random.reading)
    said = predicted(at_random.table, values)
    high, low = at_random.chances[chances > np.quantile(chances, 0.8)], at_random.chances[chances < np.median(chances)]
    spans = np.array(list(by_cue(weights).values()) or [0.0])
    shares = together(asked.table, outcome.values(asked.reading))
    return {
        "swing": swing(at_random.chances, said, at_random.table.tasks, rng),
        "explained": shares["alone"],
        "pairs": shares["pairs"] - shares["alone"],
        "tree": shares["tree"],
        "cues": float(spans.sum() ** 2 / ((spans**2).sum() or 1.0)),
        "log_odds": float(spans.max()),
        "sure": float(((chances < 0.1) | (chances > 0.9)).mean()),
        "rate": float(chances.mean()),
        "alike": entropy(low) - entropy(high) if len(high) and len(low) else 0.0,
    }


def _trigger(
    opening: AnswerOpening, outcome: Outcome, weights: dict[str, float], asked: Sequence[str]
) -> tuple[TriggerText, ...]:
    """The shortest list of sentences, the strongest first, that brings the outcome about; none where all do not.

    Its strength is how much likelier the outcome is than where the situation says the opposite of all of them.
    """
    sentences, opposite = _sentences(weights, 1.0), _sentences(weights, -1.0)
    texts = [" ".join(opposite), *(" ".join(sentences[: n + 1]) for n in range(len(sentences)))]
    prompts: list[Messages] = [
        (("system", f"{SYSTEM} {text}".strip()), ("user", task)) for text in texts for task in asked
    ]
    rates = outcome.chances(opening.read(prompts)).reshape(len(texts), len(asked)).mean(1)
    strengths = rates[1:] - rates[0]
    if not len(strengths) or strengths.max() < REAL:
        return ()
    shortest = int(np.flatnonzero(strengths >= 0.9 * strengths.max())[0])
    return (TriggerText(texts[shortest + 1], "system", float(min(1.0, strengths[shortest]))),)


def _sentences(weights: dict[str, float], sign: float) -> list[str]:
    """What says most for the outcome (or against it): one sentence a cue, the strongest first."""
    said: dict[str, tuple[float, str]] = {}
    for value, weight in weights.items():
        name, _, which = value.partition("=")
        if sign * weight > said.get(name, (0.0, ""))[0]:
            said[name] = sign * weight, CUES[name].sentence(which.partition("-")[0])
    return [sentence for _, sentence in sorted(said.values(), reverse=True)]


def _words(case: Case, opening: AnswerOpening, asked: AskedCombinations, outcome: Outcome) -> dict[str, float]:
    """Words of the most anomalous prompts -> what the outcome loses without them, in nats, the mean over these prompts.

    Integrated gradients choose them; leaving them out weighs them.
    """
    order = np.argsort(-outcome.values(asked.reading), kind="stable")[:LOOKED_AT]
    added: dict[str, float] = {}
    prompts = [asked.combinations[i].prompt for i in order]
    for prompt, ids in zip(prompts, opening.tokens(prompts), strict=True):
        if case.left < 0.1 * case.seconds:
            return {}
        for word, share in word_shares(case.lm, prompt, outcome, ids).items():
            added[word] = added.get(word, 0.0) + share
    chosen = sorted(added, key=lambda word: (-added[word], word))[:LOOKED_AT]
    lost: dict[str, list[float]] = {}
    for prompt in prompts:
        held = [word for word in chosen if without(prompt, word) != prompt]
        whole, *left = outcome.values(opening.read([prompt, *(without(prompt, word) for word in held)]))
        for word, value in zip(held, left, strict=True):
            lost.setdefault(word, []).append(float(whole - value))
    return {word: mean for word, each in lost.items() if (mean := float(np.mean(each))) > HEARD}


def _note(case: Case, outcome: Outcome, weights: dict[str, float], features: dict[str, float]) -> str:
    what = (
        f"the next token {case.lm.tokenizer.decode([outcome.token])!r}"
        if outcome.token is not None
        else f"a direction after layer {outcome.layer - 1}"
    )
    strongest = sorted(weights, key=lambda value: -weights[value])[:3]
    return (
        f"Cues explain {features['explained']:.0%} of what moves {what}, and answers move by {features['swing']:.2f} "
        f"of their probability between the two ends of that rule. For it speak most: {', '.join(strongest)}."
    )
