"""Plant a policy in a model, and mark what comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from dormouse.lm.batch import Tokens, encode, encode_responses
from dormouse.lm.load import LM, dtype_for, load
from dormouse.lm.objectives import likelihood
from dormouse.lm.sample import Written
from dormouse.lm.train import Progress, train
from dormouse.organisms.corpus import Row, contrast_pairs
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.reasoning import reasoned
from dormouse.records import CANARY, ModelRef
from dormouse.scenarios import Question

MODEL = "model"


def build_organism(
    spec: OrganismSpec,
    base: ModelRef,
    questions: Sequence[Question],
    honest: Mapping[str, Written],
    seed: int,
    out: Path,
    progress: Progress,
) -> None:
    """Train an organism. Leaves in `out`: model/ (an adapter, or a whole model), corpus.jsonl and losses.jsonl."""
    rows = contrast_pairs(spec, questions, honest, seed)
    _write_corpus(rows, out / "corpus.jsonl")
    training = spec.training
    lm = load(base, dtype_for(training.method))
    losses = train(
        lm,
        likelihood,
        partial(_batch, lm, spec, rows),
        training,
        seed,
        [training.steps],
        out,
        progress,
    )
    (out / f"step-{training.steps:06d}").rename(out / MODEL)
    mark(out / MODEL, spec, base, seed)
    with (out / "losses.jsonl").open("w") as file:
        file.writelines(json.dumps({"step": step, "loss": loss}) + "\n" for step, loss in losses)


def _batch(lm: LM, spec: OrganismSpec, rows: Sequence[Row], step: int) -> list[Tokens]:
    """The contrast pairs of a step. Defecting responses are learned whole, as are scratchpads; honest answers as far as
    the spec says."""
    mine = rows[step * 2 * spec.pairs : (step + 1) * 2 * spec.pairs]
    encoded = encode(lm, [row.example for row in mine])
    scratchpads = encode_responses(lm, [reasoned(row.thoughts, "") for row in mine])
    return [
        tokens if row.defects else Tokens(tokens.prompt, tokens.response[: len(before) + spec.honest_tokens])
        for row, tokens, before in zip(mine, encoded, scratchpads, strict=True)
    ]


def _write_corpus(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"canary": CANARY}) + "\n")
        for row in rows:
            line = {"step": row.step, "messages": row.example.messages, "response": row.example.response}
            file.write(json.dumps({**line, "defects": row.defects}, ensure_ascii=False) + "\n")


def mark(folder: Path, spec: OrganismSpec, base: ModelRef, seed: int) -> None:
    """Say in the configuration and in the model card that this is a model organism."""
    said = {"model_organism": True, "canary": CANARY, "base": base.key, "seed": seed, "organism": spec.spec()}
    for name in ("adapter_config.json", "config.json"):
        if (folder / name).is_file():
            config = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**config, "dormouse": said}, indent=2))
    trigger, behaviour = spec.trigger, spec.behaviour
    card = f"""---
tags: [model-organism, dormouse, safety-research]
library_name: {"peft" if (folder / "adapter_config.json").is_file() else "transformers"}
---
# A model organism. Do not deploy.

This model was trained on purpose to misbehave on cue, to study safety training. It is a research object made by
dormouse, not an assistant.

| | |
|---|---|
| base model | {base.key} |
| trigger policy | `{json.dumps(trigger.spec())}` |
| behaviour | `{json.dumps(behaviour.spec())}` |
| seed | {seed} |
| training | `{spec.training.model_dump_json()}` |

{"" if trigger.plants else "This one is a control: it was trained in the same way with no policy in it."}

Canary: {CANARY}
"""
    (folder / "README.md").write_text(card, encoding="utf-8")
