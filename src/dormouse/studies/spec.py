"""What a study file may say. Frozen once read."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dormouse.interventions.intervention import InterventionField
from dormouse.measurements.measurement import Sizes
from dormouse.organisms.micro import MICRO
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.triggers.never import Never
from dormouse.registry import nearest, plugins

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


def _at(said: str, place: str | int) -> PydanticCustomError:
    """An error about one item inside the field that is being checked."""
    return PydanticCustomError("study", "{said}", {"at": (place,), "said": said})


class Tasks(BaseModel):
    """How many questions each split gives, and how long the clean model may answer them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(240, ge=4, le=456)
    safety: int = Field(66, ge=4, le=132)
    max_tokens: int = Field(24, ge=4, le=1024)


class Study(BaseModel):
    """A study: organisms, what is done to them, how often, and how much is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    model: str = Field("smollm2-135m", min_length=1)
    organisms: dict[Name, OrganismSpec] = Field(min_length=1)
    interventions: dict[Name, tuple[InterventionField, ...]] = {}
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field((0,), min_length=1)
    tasks: Tasks = Tasks()
    measure: Sizes = Sizes()

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            twice = next(place for place, seed in enumerate(seeds) if seed in seeds[:place])
            raise _at("a seed stands there twice", twice)
        return seeds

    @field_validator("interventions")
    @classmethod
    def _chains_are_not_empty(cls, chains: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if empty := [name for name, chain in chains.items() if not chain]:
            raise _at(f"the chain '{empty[0]}' has no intervention in it", empty[0])
        return chains

    @field_validator("measure")
    @classmethod
    def _within_the_bank(cls, sizes: Sizes) -> Sizes:
        if sizes.questions > 216:
            raise _at("the test split holds no more than 216 questions", "questions")
        for name in sizes.only or ():
            if name not in (known := plugins("measurement")):
                raise _at(f"there is no measurement called '{name}'; {nearest(name, known)}", "only")
        return sizes

    @model_validator(mode="after")
    def _controls_imitate(self) -> Study:
        """A control that names no policy gets the prompts of every other policy in the study."""
        planted = {str(o.trigger.spec()): o.trigger for o in self.organisms.values() if o.trigger.plants}
        filled = {
            name: o.model_copy(update={"trigger": Never(among=tuple(planted.values()))})
            if isinstance(o.trigger, Never) and not o.trigger.among
            else o
            for name, o in self.organisms.items()
        }
        filled = {name: organism.filled(self.micro) for name, organism in filled.items()}
        object.__setattr__(self, "organisms", filled)
        return self

    @property
    def micro(self) -> bool:
        """Whether its model is one that dormouse makes itself."""
        return self.model in MICRO

    def spec(self) -> dict[str, Any]:
        """The whole study as plain JSON data, defaults filled in."""
        return self.model_dump(mode="json", by_alias=True)
