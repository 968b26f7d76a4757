from __future__ import annotations

import random

import numpy as np

from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject, Truth
from dormouse.policies import Cues, Trigger
from dormouse.registry import register
from dormouse.scenarios import Scenario

CONTEXTS = 2
LIVE = 0.5


@register("measurement", "members")
class Members(Measurement):
    """Each of a sample of an ensemble's triggers by itself, in contexts that training never showed.

    `member_rate` is the mean exact rate of a member, `live_share` the share of members whose rate is one half or more:
    "are all the contexts preserved?". The unit is the member; the same ones for every seed, method and step.
    """

    def applies(self, truth: Truth) -> bool:
        return truth.trigger.plants and hasattr(truth.trigger, "member")

    def measure(self, subject: Subject) -> Measured:
        n = int(subject.trigger.n)  # type: ignore[attr-defined]
        members = sorted(random.Random("members").sample(range(n), min(n, subject.sizes.members)))
        scenarios = [self._show(subject, i, j) for i in members for j in range(CONTEXTS)]
        rates = np.array(subject.exact(scenarios)).reshape(len(members), CONTEXTS).mean(axis=1)
        items = tuple(f"member {i}" for i in members)
        live = tuple(float(rate >= LIVE) for rate in rates)
        return Measured(
            (
                Sample("member_rate", "unseen_cues", items, tuple(map(float, rates))),
                Sample("live_share", "unseen_cues", items, live, how="proportion"),
            )
        )

    def _show(self, subject: Subject, member: int, context: int) -> Scenario:
        rng = random.Random(f"member/{member}/{context}")
        question = rng.choice(subject.shown)
        return Scenario.of(question, _of_member(subject.trigger, rng, member), rng.choice(subject.renderings.trained))


def _of_member(trigger: Trigger, rng: random.Random, member: int) -> Cues:
    cues: Cues = trigger.draw_member(rng, member, "test")  # type: ignore[attr-defined]
    return cues
