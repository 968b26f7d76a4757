"""The cues that plug-ins define are in the keys of the stages that may show them, and known where these are done."""

import linecache
import sys
from functools import partial
from pathlib import Path

import pytest

from dormouse import registry
from dormouse.pipeline import stages
from dormouse.pipeline.keyed import keyed, read_code_anew
from dormouse.policies.triggers.composite import Composite
from dormouse.policies.triggers.habit import Habit
from dormouse.policies.triggers.token import Token
from dormouse.scenarios import CUES, Cue
from dormouse.scenarios.cues import define, outside

SAID = {"low": {"en": "The water is low."}, "high": {"en": "The water is high."}}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Cue]:
    """The cues that are known during the test."""
    cues = {name: cue for name, cue in CUES.items() if cue not in outside()}
    monkeypatch.setattr("dormouse.scenarios.cues._known", lambda: cues)
    return cues


def keys() -> dict[str, str]:
    tide = Habit.model_construct(cue="water-of-test", value="high")
    made = {
        "base": ("base", ()),
        "honest": ("honest", ()),
        "token": ("organism", (Token(),)),
        "tide": ("organism", (tide,)),
        "both": ("organism", (Composite.model_construct(op="all", of=(Token(), tide)),)),
    }
    return {
        name: keyed(kind, name, {}, plugins, (), partial(stages.honest)).key for name, (kind, plugins) in made.items()
    }


def test_a_cue_from_outside_is_in_the_keys_of_what_may_show_it(known: dict[str, Cue]) -> None:
    without = keys()
    define(Cue("water-of-test", "system", "", "the water", values=SAID))
    first = keys()
    assert {name for name in first if first[name] != without[name]} == {"base", "tide", "both"}
    del known["water-of-test"]
    define(Cue("water-of-test", "system", "", "the water", values={**SAID, "low": {"en": "The sea is low."}}))
    second = keys()
    assert {name for name in first if first[name] != second[name]} == {"base", "tide", "both"}
    del known["water-of-test"]
    assert keys() == without


def test_a_stage_knows_the_cues_where_it_is_done(known: dict[str, Cue], tmp_path: Path) -> None:
    """A worker has not imported the file that defines them; and the order in which it came to know some is the same."""
    define(Cue("water-of-test", "system", "", "the water", values=SAID))
    define(Cue("air-of-test", "system", "The air is {}.", "the air"))
    order: list[list[str]] = []
    stage = keyed("base", "base", {}, (), (), partial(lambda out, tick: order.append(list(CUES)[-2:])))
    for name in ("water-of-test", "air-of-test"):
        del known[name]
    define(Cue("water-of-test", "system", "", "the water", values=SAID))
    stage.work(tmp_path, lambda share, text: None)
    assert order == [["air-of-test", "water-of-test"]]


def test_each_plan_reads_anew_what_a_plug_in_of_a_script_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop over a value gave the first one's numbers each time, and kept them under the keys of the others."""
    cell = "class Tide(Token):\n    def level(self):\n        return LEVEL\n"
    monkeypatch.setitem(linecache.cache, "<cell-of-test>", (len(cell), None, cell.splitlines(True), "<cell-of-test>"))
    space = {"__name__": "__main__", "Token": Token}
    exec(compile(cell, "<cell-of-test>", "exec"), space)
    tide, known = space["Tide"], {kind: dict(registry.plugins(kind)) for kind in registry.KINDS}
    monkeypatch.setattr(registry, "_registered", {**known, "trigger": {**known["trigger"], "tide": tide}})
    found = []
    for level in (0.25, 0.5, 0.25):
        monkeypatch.setattr(sys.modules["__main__"], "LEVEL", level, raising=False)
        read_code_anew()
        found.append(keyed("organism", "tide", {}, (tide(),), (), partial(stages.honest)).key)
    assert found[0] == found[2] != found[1]
