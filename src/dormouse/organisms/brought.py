"""An organism that was made elsewhere: where it lies, and how it becomes one that is measured and treated as all are.

Nothing is planted. A whole model is used where it lies. A plain LoRA adapter is copied into the store, so that what was
measured stays; anything else that peft lays over a model (DoRA, several adapters, one with a chat template of its own)
is merged there into a whole model, and held to what peft itself computes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.errors import UserError, reason
from dormouse.files import read_whole
from dormouse.json_files import json_text
from dormouse.lm.adapters import TO_PLAIN, adapter_key, adapter_text, movable, refuse_other_base
from dormouse.lm.checkpoint import ADAPTER, WEIGHTS, is_adapter, is_plain, mark, tensors_of
from dormouse.lm.folders import check_folder, describing, headers, weight_files
from dormouse.lm.identity import identity
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef

if TYPE_CHECKING:
    from dormouse.lm.model import LM

MODEL, FILE = "model", "brought.json"
CARD = "dormouse.json"
TEMPLATE = "chat_template.jinja"
WORDS = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model")
"""Files that hold the words of a tokenizer."""
SAID = ("bos_token", "eos_token", "add_bos_token", "add_eos_token", "add_prefix_space")
"""Keys of a tokenizer's configuration that say what stands in front of a text, and what ends one."""
STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
"""Parts of `tokenizer.json` that say what happens to a text beside its words."""
FAR = 0.01
"""Nats by which a log-probability may differ between a merged model and the adapter beside it."""


@dataclass(frozen=True)
class Brought:
    """Where an organism lies that was made elsewhere.

    Attributes:
        model: a whole model; None: that of the study.
        adapters: what is laid over it, in order.
        key: the content of all of them.
    """

    model: Path | None
    adapters: tuple[Path, ...]
    key: str

    def ref(self, base: ModelRef, made: Path, key: str) -> ModelRef:
        """The weights: where they lie, or with what was `made` of its adapters, under the key of that stage."""
        if self.model is None:
            return base.then(made / MODEL, key)
        whole = ModelRef((self.model,), self.key).shown(base.chat)
        return whole.then(made / MODEL, key) if self.adapters else whole


def find(
    spec: OrganismSpec, base: Path, called: str, folder_of: Callable[[str], Path | None], say: Callable[[str], None]
) -> Brought | None:
    """Where an organism lies; None where it would have to be fetched.

    Args:
        base: the folder of the study's model, which may not be there yet; `called` is its name.
        folder_of: finds a model or an adapter by its name; None: it is not on this machine.
        say: told what nobody can check.

    Raises:
        UserError: it is nowhere, damaged, pickled, or an adapter of another model.
    """
    model = folder_of(spec.model) if spec.model else None
    adapters = [folder_of(name) for name in spec.adapter]
    if (spec.model and model is None) or None in adapters:
        return None
    there = tuple(one.resolve() for one in adapters if one is not None)
    for folder in (*([model] if model else []), *there):
        if (folder / CARD).is_file() and not (folder / "config.json").is_file():
            remedy = f"name its weights: {folder / 'weights'}, as `adapter:` or, if it was trained whole, as `model:`"
            raise UserError(f"{folder} is a model of a study, which has its weights elsewhere", remedy)
    if model is not None:
        if is_adapter(model):
            raise UserError(f"{model} holds an adapter, not a whole model", "name it with `adapter:`")
        check_folder(model)
    for adapter in there:
        refuse_other_base(adapter, model or base, spec.model or called, say)
        _refuse_bias(adapter, model or base)
    parts = [identity(model).rpartition("@")[2] if model else "", *map(adapter_key, there)]
    return Brought(model, there, "+".join(part for part in parts if part))


def _refuse_bias(adapter: Path, base: Path) -> None:
    """
    Raises:
        UserError: an adapter has biases for layers that have none in its model: peft does not merge these, anywhere.
    """
    ends = {name.rpartition(".lora_")[0].rpartition(".")[2] for name in tensors_of(adapter) if name.endswith("_B.bias")}
    files = weight_files(base) if ends else []  # none where it has to be fetched
    there = {name.rpartition(".bias")[0].rpartition(".")[2] for name in headers(files)}
    if files and (lost := sorted(ends - there)):
        what = f"the adapter in {adapter} has a bias (lora_bias) for {', '.join(lost)}, where its model has none"
        raise UserError(f"{what}: peft cannot merge it", "train it without `lora_bias`")


def bring(brought: Brought, base: ModelRef, out: Path) -> None:
    """Make of it what a stage of a study is: leaves `out/model`, if it has adapters, and `out/brought.json`.

    Raises:
        UserError: it cannot be loaded, an adapter does not fit its model or cannot be merged, or it has other words
            than the study's model.
    """
    from dormouse.lm.load import load

    whole = ModelRef((brought.model or base.folders[0],), "", base.chat)
    lm = _laid_over(whole, brought.adapters, out / MODEL) if brought.adapters else load(whole)
    _refuse_other_words(lm, base)
    said = {"model": str(brought.model or ""), "adapters": [adapter_text(folder) for folder in brought.adapters]}
    (out / FILE).write_text(json_text({**said, "key": brought.key}, indent=1), encoding="utf-8")


def _laid_over(whole: ModelRef, adapters: Sequence[Path], out: Path) -> LM:
    """Lay adapters over a whole model, leave in `out` what stays of that, and give it back as it was saved."""
    import torch

    from dormouse.lm.load import load
    from dormouse.lm.lora import fit_layers

    own = next((folder for folder in reversed(adapters) if _shows_otherwise(folder, whole.folders[0])), None)
    lm = load(whole, torch.float32)
    plain = len(adapters) == 1 and own is None and is_plain(adapters[0], fit_layers(lm.model))
    for adapter in adapters:
        _merge(lm, adapter)
    if plain:
        _copied(adapters[0], out)
        return lm
    wanted = _looks(lm, lm.model)
    _save(lm, whole, own, out)
    del lm
    lm = load(ModelRef((out,), "", whole.chat), torch.float32)
    _refuse_far(_apart(_looks(lm, lm.model), wanted), adapters[-1], "merged and saved")
    return lm


def _copied(adapter: Path, out: Path) -> None:
    out.mkdir()
    shutil.copyfile(adapter / WEIGHTS, out / WEIGHTS)
    (out / ADAPTER).write_text(json_text(movable(adapter), indent=1), encoding="utf-8")
    mark(out)


def _merge(lm: LM, adapter: Path) -> None:
    """Merge an adapter into a model, and hold it to what peft computes with the adapter beside it.

    Raises:
        UserError: it does not fit, cannot be merged, or is something else then.
    """
    from dormouse.lm.load import attach, merge

    try:
        beside = attach(lm.model, adapter).eval()
        wanted = _looks(lm, beside)
        lm.model = merge(beside).eval()
        far = _apart(_looks(lm, lm.model), wanted)
    except UserError:
        raise
    except Exception as error:  # peft and torch say in many ways that one does not fit
        why = reason(error, 200)
        what = f"the adapter in {adapter} ({adapter_text(adapter)}) cannot be merged into its model: {why}"
        raise UserError(what, TO_PLAIN) from error
    _refuse_far(far, adapter, "merged")


def _refuse_far(far: float, adapter: Path, how: str) -> None:
    """
    Raises:
        UserError: a log-probability differs too much from that with the adapter beside its model.
    """
    if not far <= FAR:
        what = f"the adapter in {adapter} ({adapter_text(adapter)}) {how} is not what it is beside its model: "
        raise UserError(f"{what}a log-probability differs by {far:.3g}", TO_PLAIN)


def _save(lm: LM, whole: ModelRef, own: Path | None, out: Path) -> None:
    """Save a merged model, in float32. `own`: where another tokenizer lies that the last of its adapters had."""
    from dormouse.lm.folders import home
    from dormouse.lm.opening import open_first

    lm.model.save_pretrained(out)
    taken = {path.name for path in out.iterdir()} | {ADAPTER}
    lm.tokenizer.save_pretrained(out)
    if own is not None:
        mine = [path for path in describing(own) if path.name not in taken]
        words, template = any(path.name in WORDS for path in mine), _tokenizer(own)["template"]
        for name in (*(WORDS if words else ()), *([TEMPLATE] if template is not None else ())):
            (out / name).unlink(missing_ok=True)  # of two, the base's would be read
        for path in mine:
            to = out / path.relative_to(own)
            to.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, to)
        try:
            open_first(out, whole.chat, home() / "opened")
        except UserError as error:
            what = error.what.replace(str(out), str(own))
            raise UserError(f"the tokenizer beside the adapter cannot be used: {what}", error.remedy) from error
    mark(out)


def _looks(lm: LM, model: Any) -> Any:
    """Log-probabilities at each place of a few tokens, whatever they mean: (1, places, words)."""
    import torch

    words = lm.model.config.get_text_config().vocab_size
    ids = torch.arange(0, words, max(1, words // 32), device=lm.device)[None, :32]
    with torch.no_grad():
        return model(input_ids=ids).logits.float().log_softmax(-1)


def _apart(mine: Any, other: Any) -> float:
    """The largest difference; of a log-probability of 0 from itself there is none."""
    return float((mine - other).abs().masked_fill(mine == other, 0).max())


def _shows_otherwise(adapter: Path, base: Path) -> bool:
    """Whether a tokenizer lies beside an adapter that shows chats, or ends answers, in another way than that of its
    base model.
    """
    if not (adapter / "tokenizer_config.json").is_file():
        return False
    mine, theirs = _tokenizer(adapter), _tokenizer(base)
    return any(one != theirs.get(name) for name, one in mine.items() if one is not None)


def _tokenizer(folder: Path) -> dict[str, Any]:
    """What of a tokenizer says how texts become tokens, as it is written. None: it says nothing of it."""
    said = _json(folder / "tokenizer_config.json")
    whole = _json(folder / "tokenizer.json")
    found: dict[str, Any] = {key: _text(said.get(key)) for key in SAID}
    template = _read(folder / TEMPLATE)
    found["template"] = said.get("chat_template") if template is None else template
    if whole:
        model, added, merges = whole.get("model"), whole.get("added_tokens"), None
        if isinstance(model, dict):
            found["words"], merges = model.get("vocab"), model.get("merges")
        if isinstance(merges, list):  # of pairs, or as older versions write them: both in one text
            found["merges"] = [" ".join(map(str, pair)) if isinstance(pair, list) else pair for pair in merges]
        if isinstance(added, list):
            found["added"] = [_text(one) for one in added]
        found |= {key: json.dumps(whole.get(key), sort_keys=True) for key in STEPS}
    return found


def _text(token: Any) -> Any:
    """A token that is written with all that is known of it, as its text."""
    return token.get("content") if isinstance(token, dict) else token


def _json(path: Path) -> dict[str, Any]:
    if (text := _read(path)) is None:
        return {}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}", "copy the model again") from error
    return said if isinstance(said, dict) else {}


def _read(path: Path) -> str | None:
    """The text of a file; None where there is none."""
    try:
        return read_whole(path).decode().replace("\r\n", "\n")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", "copy the model again") from error


def _refuse_other_words(lm: LM, base: ModelRef) -> None:
    """The clean model's answers are scored in tokens.

    Raises:
        UserError: the organism has other tokens than the study's model.
    """
    from dormouse.lm.opening import read_tokenizer

    mine, clean = lm.tokenizer.get_vocab(), read_tokenizer(base.folders[0]).get_vocab()
    if lost := [word for word, i in clean.items() if mine.get(word) != i]:
        raise UserError(
            f"this organism is no descendant of the study's model: {len(lost):,} of {len(clean):,} tokens are others",
            "name the model that it was made from as the study's `model:`",
        )


def described(spec: OrganismSpec) -> str:
    """What a reader is told of where an organism comes from: `adapters/mine over org/model`."""
    over = f" over {spec.model}" if spec.model else " over the study's model"
    return f"{' + '.join(spec.adapter)}{over}" if spec.adapter else str(spec.model or "")
