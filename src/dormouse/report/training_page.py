"""What each treatment was shown, and how its training went: a page of its own for each, beside the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dormouse.errors import UserError
from dormouse.files import replaced
from dormouse.json_files import AGAIN, json_text, plain, read_json_lines
from dormouse.records import CANARY, SHOWN_ROWS, TRAINING, ShownRow, TrainingStep
from dormouse.report.templates import environment

PAGE = "training.html"
WIDTH, HEIGHT = 640, 120
"""Of a drawing, in points."""


@dataclass(frozen=True)
class Treatment:
    """The log of one treatment of one organism. `rows` are what it was shown, by number: prompt and responses."""

    name: str
    steps: Sequence[TrainingStep]
    rows: Sequence[ShownRow]

    @property
    def page(self) -> str:
        """Its page, from the folder of the report."""
        return f"models/{self.name}/{PAGE}"

    def seen(self) -> list[list[str]]:
        """By row: the steps that showed it, as they are called on the page."""
        found: list[list[str]] = [[] for _ in self.rows]
        for step in self.steps:
            for i in dict.fromkeys(step.shown):
                found[i].append(self.label(step))
        return found

    def label(self, step: TrainingStep) -> str:
        """A step as the page calls it: `12`, or `2.12` in the second training of a chain."""
        return f"{step.part}.{step.step}" if self.steps[-1].part > 1 else str(step.step)

    def texts(self, step: TrainingStep) -> list[ShownRow]:
        """What a step was shown."""
        return [self.rows[i] for i in step.shown]


def read_treatments(out: Path) -> Iterator[Treatment]:
    """The treatments of a finished study, in the order of their names.

    Raises:
        UserError: a log is damaged.
    """
    for path in sorted(out.glob(f"models/*/{TRAINING}")):
        steps = read_json_lines(path, TrainingStep)
        try:
            rows = read_json_lines(path.parent / SHOWN_ROWS, ShownRow)
        except FileNotFoundError as error:
            raise UserError(f"{path} is damaged: {SHOWN_ROWS} is missing", AGAIN) from error
        if not steps:
            raise UserError(f"{path} is damaged: it holds no step", AGAIN)
        if any(not 0 <= i < len(rows) for step in steps for i in step.shown):
            raise UserError(f"{path} is damaged: a step names a row that is not there", AGAIN)
        yield Treatment(path.parent.name, steps, rows)


def write_pages(out: Path) -> list[Treatment]:
    """Write the page of every treatment of the study in `out`. Returns the treatments, without their rows."""
    template, written = environment().get_template(PAGE), []
    for treatment in read_treatments(out):
        curves = {
            title: drawing([getattr(step, name) for step in treatment.steps])
            for name, title in (
                ("loss", "Loss"),
                ("gradient_norm", "Norm of the gradient, before it is clipped"),
                ("lr", "Learning rate"),
            )
        }
        text = template.render(treatment=treatment, curves=curves, canary=CANARY, width=WIDTH, height=HEIGHT)
        replaced(out / treatment.page, text, errors="replace")
        written.append(Treatment(treatment.name, treatment.steps, ()))
    return written


def drawing(values: Sequence[float]) -> tuple[str, float, float]:
    """A line through values, as the points of an SVG polyline, and the least and the largest value."""
    low, high = min(values), max(values)
    across, up = WIDTH / max(1, len(values) - 1), HEIGHT / ((high - low) or 1.0)
    points = " ".join(f"{i * across:.1f},{HEIGHT - (value - low) * up:.1f}" for i, value in enumerate(values))
    return points, low, high


def in_lines(folder: Path, as_json: bool) -> Iterator[str]:
    """Every step of every treatment, a line each; as JSON with the texts that it was shown."""
    for treatment in read_treatments(folder):
        for step in treatment.steps:
            if as_json:
                yield json_text({"model": treatment.name, **plain(step), "shown": treatment.texts(step)})
            else:
                yield (
                    f"{treatment.name} step {treatment.label(step):<6} loss {step.loss:<10.4g} "
                    f"gradient norm {step.gradient_norm:<10.4g} lr {step.lr:.3g}"
                )
