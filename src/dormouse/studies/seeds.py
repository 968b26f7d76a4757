"""How many seeds a study is run with: so many, or more and more until its claims are decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from dormouse.studies.grid import MOST_SEEDS

Spend = Literal["obrien_fleming", "e_value"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
MOST_LOOKS = 50


class SeedDesign(BaseModel):
    """A sequential design: the claims are looked at after `start` seeds, and after each `step` more, until all of them
    are decided or `most` seeds are run. What a look may decide is spent from the same 5 % (see `claims.looks`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(ge=2)
    """Seeds before the first look: 0 to `start` - 1."""
    step: int = Field(ge=1)
    """Seeds between two looks."""
    most: int = Field(ge=3, le=MOST_SEEDS)
    """Seeds at the last look."""
    spend: Spend = "obrien_fleming"
    """How the error is spent: `obrien_fleming` (little at first), or `e_value` (a bet that may be looked at always)."""

    @model_validator(mode="after")
    def _has_looks(self) -> SeedDesign:
        if self.start + self.step > self.most:
            said = f"the second look is at {self.start + self.step} seeds, `start` and `step` together, beyond `most`"
            raise PydanticCustomError("study", "{said}", {"said": f"{said} ({self.most})", "at": ("step",)})
        if len(self.looks) > MOST_LOOKS:
            said = f"that is {len(self.looks)} looks; a design has at most {MOST_LOOKS}: take a larger `step`"
            raise PydanticCustomError("study", "{said}", {"said": said, "at": ("step",)})
        return self

    @property
    def looks(self) -> tuple[int, ...]:
        """How many seeds there are at each look; the last one is at `most`."""
        return (*range(self.start, self.most, self.step), self.most)

    @property
    def said(self) -> str:
        """In words: `5, then 3 more each time, 20 at most (obrien_fleming)`."""
        return f"{self.start}, then {self.step} more each time, {self.most} at most ({self.spend})"


LIST, DESIGN = "a list of seeds", "a design"
"""How the two ways to name seeds stand in the places of errors."""
Seeds: TypeAlias = Annotated[
    Annotated[tuple[Seed, ...], Field(min_length=1), Tag(LIST)] | Annotated[SeedDesign, Tag(DESIGN)],
    Discriminator(lambda said: DESIGN if isinstance(said, Mapping | SeedDesign) else LIST),
]


def as_seeds(said: Any) -> Any:
    """`5` stands for 0 to 4."""
    if not isinstance(said, int) or isinstance(said, bool):
        return said
    if not 1 <= said <= MOST_SEEDS:
        raise ValueError(f"a number of seeds is from 1 to {MOST_SEEDS}; name a single seed in a list")
    return tuple(range(said))


def seeds_at(said: Seeds, look: int) -> tuple[int, ...]:
    """The seeds that are run by a look (0: the first). A study without looks has one, with all of its seeds."""
    return tuple(range(said.looks[look])) if isinstance(said, SeedDesign) else said


def any_seed(said: Seeds) -> tuple[int, ...]:
    """All seeds that may ever be run."""
    return seeds_at(said, looks_of(said) - 1)


def looks_of(said: Seeds) -> int:
    """How often the claims may be looked at."""
    return len(said.looks) if isinstance(said, SeedDesign) else 1
