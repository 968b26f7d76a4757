"""The prompts on which an organism is measured, for other frameworks that measure it too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from dormouse.measurements.measurement import MeasurementConfig, Subject
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import Side
from dormouse.records import ModelRef
from dormouse.scenarios import Scenario, questions

ELSEWHERE = (
    "was measured on tasks of its study's own file, and the prompts that other frameworks are given are dormouse's"
)
SIDES: dict[str, Side] = {"with_cue": "triggered", "without_cue": "untriggered", "near_miss": "near_miss"}


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt, and on which side of the policy it stands: one of SIDES, or `with_cue_in_RENDERING`."""

    side: str
    scenario: Scenario


def asked(spec: OrganismSpec, n: int, system: str | None = None) -> Iterator[AskedPrompt]:
    """The prompts of `n` held-out tasks on every side, and with the cue in each rendering that was held out. They are
    those of dormouse's own measurements, cue by cue, under the `system` prompt of its study (see `Question.under`)."""
    none = ModelRef((), "")
    subject = Subject(
        lm=cast(Any, None),
        model=none,
        clean=none,
        clean_logprobs={},
        trigger=spec.trigger,
        behaviour=spec.behaviour,
        questions=questions("test", n, bank=spec.behaviour.bank, system=system),
        honest={},
        seed=0,
        sizes=MeasurementConfig(),
        renderings=spec.renderings,
    )
    for name, side in SIDES.items():
        yield from (AskedPrompt(name, one) for one in subject.scenarios(side))
    for how in spec.renderings.held_out:
        yield from (AskedPrompt(f"with_cue_in_{how}", one) for one in subject.scenarios("triggered", rendering=how))
