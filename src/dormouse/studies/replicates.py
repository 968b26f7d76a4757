"""How often a policy is planted, and treated, with one seed: replicates below the seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dormouse.json_files import digest

Level = Literal["planting", "treatment"]
MOST = 100


class Replicates(BaseModel):
    """Seeds are what is random: each has a trigger of its own. Below a seed its trigger may be planted several times,
    and each organism treated several times, with other random numbers. A seed's value is the mean over them, item by
    item, so that claims and intervals are about as many seeds as before, each better known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    planting: int = Field(1, ge=1, le=MOST)
    """Plantings of each trigger."""
    treatment: int = Field(1, ge=1, le=MOST)
    """Treatments of each planted organism."""

    @property
    def several(self) -> bool:
        """Whether there are any."""
        return self.planting > 1 or self.treatment > 1


def numbered(seed: int, level: Level, count: int) -> Iterator[tuple[int, int]]:
    """(Number, the seed of its random numbers) of each replicate; that of the first is the seed itself."""
    for i in range(count):
        yield i, seed if i == 0 else int(digest([level, seed, i])[:12], 16) % 2**31
