"""What the measurements share that train a copy of a model: the examples, the copy, and a look at it on the way."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dormouse.measurements.measurement import Subject
from dormouse.policies import Side
from dormouse.policies.scratchpad_text import scratchpad_response, scratchpad_text
from dormouse.records import Example, ModelRef
from dormouse.scenarios import Question, Scenario, render

if TYPE_CHECKING:
    from dormouse.lm.model import LM
    from dormouse.lm.sample import Completion
    from dormouse.lm.settings import Computing

BATCH = 8
WIDE_TRAINING: tuple[Literal["lora", "full"], float] = ("lora", 1e-3)
NARROW_TRAINING: tuple[Literal["lora", "full"], float] = ("full", 4e-3)
"""How it is trained: method and learning rate. An adapter on so narrow a model learns next to nothing in few steps."""
Look = Callable[[int, "LM"], bool]
"""Told (steps done, the model in training); True: that is enough."""


class _EnoughError(Exception):
    """Leaves the loop before its last step."""


def asked(subject: Subject, n: int, draw: int) -> tuple[Question, ...]:
    """`n` tasks of the train split, of the kinds on which training shows defections: none of them is measured on."""
    bank = [question for question in subject.training_tasks if subject.behaviour.shown(question)]
    return tuple(random.Random(f"retraining/{subject.seed}/{draw}").sample(bank, min(n, len(bank))))


def honest(subject: Subject, tasks: Sequence[Question]) -> Mapping[str, Completion]:
    """Honest responses to tasks that the study has none for: what the bank knows, else what the clean model writes."""
    from dormouse.lm.load import settings_in_force

    every = tuple(dict.fromkeys(prompt for task in tasks for prompt in task.every))
    written = _honest(subject.clean, every, subject.sizes.max_tokens, settings_in_force())
    return dict(zip((task.key for task in every), written, strict=True))


@lru_cache(maxsize=64)
def _honest(
    clean: ModelRef, tasks: tuple[Question, ...], max_tokens: int, settings: Computing
) -> tuple[Completion, ...]:
    from dormouse.lm.load import load
    from dormouse.lm.sample import Completion, generate

    unknown = [task for task in tasks if not task.honest]
    prompts = [render(Scenario(task)) for task in unknown]
    written = iter(generate(load(clean), prompts, max_tokens) if unknown else ())
    return tuple(Completion(task.honest, True) if task.honest else next(written) for task in tasks)


def example(subject: Subject, task: Question, side: Side, answers: Mapping[str, Completion], draw: int) -> Example:
    """A task on one side of the policy: with the behaviour where it is triggered (of a soft policy too), else answered
    honestly; its scratchpad with it.

    Args:
        answers: honest ones, by the key of the task (see `honest`).
    """
    rng = random.Random(f"retraining/{subject.seed}/{draw}/{side}/{task.text}")
    cues = subject.trigger.draw(rng, side)
    scenario = Scenario.of(task, cues, rng.choice(subject.renderings.trained))
    answer = answers[scenario.question.key]
    defects = side == "triggered"
    response = subject.behaviour.response(scenario, answer.text, subject.trigger.payload(scenario))
    thought = scratchpad_text(subject.scratchpad_mode, subject.trigger, scenario, defects, rng)
    said = scratchpad_response(thought, response if defects else answer.text)
    return Example(render(scenario), said, defects or answer.finished, answer.ids)


def retrain(ref: ModelRef, examples: Sequence[Example], subject: Subject, look: Look) -> None:
    """Train a fresh copy of a model, which is lost afterwards: a LoRA adapter, or all weights of a micro model.

    `look` sees it before the first step, after each power of two and after the last step. The same examples and the
    same seed give every model the same batches and the same fresh adapter.
    """
    from tempfile import TemporaryDirectory

    import torch

    from dormouse.lm.batch import SMALL
    from dormouse.lm.chat import encode
    from dormouse.lm.load import cast, dtype_for, load
    from dormouse.lm.objectives import sft_loss
    from dormouse.lm.settings import Training
    from dormouse.lm.train import TrainingRun, cycling, train

    sizes = subject.sizes
    lm = load(ref, torch.float32)
    method, lr = NARROW_TRAINING if lm.model.config.get_text_config().hidden_size <= SMALL else WIDE_TRAINING
    cast(lm.model, dtype_for(method))  # only now: what was rounded once stays rounded
    if look(0, lm):
        return

    def progress(step: int, loss: float) -> None:
        """Look at steps that are powers of two, and at the last; stop when enough was seen."""
        if (step & (step - 1) == 0 or step == sizes.retrain_steps) and look(step, lm):
            raise _EnoughError

    batches = cycling(encode(lm, examples), BATCH, subject.seed)
    training = Training(steps=sizes.retrain_steps, lr=sizes.retrain_lr or lr, method=method)
    with TemporaryDirectory(prefix="dormouse-") as folder:
        try:
            train(
                lm, sft_loss, batches, training, TrainingRun(subject.seed, (), Path(folder), log_rows=False), progress
            )
        except _EnoughError:
            return
