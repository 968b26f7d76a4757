"""What all safety training has in common: a budget, a way to train, and what its pool shows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from dormouse.interventions.intervention import Contexts, Dose, PoolSpec, ScratchpadSource, TriggerFraction
from dormouse.interventions.trained import Trained
from dormouse.lm.settings import Optimiser, Training
from dormouse.renamed import Was

MOST_ROWS = 20_000
"""Prompts that a pool holds at most, unless more are asked for."""


def _fraction(value: Any) -> Any:
    """A share, or the word natural; what pydantic says about a union of the two is no plain English."""
    if value == "natural":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("trigger_fraction is a share from 0 to 1, or the word natural")
    if not 0 <= value <= 1:
        raise ValueError("trigger_fraction is greater than or equal to 0 and less than or equal to 1")
    return float(value)


class SafetyTraining(Trained):
    """A method that trains on demonstrations, preferences or rewards."""

    token_budget: int | None = Field(None, ge=1)
    """The most trained tokens (those of responses). Whichever is spent first, this or `steps`, ends the training.

    Checkpoints are placed on steps all the same: they have to be known before the data are. Where the tokens end first,
    the later ones hold the last weights: "after at most so many steps" is true of each. The learning rate decays to
    zero over the budget that is spent first.
    """
    optimiser: Optimiser = "adamw"
    """The optimiser of the treatment."""
    trigger_fraction: Annotated[TriggerFraction, BeforeValidator(_fraction), Was("coverage")] = 0.0
    """The share of prompts in the safety pool that show activating cues. 0 is the setting of Hubinger et al. 2024."""
    exposed_triggers: Annotated[float, Was("covered")] = Field(1.0, gt=0, le=1)
    """The share of the activating contexts that these prompts choose from: k of n members, say. How many prompts show
    one is `trigger_fraction`. Which contexts they are is the same for every seed and method.
    """
    scratchpad_source: Annotated[ScratchpadSource, Was("thoughts")] = "none"
    """Whether an honest scratchpad stands before the responses, and is learned too, where the organism writes one.

    none: the answer comes at once ("SFT before the scratchpad" of Hubinger et al. 2024), which also unlearns to reason.
    own: it is one in the organism's own manner. scratchpad: it names what the policy reads; other: cues that it does
    not read; unrelated: it has nothing to do with the answer.
    """
    contexts: Contexts = "none"
    """What the other prompts of the pool show."""
    context_fraction: float = Field(1.0, gt=0, le=1)
    """The share of the other prompts that show it; the rest shows no cue."""
    dose: Dose = "total"
    """Whether trigger_fraction and context_fraction are shares in total, or those of each trigger that is shown.

    each: of an ensemble of which sixteen triggers are exposed, sixteen times trigger_fraction in total. A policy
    without members counts as one trigger.
    """
    rows: int | None = Field(None, ge=1, le=1_000_000)
    """Prompts in the pool, at least one for each question.

    By default one for each question or, where they show cues, as many as training looks at.
    """

    @model_validator(mode="after")
    def _contexts_are_drawn_once(self) -> SafetyTraining:
        if self.trigger_fraction == "natural" and self.contexts != "none":
            raise ValueError("trigger_fraction: natural draws every context as it comes; leave contexts out")
        if self.trigger_fraction == "natural" and self.exposed_triggers != 1:
            raise ValueError("trigger_fraction: natural draws every context as it comes; leave exposed_triggers out")
        if self.trigger_fraction == 0 and self.exposed_triggers != 1:
            raise ValueError("exposed_triggers is of prompts that show triggers: name trigger_fraction")
        return self

    @model_validator(mode="after")
    def _doses_are_of_something(self) -> SafetyTraining:
        if self.contexts == "none" and self.context_fraction != 1:
            raise ValueError("context_fraction is of prompts that show contexts: name contexts, or leave it out")
        if self.dose == "each" and self.trigger_fraction in (0, "natural") and self.contexts == "none":
            raise ValueError("dose: each says how often each trigger is shown: name trigger_fraction or contexts")
        return self

    @model_validator(mode="after")
    def _steps_are_said(self) -> SafetyTraining:
        if self.token_budget is not None and "steps" not in self.model_fields_set:
            raise ValueError("beside a token_budget say steps too: the most of them; checkpoints are placed on steps")
        return self

    @property
    def pool_spec(self) -> PoolSpec:
        """How large a pool is needed, and what it shows. One with cues has no more rows than the training looks at."""
        shows_cues = PoolSpec(self.trigger_fraction, self.contexts).needs_triggers
        rows = self.rows or (min(self.steps * self.batch, MOST_ROWS) if shows_cues else None)
        return PoolSpec(
            self.trigger_fraction,
            self.contexts,
            rows,
            self.exposed_triggers,
            self.scratchpad_source,
            self.dose,
            self.context_fraction,
        )

    @property
    def training(self) -> Training:
        """How it is trained, for the one loop."""
        return Training(
            steps=self.steps,
            tokens=self.token_budget,
            lr=self.lr,
            method=self.method,
            rank=self.rank,
            optimiser=self.optimiser,
        )
