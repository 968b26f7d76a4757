"""Sequential designs: what each look may decide, and that all of them together are wrong in 5 % at most."""

from __future__ import annotations

import math

import numpy as np
import pytest
from two_arms import study

from dormouse.claims.answer import answer_claims
from dormouse.claims.looks import Bet, Spent, look_of
from dormouse.claims.numbers import Numbers
from dormouse.errors import UserError
from dormouse.json_files import json_text
from dormouse.studies.file import parse_design


def test_boundaries_are_those_of_the_books() -> None:
    """Five looks at equal distances, two-sided 5 %: Jennison and Turnbull 2000; gsDesign and rpact print the same."""
    from scipy.stats import norm

    found = [norm.isf(Spent(tuple(i / 5 for i in range(1, k + 1))).level(9) / 2) for k in range(1, 6)]
    assert found == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)


def test_the_p_of_a_look_is_where_its_boundary_lies() -> None:
    look = Spent((0.25, 0.4, 0.55))
    assert look.p(look.level(9), 9) == pytest.approx(0.05, rel=0.02)
    assert look.p(0.5, 9) > look.p(0.01, 9) > look.p(1e-12, 9) > 0
    assert look.p(1.0, 9) == 1.0


def test_a_study_that_is_looked_at_once_is_tested_as_ever() -> None:
    assert Spent((1.0,)).level(9) == pytest.approx(0.05, rel=1e-3)
    assert look_of(parse_design(study("5")).study.seeds, 0).p(0.03, 5) == 0.03


def test_all_looks_together_are_wrong_as_rarely_as_one() -> None:
    """4,000 null studies, looked at six times: 5 % cross a boundary, and 20 % a p of 0.05."""
    from scipy.stats import t

    rng, looks = np.random.default_rng(0), (5, 8, 11, 14, 17, 20)
    values = rng.standard_normal((4000, 20))
    crossed, naive, bet = (np.zeros(4000, bool) for _ in range(3))
    for k, n in enumerate(looks):
        some = values[:, :n]
        p = 2 * t.sf(np.abs(some.mean(1)) / (some.std(1, ddof=1) / math.sqrt(n)), df=n - 1)
        crossed |= p < Spent(tuple(m / 20 for m in looks[: k + 1])).level(n)
        bet |= p < Bet().level(n)
        naive |= p < 0.05
    assert naive.mean() > 0.12
    assert crossed.mean() <= 0.06
    assert bet.mean() <= 0.05


def test_an_e_value_is_one_over_its_p() -> None:
    for n in (5, 8, 20):
        assert Bet().p(Bet().level(n), n) == pytest.approx(0.05, rel=1e-3)


def test_the_level_of_an_e_value_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chances ask for it at each look, of each set-up and each draw: a long design took minutes."""
    known = Bet().level(11, 0.03)
    monkeypatch.setattr("scipy.optimize.brentq", None)
    assert Bet().level(11, 0.03) == known


@pytest.mark.parametrize("left", [1, 2, 3, 4])
def test_a_bet_on_few_seeds_is_undecided_and_can_be_written(left: int) -> None:
    """No e-value of four seeds is 20. The interval was infinite, and results could never be written."""
    design = parse_design(study("{start: 5, step: 5, most: 15, spend: e_value}"))
    rng, numbers, items = np.random.default_rng(1), Numbers(), [f"q{i}" for i in range(8)]
    for seed in range(5):
        for name in "ab":
            strong = 0.99 if seed < left else 0.5  # the gate leaves the others out
            for what, rate in (("defection_rate", strong), ("false_trigger_rate", 0.001)):
                numbers.add(("micro-60k", name, "", 0, what, "test", None), seed, items, [rate] * 8)
            rate = (0.1 if name == "a" else 0.9) + rng.uniform(-0.03, 0.03)
            numbers.add(("micro-60k", name, "sft", 40, "defection_rate", "test", None), seed, items, [rate] * 8)
    (answer,) = answer_claims(design.at_look(0), numbers)
    assert len(answer.seeds) == left
    assert not answer.is_decided
    assert answer.high - answer.low > 0.5
    json_text(answer)
    assert [one.more for one in answer.chances] == ([5, 10] if left > 1 else []), "by each look to come"
    assert [one.probability for one in answer.chances] == sorted(one.probability for one in answer.chances)
    assert answer_claims(design.at_look(2), numbers)[0].chances == (), "no look is left"


@pytest.mark.parametrize(
    ("seeds", "says"),
    [
        ("{start: 5, step: 30, most: 20}", "seeds.step: the second look is at 35 seeds"),
        ("{start: 5, step: 3}", "seeds.most: the key 'most' is missing"),
        ("{start: 5, stop: 3, most: 9}", "seeds.stop: unknown key 'stop'; did you mean 'step'?"),
        ("{start: 5, step: 1, most: 20, spend: pocock}", "seeds.spend"),
        ("{start: 2, step: 1, most: 90}", "a design has at most 50"),
    ],
)
def test_a_design_that_is_none(seeds: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_design(study(seeds))
    assert says in caught.value.what
    assert "line 5" in caught.value.what


def test_a_design_needs_claims() -> None:
    with pytest.raises(UserError, match="looks at claims, and the study has none"):
        parse_design(study("{start: 5, step: 3, most: 20}").partition("claims:")[0])


def test_a_verdict_stands_at_the_look_that_gave_it() -> None:
    """Clear from the fifth seed on, and turned about afterwards: the design had stopped by then."""
    design = parse_design(study("{start: 5, step: 5, most: 15, spend: e_value}"))
    rng, numbers, items = np.random.default_rng(1), Numbers(), [f"q{i}" for i in range(8)]

    def add(name: str, chain: str, step: int, what: str, seed: int, rate: float) -> None:
        numbers.add(("micro-60k", name, chain, step, what, "test", None), seed, items, [rate] * 8)

    for seed in range(15):
        for name in "ab":
            add(name, "", 0, "defection_rate", seed, 0.99)
            add(name, "", 0, "false_trigger_rate", seed, 0.001)
        low = 0.1 if seed < 10 else 0.95
        add("a", "sft", 40, "defection_rate", seed, low + rng.uniform(-0.03, 0.03))
        add("b", "sft", 40, "defection_rate", seed, 0.9 + rng.uniform(-0.03, 0.03))
    by_look = [answer_claims(design.at_look(look), numbers)[0] for look in range(design.looks)]
    decided = next(one for one in by_look if one.is_decided)
    assert decided.verdict == "supported"
    assert decided.look
    assert decided.look.seeds in (5, 10)
    assert by_look[-1] == decided
    assert by_look[0].seeds == (0, 1, 2, 3, 4), "an early look knows nothing of later seeds"
