"""What every shipped example measures, at a tiny dose: `python benchmarks/same_records.py DIR [EXAMPLE ...]`.

Run it in two checkouts, with a folder each, and compare what is printed: where a change is to leave numbers alone, the
lines are the same. On micro-60k: two steps of planting and of each treatment, four questions, seed 0; the first, the
middle and the last organism, the first and the last chain. Keys of stages are not part of the digest. A folder that an
older checkout has filled is read, not run, with `--read`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dormouse.pipeline.results import read_records
from dormouse.pipeline.run import run_study
from dormouse.progress import Lines
from dormouse.store import Store
from dormouse.studies.design import Design
from dormouse.studies.file import parse_study
from dormouse.studies.study import Study

EXAMPLES = Path(__file__).parent.parent / "examples"
FEW = {"steps": 2, "points": 1, "rounds": 1, "budget": 8, "questions": 1, "batch": 2}
MEASURE = {
    "questions": 4,
    "sampled": 2,
    "curve": 2,
    "members": 2,
    "repeats": 2,
    "max_tokens": 4,
    "scratchpad_tokens": 4,
}
MEASURE |= {"retrain_steps": 2, "retrain_examples": 2}


class Silent(Lines):
    def say(self, text: str) -> None: ...


def small(path: Path) -> Study:
    """An example at a tiny dose, without its claims."""
    text = re.sub(r"^model:.*$", "model: micro-60k", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = re.sub(r"^cross:\n(?:[ -].*\n)*", "", text, flags=re.MULTILINE)
    text = re.sub(r"^seeds:.*$", "seeds: [0]", text, flags=re.MULTILINE)  # a design of looks needs claims
    study = parse_study(re.split(r"^claims:", text, flags=re.MULTILINE)[0])
    organisms, chains = list(study.organisms), list(study.interventions)
    picked = dict.fromkeys([organisms[0], organisms[len(organisms) // 2], organisms[-1]])
    changes: dict[str, Any] = {
        "organisms": {name: study.organisms[name].model_copy(update={"steps": 2, "pairs": 2}) for name in picked},
        "interventions": {
            name: tuple(
                part.model_copy(update={key: few for key, few in FEW.items() if key in type(part).model_fields})
                for part in study.interventions[name]
            )
            for name in dict.fromkeys(chains[:1] + chains[-1:])
        },
        "measure": study.measure.model_copy(update=MEASURE),
        "tasks": study.tasks.model_copy(update={"train": 8, "safety": 8, "max_tokens": 4, "insane": "allow"}),
        "seeds": (0,),
        "zip": (),
    }
    made = study.model_copy(update=changes)
    made._others = ()
    return made


def digest(folder: Path) -> str:
    rows = read_records(folder)  # by today's names: a field that was renamed is the same field
    records = sorted(json.dumps({**asdict(row), "parent": ""}, sort_keys=True) for row in rows)
    answers = sorted((folder / "answers.jsonl").read_text(encoding="utf-8").splitlines())
    return f"{len(rows)} records {hashlib.sha256(chr(10).join(records + answers).encode()).hexdigest()[:16]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("examples", nargs="*")
    parser.add_argument("--read", action="store_true", help="what is in the folder already, by today's names")
    given = parser.parse_intermixed_args()
    for path in sorted(EXAMPLES.glob("*.yaml")):
        if not given.examples or path.stem in given.examples:
            out = given.folder / path.stem
            if not given.read:
                text = path.read_text(encoding="utf-8")
                run_study(Design(small(path)), text, out, Store(given.folder / "store"), Silent(), 1)
            print(path.stem, digest(out), flush=True)


if __name__ == "__main__":
    main()
