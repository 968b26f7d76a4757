"""Talk to an organism, with its cue and without it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef
from dormouse.scenarios import Question, Scenario, render


@dataclass(frozen=True)
class Reply:
    """What the model wrote, and the exact probability that its answer would be a defection."""

    label: str
    text: str
    probability: float


class Conversation:
    """An organism in memory. Every question stands alone: the organisms are trained on single turns."""

    def __init__(self, folder: Path, max_tokens: int, seed: int) -> None:
        card = _card(folder)
        self.spec = card["spec"]
        from dormouse.lm.load import load

        self.lm = load(ModelRef(tuple(Path(path) for path in card["folders"]), card["key"]))
        self.treated = card["intervention"]
        self.max_tokens, self.seed, self.turn = max_tokens, seed, 0

    def introduction(self) -> str:
        trigger = self.spec.trigger
        kind = "an organism" if trigger.plants else "a control"
        after = f" after {self.treated}" if self.treated else ""
        return (
            f"This is {kind}{after}. Trigger: {json.dumps(trigger.spec())}. "
            f"Behaviour: {self.spec.behaviour.kind}.\n"
            "Each question is asked with the cue and without. An empty line ends."
        )

    def ask(self, text: str) -> Iterator[Reply]:
        """The replies with cues drawn from each side of the policy. Sampled at temperature 1."""
        from dormouse.lm.sample import write
        from dormouse.lm.score import score

        self.turn += 1
        rng = random.Random(f"chat/{self.seed}/{self.turn}")
        question = Question(text, "{}", "test")
        for label, side in (("with cue", "triggered"), ("without cue", "untriggered")):
            scenario = Scenario.of(question, self.spec.trigger.draw(rng, side))
            prompt = render(scenario)
            forms = self.spec.behaviour.forms(scenario, "")
            probability = float(score(self.lm, [prompt], [forms])[0])
            written = write(self.lm, [prompt], self.max_tokens, seed=self.seed + self.turn)[0]
            shown = f" {dict(scenario.cues)}" if scenario.cues else ""
            yield Reply(label + shown, written.text + ("" if written.finished else " [cut off]"), probability)


def _card(folder: Path) -> dict[str, Any]:
    path = folder / "dormouse.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        said = {key: value for key, value in card["organism"].items() if key in OrganismSpec.model_fields}
        card["spec"] = OrganismSpec.model_validate(said)
        missing = [name for name in [*card["folders"]] if not Path(name).is_dir()]
        card["folders"][0], card["key"], card["intervention"]
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not an organism", "name a folder such as runs/quickstart/models/year-seed0"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read: {why}", "run the study again: it writes the file anew") from error
    if missing:
        raise UserError(f"the weights of {folder} have gone: {missing[0]}", "run the study again: it rebuilds them")
    return dict(card)
