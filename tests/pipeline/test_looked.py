"""A sequential study in its folder: it goes on while a claim is undecided, and each look is put down once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from two_arms import study

from dormouse.claims.verdict import LookTaken
from dormouse.json_files import read_log
from dormouse.pipeline import run
from dormouse.pipeline.looked import LOOKS, Looked, looked
from dormouse.pipeline.stated import FirstStated, _by_arm, _keys, _sketched
from dormouse.studies.file import parse_design

STUDY = study("{start: 2, step: 2, most: 6}")


class Told:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


REMEDIES = {"undecided": "seeds", "not comparable": "perhaps seeds"}


def answer(verdict: str) -> Any:
    return SimpleNamespace(id="c", verdict=verdict, remedy=REMEDIES.get(verdict, "none"))


@pytest.mark.parametrize(
    ("verdicts", "seeds"),
    [
        (["undecided", "supported"], [2, 4]),
        (["not comparable", "contradicted"], [2, 4]),
        (["no room"], [2]),
        (["undecided for ever"], [2]),
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
    for again in range(2):  # once more: nothing is put down twice, also behind a line that was cut off
        if again:
            with (tmp_path / "out" / LOOKS).open("a") as log:
                log.write('{"time": 1')
        ran.clear()
        run.run_study(design, STUDY, tmp_path / "out", SimpleNamespace(root=tmp_path), told)  # type: ignore[arg-type]
        assert ran == seeds
    found = read_log(tmp_path / "out" / LOOKS, Looked)
    assert [one.look for one in found] == [LookTaken(i + 1, 3, n, "obrien_fleming") for i, n in enumerate(seeds)]
    assert [dict(one.verdicts) for one in found] == [{"c": verdict} for verdict in verdicts]


def test_a_study_with_named_seeds_has_no_looks(tmp_path: Path) -> None:
    design = parse_design(study("4"))
    assert not looked(design, [answer("undecided")], tmp_path, Told())  # type: ignore[arg-type]
    assert not (tmp_path / LOOKS).exists()


@dataclass(frozen=True)
class Answer:
    verdict: str
    why: str = ""
    chances: tuple[int, ...] = ()
    is_decided: bool = True
    id: str = "c"


SOME: Any = [Answer("supported"), Answer("undecided", is_decided=False)]


def sketched(then: str, now: str, older: bool = False) -> list[Any]:
    """The answers of a study that was stated with some seeds, and has others now."""
    was, text = parse_design(study(then)), study(now)
    first = FirstStated("", 0, (), design=_keys(was, study(then)), seeds=None if older else _by_arm(was))
    return _sketched(SOME, first, parse_design(text), text)


@pytest.mark.parametrize("older", [False, True])
def test_seeds_that_were_changed_after_the_first_run_make_a_sketch(older: bool) -> None:
    """Of what would be decided; the same seeds, in any order, change nothing."""
    assert sketched("5", "5", older) == SOME
    assert sketched("5", "[4, 3, 2, 1, 0]", older) == SOME
    assert _sketched(SOME, FirstStated("", 0, ()), parse_design(study("5")), study("5")) == SOME
    for now in ("6", "[0, 2, 3, 4]", "{start: 5, step: 3, most: 20}"):
        found = sketched("5", now, older)
        assert [one.verdict for one in found] == ["sketch", "undecided"]
        assert "else it would be supported (they were 0, 1, 2, 3, 4 then)" in found[0].why


def test_seeds_that_were_added_through_cross_make_a_sketch() -> None:
    """`seeds` says the same; arms of which nothing is claimed may have more."""
    few = "12\ncross: [{organism: a, seed: [0, 1, 2, 3, 4]}, {organism: b}]"
    more = few.replace("[0, 1, 2, 3, 4]", "[0, 1, 2, 3, 4, 5, 6]")
    assert sketched(few, few) == SOME
    assert [one.verdict for one in sketched(few, more)] == ["sketch", "undecided"]
    assert "they were 0, 1, 2, 3, 4 then" in sketched(few, more)[0].why
    named = few.replace("{organism: b}", f"{{organism: b, seed: {[*range(12)]}}}")
    assert sketched(named, named.replace("12\n", "14\n", 1)) == SOME
