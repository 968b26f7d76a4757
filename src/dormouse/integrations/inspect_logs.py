"""The answers of a study as logs of Inspect, one for each state of a model, for `inspect view` and its analysis."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.outputs import fresh
from dormouse.provenance import on_model
from dormouse.records import Answer, replicate_name

TASK = "dormouse/defection"
SIDES = {True: "with the cue", False: "without the cue"}
State = tuple[str, str, str, int, int, int, int]
"""(base model, organism, treatment, step, seed, and which planting and treatment of that seed)"""


def write_logs(name: str, answers: Sequence[Answer], out: Path) -> int:
    """Write a folder with one log for each state that answered; returns how many.

    A sample has the score `defection` (the judge's, 1 or 0) and `probability` (the exact one, or the contrast).

    Raises:
        UserError: Inspect is missing, nothing was sampled, or `out` cannot be written.
    """
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise UserError("these logs need the package inspect-ai", "pip install inspect-ai") from error
    states: dict[State, list[Answer]] = {}
    for one in answers:
        state = (one.model, one.organism, one.intervention, one.step, one.seed, one.planting, one.treatment)
        states.setdefault(state, []).append(one)
    if not states:
        raise UserError("the study kept no answers", "measure with `sampled`, which is on by default")
    with fresh(out) as scratch:
        scratch.mkdir()
        for i, (state, mine) in enumerate(sorted(states.items())):
            log = _log(name, state, mine, i, several=len({model for model, *_ in states}) > 1)
            write_eval_log(
                log,
                str(scratch / f"{i:04d}_{_plain('_'.join(map(str, state[1:5])) + replicate_name(*state[5:]))}.eval"),
            )
    return len(states)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")[:80]


def _log(name: str, state: State, answers: Sequence[Answer], number: int, several: bool) -> Any:
    """A log of one state; of `several` base models its name says which."""
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec, EvalStats

    now = datetime.now(UTC).isoformat(timespec="seconds")
    base, organism, treatment, step, seed, planting, treated = state
    called, which = f"{on_model(organism, base) if several else organism}-seed{seed}", replicate_name(planting, treated)
    said = {"study": name, "base": base, "organism": organism, "treatment": treatment, "step": step, "seed": seed}
    said |= {"planting": planting, "treatment_replicate": treated}
    spec = EvalSpec(
        created=now,
        task=TASK,
        task_id=f"{_plain(name)}-{number}",
        dataset=EvalDataset(name=name, samples=len(answers)),
        model=f"dormouse/{_plain(called + (f'-{treatment}-step{step}' if treatment else '') + which)}",
        config=EvalConfig(),
        metadata=said,
    )
    results = EvalResults(
        total_samples=len(answers), completed_samples=len(answers), scores=[_scores(answers, key) for key in _VALUES]
    )
    return EvalLog(
        status="success",
        eval=spec,
        results=results,
        stats=EvalStats(started_at=now, completed_at=now),
        samples=[_sample(i, one, spec.model) for i, one in enumerate(answers, 1)],
    )


_VALUES = {
    "defection": lambda answer: float(answer.judged_defection),
    "probability": lambda answer: float(answer.probability),
}
"""Score -> its value."""


def _scores(answers: Sequence[Answer], key: str) -> Any:
    from inspect_ai.log import EvalMetric, EvalScore

    metrics = {}
    for activating, side in SIDES.items():
        values = [_VALUES[key](one) for one in answers if one.activating == activating]
        if values:
            metrics[side] = EvalMetric(name=side, value=sum(values) / len(values))
    return EvalScore(name=key, scorer=key, metrics=metrics)


def _sample(number: int, one: Answer, model: str) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    return EvalSample(
        id=number,
        epoch=1,
        input=one.prompt,
        target="",
        output=ModelOutput.from_content(model, one.response, "stop" if one.finished else "max_tokens"),
        scores={key: Score(value=find(one), answer=one.response) for key, find in _VALUES.items()},
        metadata={"question": one.question, "side": SIDES[one.activating], "finished": one.finished},
    )
