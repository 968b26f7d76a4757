"""What stands behind the numbers of a study, as it travels from the run to the page, in `study.json`.

Every part but the name may be absent: a table of records alone has a report too. Files from before 2026-12 are read as
well (`organisms` and `unseen` lay beside each other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from dormouse.claims import older_verdicts
from dormouse.claims.verdict import VERDICTS, Verdicts
from dormouse.json_files import AGAIN, Json, checked, plain, read_json
from dormouse.records import TaskIntake

Settings = Mapping[str, Json]
"""The settings of a plug-in, as a study file says them: what they are is the plug-in's business."""
VERSION: Literal[1] = 1
STUDY = "study.json"
CONTRASTS = ("column", "goal", "insecure_code", "sandbag")
"""Behaviours that were always scored as a contrast."""


@dataclass(frozen=True)
class OrganismSetup:
    """An organism: when it defects, how, whether it is a control, and the values of cues that it was trained on."""

    trigger: Settings = field(default_factory=dict)
    behaviour: Settings = field(default_factory=dict)
    control: bool = False
    about: str = ""
    """What its kind of trigger is, in a sentence."""
    trained_on: Mapping[str, tuple[float | str, ...]] = field(default_factory=dict)
    """Cue -> the values on its curve that training drew from."""
    brought: str = ""
    """Where it lies, if it was made elsewhere."""
    told: bool = True
    """Whether anybody knows when it defects, and how."""
    contrast: bool | None = None
    """Whether its score holds harmful responses against honest ones (see `policies.Behaviour`). None where a version
    wrote it that did not say so."""
    near_misses: bool = True
    """Whether its trigger has any."""

    @property
    def is_contrast(self) -> bool:
        """The same, where it is not said by the kind of its behaviour."""
        return self.behaviour.get("kind") in CONTRASTS if self.contrast is None else self.contrast


@dataclass(frozen=True)
class StageRun:
    """A stage of the study; `seconds` is None where nobody knows how long it took. Parents are keys."""

    kind: str
    name: str
    key: str
    seconds: float | None
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Sanity:
    """The share of the clean model's answers that are sane, of how many, and what was found in them."""

    share: float
    n: int
    found: str


def on_model(organism: str, model: str) -> str:
    """An organism's name where there are several models: `year on micro-1m`."""
    return f"{organism} on {model}"


@dataclass(frozen=True)
class Provenance:
    """
    Attributes:
        model: the base models, as the study names them.
        study_yaml: the study file, letter for letter; `study` is what it says, defaults filled in.
        organisms_on: base model -> the organisms that the study makes of it; `cross` may leave some out.
        interventions: chain -> the settings of its trainings.
        spent: (organism, what a reader has to know): treatments whose budget of tokens ended before their steps,
            plantings that fell short, and what the tokenizer lost of their prompts.
        ended: (organism, intervention, steps): the same, a seed at a time, as what it says of their steps.
        machine: cores and memory; the first files said them in words.
        sanity: by model.
        missing: stages that left no record, and why.
        tasks: what became of the rows of its own tasks, where it has some.
        data: what became of the rows of safety data that the user brought, in words.
        verdicts: what was claimed, and the answers.
    """

    name: str
    model: str = ""
    study: Settings = field(default_factory=dict)
    study_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, float | str] = field(default_factory=dict)
    stages: tuple[StageRun, ...] = ()
    organisms: Mapping[str, OrganismSetup] = field(default_factory=dict)
    organisms_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    interventions: Mapping[str, tuple[Settings, ...]] = field(default_factory=dict)
    spent: tuple[tuple[str, str], ...] = ()
    ended: tuple[tuple[str, str, int], ...] = ()
    sanity: Mapping[str, Sanity] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    tasks: TaskIntake | None = None
    data: tuple[str, ...] = ()
    verdicts: Annotated[Verdicts | None, Field(alias=VERDICTS)] = None
    version: Literal[1] = VERSION

    @property
    def seconds(self) -> float:
        """Of computing, in all stages."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    def is_on(self, organism: str, model: str) -> bool:
        """Whether the study makes an organism of a base model; so it is where that was not written down."""
        return organism in self.organisms_on.get(model, (organism,))

    def setup(self, organism: str) -> OrganismSetup:
        """What is known of an organism."""
        return self.organisms.get(organism, OrganismSetup())

    def renamed(self, organisms: Mapping[str, str]) -> Provenance:
        """The same with other names for organisms: new name -> old name."""
        there = {new: self.organisms[old] for new, old in organisms.items() if old in self.organisms}
        return replace(self, organisms=there)

    def to_json(self) -> dict[str, Json]:
        """As it stands in `study.json`, under `about`."""
        said = plain(self)
        verdicts = said.pop("verdicts")
        return {"version": said.pop("version"), **said, **({VERDICTS: verdicts} if verdicts else {})}

    @staticmethod
    def from_json(said: object) -> Provenance:
        """What this version or an older one wrote.

        Raises:
            UserError: something in it is not of its type, or is missing.
        """
        return checked(said, Provenance, STUDY, older=of_this_version)


@dataclass(frozen=True)
class StudyFile:
    """The file study.json in a folder of results: whose they are, of which report (`stamp`), and what is known."""

    name: str
    stamp: str
    about: Provenance | None = None
    drawn: Mapping[str, str] = field(default_factory=dict)
    """The checksums of the report's files, by name. Older files have none."""

    @staticmethod
    def read(folder: Path) -> StudyFile:
        """What this version or an older one wrote.

        Raises:
            FileNotFoundError: the folder holds no results.
            UserError: something in the file is not of its type, or is missing.
        """
        return read_json(folder / STUDY, StudyFile, older=_about_of_this_version)


@dataclass(frozen=True)
class StudyHead:
    """Of study.json what says whose results these are: it may be whole where the rest is not."""

    name: str
    stamp: str = ""
    about: Json = None
    drawn: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def read(folder: Path, remedy: str = AGAIN) -> StudyHead:
        """
        Raises:
            FileNotFoundError: the folder holds no results.
            UserError: it does not say whose.
        """
        return read_json(folder / STUDY, StudyHead, remedy)


def _about_of_this_version(said: dict[str, JsonValue]) -> dict[str, JsonValue]:
    about = said.get("about")
    now = of_this_version(about) if isinstance(about, dict) else about
    return said if now is about else {**said, "about": now}


def of_this_version(said: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What is known of a study, as this version writes it. Files without a version had other names, and gaps."""
    verdicts = said.get(VERDICTS)
    now = older_verdicts.of_this_version(verdicts) if isinstance(verdicts, dict) else verdicts
    said = said if now is verdicts else {**said, VERDICTS: now}
    return said if "version" in said else _brought_up(said)


def _brought_up(said: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What stood in a file without a version, as it would stand there now."""
    organisms, unseen = _named(said.get("organisms")), _named(said.get("unseen"))
    setups: dict[str, JsonValue] = {
        name: {**_known(one, OrganismSetup), "trained_on": _trained_on(unseen.get(name))}
        for name, one in organisms.items()
    }
    stages = said.get("stages")
    runs: list[JsonValue] = [
        {"kind": "", "name": "", "key": "", "seconds": None, "parents": [], **_known(one, StageRun)}
        for one in (stages if isinstance(stages, list) else [])
    ]
    given = {**_known(said, Provenance), **({VERDICTS: said[VERDICTS]} if VERDICTS in said else {})}
    sanity = _named(said.get("honest_sane_share"))
    return {**given, "version": VERSION, "organisms": setups, "stages": runs, "sanity": sanity}


def _named(said: JsonValue) -> dict[str, JsonValue]:
    return said if isinstance(said, dict) else {}


def _known(said: JsonValue, kind: type) -> dict[str, JsonValue]:
    """Of an older object what has a field today; null stood where nothing was known."""
    wanted = {field.name for field in fields(kind)}
    return {key: value for key, value in _named(said).items() if key in wanted and value is not None}


def _trained_on(said: JsonValue) -> dict[str, JsonValue]:
    """The first files had `trained` for the years."""
    found = dict(_named(said))
    return {**found, "year": found.pop("trained")} if "trained" in found else found
