"""The published claims, answered anew from the records that the docs quote.

    python benchmarks/claims_anew.py

For every study file in `examples/` whose records and answers lie in `docs/results/`: each claim as it was answered
then, as it is answered now, and why. Records have a number a seed: the questions behind it are not in them, so an
interval of today may be a little narrower or wider than that of a run.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

from dormouse.claims.answer import answer_claims
from dormouse.claims.numbers import Numbers
from dormouse.claims.verdict import Verdict
from dormouse.json_files import read_json_lines
from dormouse.records import Record
from dormouse.studies.file import read_design
from dormouse.studies.old_names import arm_now

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Anew:
    """A claim, as it was answered then and as it is now."""

    study: str
    then: str
    now: Verdict


def anew(study: Path) -> list[Anew]:
    """The claims of a study, from its records in `docs/results`."""
    results = ROOT / "docs" / "results"
    said = json.loads((results / f"{study.stem}-claims.json").read_text(encoding="utf-8"))
    then = {one["id"]: one["verdict"] for one in said["answers"]}
    looks = [one["look"]["number"] for one in said["answers"] if one.get("look")]
    numbers, design = Numbers(), read_design(study).at_look(max(looks, default=1) - 1)
    records = read_json_lines(results / f"{study.stem}.jsonl", Record)
    numbers.add_records(
        replace(
            one,
            model=one.model or design.models[0],  # of one model, in the first records
            organism=arm_now(one.organism),
            intervention=arm_now(one.intervention),
        )
        for one in records
    )
    return [Anew(study.stem, then.get(one.id, "not asked"), one) for one in answer_claims(design, numbers)]


def every() -> list[Anew]:
    """The claims of all studies whose answers were published."""
    studies = sorted((ROOT / "examples").glob("*.yaml"))
    return [
        one
        for study in studies
        if (ROOT / "docs" / "results" / f"{study.stem}-claims.json").is_file()
        for one in anew(study)
    ]


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| study | claim | then | now | why | effect | at equal strength |\n|---|---|---|---|---|---|---|")
    for one in every():
        now = one.now
        effect = "" if now.effect is None else f"{now.effect:+.2f} [{now.low:+.2f}, {now.high:+.2f}]"
        equal = f"{now.adjusted.value:+.2f} [{now.adjusted.low:+.2f}, {now.adjusted.high:+.2f}]" if now.adjusted else ""
        outcome = f"{now.verdict} ({now.contradiction})" if now.contradiction else now.verdict
        print(f"| {one.study} | {now.id} | {one.then} | {outcome} | {now.why} | {effect} | {equal} |")


if __name__ == "__main__":
    main()
