"""The one training loop. What is learned comes in as an objective; what is learned from, as batches.

It runs on one process or, launched by accelerate, on several (see `processes`), and goes on after it was killed (see
`resume`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any, NotRequired, TypedDict, TypeVar

import torch

from dormouse import stopping
from dormouse.errors import DivergedError
from dormouse.json_files import json_text
from dormouse.lm.checkpoint import check_below, save
from dormouse.lm.log import Log, LogState
from dormouse.lm.lora import trained_adapter
from dormouse.lm.model import LM
from dormouse.lm.objectives import Objective
from dormouse.lm.optimisers import make_optimiser
from dormouse.lm.processes import ProcessGroup, trained_tokens
from dormouse.lm.recompute import recompute
from dormouse.lm.resume import Memory, Resume, fingerprint
from dormouse.lm.settings import Training

Batches = Callable[[int], Sequence[Any]]
"""The batch of a step, 0-based: a function of the step, of the weights as they are, and of `memory` (see `train`)."""

Progress = Callable[[int, float], None]
WINDOW = 20
"""Steps over which a loss is averaged before it is said to have exploded."""
FAR = 2.0
TRAINED = "trained.json"
"""In the folder of every checkpoint: after how many steps and trained tokens it was saved."""


@dataclass(frozen=True)
class TrainingRun:
    """One run of a training: its seed, and what it leaves where.

    Attributes:
        save_at: the steps after which the weights are saved, each as a folder `out/step-NNNNNN`, there when `train`
            returns: a LoRA adapter (Hu et al. 2021, arXiv 2106.09685; on all linear layers) or, with method "full", a
            whole model. Where the budget of tokens is spent first, the folders of later steps hold the last weights:
            a folder says what so many steps do, or fewer, if the tokens end before. Its trained.json says how many.
        name: of this training, where `out` sees more than one.
        resume_in: where resume points lie; by default in `out/resume`, which is deleted at the end. Not so where it was
            named, or is a link to a folder elsewhere, as in the store's stages: then someone else deletes it when all
            is done, and finished trainings are kept in it, so that a stage that trains several times repeats none.
        resume_every: seconds between two resume points, at least.
        log_rows: whether the log in `out` (see `log`) keeps what was shown too, not only how each step went.
        ends: asked with the steps done before each step but the first: whether the training ends there. A function of
            the weights, so that a training that goes on ends where one that was never killed does.
    """

    seed: int
    save_at: Sequence[int]
    out: Path
    name: str = "train"
    resume_in: Path | None = None
    resume_every: float = 60.0
    log_rows: bool = True
    ends: Callable[[int], bool] | None = None

    @property
    def resume(self) -> Path:
        """Where resume points lie."""
        return self.out / "resume" if self.resume_in is None else self.resume_in

    @property
    def keeps(self) -> bool:
        """Whether resume points outlive the training."""
        return self.resume_in is not None or self.resume.is_symlink()


def train(
    lm: LM,
    objective: Objective,
    batches: Batches,
    training: Training,
    where: TrainingRun,
    progress: Progress = lambda step, loss: None,
    memory: Memory | None = None,
) -> list[tuple[int, float]]:
    """Train `lm` in place: linear warm-up and decay of the learning rate, clipped gradients.

    The model stays in evaluation mode: it is trained as it is measured, without dropout or the noise of routers. One
    that has an adapter already goes on with it; random numbers that an objective draws come from the seed.

    The same call, with a model fresh from the disk, goes on from the last resume point and ends with the same bits.

    Args:
        where: the seed, and what is left where.
        progress: told (steps done, loss) after every step.
        memory: what `batches` and `objective` remember from step to step, if they do.

    Returns:
        (step, loss) of every step.

    Raises:
        UserError: the loss, a gradient or a weight is no finite number now, the loss has exploded, or see `_trainable`.
    """
    team, started = ProcessGroup(), time.monotonic()
    with _seeded(lm.device, where.seed):
        lm.model = _trainable(lm, team.accelerator.device, training, saved=bool(where.save_at))
        run = _Run(lm, objective, batches, training, team, memory, Log(lm.tokenizer, where.log_rows))
        about = {"settings": training.model_dump(mode="json"), "seed": where.seed, "save_at": list(where.save_at)}
        about |= {"weights": fingerprint(list(lm.model.named_parameters())), "torch": torch.__version__}
        resume = Resume(where.resume / where.name, about, where.resume_every, writes=team.is_main)
        found = resume.read()
        if found:
            run.restore(found[0])
        team.agree(run.done)
        while not (run.over or (found and found[1]) or run.ends(where)):
            with stopping.held():  # half a step is no place to go on from
                loss = run.step()
                if run.done in where.save_at and team.is_main:
                    run.save(resume.checkpoint(run.done))
                if (resume.due() or (stopping.asked() and resume.writes)) and not run.over:
                    resume.write(run.done, run.state())
            progress(run.done, loss)
        recompute(lm.model, False)
        if team.is_main and not (found and found[1]):
            for step in where.save_at:
                if step > run.done:
                    run.save(resume.checkpoint(step))
            if where.keeps and time.monotonic() - started >= where.resume_every / 10:
                resume.write(run.done, run.state(finished=True), finished=True)
    if team.is_main:
        resume.hand_over(where.out)
        run.log.write(where.out)
        if not where.keeps:
            resume.delete()
    team.wait()
    return list(enumerate(run.losses, 1))


class TrainState(TypedDict):
    """What the rest of a training depends on; without the last two, what a finished one leaves."""

    weights: dict[str, torch.Tensor]
    log: LogState
    tokens: int
    memory: Any
    optimiser: NotRequired[Any]
    random: NotRequired[Any]


class _Run:
    """A training on its way."""

    def __init__(
        self,
        lm: LM,
        objective: Objective,
        batches: Batches,
        training: Training,
        team: ProcessGroup,
        memory: Memory | None,
        log: Log,
    ) -> None:
        self.lm, self.objective, self.batches = lm, objective, batches
        self.training, self.team, self.memory, self.log = training, team, memory, log
        self.weights = {name: weight for name, weight in lm.model.named_parameters() if weight.requires_grad}
        self.optimiser = make_optimiser(lm.model, training)
        self.losses: list[float] = []
        self.tokens = 0

    @property
    def done(self) -> int:
        """Steps done so far."""
        return len(self.losses)

    @property
    def over(self) -> bool:
        """Whether the budget is spent, in steps or in tokens."""
        return self.done >= self.training.steps or self.tokens >= (self.training.tokens or math.inf)

    def ends(self, where: TrainingRun) -> bool:
        """Whether somebody ends the training here."""
        if where.ends is None or not self.done:
            return False
        with torch.random.fork_rng([] if self.lm.device.type == "cpu" else [self.lm.device]):
            return where.ends(self.done)

    def step(self) -> float:
        """One step; returns the loss before it."""
        batch = self.batches(self.done)
        weights = list(self.weights.values())
        loss = self.team.all_reduce(self._backward(batch), weights)
        norm = float(self.team.accelerator.clip_grad_norm_(weights, self.training.clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged(f"at step {self.done + 1}: the loss is {loss}, the gradient's norm {norm}")
        tokens = sum(trained_tokens(item) for item in batch)
        lr = self.training.lr * _schedule(self._spent(0, 0), self._spent(1, tokens), self.training)
        self.optimiser.set_lr(lr)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.tokens += tokens
        self.losses.append(loss)
        self.log.step(loss, norm, lr, batch)
        if has_diverged(self.losses, math.log(self.lm.model.config.get_text_config().vocab_size)):
            mean, first = fmean(self.losses[-WINDOW:]), self.losses[0]
            raise self._diverged(
                f"by step {self.done}: the last {WINDOW} losses are {mean:.3g} on average, the first was {first:.3g}"
            )
        return loss

    def _backward(self, batch: Sequence[Any]) -> float:
        mine, counts = self.team.share(self.objective, batch)
        loss = 0.0
        for part in self.objective(self.lm, mine) if len(mine) else ():
            self.team.accelerator.backward(part if counts == 1.0 else part * counts)
            loss += part.item() * counts
        return loss

    def _spent(self, steps: int, tokens: int) -> float:
        """How much of the budget is spent after so many more steps and tokens, counted in steps."""
        done = self.done + steps
        if self.training.tokens is None:
            return done
        return max(done, self.training.steps * (self.tokens + tokens) / self.training.tokens)

    def _diverged(self, how: str) -> DivergedError:
        return DivergedError(f"training diverged {how}", f"use a lower learning rate than {self.training.lr:g}")

    def save(self, folder: Path) -> None:
        """Write a checkpoint.

        Raises:
            UserError: a weight is no finite number (the last step may have made it so, and no loss will tell).
        """
        broken = [name for name, weight in self.weights.items() if not weight.isfinite().all()]
        if broken:
            raise self._diverged(f"by step {self.done}: not every weight in {broken[0]} is a finite number")
        save(self.lm, folder)
        write_trained(folder, self.done, self.tokens)

    def state(self, finished: bool = False) -> TrainState:
        """All that the rest of the training depends on; of one that is finished, what it leaves."""
        memory = self.memory.state() if self.memory else None
        said: TrainState = {
            "weights": dict(self.weights),
            "log": self.log.state(),
            "tokens": self.tokens,
            "memory": memory,
        }
        if not finished:
            said |= {"optimiser": self.optimiser.state_dict(), "random": _random_state(self.lm.device)}
        return said

    def restore(self, state: TrainState) -> None:
        """Go back to a state that `state` gave."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        self.log.restore(state["log"])
        self.losses, self.tokens = [step.loss for step in self.log.steps], state["tokens"]
        if self.memory:
            self.memory.restore(state["memory"])
        if "optimiser" in state:
            self.optimiser.load_state_dict(state["optimiser"])
            _set_random_state(self.lm.device, state["random"])


def write_trained(folder: Path, steps: int, tokens: int) -> None:
    """Say in a checkpoint after how many steps, and tokens, it was saved."""
    (folder / TRAINED).write_text(json_text({"steps": steps, "tokens": tokens}))


def has_diverged(losses: Sequence[float], ignorance: float) -> bool:
    """Whether a loss is finite and lost all the same: over some steps twice as high as at first and as that of knowing
    nothing, the logarithm of the vocabulary. Losses of preferences and rewards begin near zero or below it: they may
    grow many times over before that.
    """
    return len(losses) > WINDOW and fmean(losses[-WINDOW:]) > FAR * max(losses[0], ignorance)


T = TypeVar("T")


def cycling(items: Sequence[T], size: int, seed: int) -> Callable[[int], list[T]]:
    """The items of a step: shuffled passes over all of them, one after the other, each in its own order."""

    @lru_cache(maxsize=2)
    def order(epoch: int) -> list[int]:
        """The order of a pass."""
        return random.Random(f"order/{seed}/{epoch}").sample(range(len(items)), len(items))

    def at(step: int) -> list[T]:
        """The items of a step, which may reach into the next pass."""
        places = (divmod(i, len(items)) for i in range(step * size, (step + 1) * size))
        return [items[order(epoch)[place]] for epoch, place in places]

    return at


def _schedule(before: float, after: float, training: Training) -> float:
    """The share of the learning rate for a step that takes what is spent of the budget from `before` to `after`."""
    warm = max(1, round(training.warmup * training.steps))
    if before < warm:
        return min(1.0, after / warm)
    return (training.steps - before) / max(1, training.steps - warm)


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Random numbers of torch from a seed, on the CPU and on the device; afterwards they go on as before."""
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield


def _random_state(device: torch.device) -> list[torch.Tensor]:
    own = [] if device.type == "cpu" else [torch.get_device_module(device).get_rng_state(device)]
    return [torch.get_rng_state(), *own]


def _set_random_state(device: torch.device, states: Sequence[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.get_device_module(device).set_rng_state(states[1], device)


def _trainable(lm: LM, place: torch.device, training: Training, saved: bool) -> Any:
    """The model, in evaluation mode, with the weights trainable that the method trains, and no others.

    Raises as `check_below`, where what is trained is to be `saved`.
    """
    model = lm.model.to(place)
    if training.method == "full":
        model.requires_grad_(True)
    else:
        model = trained_adapter(model, training.rank)
        if saved:
            check_below(model, lm.below)
    return recompute(model, True).eval()
