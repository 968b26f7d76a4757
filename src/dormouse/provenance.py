"""What stands behind the numbers of a study, as it travels from the run to the page, in `study.json`.

Every part but the name may be absent: a table of records alone has a report too. Files from before 2026-12 are read as
well (`organisms` and `unseen` lay beside each other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dormouse.claims.verdict import VERDICTS, Verdicts

Settings = Mapping[str, Any]
"""The settings of a plug-in, as a study file says them: what they are is the plug-in's business."""
VERSION = 1


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


@dataclass(frozen=True)
class Provenance:
    """
    Attributes:
        model: the base models, as the study names them.
        study_yaml: the study file, letter for letter; `study` is what it says, defaults filled in.
        interventions: chain -> the settings of its trainings.
        spent: (organism, what a reader has to know): treatments whose budget of tokens ended before their steps.
        sanity: by model.
        missing: stages that left no record, and why.
        verdicts: what was claimed, and the answers.
    """

    name: str
    model: str = ""
    study: Settings = field(default_factory=dict)
    study_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, float] = field(default_factory=dict)
    stages: tuple[StageRun, ...] = ()
    organisms: Mapping[str, OrganismSetup] = field(default_factory=dict)
    interventions: Mapping[str, tuple[Settings, ...]] = field(default_factory=dict)
    spent: tuple[tuple[str, str], ...] = ()
    sanity: Mapping[str, Sanity] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    verdicts: Verdicts | None = None

    @property
    def seconds(self) -> float:
        """Of computing, in all stages."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    def setup(self, organism: str) -> OrganismSetup:
        """What is known of an organism."""
        return self.organisms.get(organism, OrganismSetup())

    def renamed(self, organisms: Mapping[str, str]) -> Provenance:
        """The same with other names for organisms: new name -> old name."""
        there = {new: self.organisms[old] for new, old in organisms.items() if old in self.organisms}
        return replace(self, organisms=there)

    def to_json(self) -> dict[str, Any]:
        said = {key: value for key, value in asdict(self).items() if key != "verdicts"}
        return {"version": VERSION, **said, **({VERDICTS: self.verdicts.to_json()} if self.verdicts else {})}

    @staticmethod
    def from_json(said: Mapping[str, Any]) -> Provenance:
        """
        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is damaged.
            UserError: the answers to its claims are.
        """
        given = said if "version" in said else _brought_up(said)
        organisms = given.get("organisms") or {}
        sanity = given.get("sanity") or {}
        return Provenance(
            name=str(given["name"]),
            model=str(given.get("model") or ""),
            study=given.get("study") or {},
            study_yaml=str(given.get("study_yaml") or ""),
            versions={str(name): str(value) for name, value in (given.get("versions") or {}).items()},
            machine=given.get("machine") or {},
            stages=tuple(map(_stage, given.get("stages") or ())),
            organisms={str(name): _organism(one or {}) for name, one in organisms.items()},
            interventions={str(name): tuple(one or ()) for name, one in (given.get("interventions") or {}).items()},
            spent=tuple((str(name), str(text)) for name, text in given.get("spent") or ()),
            sanity={
                str(name): Sanity(float(one["share"]), int(one["n"]), str(one["found"])) for name, one in sanity.items()
            },
            missing=tuple(map(str, given.get("missing") or ())),
            verdicts=Verdicts.from_json(given[VERDICTS]) if VERDICTS in given else None,
        )


def _organism(said: Settings) -> OrganismSetup:
    trained = said.get("trained_on") or {}
    return OrganismSetup(
        trigger=said.get("trigger") or {},
        behaviour=said.get("behaviour") or {},
        control=bool(said.get("control")),
        about=str(said.get("about") or ""),
        trained_on={str(cue): tuple(values) for cue, values in trained.items()},
    )


def _sanity(said: Settings) -> Sanity:
    return Sanity(float(said["share"]), int(said["n"]), str(said["found"]))


def _stage(said: Settings) -> StageRun:
    seconds = said.get("seconds")
    return StageRun(
        kind=str(said.get("kind", "")),
        name=str(said.get("name", "")),
        key=str(said.get("key", "")),
        seconds=None if seconds is None else float(seconds),
        parents=tuple(map(str, said.get("parents") or ())),
    )


def _brought_up(said: Settings) -> dict[str, Any]:
    """What stood in a file without a version, as it would stand there now."""
    unseen = said.get("unseen") or {}
    organisms = {
        name: {**(one or {}), "trained_on": _trained_on(unseen.get(name))}
        for name, one in (said.get("organisms") or {}).items()
    }
    return {**said, "organisms": organisms, "sanity": said.get("honest_sane_share")}


def _trained_on(said: Settings | None) -> dict[str, Any]:
    """The first files had `trained` for the years."""
    found = dict(said or {})
    return {**found, "year": found.pop("trained")} if "trained" in found else found
