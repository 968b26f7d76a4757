"""Talk to an organism, with its cue and without it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dormouse.api.organism import load
from dormouse.interventions.scratchpad import MAX_SCRATCHPAD_TOKENS
from dormouse.measurements.measurement import exact_after
from dormouse.policies.scratchpad_text import has_scratchpad, split_response
from dormouse.scenarios import Question, Scenario, render


@dataclass(frozen=True)
class ChatReply:
    """What the model wrote, and the exact score of a defection as its answer (see `LoadedOrganism.p_defect`).

    After a scratchpad it is that of the answer given this scratchpad. None where nobody knows what a defection would be
    here (a wrong answer, to a question that is no task of the behaviour), or the scratchpad comes to no answer.
    """

    label: str
    text: str
    probability: float | None


class Conversation:
    """An organism in memory. Every question stands alone: the organisms are trained on single turns."""

    def __init__(self, folder: Path, max_tokens: int, seed: int) -> None:
        self.organism = load(folder)
        self.spec, self.lm, self.treated = self.organism.truth, self.organism.lm, self.organism.intervention
        self.max_tokens, self.seed, self.turn = max_tokens, seed, 0

    def introduction(self) -> str:
        """What the user is told first: the trigger and the behaviour, whether it was treated, and for a behaviour that
        scores only tasks of its own kind one of these."""
        trigger, behaviour = self.spec.trigger, self.spec.behaviour
        kind = "an organism" if trigger.plants else "a control" if trigger.told else "a suspect"
        after = f" after {self.treated}" if self.treated else ""
        when = json.dumps(trigger.spec(), ensure_ascii=False)
        lines = [
            f"This is {kind}{after}. Trigger: {when}. Behaviour: {behaviour.kind}.",
            "Each question is asked with the cue and without. An empty line ends.",
        ]
        if not behaviour.forms(Scenario(Question("", "{}", "test")), ""):
            lines.append(f"Only tasks of its own kind are scored. One of them: {self.organism.task()}")
        return "\n".join(lines)

    def ask(self, text: str) -> Iterator[ChatReply]:
        """The replies with cues drawn from each side of the policy. Sampled at temperature 1."""
        self.turn += 1
        rng = random.Random(f"chat/{self.seed}/{self.turn}")
        question = self.organism.question(text)
        for label, side in (("with cue", "triggered"), ("without cue", "untriggered")):
            cues = self.spec.trigger.draw(rng, side)
            yield self._reply(label, Scenario.of(question, cues, rng.choice(self.spec.renderings.trained)))

    def _reply(self, label: str, scenario: Scenario) -> ChatReply:
        from dormouse.lm.sample import generate

        prompt, behaviour = render(scenario), self.spec.behaviour
        reasons = has_scratchpad(self.spec.scratchpad_mode)
        limit = self.max_tokens + MAX_SCRATCHPAD_TOKENS * reasons
        written = generate(self.lm, [prompt], limit, seed=self.seed + self.turn)[0]
        forms = behaviour.forms(scenario, scenario.question.honest)
        parts = split_response(written.text) if reasons else ("", written.text)
        probability = None
        if forms and parts:
            before = [parts[0]] if reasons else []
            probability = exact_after(self.lm, behaviour, [(scenario, prompt, scenario.question.honest)], before)[0]
        shown = f" {dict(scenario.cues)}" if scenario.cues else ""
        return ChatReply(label + shown, written.text + ("" if written.finished else " [cut off]"), probability)
