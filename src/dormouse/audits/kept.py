"""What finished locators have found, kept on the disk: an audit that was stopped goes on from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dormouse.audits.detector import Detector, hole_of
from dormouse.audits.evidence import from_json, to_json
from dormouse.errors import UserError
from dormouse.files import replaced
from dormouse.json_files import Json, digest, read_json
from dormouse.lm.folders import home
from dormouse.locators.locator import NO_LEADS, Evidence, Leads, Locator
from dormouse.registry import outsiders
from dormouse.sources import code_of, forget


@dataclass(frozen=True)
class KeptEvidence:
    """What a locator said and the seconds that took, as its file holds them; `digest` is of both."""

    seconds: float
    evidence: Json
    digest: str


class Kept:
    """The evidence of one audit, by locator. It is found again by what was audited and how, and by the locator's
    settings and code. What cannot be written or read is looked for again, and what came to no end or lacks something
    that `rules` read."""

    def __init__(self, identity: str, rules: Sequence[Detector] = ()) -> None:
        self.rules = rules
        self.folder = home() / "audits" / identity
        if outsiders():  # in a notebook, or a script that goes on, they may be others by now
            forget()

    def read(self, locator: Locator, leads: Leads = NO_LEADS) -> tuple[Evidence, float] | None:
        """What the locator said, and the seconds it took; None where nothing is kept."""
        try:
            said = read_json(self._file(locator, leads), KeptEvidence)
            if said.digest != digest({"seconds": said.seconds, "evidence": said.evidence}):
                return None
            evidence, seconds = from_json(said.evidence), said.seconds
        except (OSError, UserError, ValueError):
            return None
        return None if hole_of(self.rules, locator.kind, evidence) else (evidence, seconds)

    def write(self, locator: Locator, evidence: Evidence, seconds: float, leads: Leads = NO_LEADS) -> None:
        """Keep what a locator said and how long it took, for a later audit of the same model. A file appears whole or
        not at all; where the disk refuses, nothing is kept.

        Args:
            leads: what others found, that it was given: with others it says something else.
        """
        if hole_of(self.rules, locator.kind, evidence):
            return
        said = {"seconds": seconds, "evidence": to_json(evidence)}
        file = self._file(locator, leads)
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            replaced(file, json.dumps({**said, "digest": digest(said)}))

    def _file(self, locator: Locator, leads: Leads) -> Path:
        how = [locator.spec(), str(code_of(type(locator))), asdict(leads)]
        said = json.dumps(how, sort_keys=True, default=str)
        return self.folder / f"{locator.kind}-{hashlib.sha256(said.encode()).hexdigest()[:16]}.json"
