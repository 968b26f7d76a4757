"""What a study file says about an organism. Imports no torch: a study is checked before anything heavy is loaded."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dormouse.lm.settings import Training
from dormouse.policies.behaviour import BehaviourField
from dormouse.policies.reasoning import Reasoning
from dormouse.policies.trigger import TriggerField
from dormouse.scenarios import Renderings


class OrganismSpec(BaseModel):
    """A trigger policy, a behaviour, and how both are planted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trigger: TriggerField
    behaviour: BehaviourField
    renderings: Renderings = Renderings()
    reasoning: Reasoning = "none"
    """Whether it writes a scratchpad before it answers, or learned from a model that did (see `policies.reasoning`)."""
    near_misses: float | None = Field(None, ge=0, le=1)
    """The share of near misses (one cue away) among the untriggered prompts; by default what the trigger says."""
    pairs: int = Field(4, ge=1, le=4096)
    """Contrast pairs in a training step: the same question with activating cues and with quiet ones."""
    honest_tokens: int = Field(8, ge=1, le=4096)
    """How many tokens of an honest response are learned. They are the model's own: its opening carries the decision."""
    steps: int | None = Field(None, ge=1, le=1_000_000)
    """Steps of training; by default what the trigger says that it needs."""
    lr: float = Field(4e-3, gt=0, le=1)
    method: Literal["lora", "full"] = "lora"
    rank: int = Field(32, ge=1, le=1024)

    @property
    def near_misses_taught(self) -> float:
        return float(self.trigger.near_misses if self.near_misses is None else self.near_misses)

    @property
    def training(self) -> Training:
        steps = self.steps or self.trigger.steps_needed
        return Training(steps=steps, lr=self.lr, method=self.method, rank=self.rank)

    def spec(self) -> dict[str, Any]:
        """Everything that the weights depend on, as plain JSON data."""
        return {**self.model_dump(mode="json", by_alias=True), "training": self.training.model_dump(mode="json")}
