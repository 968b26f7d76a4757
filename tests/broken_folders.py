"""Model folders as a stranger may have made them: attacks by name, and a seeded generator of mutations."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[Path], None]


def says(name: str, **values: Any) -> Change:
    """Other values for some keys of a JSON file."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def holds(name: str, raw: bytes) -> Change:
    return lambda folder: void((folder / name).write_bytes(raw))


def void(_: object) -> None:
    return None


def pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def link(name: str, to: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return change


def sparse(name: str, size: int) -> Change:
    return lambda folder: void(os.truncate(folder / name, size))


def template(text: str) -> Change:
    return holds("chat_template.jinja", text.encode())


def odd_name(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/ab\xff.json")).write_text("{}")


def weights(change: Callable[[dict[str, Any]], None]) -> Change:
    """Other tensors in the file: name -> torch tensor."""

    def rewrite(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    return rewrite


def header(change: Callable[[dict[str, Any]], None]) -> Change:
    """Another header over the same bytes."""

    def rewrite(folder: Path) -> None:
        raw = (folder / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        said = json.loads(raw[8 : 8 + length])
        change(said)
        new = json.dumps(said).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(new)) + new + raw[8 + length :])

    return rewrite


def one_more_layer(found: dict[str, Any]) -> None:
    found |= {name.replace("layers.1.", "layers.2."): w.clone() for name, w in found.items() if "layers.1." in name}


def in_float8(found: dict[str, Any]) -> None:
    import torch

    found |= {name: w.to(torch.float8_e4m3fn) for name, w in found.items() if w.ndim == 2}


def in_int8(found: dict[str, Any]) -> None:
    import torch

    found |= {name: w.to(torch.int8) for name, w in found.items() if w.ndim == 2}


def not_a_number(found: dict[str, Any]) -> None:
    found["model.norm.weight"][3] = float("nan")


def deep(levels: int) -> bytes:
    return b'{"model_type": "llama", "x": ' + b"[" * levels + b"]" * levels + b"}"


LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
GROWS = "{% set ns = namespace(s='x' * 999999) %}{% for i in range(99999) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"

# What is wrong, and a piece of the message that says so.
ATTACKS: dict[str, tuple[Change, str]] = {
    "a pipe for a configuration": (pipe("config.json"), "no file but a pipe"),
    "a pipe for weights": (pipe("model.safetensors"), "no file but a pipe"),
    "a pipe beside": (pipe("readme.txt"), "no file but a pipe"),
    "a device for a tokenizer": (link("tokenizer.json", "/dev/zero"), "no file but a pipe"),
    "a device for a template": (link("chat_template.jinja", "/dev/zero"), "no file but a pipe"),
    "a file of 300 GB": (sparse("tokenizer.json", 300_000_000_000), "is larger than"),
    "a name that is no text": (odd_name, "no UTF-8"),
    "JSON 10,000 deep": (holds("config.json", deep(10_000)), "nested too deep"),
    "a tokenizer 10,000 deep": (holds("tokenizer.json", deep(10_000)), "the tokenizer of the model"),
    "NaN in a configuration": (says("config.json", rms_norm_eps=float("nan")), "NaN is no number"),
    "100,000 layers": (says("config.json", num_hidden_layers=100_000), "num_hidden_layers"),
    "a billion wide": (says("config.json", intermediate_size=10**9), "is to have"),
    "a number without end": (says("config.json", hidden_size=10**40), "larger than any"),
    "no layers": (says("config.json", num_hidden_layers=0), "num_hidden_layers in"),
    "a word for a size": (says("config.json", hidden_size="large"), "the configuration of the model"),
    "a list for a size": (says("config.json", vocab_size=[3]), "the configuration of the model"),
    "an unknown architecture": (says("config.json", model_type="nonesuch"), "the configuration of the model"),
    "an architecture that is no word": (says("config.json", model_type="../x"), "no plain word"),
    "attention of the hub": (says("config.json", _attn_implementation="some/repo"), "names code of its own"),
    "attention of the hub, inside": (
        says("config.json", text_config={"attn_implementation": {"": "some/repo@main:f"}}),
        "names code of its own",
    ),
    "experts of the hub": (says("config.json", experts_implementation="some/repo"), "names code of its own"),
    "a key that nobody knows yet": (says("config.json", normaliser="some/repo"), "no plain word"),
    "kernels": (says("config.json", kernel_config={"RMSNorm": "some/repo:RMSNorm"}), "what code is loaded"),
    "code inside": (says("config.json", text_config={"auto_map": {"AutoConfig": "x.Y"}}), "brings its own code"),
    "weights elsewhere": (says("config.json", transformers_weights="../x.safetensors"), "what code is loaded"),
    "an unknown quantiser": (says("config.json", quantization_config={"quant_method": "nonesuch"}), "is quantised"),
    "one layer too many": (weights(one_more_layer), "more layers than the model"),
    "float8": (weights(in_float8), "quantised"),
    "int8": (weights(in_int8), "of type I8"),
    "no number": (weights(not_a_number), "finite number"),
    "a tokenizer that panics": (
        says("tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "the tokenizer of the model",
    ),
    "a template that loops": (template(LOOPS), "no end within"),
    "a template that grows": (template(GROWS), "memory"),
    "a template that raises": (template("{{ raise_exception('not for you') }}"), "not for you"),
    "an empty template": (template(""), "leaves out what the user says"),
    "an end that is no token": (says("generation_config.json", eos_token_id="x"), "no id of a token"),
}

STRANGE: tuple[Any, ...] = (
    None,
    [],
    {},
    "",
    "x",
    "some/repo",
    "../../etc",
    "\x1b[2J",
    "\ud800",
    "torch",
    -1,
    0,
    1,
    3.5,
)
STRANGE += (
    True,
    10**6,
    10**9,
    10**30,
    1e308,
    float("inf"),
    float("nan"),
    [[[]]],
    [1] * 1000,
    {"a": {"b": []}},
    "x" * 10**6,
)
KEYS = ("model_type", "rope_parameters", "rope_scaling", "layer_types", "tie_word_embeddings", "torch_dtype", "dtype")
KEYS += ("sliding_window", "hidden_act", "head_dim", "num_local_experts", "_attn_implementation", "quantization_config")
KEYS += ("pad_token_id", "eos_token_id", "tokenizer_class", "per_layer_config", "is_encoder_decoder", "pruned_heads")
KEYS += (
    "added_tokens_decoder",
    "extra_special_tokens",
    "model_max_length",
    "chat_template",
    "additional_special_tokens",
)
TYPES = (
    "gpt2",
    "mistral",
    "gemma3_text",
    "mamba",
    "bert",
    "t5",
    "mixtral",
    "qwen2",
    "gptj",
    "opt",
    "llama4",
    "deepseek_v3",
)
TEMPLATES = (
    "",
    "{{ messages }}",
    "{% for %}",
    "{{ messages[9].content }}",
    "{{ bos_token * 99999999 }}",
    "\x00",
    "{{ 1 / 0 }}",
)


def mutate(folder: Path, rng: random.Random) -> str:
    """Change one to three things at random. Returns what was done."""
    return ", ".join(_once(folder, rng) for _ in range(rng.randint(1, 3)))


def _once(folder: Path, rng: random.Random) -> str:
    how = rng.choice(
        ["value", "value", "value", "key", "inside", "inside", "type", "bytes", "cut", "kind", "template", "header"]
    )
    texts = [path for path in sorted(folder.glob("*.json")) if path.is_file() and not path.is_symlink()]
    try:
        path = rng.choice(texts)
        if how in ("value", "key", "inside"):
            said = json.loads(path.read_text())
            strange = rng.choice(STRANGE)
            at: Any = said
            while how == "inside" and rng.random() < 0.8 and isinstance(inner := rng.choice(_parts(at)), dict | list):
                at = inner
            key = rng.choice(KEYS) if how == "key" and isinstance(at, dict) else rng.choice(_names(at))
            at[key] = strange
            path.write_text(json.dumps(said))
            return f"{path.name}: {key} = {str(strange)[:20]!r}"
        if how == "type":
            says("config.json", model_type=rng.choice(TYPES))(folder)
        elif how == "bytes":
            path = rng.choice([*texts, folder / "model.safetensors"])
            raw = bytearray(path.read_bytes())
            for _ in range(rng.choice([1, 20])):
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            path.write_bytes(raw)
        elif how == "cut":
            path = rng.choice([*texts, folder / "model.safetensors"])
            path.write_bytes(path.read_bytes()[: rng.choice([0, 1, 100])])
        elif how == "kind":
            path = rng.choice([*texts, folder / "model.safetensors"])
            rng.choice(
                [pipe(path.name), link(path.name, "/dev/zero"), link(path.name, "/dev/tty"), link(path.name, ".")]
            )(folder)
        elif how == "template":
            template(rng.choice(TEMPLATES))(folder)
        else:
            header(lambda said: _other_header(said, rng))(folder)
    except (
        ValueError,
        LookupError,
        TypeError,
        OSError,
        AttributeError,
    ):  # what was done before leaves nothing to change
        return f"no {how}"
    return f"{how} {path.name if how in ('bytes', 'cut', 'kind') else ''}"


def _parts(value: Any) -> list[Any]:
    return list(value.values() if isinstance(value, dict) else value) or [None]


def _names(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value)))


def _other_header(said: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice([name for name in said if name != "__metadata__"])
    tensor = said[name]
    how = rng.randrange(4)
    if how == 0:
        said[f"{name}.more"] = said.pop(name)
    elif how == 1:
        tensor["dtype"] = rng.choice(["F8_E4M3", "I8", "BOOL", "F16", "X", 3])
    elif how == 2:
        tensor["shape"] = rng.choice([[], [1], [2**62, 2], tensor["shape"][::-1], "x", [-1]])
    else:
        tensor["data_offsets"] = rng.choice([[0, 0], [0, 2**63], [8, 4], tensor["data_offsets"][::-1], None])


def copy_of(model: Path, to: Path) -> Path:
    return Path(shutil.copytree(model, to))
