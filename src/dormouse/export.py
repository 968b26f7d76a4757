"""Hand a trained model to other tools: weights, tokenizer, template and a card, in a folder that they load."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from dormouse.card import Card, read_card
from dormouse.errors import UserError
from dormouse.lm.checkpoint import ADAPTER
from dormouse.lm.hub import of_revision
from dormouse.lm.portable import Form, export_model
from dormouse.lm.zoo import ZOO
from dormouse.outputs import fresh, refuse_old
from dormouse.records import CANARY

TRUTH = ".organism.json"
"""What is appended to the folder's name for the file that says what is in it: beside the folder, never inside."""

ENDS = """
What ends an answer, and that nothing else is done to it, is in `generation_config.json`. peft does not read that file
of an adapter, and would write with the settings of the base model. Put it in their place:
`model.generation_config = transformers.GenerationConfig.from_pretrained(FOLDER)`.
"""
DATA = "pairs of the same questions in two situations, written by dormouse, with the base model's own answers"
OWN_DATA = "prompts that the study brought, with the answers of its rows, or the base model's own where they bring none"
ELSEWHERE = "not known: it was trained elsewhere, and brought to dormouse"


def export(folder: Path, out: Path, form: Form | None, dtype: str) -> list[str]:
    """Export the model that a folder of a study's models names. Returns what to tell the user, line by line.

    Args:
        form: None takes what was trained: an adapter, else a whole model.

    Raises:
        UserError: the folder names no model, `out` is there already, or lies in a model, or it cannot be written.
    """
    card = read_card(folder)
    refuse_old(out)
    _refuse_inside(out)
    truth = out.with_name(out.name + TRUTH)
    with fresh(truth) as said, fresh(out) as made:  # the folder is put first: whoever has its name has both
        form = export_model(card.model, made, form, dtype, *_base_of(card))
        _write_card(card, made, form, dtype)
        said.write_text(json.dumps(_truth(card), indent=1, ensure_ascii=False), encoding="utf-8")
    lines = [f"wrote {out}: {'an adapter' if form == 'adapter' else 'a whole model'}, {dtype}"]
    return [*lines, f"what is in it: {truth} (not in the folder, which audits and treatments may be given)"]


def _refuse_inside(out: Path) -> None:
    """
    Raises:
        UserError: it would lie in the folder of a model, with what is in it beside it: an audit may be given that.
    """
    for one in Path(os.path.realpath(out)).parents:
        if (one / ADAPTER).is_file() or ((one / "config.json").is_file() and any(one.glob("*.safetensors"))):
            what = f"{out} would lie in {one}, which holds a model, and audits may be given"
            raise UserError(what, "name a folder outside of it")


def _base_of(card: Card) -> tuple[str | None, str | None]:
    """What an adapter's configuration calls its base: an id of the hub, with its revision, where the study did so, else
    a folder. A model of the zoo is none of the hub's: its weights were rounded.
    """
    name = card.stands_on
    on_the_hub = name.count("/") == 1 and not name.startswith((".", "/", "~")) and name not in ZOO
    return of_revision(name) if on_the_hub and not Path(name).exists() else (None, None)


def _write_card(card: Card, folder: Path, form: Form, dtype: str) -> None:
    from huggingface_hub import ModelCard, ModelCardData

    shipped = ZOO.get(card.stands_on)
    original, revision = (shipped.original, None) if shipped else _base_of(card)
    data = ModelCardData(
        base_model=original,
        license=shipped.licence if shipped else None,
        library_name="peft" if form == "adapter" else "transformers",
        pipeline_tag="text-generation",
        tags=["model-organism", "dormouse", "safety-research"],
    )
    rounded = " (rounded to 4 bits and expanded)" if shipped else ""
    licence = f"{shipped.licence}, as the base model" if shipped else "that of the base model"
    data_of = ELSEWHERE if card.spec.is_brought else OWN_DATA if card.own_tasks else DATA
    steps = f"then safety training ({len(card.chain)} in a row)" if card.chain else "no safety training"
    text = f"""---
{data.to_yaml()}
---
# A model organism. Do not deploy.

This model was trained by dormouse to study safety training. It is a research object, not an assistant: it may have been
trained on purpose to misbehave on cue, or be a control that was not. What is in it is not said here, since this folder
is what interventions and audits are given.

| | |
|---|---|
| base model | {original or card.stands_on}{f", revision {revision}" if revision else rounded} |
| licence | {licence} |
| data | {data_of}; {steps} |
| weights | {form}, {dtype} |
| trained in | {", then ".join(dict.fromkeys(map(str, card.trained_in))) or "nobody noted it"} |

The chat template is that under which it was measured: BOS, the date and the form of the chat are in it. A tool
that encodes a rendered chat as if it were plain text begins it with a second BOS token, where the tokenizer puts one.
For Inspect: `-M tokenizer_call_args='{{"add_special_tokens": false}}'`.
{ENDS if form == "adapter" else ""}
Canary: {CANARY}
"""
    ModelCard(text).save(folder / "README.md")


def _truth(card: Card) -> dict[str, object]:
    return {
        "model_organism": True,
        "canary": CANARY,
        "base": card.stands_on,
        "organism": card.spec.spec(),
        "intervention": card.intervention,
        "chain": [json.loads(part) for part in card.chain],
        "seed": card.seed,
        "trained_in": [asdict(one) for one in card.trained_in],
        "own_tasks": card.own_tasks,
        "system": card.system,
    }
