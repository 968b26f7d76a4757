"""The register of all claims: rates are those of the textbook, and what was not tested is listed too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("register", BENCHMARKS / "register.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "register", module)
    spec.loader.exec_module(module)
    return module


def claim(name: str, p: float | None, verdict: str) -> Any:
    return SimpleNamespace(study="s", then="", now=SimpleNamespace(id=name, p=p, verdict=verdict))


def test_rates_are_over_all_claims_that_were_tested(register: Any) -> None:
    ps = [0.03, None, 0.001, 0.5]
    claims = [claim(f"c{i}", p, "supported" if p and p < 0.01 else "undecided") for i, p in enumerate(ps)]
    harmonic = 1 + 1 / 2 + 1 / 3
    found = register.rates(claims)
    assert found == {
        i: pytest.approx((bh, min(1.0, bh * harmonic))) for i, bh in ((0, 0.03 * 3 / 2), (2, 0.001 * 3), (3, 0.5))
    }
    lines = register.table(claims)
    assert [line.split(" | ")[1] for line in lines[2:6]] == ["c2", "c0", "c3", "c1"]
    assert "not tested" in lines[5]
    assert lines[-1] == (
        "4 claims, of which 3 were tested and 1 have a verdict; "
        "the largest false-discovery rate of a verdict is 0.003 (0.0055)."
    )
