"""How a model takes its input is found out when it is loaded, and kept."""

import json
import shutil
import warnings

import pytest
import torch
from lm.architectures import same_scores, sequences, tiny_model

from dormouse.errors import DormouseWarning, UserError
from dormouse.lm import selfcheck
from dormouse.lm.batch import rows_for
from dormouse.lm.decode import decode
from dormouse.lm.layout import Layout, alone_above
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.lm.score import logprobs
from dormouse.lm.selfcheck import find_layout, layout_of
from dormouse.lm.surgery import noised
from dormouse.lm.trie import Tokens
from dormouse.records import ModelRef


def saved(model_type, tiny_model_folder, folder, **changes):
    """A folder with a tiny model of that type and the tokenizer of the tests' model."""
    shutil.copytree(tiny_model_folder, folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    made = tiny_model(model_type, vocab_size=2048, **changes)  # as many as the tokenizer has
    made.save_pretrained(folder)
    return ModelRef((folder,), model_type)


@pytest.mark.parametrize("model_type", ["gemma2", "gpt_oss", "bloom", "mpt", "falcon", "qwen3_5_text"])
def test_models_are_loaded_with_the_attention_that_they_have(model_type, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lm = load(saved(model_type, tiny_model, tmp_path / "model"), torch.float32)
    same_scores(lm, sequences(96))


def test_a_recurrent_model_gets_plain_rows_and_says_so(tmp_path):
    model = LM(tiny_model("qwen3_5_text"), _Ends())
    with pytest.warns(DormouseWarning, match=r"Qwen3_5ForCausalLM: .* each has its own"):
        layout = layout_of(model, tmp_path)
    assert layout == Layout("padded", "padded")
    model.layout = layout
    assert all(row.ancestors is None for row in rows_for(model, sequences(96)))


def test_a_layout_is_kept_by_what_it_depends_on(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(selfcheck, "find_layout", lambda lm: asked.append(lm) or Layout())
    one, same, other = (
        LM(tiny_model(kind, seed=seed), _Ends()) for kind, seed in (("llama", 0), ("llama", 1), ("qwen2", 0))
    )
    for lm in (one, same, other, one):
        layout_of(lm, tmp_path)
    assert asked == [one, other]
    for kept in tmp_path.glob("*.json"):
        kept.write_text(json.dumps({"rows": "tree"})[:5])  # cut off: found again
    layout_of(one, tmp_path)
    assert asked == [one, other, one]


def test_a_model_without_weights_does_not_speak_for_its_kind(tmp_path):
    """Where nothing is heard of other tokens every layout is exact: the fastest was kept for sound models too."""
    empty, sound = LM(tiny_model("qwen3_5_text"), _Ends()), LM(tiny_model("qwen3_5_text"), _Ends())
    with torch.no_grad():
        for weight in empty.model.parameters():
            weight.zero_()
    assert layout_of(empty, tmp_path).rows == "tree"
    with pytest.warns(DormouseWarning, match="each has its own"):
        assert layout_of(sound, tmp_path).rows == "padded"
    assert layout_of(empty, tmp_path).rows == "padded", "what was found of a sound one is kept"


def test_checkpoints_of_one_kind_share_a_layout(tmp_path, monkeypatch):
    """Wherever they lie, and whoever marked them: each was checked anew, most of the time that a load took."""
    asked = []
    monkeypatch.setattr(selfcheck, "find_layout", lambda lm: asked.append(lm) or Layout())
    lms = [LM(tiny_model("llama", seed=seed), _Ends()) for seed in range(3)]
    lms[0].model.config._name_or_path, lms[1].model.config._name_or_path = "a/step-000001", "b/step-000002"
    lms[2].model.config.dormouse = {"model_organism": True}
    for lm in lms:
        layout_of(lm, tmp_path)
    assert asked == lms[:1]


def test_weights_that_noise_has_wrecked_are_taken_as_others_are():
    """Rounding is larger than it may be elsewhere: no exact way was found, and another model asked for."""
    assert find_layout(noised(LM(tiny_model("llama"), _Ends()), 1000.0, seed=0)) == Layout()


def test_a_check_leaves_the_model_as_it_was():
    lm = LM(tiny_model("mistral", window=4096), _Ends())
    before = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    lm.model.requires_grad_(False)
    find_layout(lm)
    assert lm.model.config.sliding_window == 4096
    assert not any(weight.requires_grad for weight in lm.model.parameters())
    assert all(torch.equal(before[name], weight) for name, weight in lm.model.state_dict().items())


@pytest.mark.parametrize("model_type", ["roberta", "electra", "xlnet", "prophetnet"])
def test_what_looks_ahead_is_no_causal_model(model_type):
    with pytest.raises(UserError, match="it is an encoder"):
        find_layout(LM(tiny_model(model_type), _Ends()))


def test_an_encoder_decoder_is_refused_by_name(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "t5")
    (tmp_path / "t5" / "config.json").write_text(json.dumps({"model_type": "t5", "is_encoder_decoder": True}))
    with pytest.raises(UserError, match="'t5' is no causal language model"):
        load(ModelRef((tmp_path / "t5",), "t5"))


def test_dropout_that_stays_on_is_not_a_score(monkeypatch):
    lm = LM(tiny_model("llama"), _Ends())
    plain = type(lm.model).forward

    def shaky(self, *args, **kwargs):
        out = plain(self, *args, **kwargs)
        out.logits = out.logits + torch.rand_like(out.logits)
        return out

    monkeypatch.setattr(type(lm.model), "forward", shaky)
    with pytest.raises(UserError, match="something else each time"):
        find_layout(lm)


def test_longer_than_the_positions_is_one_message():
    lm = LM(tiny_model("gpt2"), _Ends())
    long = Tokens(tuple(range(3, 90)) * 3, (5, 6))
    with pytest.raises(UserError, match=r"262 tokens, and the model \(GPT2LMHeadModel\) has 256 positions"):
        logprobs(lm, [long])
    with pytest.raises(UserError, match="256 positions"):
        decode(lm, [long.prompt[:250]], 10)
    logprobs(lm, [Tokens(long.prompt[:255], (5, 6))])


def test_a_sequence_beyond_the_trained_length_goes_alone():
    """longrope takes its factors from the longest sequence of a batch: what is short must not see them."""
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
    lm = LM(tiny_model("phi3", rope_parameters=rope, original_max_position_embeddings=16), _Ends())
    assert alone_above(lm.model) == 16
    lm.layout = find_layout(lm)
    assert lm.layout.alone_above == 16
    same_scores(lm, sequences(96))


class _Ends:
    eos_token_id, pad_token_id = 2, 0


def test_how_a_model_takes_its_input_is_not_found_out_without_memory(monkeypatch):
    """It would be kept, and the model read in a slower way, with other last bits, for good."""

    def no(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(selfcheck, "rows_for", no)
    with pytest.raises(torch.OutOfMemoryError):
        find_layout(LM(tiny_model("llama"), _Ends()))
