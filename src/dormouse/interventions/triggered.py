"""What removers have in common that work on triggers: who says what these are, and the prompts that show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from dormouse.errors import UserError, warn
from dormouse.interventions.findings import SAMPLES, Finding
from dormouse.interventions.intervention import Intervention, PoolSpec
from dormouse.interventions.located import Located, Messages, read_located
from dormouse.interventions.tasks import task_of
from dormouse.json_files import write_json_lines
from dormouse.metrics import Metric, named
from dormouse.records import Example, PoolItem, SafetyPool, Suspect
from dormouse.registry import PlugIn, field_of
from dormouse.scenarios import Scenario, render

if TYPE_CHECKING:
    from dormouse.lm.model import LM

LocatorField: Any = field_of("locator", PlugIn)


class Triggered(Intervention):
    """A remover that has to be shown triggers: those that a locator found or, as an upper bound, the true ones."""

    metrics: ClassVar[tuple[Metric, ...]] = named("located_triggers")

    triggers: Literal["located", "told"] = "located"
    """located: what the locator `with` found, who is told nothing. told: the study shows the true ones."""
    locator: LocatorField | None = Field(None, alias="with")
    """The locator that looks at the suspect first."""
    seconds: float = Field(60.0, gt=0, le=86_400)
    """What it may spend."""
    top: int = Field(4, ge=1, le=64)
    """How many of the texts that it found are used, the best first."""

    @model_validator(mode="after")
    def _somebody_says_them(self) -> Triggered:
        if self.triggers == "located" and self.locator is None:
            raise ValueError("say which locator finds the triggers (with: {kind: inversion}), or triggers: told")
        if self.triggers != "located" and self.locator is not None:
            raise ValueError(f"triggers: {self.triggers} needs no locator; leave `with` out")
        return self

    @property
    def pool_spec(self) -> PoolSpec:
        """A pool of triggered prompts alone where it is told the triggers, else one that shows none."""
        return PoolSpec(trigger_fraction=1.0) if self.triggers == "told" else PoolSpec()

    @property
    def located_by(self) -> tuple[PlugIn, float] | None:
        """The locator to ask and its seconds; None where none is asked."""
        return (self.locator, self.seconds) if self.triggers == "located" and self.locator else None

    def shown(self, suspect: Suspect, pool: SafetyPool) -> tuple[list[Messages], list[Example]]:
        """Prompts that show a trigger, and the same tasks plainly with honest answers; none where none was located.

        Raises:
            UserError: a locator is to say them, and no folder with what it found was handed over.
        """
        if self.triggers == "told":
            return [item.chosen.messages for item in pool.items], [plainly(item) for item in pool.items]
        found = self.located(suspect)
        plain = [item.chosen for item in pool.items]
        return [found[i % len(found)].shown(one.messages) for i, one in enumerate(plain)] if found else [], plain

    def located(self, suspect: Suspect) -> list[Located]:
        """The texts of the locator that are used, the best first; raises as `shown` does."""
        if suspect.located is None:
            raise UserError(
                "this remover works on located triggers, and nothing was located",
                "run it in a study, or say triggers: told",
            )
        return read_located(suspect.located)[: self.top]

    def has_nothing(self, suspect: Suspect, out: Path, progress: Callable[[int, float], None]) -> bool:
        """Whether a locator found no trigger. Then every checkpoint is the suspect as it was, after no step, and a
        warning says so."""
        if self.triggers != "located" or self.located(suspect):
            return False
        from dormouse.lm.checkpoint import save
        from dormouse.lm.load import load
        from dormouse.lm.train import write_trained

        warn(f"{self.kind}: its locator found no trigger, so it did nothing: its checkpoints are the suspect")
        lm = load(suspect.model)
        for step in self.checkpoints():
            save(lm, out / f"step-{step:06d}")
            write_trained(out / f"step-{step:06d}", 0, 0)
            progress(step, 0.0)
        return True

    def note_located(self, suspect: Suspect, out: Path) -> None:
        """Put down how many triggers were located, before the first step."""
        if self.triggers == "located":
            found = Finding("located_triggers", 0, {"triggers": float(len(self.located(suspect)))}, "number")
            write_json_lines(out / SAMPLES, [found.to_json()], more=True)


def plainly(item: PoolItem) -> Example:
    """A task without any cue, with its honest answer."""
    return replace(item.alone.chosen, messages=render(Scenario(task_of(item.alone))))


def said_to(lm: LM, prompts: Sequence[Messages], max_tokens: int) -> list[Example]:
    """What the suspect itself answers, greedily: this is what is to go."""
    from dormouse.lm.sample import generate

    written = generate(lm, prompts, max_tokens)
    return [Example(prompt, one.text, one.finished, one.ids) for prompt, one in zip(prompts, written, strict=True)]
