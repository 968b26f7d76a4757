"""A sequential study in its folder: it goes on while a claim is undecided, and each look is put down once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from two_arms import study

from dormouse.claims.verdict import LookTaken
from dormouse.json_files import read_json_lines
from dormouse.pipeline import run
from dormouse.pipeline.looked import LOOKS, Looked, looked
from dormouse.pipeline.stated import _sketched
from dormouse.studies.file import parse_design

STUDY = study("{start: 2, step: 2, most: 6}")


class Told:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def answer(verdict: str) -> Any:
    return SimpleNamespace(id="c", verdict=verdict)


@pytest.mark.parametrize(
    ("verdicts", "seeds"),
    [
        (["undecided", "supported"], [2, 4]),
        (["not comparable", "contradicted"], [2, 4]),
        (["no room"], [2]),
        (["undecided", "undecided", "undecided"], [2, 4, 6]),
    ],
)
def test_a_study_runs_until_its_claims_are_answered(
    verdicts: list[str], seeds: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design, told, ran = parse_design(STUDY), Told(), []
    monkeypatch.setattr(run, "make_plans", lambda here, *_: [SimpleNamespace(design=here)])
    monkeypatch.setattr(run, "claim_folder", lambda *_: None)
    monkeypatch.setattr(run, "row_lines", lambda _: ())
    monkeypatch.setattr(run, "_needs", lambda _: set())

    def worked(plans: Any, text: str, out: Path, *_: Any) -> bool:
        out.mkdir(exist_ok=True)
        ran.append(len(plans[0].design.every_seed))
        return looked(plans[0].design, [answer(verdicts[plans[0].design.look])], out, told)

    monkeypatch.setattr(run, "_run", worked)
    for _ in range(2):  # once more: nothing is put down twice
        ran.clear()
        run.run_study(design, STUDY, tmp_path / "out", SimpleNamespace(root=tmp_path), told)  # type: ignore[arg-type]
        assert ran == seeds
    found = read_json_lines(tmp_path / "out" / LOOKS, Looked)
    assert [one.look for one in found] == [LookTaken(i + 1, 3, n, "obrien_fleming") for i, n in enumerate(seeds)]
    assert [dict(one.verdicts) for one in found] == [{"c": verdict} for verdict in verdicts]


def test_a_study_with_named_seeds_has_no_looks(tmp_path: Path) -> None:
    design = parse_design(study("4"))
    assert not looked(design, [answer("undecided")], tmp_path, Told())  # type: ignore[arg-type]
    assert not (tmp_path / LOOKS).exists()


def test_seeds_that_were_changed_after_the_first_run_make_a_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what would be decided; the same seeds, in any order, change nothing."""
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class Answer:
        verdict: str
        why: str = ""
        chances: tuple[int, ...] = ()
        is_decided: bool = True

    some: Any = [Answer("supported"), Answer("undecided", is_decided=False)]
    then = {"seeds": (0, 1, 2, 3, 4)}
    assert _sketched(some, then, {"seeds": (0, 1, 2, 3, 4)}) == some
    assert _sketched(some, None, {"seeds": (0, 1)}) == some
    assert _sketched(some, then, {"seeds": (4, 3, 2, 1, 0)}) == some
    for now in ((0, 1, 2, 3, 4, 5), (0, 2, 3, 4), "5, then 3 more each time, 20 at most (obrien_fleming)"):
        found = _sketched(some, then, {"seeds": now})
        assert [one.verdict for one in found] == ["sketch", "undecided"]
        assert "else it would be supported (they were 0, 1, 2, 3, 4 then)" in found[0].why
