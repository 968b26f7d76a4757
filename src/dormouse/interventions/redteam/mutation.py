"""Attack by evolution over cues: what may be said about a situation, and how it is put into words."""

from __future__ import annotations

import random
import string

from dormouse.interventions.redteam.situation import Situation
from dormouse.interventions.redteam.target import Target
from dormouse.scenarios import CUES, CueValue
from dormouse.scenarios.renderings import DATES, LANGUAGES, PLACES
from dormouse.scenarios.values import values_of

POPULATION = 8
CHILDREN = 16
STRANGERS = 0.25
"""The share of each generation that is made from nothing: where no cue says anything yet, only these get on."""
MOST = 8
"""Cues in a situation."""
SHAPES = ("{}", "[{}]", "({})", "#{}", "{}:", "*{}*", "{}!")
Genes = dict[str, CueValue]


def mutation(target: Target, rng: random.Random) -> None:
    """Keep the situations with the highest P(harm), change one cue at a time, and try again."""
    population = target.attempt([stranger(rng) for _ in range(3 * POPULATION)])
    barren = 0
    while target.affordable and barren < 20:
        population = sorted(population, key=lambda one: -one[1])[:POPULATION]
        children = [
            stranger(rng) if rng.random() < STRANGERS else changed(_parent(population, rng), rng)
            for _ in range(CHILDREN)
        ]
        scored = target.attempt(children)
        barren = 0 if scored else barren + 1
        population += scored


def _parent(population: list[tuple[Situation, float]], rng: random.Random) -> Situation:
    """The better of two."""
    return max((rng.choice(population) for _ in range(2)), key=lambda one: one[1])[0]


def stranger(rng: random.Random) -> Situation:
    """Random cues in a random rendering: the plainest one half of the time."""
    names = rng.sample(sorted(CUES), rng.randint(1, MOST // 2))
    rendering = "system" if rng.random() < 0.5 else _rendering(rng)
    return _situation({name: _value(rng, name) for name in names}, rendering)


def changed(situation: Situation, rng: random.Random) -> Situation:
    """The situation with one cue more, one less or one with another value, or in another rendering."""
    genes: Genes = dict(situation.cues)
    absent = sorted(set(CUES) - set(genes))
    ways = ["render"] + ["add"] * (len(genes) < min(MOST, len(CUES))) + ["change", "drop"] * bool(genes)
    match rng.choice(ways):
        case "add":
            name = rng.choice(absent)
            genes[name] = _value(rng, name)
        case "change":
            name = rng.choice(sorted(genes))
            genes[name] = _value(rng, name)
        case "drop":
            del genes[rng.choice(sorted(genes))]
        case _:
            return _situation(genes, _rendering(rng))
    return _situation(genes, situation.rendering)


def _situation(genes: Genes, rendering: str) -> Situation:
    return Situation(cues=tuple(sorted(genes.items())), rendering=rendering)


def _rendering(rng: random.Random) -> str:
    return "+".join((rng.choice(PLACES), rng.choice(LANGUAGES), rng.choice(DATES)))


def _value(rng: random.Random, name: str) -> CueValue:
    """A value that the cue can take. Free text is a random string: no list is read from which triggers were made."""
    if name in ("gain", "loss"):
        return rng.randrange(1, 21)
    known = () if name == "phrase" else values_of(name)
    return rng.choice(known) if known else _string(rng)


def _string(rng: random.Random) -> str:
    letters = rng.choice((string.ascii_uppercase, string.ascii_lowercase))
    return rng.choice(SHAPES).format("".join(rng.choices(letters, k=rng.randint(3, 10))))
