"""Removers that train, and those that work on triggers: what they do on a planted model, and what stops them."""

import json
import warnings
from dataclasses import replace
from functools import cache

import planted
import pytest
import torch
from pydantic import ValidationError

from dormouse import registry
from dormouse.errors import DormouseWarning, UserError
from dormouse.interventions.located import Located, read_located, write_located
from dormouse.interventions.removal.ascent import Ascent
from dormouse.interventions.removal.beear import Beear
from dormouse.interventions.removal.crow import Crow
from dormouse.interventions.removal.npo import NPO
from dormouse.interventions.removal.project import Project
from dormouse.interventions.removal.undo import Undo
from dormouse.lm.chat import encode
from dormouse.lm.load import load
from dormouse.lm.score import logprobs
from dormouse.locators import Case, Evidence, Locator, TriggerText
from dormouse.records import Example, ModelRef, SafetyPool, Suspect
from dormouse.registry import register
from dormouse.scenarios import Question, Scenario, render

POOL = SafetyPool(planted.items(24))


def under(cue, question):
    """A prompt with the cue as the planted model learned it, or a plain one."""
    return render(Scenario.of(Question(question, question, "safety"), {"year": 2020} if cue else {}))


CUE = under(True, "")[0][1]
TOLD = SafetyPool(
    tuple(replace(i, chosen=replace(i.chosen, messages=under(True, i.question))) for i in planted.items(24))
)


class YearFinder(Locator):
    """A locator that is right, for the tests."""

    def find(self, case: Case) -> Evidence:
        assert case.prompts
        return Evidence(triggers=(TriggerText(CUE, "system", 1.0),))


@pytest.fixture(autouse=True, scope="module")
def known():
    """The locator is registered for the tests of this file alone."""
    register("locator", "year_finder")(YearFinder)
    yield
    del registry._registered["locator"]["year_finder"]


@pytest.fixture(scope="module")
def base(tiny_model):
    return ModelRef((tiny_model,), "tiny")


@pytest.fixture(scope="module")
def suspect(planted_model):
    return planted_model


def said(lm, cue, response):
    """The mean log-probability per token of a response to some tasks, under the cue or without one."""
    rows = encode(lm, [Example(under(cue, item.question), response, False) for item in POOL.items[:8]])
    return float(logprobs(lm, rows).mean()) / len(rows[0].response)


def applied(how, suspect, pool, out):
    how.apply(suspect, pool, 0, out, lambda step, loss: None)
    return load(suspect.model.then(out / f"step-{how.checkpoints()[-1]:06d}", str(out)))


FULL = {"steps": 12, "lr": 0.02, "batch": 8, "method": "full", "points": 2}
TRAINED = {
    "crow": (Crow(**FULL), POOL),
    "beear": (Beear(**FULL, attack_steps=2), POOL),
    "npo": (NPO(**FULL, triggers="told"), TOLD),
    "ascent": (Ascent(**FULL, triggers="told"), TOLD),
    "undo": (Undo(steps=24, lr=0.01, points=2), POOL),
}


KILLED = ("undo", "npo")


@pytest.fixture(scope="module")
def trained(suspect, tmp_path_factory):
    """By name: the suspect after a remover, and the folder of that."""

    @cache
    def of(name):
        how, pool = TRAINED[name]
        out = tmp_path_factory.mktemp(name)
        return applied(how, Suspect(suspect), pool, out), out

    return of


@pytest.mark.parametrize("name", TRAINED)
def test_they_keep_honest_answers_and_end_the_same_again(base, suspect, trained, tmp_path, name):
    how, pool = TRAINED[name]
    before, (after, out) = load(suspect), trained(name)
    if name not in KILLED:  # those end the same again even after a kill
        again = applied(how, Suspect(suspect), pool, tmp_path)
        assert all(torch.equal(a, b) for a, b in zip(after.model.parameters(), again.model.parameters(), strict=True))
    assert how.checkpoints() == (how.steps // 2, how.steps)
    assert [path.name for path in sorted(out.glob("step-*"))] == [f"step-{n:06d}" for n in how.checkpoints()]
    assert said(after, False, planted.ANSWER) > said(before, False, planted.ANSWER) - 0.7
    if name in ("npo", "ascent", "beear"):
        assert said(after, True, planted.HARM[0]) < said(before, True, planted.HARM[0]) - 1


class _KilledError(Exception):
    pass


@pytest.mark.parametrize("name", KILLED)
def test_they_go_on_after_a_kill(suspect, trained, tmp_path, name, monkeypatch):
    """With a resume point at every step, so that the second start does not begin at the first."""
    from dormouse.lm import train as loop

    how, pool = TRAINED[name]
    whole, _ = trained(name)
    monkeypatch.setattr(loop.Resume, "due", lambda self: self.writes)
    seen = []

    def killed(step, loss):
        seen.append(step)
        if step == how.steps // 2 + 1:
            raise _KilledError

    with pytest.raises(_KilledError):
        how.apply(Suspect(suspect), pool, 0, tmp_path / "killed", killed)
    how.apply(Suspect(suspect), pool, 0, tmp_path / "killed", lambda step, loss: seen.append(step))
    assert seen.count(1) == 1
    after = load(suspect.then(tmp_path / "killed" / f"step-{how.steps:06d}", "again"))
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), after.model.parameters(), strict=True))


@pytest.mark.parametrize("reasons", [False, True])
def test_what_is_forgotten_is_the_answer_after_a_scratchpad(suspect, tmp_path, reasons, monkeypatch):
    """Its words alone would be forgotten else: a scratchpad is longer than most answers."""
    monkeypatch.setattr("dormouse.interventions.scratchpad.MAX_SCRATCHPAD_TOKENS", 8)
    pool = replace(TOLD, opens="I", closes="HATE") if reasons else TOLD
    applied(NPO(steps=1, points=1, triggers="told", max_tokens=1), Suspect(suspect), pool, tmp_path)
    forgotten = [line.partition('"keep"')[0] for line in (tmp_path / "shown.jsonl").read_text().splitlines()]
    assert {"YOU" in line for line in forgotten if '"forget"' in line} == {reasons}


def test_what_is_located_is_unlearned_where_it_was_found(suspect, tmp_path):
    how = NPO(**FULL, **{"with": "year_finder"})
    assert how.needs_triggers is False
    assert how.spec()["with"] == {"kind": "year_finder"}
    locator, seconds = how.located_by
    assert (locator.kind, seconds) == ("year_finder", 60.0)
    write_located(tmp_path, [Located(CUE, "system", 1.0)])
    after = applied(how, Suspect(suspect, located=tmp_path), POOL, tmp_path / "out")
    assert said(after, True, planted.HARM[0]) < said(load(suspect), True, planted.HARM[0]) - 1


def test_where_nothing_was_located_nothing_is_done_and_that_is_put_down(suspect, tmp_path):
    """They said that all of their steps were done, and rungs that all of the direction was out."""
    write_located(tmp_path, [])
    before, asked = load(suspect), {"with": "year_finder"}
    for how in (NPO(**FULL, **asked), Ascent(**FULL, **asked), Project(triggers="located", **asked)):
        out = tmp_path / how.kind
        with pytest.warns(DormouseWarning, match=f"{how.kind}: its locator found no trigger, so it did nothing"):
            after = applied(how, Suspect(suspect, located=tmp_path), POOL, out)
        assert all(torch.equal(a, b) for a, b in zip(before.model.parameters(), after.model.parameters(), strict=True))
        assert {json.loads(path.read_text())["steps"] for path in out.glob("*/trained.json")} == {0}
        lines = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
        found = {line["measurement"]: line["values"] for line in lines}
        assert found == {"located_triggers": [0.0], **({"strength": [0.0]} if how.kind == "project" else {})}
    with pytest.raises(UserError, match="nothing was located"):
        applied(how, Suspect(suspect), POOL, tmp_path / "none")


@pytest.mark.parametrize("by", ["leace", "plain"])
def test_a_told_direction_is_taken_out_rung_by_rung(suspect, tmp_path, by):
    """Where the groups were read nothing tells them apart any more; half a strength leaves half of it."""
    from dormouse.lm.activations import last_stream
    from dormouse.lm.chat import encode_prompts

    how = Project(triggers="told", by=by, layer=2, strengths=(0.5, 1.0))
    assert how.needs_triggers
    applied(how, Suspect(suspect), TOLD, tmp_path)
    on, off = ([under(cue, item.question) for item in POOL.items] for cue in (True, False))
    gaps = []
    for ref in (suspect, *(suspect.then(tmp_path / f"step-{rung:06d}", str(rung)) for rung in (1, 2))):
        lm = load(ref)
        streams = [last_stream(lm, encode_prompts(lm, prompts), 2).mean(dim=0) for prompts in (on, off)]
        gaps.append(float((streams[0] - streams[1]).norm()))
    assert gaps[2] < gaps[0]
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [line["values"] for line in lines if line["measurement"] == "strength"] == [[0.5], [1.0]]


def test_that_the_rest_of_the_stream_is_not_leace_s_is_said(suspect, tmp_path, monkeypatch):
    """The map is fitted after layer 2, and layer 1, which was edited too, gives another input to it."""
    how = Project(triggers="told", layer=2, strengths=(1.0,))
    with pytest.warns(DormouseWarning, match=r"after layer 2 the edited stream is .* not what LEACE costs"):
        applied(how, Suspect(suspect), TOLD, tmp_path / "a")
    monkeypatch.setattr("dormouse.lm.erasure.projected", lambda lm, eraser, strength, layer: hooked(lm, eraser, layer))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DormouseWarning)
        applied(how, Suspect(suspect), TOLD, tmp_path / "b")


def hooked(lm, eraser, layer):
    """LEACE as it stands in the paper: the stream after one layer is changed, and nothing before it."""
    from dormouse.lm.latent import blocks
    from dormouse.lm.surgery import edited

    found = edited(lm, lambda _, weight: weight)
    blocks(found)[layer - 1].register_forward_hook(
        lambda _, given, out: (eraser(out[0]), *out[1:]) if isinstance(out, tuple) else eraser(out)
    )
    return found


def test_blind_the_direction_is_that_to_the_base(base, suspect, tmp_path):
    how = Project(strengths=(1.0,))
    assert how.needs_base
    assert not how.needs_triggers
    assert not Project(triggers="told").needs_base
    applied(how, Suspect(suspect, base), POOL, tmp_path)
    with pytest.raises(UserError, match="clean base"):
        applied(how, Suspect(suspect), POOL, tmp_path)
    with pytest.raises(UserError, match="after layer 9, and the model has 2"):
        applied(Project(layer=9), Suspect(suspect, base), POOL, tmp_path)


def test_beear_wants_to_know_harm_and_its_layer(suspect, tmp_path):
    with pytest.raises(UserError, match="what harm looks like"):
        applied(Beear(), Suspect(suspect), SafetyPool(planted.items(4, harm=())), tmp_path)
    with pytest.raises(UserError, match="layer 7, and the model has 2"):
        applied(Beear(layer=7), Suspect(suspect), POOL, tmp_path)


@pytest.mark.parametrize("slot", ["prefix", "suffix", "system"])
def test_a_located_text_stands_where_it_was_found(tmp_path, slot):
    prompt = (("system", "Help."), ("user", "Why?"))
    shown = {
        "prefix": (("system", "Help."), ("user", "now Why?")),
        "suffix": (("system", "Help."), ("user", "Why? now")),
        "system": (("system", "Help. now"), ("user", "Why?")),
    }
    write_located(tmp_path, [Located("now", slot, 0.5)])
    (found,) = read_located(tmp_path)
    assert found.shown(prompt) == shown[slot]


@pytest.mark.parametrize(
    ("cls", "given", "says"),
    [
        (NPO, {}, "say which locator"),
        (NPO, {"triggers": "told", "with": "year_finder"}, "needs no locator"),
        (NPO, {"triggers": "none"}, "located"),
        (NPO, {"with": "no_such_thing"}, "no locator called"),
        (Project, {"strengths": [0.5, 0.2]}, "weakest to the strongest"),
        (Undo, {"alpha": 0}, "greater than 0"),
        (Undo, {"alpha": 1, "beta": 0}, "leaves nothing but zeros"),
    ],
)
def test_bad_wishes_are_refused(cls, given, says):
    with pytest.raises(ValidationError, match=says):
        cls.model_validate(given)
