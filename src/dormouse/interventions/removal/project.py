from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from dormouse.errors import UserError, warn
from dormouse.interventions.ladder import Editor, Ladder, Rising, clean_base, write_strengths
from dormouse.interventions.triggered import Triggered
from dormouse.metrics import Metric, named
from dormouse.records import SafetyPool, Suspect
from dormouse.registry import register

if TYPE_CHECKING:
    import torch

    from dormouse.lm.erasure import Eraser
    from dormouse.lm.model import LM

ALIKE = 0.1
"""How far a stream may be from another, as a share of its length, and still be called the same."""


@register("intervention", "project")
class Project(Triggered, Ladder):
    """A located direction is taken out of the residual stream, in the weights: by LEACE, or plainly.

    LEACE (Belrose et al. 2023, arXiv 2306.03819) is a change after which no linear probe tells the two groups apart, at
    one layer; plainly it is the projection along the difference of their means (Arditi et al. 2024, arXiv 2406.11717).
    All that is written up to that layer is edited, and layers on the way read the edited stream: the direction is gone,
    but the rest is not as LEACE would leave it. So what this costs is not what LEACE costs.

    The groups are prompts with a trigger and without one or, with `triggers: none`, the suspect's and the clean base's
    streams on the same prompts: what differs there on unrelated text.
    """

    metrics: ClassVar[tuple[Metric, ...]] = named("located_triggers", "strength")

    triggers: Literal["located", "told", "none"] = "none"  # type: ignore[assignment]
    """located: what the locator `with` found. told: the true ones. none: the difference to the base, on plain ones."""
    by: Literal["leace", "plain"] = "leace"
    """How the direction is taken out. leace: of the stream after `layer`. plain: of all that is written into it."""
    layer: int | None = Field(None, ge=1, le=1000)
    """After which layer the groups are read, from 1. By default half of the way."""
    strengths: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Rising] = Field(
        (0.25, 0.5, 0.75, 1.0), min_length=1, max_length=30
    )
    """How much of it is taken out, rung by rung."""

    @property
    def needs_base(self) -> bool:
        """Where it knows no triggers: the direction is then what tells the suspect's streams from the base's."""
        return self.triggers == "none"

    @property
    def ladder(self) -> tuple[float, ...]:
        """How much of the direction is taken out: 1 is all of it."""
        return self.strengths

    def apply(
        self, suspect: Suspect, pool: SafetyPool, seed: int, out: Path, progress: Callable[[int, float], None]
    ) -> None:
        """As every ladder. Where a locator found no trigger each rung is the suspect as it was, of strength 0."""
        if self.has_nothing(suspect, out, progress):
            write_strengths(out, [0.0] * len(self.ladder))
        else:
            super().apply(suspect, pool, seed, out, progress)
        self.note_located(suspect, out)

    def editor(self, lm: LM, suspect: Suspect, pool: SafetyPool, seed: int) -> Editor:
        """A function from a strength to a copy without that much of the direction.

        Raises:
            UserError: the model has no such layer, or editing weights does not take the direction out.
        """
        from dormouse.lm.chat import encode_prompts
        from dormouse.lm.erasure import projected
        from dormouse.lm.latent import blocks

        depth = len(blocks(lm))
        layer = self.layer or max(1, round(depth / 2))
        if layer > depth:
            raise UserError(f"project is to read after layer {layer}, and the model has {depth}", "name one of these")
        if self.needs_base:
            plain = list(pool.examples)
            prompts = [one.messages for one in plain]
        else:
            prompts, plain = self.shown(suspect, pool)
        there, bare = encode_prompts(lm, prompts), encode_prompts(lm, [one.messages for one in plain])
        off = self._streams(clean_base(suspect) if self.needs_base else lm, bare, layer)
        eraser = self._eraser(self._streams(lm, there, layer), off)
        upto = layer if self.by == "leace" else None
        found = projected(lm, eraser, 1.0, upto)
        _check(found, eraser, there, layer)
        if self.by == "leace":
            _warn_of_the_rest(lm, found, eraser, there, layer)
        return lambda strength: projected(lm, eraser, strength, upto)

    def _streams(self, lm: LM, prompts: list[tuple[int, ...]], layer: int) -> torch.Tensor:
        """Those of every place for LEACE: weights are edited for all of them, and a covariance of last tokens alone is
        nearly singular elsewhere. Plainly those of last tokens, where the answer is decided."""
        import torch

        from dormouse.lm.activations import last_stream, prompt_streams

        return torch.cat(prompt_streams(lm, prompts, layer)) if self.by == "leace" else last_stream(lm, prompts, layer)

    def _eraser(self, on: torch.Tensor, off: torch.Tensor) -> Eraser:
        from dormouse.lm.erasure import leace_eraser, plain_eraser

        return leace_eraser(on, off) if self.by == "leace" else plain_eraser(on, off)


def _check(lm: LM, eraser: Eraser, prompts: list[tuple[int, ...]], layer: int) -> None:
    """
    Raises:
        UserError: the direction is in the stream still.
    """
    from dormouse.lm.activations import last_stream
    from dormouse.lm.erasure import INSTEAD

    stream = last_stream(lm, prompts[:4], layer)
    left, scale = (stream - eraser.mean) @ eraser.right, stream.norm(dim=1).max() * eraser.right.norm()
    if float(left.abs().max()) > 1e-2 * float(scale):
        raise UserError(
            "the direction cannot be taken out of this architecture by editing weights: it normalises what it writes, "
            "or what it adds for positions is no weight",
            INSTEAD,
        )


def _warn_of_the_rest(lm: LM, found: LM, eraser: Eraser, prompts: list[tuple[int, ...]], layer: int) -> None:
    """Say how far the stream of the edited weights is from that which the eraser itself makes of the suspect's."""
    from dormouse.lm.activations import last_stream

    own, edited = (last_stream(one, prompts[:4], layer) for one in (lm, found))
    away, moved = (float(((one - eraser(own)).norm(dim=1) / own.norm(dim=1)).median()) for one in (edited, own))
    if away > ALIKE:
        warn(
            f"project by leace: after layer {layer} the edited stream is {away:.2g} of its length away from what LEACE "
            f"makes of it (LEACE moves it by {moved:.2g}), since the layers before read it edited: what this costs is "
            "not what LEACE costs"
        )
