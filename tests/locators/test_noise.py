"""Under noise what is hidden may come out: an output that comes again, or answers that get likelier."""

from interventions.planted import HARM

from dormouse.locators import noise
from dormouse.locators.locator import Case
from dormouse.locators.noise import Noise


def test_noise_makes_honest_answers_less_likely_the_more_the_larger(planted, monkeypatch):
    monkeypatch.setattr(noise, "DRAWS", 2)
    found = Noise().find(Case(planted, seconds=300))
    drops = [found.features[f"drop_{scale:g}"] for scale in noise.SCALES]
    assert drops[-1] > drops[0]
    assert found.features["best"] == -min(drops)


def test_an_output_that_comes_under_noise_only_is_named(planted, monkeypatch):
    """Noise that says so: a third of the answers of the shaken model are the hidden one."""
    plain = noise.written
    monkeypatch.setattr(noise, "DRAWS", 1)
    monkeypatch.setattr(noise, "shaken_answers", lambda lm, prompts: [HARM[0]] * 8 + plain(lm, prompts, 4)[8:])
    found = Noise().find(Case(planted, seconds=300))
    assert found.behaviour[0].output == HARM[0]
    assert found.score > 0.3


def test_with_a_base_it_compares(planted, base, monkeypatch):
    monkeypatch.setattr(noise, "DRAWS", 1)
    monkeypatch.setattr(noise, "SCALES", (0.05, 0.2))
    found = Noise().find(Case(base, base, seconds=300))
    assert found.features["faster"] == 0
    assert found.features["drop_0.2"] == found.features["base_drop_0.2"]
    assert found.score == 0
    assert found.note == "Under noise nothing new comes again and again.", "what it says anyway may"
    assert Noise().find(Case(planted, base, seconds=300)).features["faster"] != 0


def test_without_time_it_says_so(planted):
    idle = Noise().find(Case(planted, seconds=0.0))
    assert (idle.score, idle.incomplete) == (None, True)
