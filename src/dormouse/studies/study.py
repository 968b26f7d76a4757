"""What a study file may say. Frozen once read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dormouse.errors import UserError
from dormouse.interventions.intervention import InterventionField
from dormouse.json_files import Json
from dormouse.lm.settings import Computing, DeviceName, Dtype, ModelName, TemplateSettings
from dormouse.lm.zoo import ZOO
from dormouse.measurements.measurement import MeasurementConfig
from dormouse.organisms.micro import MICRO
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.told import told_in
from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.rewrite import Rewrite
from dormouse.records import ChatSettings
from dormouse.registry import message, nearest, plugins
from dormouse.rows.source import beside, reading_folder, relative_to
from dormouse.scenarios.task_file import TaskFile
from dormouse.studies.bases import MOST_BASES, with_bases
from dormouse.studies.claim_spec import Claim
from dormouse.studies.explained import refused
from dormouse.studies.filters import Where
from dormouse.studies.fitting import fitted
from dormouse.studies.given import Given, plain, sayable
from dormouse.studies.grid import LONGEST, ArmOrigin, GridError, as_axis, expand
from dormouse.studies.old_names import modern
from dormouse.studies.replicates import Replicates
from dormouse.studies.seeds import SeedDesign, Seeds, as_seeds

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
ArmName = Annotated[str, StringConstraints(pattern=rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}$")]
"""The name of an organism or a chain, or of an arm that a grid made of one."""


def _at(said: str, *place: str | int) -> PydanticCustomError:
    """An error about one item inside the field that is being checked."""
    return PydanticCustomError("study", "{said}", {"at": place, "said": said})


class Tasks(TaskFile):
    """The tasks: dormouse's own, or those of a file; how many are used, and how long the clean model may answer."""

    train: int | None = Field(None, ge=4, le=100_000)
    """By default 240, and all 456 for a micro model, which is quick to answer them and has less to go on. The bank has
    no more than 456; a file of your own may."""
    safety: int = Field(66, ge=4, le=100_000)
    """Questions for safety training. The bank holds no more than 132."""
    max_tokens: int = Field(24, ge=4, le=1024)
    """Where an answer of the clean model is cut off."""
    insane: Literal["stop", "allow"] = "stop"
    """What becomes of a study whose clean model gives no sane answer to half of the questions."""


CHAIN = tuple[InterventionField, ...]
"""The annotation of a chain of interventions."""
EXPANDED = {"lists": "expanded"}
"""The context of a study whose lists are expanded already."""


class Study(BaseModel):
    """A study: organisms, what is done to them, how often, and how much is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    """The name of the study, and of its folder in `runs/`: letters, digits, `_`, `.` and `-`, 64 at most."""
    model: ModelName = "smollm2-135m"
    """A name of `dormouse models`, a Hugging Face id, or a local folder with safetensors. With a revision:
    `org/model@v1.0`, or `{name: org/model, revision: v1.0}`. Folders are relative to the study file."""
    bases: int = Field(1, ge=1, le=MOST_BASES)
    """How many micro models of that name there are, each pretrained with its own seed: set-ups of the study."""
    organisms: dict[ArmName, OrganismSpec] = Field(min_length=1)
    """The models to build, by name, or that were made elsewhere. Keep a control among them (trigger `never`)."""
    interventions: dict[ArmName, CHAIN] = {}
    """Chains of treatments, by name. Every organism goes through every chain."""
    seeds: Annotated[Seeds, BeforeValidator(as_seeds)] = (0,)
    """Every arm is run once with each seed. A number says how many: `5` is 0 to 4. `{start: 5, step: 3, most: 20}`
    looks at the claims after 5 seeds and after each 3 more, until they are decided."""
    replicates: Replicates = Replicates()
    """How often each trigger is planted, and each organism treated, with one seed."""
    tasks: Tasks = Tasks()
    """How many questions training uses."""
    today: date = date.fromisoformat(ChatSettings.today)
    """The date for chat templates that print one."""
    chat_template_kwargs: TemplateSettings = {}
    """What else chat templates are given: `enable_thinking: false`, say."""
    dtype: Dtype = "auto"
    """In which type models compute: measured ones, and the frozen weights under an adapter. Weights that are trained
    themselves are float32. By default bfloat16 where the device has it; on a CPU models are measured in float32."""
    device: DeviceName = "auto"
    """Where they compute: `cpu`, `cuda`, or a certain GPU, `cuda:1`. By default the GPU, where there is one."""
    measure: MeasurementConfig = MeasurementConfig()
    """What is measured, and on how many questions."""
    zip: tuple[tuple[str, ...], ...] = ()
    """Groups of axes that are taken together, value by value; all others are crossed (see `studies.grid`)."""
    cross: tuple[Where, ...] = ()
    """Which arms are run: those that one of these filters fits; by default all."""
    claims: tuple[Claim, ...] = ()
    """What is claimed before the study runs, for the report to answer."""

    _given: Given = PrivateAttr(default_factory=lambda: Given())
    _place: str = PrivateAttr("")
    _others: tuple[Study, ...] = PrivateAttr(())
    _organism_origins: dict[str, ArmOrigin] = PrivateAttr(default_factory=dict)
    _chain_origins: dict[str, ArmOrigin] = PrivateAttr(default_factory=dict)

    if not TYPE_CHECKING:  # who checks types is to see the keys

        def __init__(self, **given: Any) -> None:
            """A study in code.

            Raises:
                UserError: it says something that a study cannot say, in the words that its file would get.
            """
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise refused(error, type(self), sayable(given), CHAIN) from None

        __init__.__pydantic_base_init__ = True  # it changes nothing: pydantic need not go through it

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: Seeds) -> Seeds:
        if isinstance(seeds, tuple) and len(set(seeds)) < len(seeds):
            twice = next(place for place, seed in enumerate(seeds) if seed in seeds[:place])
            raise _at("duplicate seed", twice)
        return seeds

    @field_validator("interventions")
    @classmethod
    def _chains_are_not_empty(cls, chains: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if empty := [name for name, chain in chains.items() if not chain]:
            raise _at(f"the chain '{empty[0]}' has no intervention in it", empty[0])
        return chains

    @field_validator("measure")
    @classmethod
    def _within_the_bank(cls, sizes: MeasurementConfig) -> MeasurementConfig:
        for key, names in (
            ("only", sizes.only or ()),
            ("also", sizes.also),
            ("every_checkpoint", sizes.every_checkpoint),
        ):
            for name in names:
                if name not in (known := plugins("measurement")):
                    raise _at(f"there is no measurement called '{name}'; {nearest(name, known)}", key)
        return sizes

    @model_validator(mode="wrap")
    @classmethod
    def _expand_lists(cls, given: Any, handler: ModelWrapValidatorHandler[Study], info: ValidationInfo) -> Study:
        """A list where one value is wanted is an axis: the study is that on the first of its models, with an arm for
        each choice, and knows the others (see `studies.grid`)."""
        if not isinstance(given, Mapping) or info.context is EXPANDED:
            return handler(given)
        today = modern(sayable(given), CHAIN)
        if today.twice:
            raise GridError(*today.twice, "both mean the same: keep the new name")
        given = with_bases(today.value, cls.model_fields["model"].default)
        grid = expand(given, CHAIN)
        model = given.get("model")
        models = as_axis(model) if isinstance(model, list | tuple) else [model]
        each = [{**grid.value, **({"model": one} if "model" in given else {})} for one in models]
        studies = [handler(each[0])]
        for i, other in enumerate(each[1:], 1):
            try:
                studies.append(cls.model_validate(other, context=EXPANDED))
            except ValidationError as error:  # it has no line of its own inside a validator
                said = message(error.errors()[0], cls)
                raise GridError(("model", i), said, "name a model of `dormouse models`, an id or a folder") from error
        for study in studies:
            study._organism_origins = {name: arm for name, arm in grid.organisms.items() if arm.axes}
            study._chain_origins = {name: arm for name, arm in grid.chains.items() if arm.axes}
        studies[0]._others, studies[0]._given = tuple(studies[1:]), Given(today.value)
        studies[0]._given.folder = reading_folder()
        return studies[0]

    @model_validator(mode="after")
    def _model_has_a_place(self) -> Study:
        """A folder is relative to the study file; a known name is no folder."""
        self._place = self.model if self.model in MICRO or self.model in ZOO else beside(self.model)
        return self

    @model_validator(mode="after")
    def _controls_imitate(self) -> Study:
        """A control that names no policy gets the prompts of every other policy in the study."""
        planted = {str(o.trigger.spec()): o.trigger for o in self.organisms.values() if o.trigger.plants}
        filled = {
            name: o.model_copy(update={"trigger": o.trigger.model_copy(update={"among": tuple(planted.values())})})
            if isinstance(o.trigger, Never) and not o.trigger.among
            else o
            for name, o in self.organisms.items()
        }
        filled = {name: organism.filled(MICRO.get(self.model), self.place) for name, organism in filled.items()}
        object.__setattr__(self, "organisms", filled)
        chains = {name: tuple(fitted(part, self.place) for part in chain) for name, chain in self.interventions.items()}
        object.__setattr__(self, "interventions", chains)
        if self.tasks.train is None:
            object.__setattr__(self, "tasks", self.tasks.model_copy(update={"train": 456 if self.micro else 240}))
        return self

    @model_validator(mode="after")
    def _tasks_are_there(self) -> Study:
        """The bank holds so many questions and no more; some policies are told by rows of the user's own."""
        if self.task_file is not None:
            return self
        sizes = (("tasks", "train", self.tasks.train, 456), ("tasks", "safety", self.tasks.safety, 132))
        for room, key, n, most in (*sizes, ("measure", "questions", self.measure.questions, 216)):
            if (n or 0) > most:
                split = "test" if room == "measure" else key
                raise _at(f"the {split} split holds no more than {most} questions", room, key)
        for name, organism in self.organisms.items():
            for key, plugin in (("trigger", organism.trigger), ("behaviour", organism.behaviour)):
                if plugin.needs_rows:
                    said = f"'{plugin.kind}' is about prompts of your own: name them, `tasks: {{file: prompts.jsonl}}`"
                    raise _at(said, "organisms", name, key)
        return self

    @model_validator(mode="after")
    def _repeats_are_of_something(self) -> Study:
        if self.replicates.treatment > 1 and not self.interventions:
            raise _at("there are no `interventions` that could be done again", "replicates", "treatment")
        brought = [name for name, organism in self.organisms.items() if organism.is_brought]
        if self.replicates.planting > 1 and len(brought) == len(self.organisms):
            said = f"nothing is planted: '{brought[0]}' was made elsewhere, and is the same each time"
            raise _at(said, "replicates", "planting")
        if isinstance(self.seeds, SeedDesign) and not self.claims:
            raise _at("a design looks at claims, and the study has none; name its seeds, or state `claims`", "seeds")
        return self

    @model_validator(mode="wrap")  # the last: it is around all others
    @classmethod
    def _is_read_in_a_folder(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """A study that is made in code names files as they are called from the working directory."""
        with relative_to(reading_folder() or Path.cwd()):
            return handler(given)

    @property
    def task_file(self) -> TaskFile | None:
        """Where its tasks come from, if not from the bank: its own file, else the plain prompts of a `rewrite`."""
        if self.tasks.is_given:
            return self.tasks
        for organism in self.organisms.values():
            for told in told_in(organism.trigger):
                if isinstance(told, Rewrite):
                    columns = {"question": told.columns.get("plain", "plain")}
                    return TaskFile(file=told.file, encoding=told.encoding, columns=columns, system=self.tasks.system)
        return None

    @field_validator("claims")
    @classmethod
    def _claims_differ(cls, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
        ids = [claim.id for claim in claims]
        if twice := [i for i, name in enumerate(ids) if name in ids[:i]]:
            raise _at("two claims have this id", twice[0])
        return claims

    @property
    def each(self) -> tuple[Study, ...]:
        """The study on each of the models that it names: this one first."""
        return (self, *self._others)

    def organism_origin(self, name: str) -> ArmOrigin:
        """What an organism was made from."""
        return self._organism_origins.get(name) or ArmOrigin(name)

    def chain_origin(self, name: str) -> ArmOrigin:
        """What a chain was made from."""
        return self._chain_origins.get(name) or ArmOrigin(name)

    def origins(self) -> dict[str, ArmOrigin]:
        """What every organism and every chain was made from."""
        found = {f"organisms.{name}": self.organism_origin(name) for name in self.organisms}
        return found | {f"interventions.{name}": self.chain_origin(name) for name in self.interventions}

    def to_yaml(self) -> str:
        """The study as a file: what it was given, lists and all.

        Raises:
            UserError: it was changed since (`model_copy`), so that no file would say the same.
        """
        text = yaml.safe_dump(plain(self._given), sort_keys=False, allow_unicode=True)
        with relative_to(self.folder):
            same = bool(self._given) and type(self).model_validate(plain(self._given)) == self
        if not same:
            raise UserError(
                f"the study '{self.name}' was changed after it was made", "make a new one: dormouse.Study(...)"
            )
        return text

    @property
    def chat(self) -> ChatSettings:
        """What its chat templates are told."""
        return ChatSettings(self.today.isoformat(), json.dumps(self.chat_template_kwargs, sort_keys=True))

    @property
    def place(self) -> str:
        """Where its model is looked for: a folder beside the study file, if there is one of that name, else as named.
        Records and claims call it what the file does."""
        return self._place

    @property
    def folder(self) -> Path:
        """The folder that its files are relative to: that of its file, else the working directory."""
        return self._given.folder or Path.cwd()

    @property
    def micro(self) -> bool:
        """Whether its model is one that dormouse makes itself."""
        return self.model in MICRO

    @property
    def computing(self) -> Computing:
        """In which type and where its models compute."""
        return Computing(self.dtype, self.device)

    def spec(self) -> dict[str, Json]:
        """The whole study as plain JSON data, defaults filled in. Type and device are named only where they are said:
        keys of results from before there was a choice stand."""
        unsaid = {name for name in ("dtype", "device") if getattr(self, name) == "auto"}
        return self.model_dump(mode="json", by_alias=True, exclude=unsaid)
