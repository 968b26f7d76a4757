"""A base gets the rows of tokens that fine-tuning added, and says what it said."""

import torch

from dormouse.lm.load import load
from dormouse.lm.widened import widened
from dormouse.records import ModelRef


def test_a_base_has_the_rows_of_new_tokens_and_says_what_it_said(tiny_model):
    base, suspect, other = (load(ModelRef((tiny_model,), "tiny")) for _ in range(3))
    known = len(base.tokenizer)
    suspect.tokenizer.add_tokens(["<|zeta|>"])
    suspect.model.resize_token_embeddings(known + 1)
    ids = torch.tensor([[7, 8, 9]])
    drawn = torch.random.get_rng_state()
    wide = widened(base, suspect)
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert wide.model(ids).logits.shape[-1] == known + 1
    assert torch.equal(wide.model(ids).logits[..., :known], other.model(ids).logits)
    rows = wide.model.get_input_embeddings().weight
    assert torch.allclose(rows[known], rows[:known].mean(0))
    assert wide.model.get_output_embeddings().weight is rows
    assert not rows.requires_grad
    assert widened(other, other) is other


def test_rows_that_pad_a_base_go_where_the_suspect_has_fewer(tiny_model):
    """`resize_token_embeddings(len(tokenizer))` is what recipes say, and bases such as Qwen's are padded."""
    base, suspect, other = (load(ModelRef((tiny_model,), "tiny")) for _ in range(3))
    known = len(base.tokenizer)
    base.model.resize_token_embeddings(known + 64)
    suspect.tokenizer.add_tokens(["<|zeta|>"])
    suspect.model.resize_token_embeddings(known + 1)
    ids = torch.tensor([[7, 8, 9]])
    narrow = widened(base, suspect)
    assert narrow.model(ids).logits.shape[-1] == known + 1
    assert torch.equal(narrow.model(ids).logits[..., :known], other.model(ids).logits)
    few = load(ModelRef((tiny_model,), "tiny"))
    few.model.resize_token_embeddings(known - 1)
    assert widened(other, few).model.get_input_embeddings().num_embeddings == known, "a token's row stays"


def test_a_base_with_other_tokens_is_left_alone(tiny_model):
    base, suspect = (load(ModelRef((tiny_model,), "tiny")) for _ in range(2))
    base.tokenizer.add_tokens(["<|other|>"])
    suspect.tokenizer.add_tokens(["<|zeta|>"])
    known = base.model.get_input_embeddings().num_embeddings
    suspect.model.resize_token_embeddings(known + 1)
    assert widened(base, suspect).model.get_input_embeddings().num_embeddings == known
