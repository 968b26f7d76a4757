"""What is known of claims before a study runs: whether its seeds could support them at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_arms import study

from dormouse.claims.effects import LEVEL, effect
from dormouse.claims.outlook import least_supported, outlook
from dormouse.studies.file import parse_design

RATES = (-1.0, 1.0)


def test_seeds_that_could_support_no_effect_are_said() -> None:
    """Five seeds that all lose everything leave p = 0.01 and a verdict that one more seed would turn or not."""
    (enough,) = outlook(parse_design(study("12")))
    assert enough == "claim c: 1 of its arms against 1, set-ups: 1, seeds: 12"
    (few,) = outlook(parse_design(study("3")))
    assert few.endswith("seeds: 3; fewer than 4 seeds decide nothing")
    (none,) = outlook(parse_design(study("4")))
    assert none.endswith("seeds: 4; 4 seeds support no effect that there could be; 6, looked at once, could support one")


def test_the_last_look_is_the_one_that_counts() -> None:
    (said,) = outlook(parse_design(study("{start: 4, step: 4, most: 12}")))
    assert said == "claim c: 1 of its arms against 1, set-ups: 1, seeds: 4"


def test_where_many_claims_share_the_error_few_seeds_support_one_only_late() -> None:
    one = study("6")
    claim = one[one.index("  - {id: c") :]
    many = one + "".join(claim.replace("id: c", f"id: c{i}") for i in range(9))
    said = outlook(parse_design(many))
    assert len(said) == 10
    assert all("6 seeds support it only after other claims are decided" in line for line in said)


@pytest.mark.parametrize(("direction", "sign"), [("less", -1), ("greater", 1), ("different", 1)])
@settings(max_examples=10, deadline=None)
@given(n=st.integers(4, 20), margin=st.sampled_from([0.0, 0.1, 0.3]))
def test_a_smaller_effect_is_not_supported_and_a_larger_one_is(
    direction: str, sign: int, n: int, margin: float
) -> None:
    """Held to what the claims' own code makes of seeds that all show it."""
    from dormouse.claims.chances import decides

    claim = parse_design(study("5")).claims[0]
    claim = claim.model_copy(update={"direction": direction, "margin": margin})
    least = least_supported(claim, RATES, n, LEVEL)

    def verdict(size: float) -> str:
        each = ("q",), (0.5 + sign * size / 2,)
        other = ("q",), (0.5 - sign * size / 2,)
        found = effect([(1.0, dict.fromkeys(range(n), each)), (-1.0, dict.fromkeys(range(n), other))])
        assert found is not None
        return decides(replace(found, reach=RATES), direction, margin, LEVEL)

    if least is None:
        assert verdict(1.0) != "supported"
    else:
        assert sign * least > margin
        assert verdict(min(1.0, abs(least) + 0.01)) == "supported"
        assert verdict(abs(least) - 0.02) != "supported"
