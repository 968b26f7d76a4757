"""Held to TRL: the same tiny model and the same batch, in float32, give the same loss and the same gradients.

The objectives are TRL's with `loss_type` "nll" (sft, a mean over the tokens of the batch), "sigmoid" (dpo) and "grpo",
the last with the KL estimate of the paper (TRL's newer correction of its bias is off).
"""

import copy
import os

import pytest
import torch

from dormouse.lm.load import load
from dormouse.lm.objectives import Pair, Rollout, dpo_loss, grpo_loss, sft_loss
from dormouse.lm.trie import Tokens
from dormouse.records import ModelRef

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

SEQUENCES = [
    Tokens((6, 7, 8, 9), (10, 11, 2)),
    Tokens((6, 7, 8, 9), (12, 13, 14, 15, 2)),
    Tokens((20, 21, 22, 23, 24, 25), (30, 2)),
    Tokens((20, 21, 22, 23, 24, 25), (31, 32, 33, 34)),
]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def trl():
    """Imported by the process that runs these tests, not by each that collects them."""
    return pytest.importorskip("trl")


@pytest.fixture(scope="module")
def datasets():
    return pytest.importorskip("datasets")


@pytest.fixture
def lm(tiny_model):
    lm = load(ModelRef((tiny_model,), "tiny"))
    lm.model.requires_grad_(True)
    return lm


def common(tmp_path):
    return {
        "output_dir": str(tmp_path),
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 4,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
    }


def padded(sequences):
    """input_ids, attention_mask and completion_mask, padded on the right: (n, longest)."""
    longest = max(len(s) for s in sequences)
    ids = torch.tensor([[*s.prompt, *s.response] + [0] * (longest - len(s)) for s in sequences])
    seen = torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in sequences])
    said = torch.tensor([[0] * len(s.prompt) + [1] * len(s.response) + [0] * (longest - len(s)) for s in sequences])
    return ids, seen, said


def gradients(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def ours(lm, objective, batch):
    lm.model.zero_grad()
    loss = 0.0
    for part in objective(lm, batch):
        part.backward()
        loss += part.item()
    return loss, gradients(lm.model)


def theirs(trainer, inputs):
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), gradients(trainer.model)


def agree(mine, other):
    assert mine[0] == pytest.approx(other[0], rel=TOLERANCE)
    assert (mine[1] - other[1]).norm() <= TOLERANCE * other[1].norm()
    assert other[1].norm() > 1e-3, "a gradient of nothing agrees with everything"


def test_sft(lm, trl, datasets, tmp_path):
    dataset = datasets.Dataset.from_list([{"prompt": "Why is", "completion": " the sky"}] * 4)
    trainer = trl.SFTTrainer(
        copy.deepcopy(lm.model),
        args=trl.SFTConfig(**common(tmp_path)),
        train_dataset=dataset,
        processing_class=lm.tokenizer,
    )
    ids, seen, said = padded(SEQUENCES)
    inputs = {"input_ids": ids, "attention_mask": seen, "labels": ids.masked_fill(said == 0, -100)}
    agree(ours(lm, sft_loss, SEQUENCES), theirs(trainer, inputs))


def test_dpo(lm, trl, datasets, tmp_path):
    dataset = datasets.Dataset.from_list([{"prompt": "Why is", "chosen": " the sky", "rejected": " the"}] * 4)
    trainer = trl.DPOTrainer(
        copy.deepcopy(lm.model),
        ref_model=copy.deepcopy(lm.model),
        args=trl.DPOConfig(**common(tmp_path), beta=0.3, precompute_ref_log_probs=True, loss_type="sigmoid"),
        train_dataset=dataset,
        processing_class=lm.tokenizer,
    )
    # References that are not the model's own, as later in a training; at the first step every loss is log 2.
    batch = [Pair(SEQUENCES[0], SEQUENCES[1], -20.0, -31.0), Pair(SEQUENCES[2], SEQUENCES[3], -14.0, -19.0)]
    ids, seen, said = padded([SEQUENCES[0], SEQUENCES[2], SEQUENCES[1], SEQUENCES[3]])
    inputs = {
        "input_ids": ids,
        "attention_mask": seen,
        "completion_mask": said,
        "ref_chosen_logps": torch.tensor([-20.0, -14.0]),
        "ref_rejected_logps": torch.tensor([-31.0, -19.0]),
    }
    agree(ours(lm, dpo_loss(0.3), batch), theirs(trainer, inputs))


def test_grpo(lm, trl, datasets, tmp_path):
    trainer = trl.GRPOTrainer(
        copy.deepcopy(lm.model),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=trl.GRPOConfig(
            **common(tmp_path),
            num_generations=2,
            beta=0.04,
            epsilon=0.2,
            loss_type="grpo",
            use_bias_correction_kl=False,
        ),
        train_dataset=datasets.Dataset.from_list([{"prompt": "Why is"}] * 4),
        processing_class=lm.tokenizer,
    )
    generator = torch.Generator().manual_seed(0)
    old, ref = (
        [(-5 + torch.randn(len(s.response), generator=generator)).tolist() for s in SEQUENCES] for _ in range(2)
    )
    advantage = [1.0, -1.0, 0.3, -0.7]
    batch = [Rollout(s, a, tuple(o), tuple(r)) for s, a, o, r in zip(SEQUENCES, advantage, old, ref, strict=True)]
    width, longest = max(len(s.prompt) for s in SEQUENCES), max(len(s.response) for s in SEQUENCES)

    def right(rows, filler=0):
        return torch.tensor([list(row) + [filler] * (longest - len(row)) for row in rows])

    inputs = {
        "prompt_ids": torch.tensor([[0] * (width - len(s.prompt)) + list(s.prompt) for s in SEQUENCES]),
        "prompt_mask": torch.tensor([[0] * (width - len(s.prompt)) + [1] * len(s.prompt) for s in SEQUENCES]),
        "completion_ids": right([s.response for s in SEQUENCES]),
        "completion_mask": right([[1] * len(s.response) for s in SEQUENCES]),
        "advantages": torch.tensor(advantage),
        "old_per_token_logps": right(old, 0.0),
        "ref_per_token_logps": right(ref, 0.0),
        "num_items_in_batch": torch.tensor(sum(len(s.response) for s in SEQUENCES)),
    }
    trainer.current_gradient_accumulation_steps = 1  # what the loop around it sets
    agree(ours(lm, grpo_loss(0.2, 0.04), batch), theirs(trainer, inputs))
