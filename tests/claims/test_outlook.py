"""What is known of claims before a study runs: whether its seeds could support them at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_arms import study

from dormouse.claims.effects import LEVEL, effect
from dormouse.claims.outlook import outlook, supported
from dormouse.studies.file import parse_design

RATES = (-1.0, 1.0)


def test_what_the_seeds_could_support_is_said() -> None:
    (enough,) = outlook(parse_design(study("12")))
    assert enough == "claim c: 1 of its arms against 1, set-ups: 1, seeds: 12"
    (few,) = outlook(parse_design(study("3")))
    assert few.endswith("seeds: 3; fewer than 4 seeds decide nothing")
    (some,) = outlook(parse_design(study("5")))
    assert "seeds: 5; 5 seeds support it from an effect of -0.32 on that all of them show; but from -0.5 on" in some
    floor = study("5").replace("against: {organism: b}", "against: 0.08").replace("margin: 0.1", "margin: 0")
    (none,) = outlook(parse_design(floor))
    assert none.endswith("; 5 seeds support no effect that there could be; 37, looked at once, could support one")


def test_nothing_persists_that_was_not_there() -> None:
    """Persistence has no upper bound of its own: of what was planted in full it is at most 1."""
    (some,) = outlook(parse_design(study("5").replace("defection_rate", "persistence")))
    assert "5 seeds support it from an effect of -0.32 on that all of them show; but from -0.5 on" in some


@pytest.mark.parametrize(("direction", "against"), [("greater", "13"), ("less", "-13")])
def test_nearly_all_log_odds_may_be_lost_of_a_strong_organism(direction: str, against: str) -> None:
    text = (
        study("20").replace("defection_rate", "log_odds_lost").replace("against: {organism: b}", f"against: {against}")
    )
    (said,) = outlook(parse_design(text.replace("direction: less", f"direction: {direction}")))
    assert "no effect that there could be" not in said


def test_times_and_doses_have_their_budget_as_a_bound_before_the_study_runs_too() -> None:
    """No effect was said to be too large to be seen, and no number to be one at which nothing can be told."""
    times = study("5").replace("defection_rate", "steps_to_half").replace("margin: 0.1", "margin: MARGIN")
    (some,) = outlook(parse_design(times.replace("MARGIN", "4")))
    assert "5 seeds support it from an effect of -13 on that all of them show; but from -20 on an arm" in some
    (none,) = outlook(parse_design(times.replace("MARGIN", "41")))
    assert "5 seeds support no effect that there could be" in none
    (open_,) = outlook(parse_design(times.replace("MARGIN", "0").replace("against: {organism: b}", "against: 40")))
    assert open_.endswith("no more than 40 can be seen: a single seed that reaches it leaves this undecided")
    doses = study("5").replace("defection_rate", "ed50").replace("steps: 40", "steps: 40, trigger_fraction: [0.1, 0.4]")
    doses = doses.replace("organism: a}", "organism: a, trigger_fraction: 0.4}")
    (said,) = outlook(parse_design(doses.replace("organism: b}", "organism: b, trigger_fraction: 0.4}")))
    assert "5 seeds support it from an effect of -0.34 on that all of them show" in said


def test_the_last_look_is_the_one_that_counts() -> None:
    (said,) = outlook(parse_design(study("{start: 4, step: 4, most: 12}")))
    assert said == "claim c: 1 of its arms against 1, set-ups: 1, seeds: 4"


def test_where_many_claims_share_the_error_few_seeds_support_one_only_late() -> None:
    one = study("5")
    claim = one[one.index("  - {id: c") :]
    said = outlook(parse_design(one + "".join(claim.replace("id: c", f"id: c{i}") for i in range(14))))
    late = "5 seeds support it only after other claims are decided; 6, looked at once, could support one"
    assert len(said) == 15
    assert all(line.endswith(late) for line in said)


def test_an_arm_at_a_bound_may_leave_it_and_that_takes_more_seeds() -> None:
    """An effect of which all seeds show everything was told to need eight seeds, and was undecided with eight."""
    text = study("8").replace("margin: 0.1", "margin: 0.3")
    (some,) = outlook(parse_design(text))
    assert "8 seeds support it from an effect of -0.46 on that all of them show" in some
    least = "from -0.5 on an arm stands at a bound, which it might leave"
    assert some.endswith(f"{least}: that takes 11 seeds, looked at once, to support")
    (control,) = outlook(parse_design(text.replace("against: {organism: b}", "against: 0.5")))
    assert control.endswith("8 seeds support no effect that there could be; 15, looked at once, could support one")


@pytest.mark.parametrize(("direction", "sign"), [("less", -1), ("greater", 1), ("different", 1)])
@settings(max_examples=10, deadline=None)
@given(n=st.integers(4, 20), margin=st.sampled_from([0.0, 0.1, 0.3]), asked=st.sampled_from([0, 4, 16]))
def test_what_is_said_of_each_effect_is_what_becomes_of_it(
    direction: str, sign: int, n: int, margin: float, asked: int
) -> None:
    """Held to what the claims' own code makes of seeds that all show it."""
    from dormouse.claims.effects import p_value, survives

    claim = parse_design(study("5")).claims[0]
    claim = claim.model_copy(update={"direction": direction, "margin": margin})
    sizes, supports = supported(claim, RATES, n, LEVEL, questions=asked)

    def verdict(size: float) -> str:
        """Of arms as far from their bounds as they can be: in the middle, then one at the edge, then both."""
        upper = 0.5 + size / 2 if size <= 0.5 else max(0.75, size)
        each, other = ((("q",), (one,)) for one in (upper, upper - size))
        weights = [(sign * 1.0, dict.fromkeys(range(n), each)), (-sign * 1.0, dict.fromkeys(range(n), other))]
        found = effect(weights, span=(0.0, 1.0), questions=asked)
        assert found is not None
        p, verdict = p_value(found, direction, margin)
        return verdict if p < LEVEL and survives(found, direction, margin, verdict) else ""

    for size, holds in list(zip(sizes, supports, strict=True))[7::28]:
        assert holds == (verdict(abs(size)) == "supported"), size


def test_arms_that_are_averaged_move_an_effect_less() -> None:
    claim = parse_design(study("5").replace("margin: 0.1", "margin: 0.3")).claims[0]
    alone, of_four = (supported(claim, RATES, 8, LEVEL, weight)[1].sum() for weight in (1.0, 0.25))
    assert alone < of_four
