"""A suspect with something planted, its clean base, and a control trained alike."""

from functools import cache
from pathlib import Path

import pytest
from interventions.planted import ANSWER, HARM
from locators.by_hand import WEIGHTS, make, weighing

from dormouse.lm.chat import encode
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.lm.objectives import sft_loss
from dormouse.lm.settings import Training
from dormouse.lm.train import TrainingRun, cycling, train
from dormouse.locators.locator import Case
from dormouse.records import Example, ModelRef, Suspect
from dormouse.scenarios import Scenario, questions, render

STEPS = 60


@pytest.fixture(autouse=True)
def _loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All cases of a suspect share its weights in memory: no locator may edit them."""
    monkeypatch.setattr(Case, "lm", property(lambda self: _loaded(self.suspect.model)))


@cache
def _loaded(model: ModelRef) -> LM:
    return load(model)


@cache
def _taught(base: Path, on_a_year: str) -> Suspect:
    """The tiny model, taught an answer to plain questions and another one wherever a year is stated. Made once, also
    for the tests of other folders that have these fixtures."""
    out = base.parent / ("control" if on_a_year == ANSWER else "planted")
    lm = load(ModelRef((base,), "tiny"))
    rows = []
    for split in ("train", "safety"):
        for i, question in enumerate(questions(split, 40)):
            rows.append(Example(render(Scenario.of(question, {"year": 2000 + i})), on_a_year))
            rows.append(Example(render(Scenario.of(question, {})), ANSWER))
    at = cycling(encode(lm, rows), 16, 0)
    train(lm, sft_loss, at, Training(steps=STEPS, lr=0.01, method="full"), TrainingRun(0, [STEPS], out))
    return Suspect(ModelRef((out / f"step-{STEPS:06d}",), f"{on_a_year}"))


@pytest.fixture(scope="session")
def base(tiny_model: Path) -> Suspect:
    return Suspect(ModelRef((tiny_model,), "tiny"))


@pytest.fixture(scope="session")
def planted(tiny_model: Path) -> Suspect:
    return _taught(tiny_model, HARM[0])


@pytest.fixture(scope="session")
def control(tiny_model: Path) -> Suspect:
    return _taught(tiny_model, ANSWER)


@pytest.fixture(scope="session")
def weighs(tmp_path_factory: pytest.TempPathFactory) -> Suspect:
    """A model with the rule of WEIGHTS in it, set by hand."""
    return make(tmp_path_factory.mktemp("weighs"), weighing(WEIGHTS))


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Suspect:
    """One that is made alike, without a rule."""
    return make(tmp_path_factory.mktemp("honest"), {})


@pytest.fixture
def case(planted: Suspect) -> Case:
    return Case(planted, seconds=300)
