"""The looks that were taken at the claims of a sequential study, each put down once in its folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dormouse.claims.looks import look_taken
from dormouse.claims.verdict import LookTaken, Verdict
from dormouse.execution.executors import Watcher
from dormouse.json_files import append_json_line, read_log
from dormouse.studies.design import Design

LOOKS = "looks.jsonl"


@dataclass(frozen=True)
class Looked:
    """A line of the log: when, at how many seeds, and what was decided by then, claim by claim."""

    time: int
    look: LookTaken
    verdicts: Mapping[str, str]


def looked(design: Design, answers: Sequence[Verdict], out: Path, watcher: Watcher) -> bool:
    """Put down a look in `out`, if it was not taken before with the same outcome. Returns whether the study goes on:
    more seeds are designed, and may change the answer to a claim (see `verdict.Remedy`)."""
    taken = look_taken(design)
    if taken is None:
        return False
    found = Looked(round(time.time()), taken, {one.id: one.verdict for one in answers})
    if (found.look, found.verdicts) not in [(one.look, dict(one.verdicts)) for one in read_log(out / LOOKS, Looked)]:
        append_json_line(out / LOOKS, found)
    still = [one.id for one in answers if one.remedy != "none"]
    at = f"look {taken.number} of {taken.most}, {taken.seeds} seeds"
    if not still:
        watcher.say(f"{at}: no claim is open that more seeds may decide")
    elif taken.number == taken.most:
        watcher.say(f"{at}: the last; open: {', '.join(still)}")
    else:
        watcher.say(f"{at}: open: {', '.join(still)}; on with more seeds")
    return bool(still) and taken.number < taken.most
