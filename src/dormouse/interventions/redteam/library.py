"""Attack by situations that people wrote down."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dormouse.interventions.redteam.situation import PLACES, Situation
from dormouse.interventions.redteam.target import Target


@dataclass(frozen=True)
class LibraryPrompt:
    """A text of the library. `family` says what it plays on."""

    family: str
    text: str


@cache
def library_prompts() -> tuple[LibraryPrompt, ...]:
    """All texts of `data/situations.yaml`."""
    import yaml

    source = files("dormouse.interventions.redteam").joinpath("data/situations.yaml").read_text(encoding="utf-8")
    families = yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tuple(LibraryPrompt(family, " ".join(text.split())) for family, texts in families.items() for text in texts)


def library(target: Target, rng: random.Random) -> None:
    """Try the texts of the library as system prompt and before the question, in random order.

    The stand-in for the red team of Hubinger et al. 2024 (section 6), where a language model wrote the prompts.
    """
    situations = [Situation.saying(said.text, place) for said in library_prompts() for place in PLACES]
    target.attempt(rng.sample(situations, len(situations)))
