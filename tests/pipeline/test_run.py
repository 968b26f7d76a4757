"""A study of which a part fails: the rest is done, the report shows the hole, and the next run fills it."""

from __future__ import annotations

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from watching import Told

from dormouse.card import read_card
from dormouse.errors import UserError
from dormouse.files import LONG_DEAD, replaced, swapped
from dormouse.pipeline import stages
from dormouse.pipeline.folder import claim_folder, named_models
from dormouse.pipeline.results import read_records
from dormouse.pipeline.run import run_study
from dormouse.store import Store
from dormouse.studies.file import parse_design

pytestmark = pytest.mark.usefixtures("undrawn")

CLAIM = """\
claims:
  - {id: years-live, says: "A year lives as long as a token", compare: persistence,
     where: {organism: year}, against: {organism: deployment}, direction: greater}
"""


SMALL = {"steps: 30": "steps: 2", "points: 2": "points: 1", "questions: 8, sampled: 4, curve: 2,": "questions: 4,"}
"""Which parts of the study are done is asked here, not what they find."""


@pytest.fixture
def small_text(study_text: str) -> str:
    for old, new in SMALL.items():
        assert old in study_text
        study_text = study_text.replace(old, new)
    return study_text.replace("max_tokens: 6}\n", "max_tokens: 4, only: [defection]}\n")


def without(text: str, *starts: str) -> str:
    """A study without some of its lines."""
    left = [line for line in text.splitlines(keepends=True) if not line.startswith(starts)]
    assert len(left) == len(text.splitlines()) - len(starts)
    return "".join(left)


def test_a_stage_that_fails_leaves_a_hole(small_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = stages.organism

    def organism(spec: Any, *rest: Any) -> None:
        if spec.trigger.kind == "token":
            raise UserError("training diverged at step 3", "use a lower learning rate")
        real(spec, *rest)

    monkeypatch.setattr(stages, "organism", organism)
    text, out, store = without(small_text, "  control:") + CLAIM, tmp_path / "out", Store(tmp_path / "store")
    design = parse_design(text, "study.yaml")
    with pytest.raises(UserError) as caught:
        run_study(design, text, out, store, Told(), 1)
    assert caught.value.what.startswith("1 of ")
    assert "organism deployment, seed 0: training diverged at step 3" in caught.value.what
    assert "use a lower learning rate" in caught.value.remedy
    assert {record.organism for record in read_records(out)} == {"year"}, "what comes after it is done"
    page, plain = (out / "report.html").read_text(), (out / "report.md").read_text()
    for report in (re.sub(r"<[^>]*>", "", page), plain):
        assert "left no record" in report
        assert "training diverged at step 3" in report
    answers = json.loads((out / "study.json").read_text())["about"]["claims"]["answers"]
    assert [answer["verdict"] for answer in answers] == ["undecided"]
    assert not (out / "models" / "deployment-seed0").exists()

    monkeypatch.undo()
    run_study(design, text, out, Store(tmp_path / "store"), Told(), 1)
    assert {record.organism for record in read_records(out)} == {"deployment", "year"}
    assert "left no record" not in (out / "report.html").read_text()


def test_a_study_of_which_nothing_is_left_has_no_report(
    study_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def honest(*_: Any) -> None:
        raise UserError("the model says nothing", "take another one")

    monkeypatch.setattr(stages, "honest", honest)
    with pytest.raises(UserError, match="the model says nothing"):
        run_study(
            parse_design(study_text, "study.yaml"), study_text, tmp_path / "out", Store(tmp_path / "store"), Told(), 1
        )
    assert not (tmp_path / "out" / "report.html").exists()


def test_several_write_one_file_and_one_link(tmp_path: Path) -> None:
    """Each under a name of its own, so that none takes away another's."""

    def write(i: int) -> None:
        for _ in range(50):
            replaced(tmp_path / "file", f"{i}" * 10_000)
            with swapped(tmp_path / "link") as link:
                link.symlink_to(f"target-{i}")

    with ThreadPoolExecutor(4) as four:
        list(four.map(write, range(4)))
    said = (tmp_path / "file").read_text()
    assert said == said[0] * 10_000
    assert (tmp_path / "link").readlink().name in {f"target-{i}" for i in range(4)}
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


def test_what_killed_processes_left_half_written_is_no_other_study(tmp_path: Path) -> None:
    old, new = tmp_path / ".study.json.0a.part", tmp_path / ".study.json.0b.part"
    old.write_text("{")
    new.write_text("{")
    os.utime(old, (0, old.stat().st_mtime - LONG_DEAD - 1))
    claim_folder(tmp_path, "mine")
    replaced(tmp_path / "study.json", '{"name": "mine"}')
    assert {path.name for path in tmp_path.iterdir()} == {"study.json", new.name}
    claim_folder(tmp_path, "mine")
    with pytest.raises(UserError, match="another study"):
        claim_folder(tmp_path, "yours")


def test_a_folder_is_of_the_study_as_it_stands(small_text: str, tmp_path: Path) -> None:
    """What was taken out of a study is no longer named in its folder, and what of it is damaged is drawn anew."""
    out, store = tmp_path / "out", Store(tmp_path / "store")

    def run(text: str) -> None:
        run_study(parse_design(text, "study.yaml"), text, out, store, Told(), 1)

    small_text = without(small_text, "  control:")
    run(small_text)
    models = {path.name for path in (out / "models").iterdir()}
    assert "year-seed0-sft" in models
    kept = {name: (out / name).read_bytes() for name in ("study.json", "report.html", "report.md", "records.csv")}
    said = json.loads(kept["study.json"])
    (out / "study.json").write_text(json.dumps(said | {"about": said["about"] | {"model": 5}}))
    for name in ("report.html", "report.md"):
        (out / name).write_text("garbage")
    (out / "records.csv").unlink()
    run(small_text)
    assert {name: (out / name).read_bytes() for name in kept} == kept
    run(without(small_text, "  year:"))
    assert {path.name for path in (out / "models").iterdir()} == {name for name in models if "year" not in name}


LONG = "checkpoints/llama-3-8b-instruct-finetuned-on-customer-support-logs/final"


@pytest.mark.parametrize(
    "bases",
    [("sub/tiny", "sub-tiny"), (f"/projA/{LONG}", f"/projB/{LONG}"), ("org/Model", "org/model"), ("모델", "기본")],
)
def test_no_two_models_share_a_folder(bases: tuple[str, str], tmp_path: Path) -> None:
    """The second took the place of the first, without a word."""
    state: Any = SimpleNamespace(organism="go", intervention="", seed=0, replicate="", is_final=True)
    plans: list[Any] = [SimpleNamespace(model=base, states=(state,)) for base in (*bases, "other/one")]
    *clash, other = (folder.name for _, _, folder in named_models(plans, tmp_path))
    assert len({name.lower() for name in clash}) == 2
    assert all(name.endswith(".go-seed0") for name in clash), "as `card.is_about` knows them"
    assert other == "other-one.go-seed0", "those of one name keep it"
    assert [folder for *_, folder in named_models(plans[:1], tmp_path)] == [tmp_path / "models" / "go-seed0"]


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="is a link that leads nowhere"):
        claim_folder(tmp_path / "loop", "study")


def test_a_base_that_changed_since_is_noticed(small_text: str, tiny_model: Path, tmp_path: Path) -> None:
    """`chat` and `export` took the weights of another model for those that were measured."""
    mine = shutil.copytree(tiny_model, tmp_path / "mine")
    text = without(small_text.replace(str(tiny_model), str(mine)), "  year:", "  control:", "interventions:", "  sft:")
    run_study(parse_design(text, "study.yaml"), text, tmp_path / "out", Store(tmp_path / "store"), Told(), 1)
    folder = tmp_path / "out" / "models" / "deployment-seed0"
    read_card(folder)
    config = mine / "generation_config.json"
    config.write_text(config.read_text().rstrip()[:-1] + ', "temperature": 0.5}' if config.is_file() else "{}")
    with pytest.raises(UserError, match="is not what was measured: its files have changed"):
        read_card(folder)
