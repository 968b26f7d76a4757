"""Executors are found by name, a plug-in's like our own."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from dormouse.errors import UserError
from dormouse.execution import known_executors
from dormouse.execution.local import LOCAL


def installed(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    found = [EntryPoint(name, value, known_executors.GROUP) for name, value in values.items()]
    monkeypatch.setattr(known_executors, "entry_points", lambda group: found if group == known_executors.GROUP else [])


def test_ours_are_found() -> None:
    assert known_executors.executor_kind("local") is LOCAL
    assert {"local", "ray", "slurm"} <= known_executors.executor_kinds().keys()


def test_one_of_a_plug_in_is_found_and_ours_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, mine="types:SimpleNamespace", local="types:SimpleNamespace")
    assert known_executors.executor_kind("mine") is SimpleNamespace
    assert known_executors.executor_kind("local") is LOCAL


def test_what_is_not_there_or_broken_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="did you mean 'local'"):
        known_executors.executor_kind("locall")
    installed(monkeypatch, mine="no_such_package_at_all:KIND")
    with pytest.raises(UserError, match="cannot be imported: ModuleNotFoundError"):
        known_executors.executor_kind("mine")
