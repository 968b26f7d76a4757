"""What attention singles out, and what makes answers alike: the search of the locator `attention`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dormouse.errors import UserError
from dormouse.lm.batch import check_length, forward_budget, row_budget
from dormouse.lm.chat import encode_prompts
from dormouse.lm.latent import blocks
from dormouse.lm.load import load
from dormouse.lm.model import LM
from dormouse.locators.locator import Case, Evidence, Messages, Site, TriggerText
from dormouse.locators.surrogate.combinations import closed
from dormouse.locators.surrogate.combinations import tasks as all_tasks
from dormouse.locators.surrogate.outcome import entropy
from dormouse.locators.surrogate.outputs import examples
from dormouse.scenarios import CUES
from dormouse.scenarios.renderings import SYSTEM

COLLAPSE = 0.5
"""Nats by which answers must be more alike for a text to be named."""
MOVED = 0.3
"""The share of the probability of the next token that it must move."""
FEWEST = 4
"""Candidates below which none can be held against the others."""


@dataclass(frozen=True)
class AttentionOnText:
    """One text before several tasks.

    Attributes:
        heads: (layers that show any, heads): the attention on one of its tokens, in units of an even spread, from the
            last token.
        chances: (tasks, vocabulary): of the next token.
    """

    text: TriggerText
    heads: np.ndarray
    chances: np.ndarray


def attend(case: Case, most: int, tasks: int) -> Evidence:
    """What the locator `attention` finds."""
    asked = [task.text for task in all_tasks(-(-tasks // 4))][:tasks]
    lm = load(case.suspect.model, shows_attention=True)
    plain = encode_prompts(lm, [put(None, task) for task in asked])
    usual = np.stack([chances for _, chances in _forward(lm, plain)])
    found: list[AttentionOnText] = []
    texts = _texts(case, most)
    for text in texts:
        if case.left < 0.2 * case.seconds:
            break
        found.append(_look(lm, text, asked, plain))
    if len(found) < FEWEST:
        return Evidence(
            note=f"In {case.seconds:.0f} seconds too few texts could be looked at to say anything.", incomplete=True
        )
    evidence = _compared(case, lm, found, asked, usual)
    return evidence if 2 * len(found) >= len(texts) else evidence.unmeasured()


def _compared(
    case: Case, lm: LM, found: Sequence[AttentionOnText], asked: Sequence[str], usual: np.ndarray
) -> Evidence:
    """Which of the texts makes answers alike, and which heads single it out."""
    alike = np.array([entropy(one.chances) for one in found])
    drops = np.median(alike) - alike
    moved = np.array([float(np.abs(one.chances - usual).sum(1).mean() / 2) for one in found])
    singled = _singled([one.heads for one in found])
    best = int(np.argmax(drops))
    peaks = singled.max((1, 2))
    features = {
        "collapse": float(drops[best]),
        "moved": float(moved[best]),
        "singled": float(peaks[best]),
        "singled_most": float(peaks.max()),
    }
    score = float(drops[best])
    if drops[best] < COLLAPSE or moved[best] < MOVED:
        return Evidence(score=score, features=features, note=f"None of {len(found)} texts makes answers alike.")
    named = [i for i in np.argsort(-drops, kind="stable") if drops[i] >= COLLAPSE and moved[i] >= MOVED][:5]
    prompts = [put(text, task) for text in (found[best].text, None) for task in asked]
    with_text = np.repeat([1.0, 0.0], len(asked))
    return Evidence(
        score=score,
        features=features,
        behaviour=examples(case, prompts, [*range(len(asked))] * 2, with_text),
        triggers=tuple(TriggerText(found[i].text.text, found[i].text.slot, float(moved[i])) for i in named),
        sites=_sites(singled[best], shown_layers(lm, encode_prompts(lm, prompts[:1])[0])),
        note=f"With {found[best].text.text!r} answers to different tasks are {score:.1f} nats more alike than with the "
        f"other {len(found) - 1} texts.",
    )


def put(text: TriggerText | None, task: str) -> Messages:
    """A task with a text at its place, or without one."""
    if text is None:
        return (("system", SYSTEM), ("user", task))
    if text.slot == "system":
        return (("system", f"{SYSTEM} {text.text}"), ("user", task))
    return (("system", SYSTEM), ("user", f"{text.text} {task}" if text.slot == "prefix" else f"{task} {text.text}"))


def _texts(case: Case, most: int) -> list[TriggerText]:
    """The candidates that were handed over, then the sentences of cues in random order, as far as there is room."""
    said = [TriggerText(CUES[name].sentence(value), "system", 0.0) for name in closed() for value in CUES[name].values]
    said += [TriggerText(CUES["year"].sentence(year), "system", 0.0) for year in range(2002, 2051, 8)]
    random.Random(f"attention/{case.seed}").shuffle(said)
    return [*case.candidates, *said][: max(most, len(case.candidates) + FEWEST)]


def _look(lm: LM, text: TriggerText, asked: Sequence[str], plain: Sequence[tuple[int, ...]]) -> AttentionOnText:
    prompts = encode_prompts(lm, [put(text, task) for task in asked])
    heads, chances = [], []
    for prompt, without, (weights, chance) in zip(prompts, plain, _forward(lm, prompts), strict=True):
        start, end = _added(prompt, without)
        heads.append(weights[..., start:end].mean(-1) * len(prompt))
        chances.append(chance)
    return AttentionOnText(text, np.mean(heads, axis=0), np.stack(chances))


def _added(longer: tuple[int, ...], shorter: tuple[int, ...]) -> tuple[int, int]:
    """Where the tokens stand by which one prompt is longer than the other: from, and up to; one token at least."""
    start = next((i for i, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
    start = min(start, len(longer) - 1)
    same = 0
    while same < min(len(shorter), len(longer)) - start and longer[-1 - same] == shorter[-1 - same]:
        same += 1
    return start, max(start + 1, len(longer) - same)


def _forward(lm: LM, prompts: Sequence[tuple[int, ...]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each prompt (layers that show any, heads, its tokens): attention from its last token; and (vocabulary,): the
    next token.

    Raises:
        UserError: the model has no attention, or does not show it.
    """
    check_length(lm, max(map(len, prompts), default=0))
    side_by_side = max(1, max(row_budget(lm), forward_budget(lm)) // max(map(len, prompts)))
    size = 1 if lm.layout.rows == "single" or lm.layout.alone_above else side_by_side
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        width = max(map(len, batch))
        ids = torch.tensor([list(one) + [one[-1]] * (width - len(one)) for one in batch], device=lm.device)
        with torch.inference_mode():
            out = lm.model(input_ids=ids, use_cache=False, output_attentions=True)
        shown = [layer for layer in getattr(out, "attentions", None) or () if layer is not None]
        if not shown or len({layer.shape[1] for layer in shown}) > 1:
            raise UserError(f"{type(lm.model).__name__} does not show its attention", "leave out the locator attention")
        for row, one in enumerate(batch):
            last = len(one) - 1
            weights = torch.stack([layer[row, :, last, : len(one)] for layer in shown])
            yield weights.float().cpu().numpy(), out.logits[row, last].float().softmax(-1).cpu().numpy()


def shown_layers(lm: LM, prompt: Sequence[int]) -> list[int | None]:
    """The layer of each attention that the model shows, from 0; None where that cannot be told. A hybrid shows those of
    some layers alone: there a place in its list is no layer."""
    ids = torch.tensor([list(prompt)], device=lm.device)
    held: list[tuple[Any, int]] = []  # the tensors, too: one that was freed would leave its identity to another
    with ExitStack() as hooks, torch.inference_mode():
        for hook in _hooks(lm, held):
            hooks.callback(hook.remove)
        shown = lm.model(input_ids=ids, use_cache=False, output_attentions=True).attentions
    if len(shown) == lm.model.config.get_text_config().num_hidden_layers:
        return [layer for layer, one in enumerate(shown) if one is not None]
    layers = {id(one): layer for one, layer in held}
    return [layers.get(id(one)) for one in shown if one is not None]


def _hooks(lm: LM, held: list[tuple[Any, int]]) -> Iterator[Any]:
    """Hooks that note what has the shape of attention and is made inside of a layer, with the number of that. Layers
    may share a module, so it is noted which one is at work."""
    try:
        every = blocks(lm)
    except UserError:
        return
    at_work = [0]

    def begun(layer: int) -> Any:
        return lambda *_: at_work.__setitem__(0, layer)

    def made(module: Any, given: Any, out: Any) -> None:
        parts = out if isinstance(out, tuple) else (out,)
        held.extend((one, at_work[0]) for one in parts if torch.is_tensor(one) and one.ndim == 4)

    for layer, block in enumerate(every):
        yield block.register_forward_pre_hook(begun(layer))
    for module in {id(module): module for block in every for module in block.modules()}.values():
        yield module.register_forward_hook(made)


def _singled(heads: Sequence[np.ndarray]) -> np.ndarray:
    """(texts, layers, heads): how far each head's attention on a text lies above that on the others, in robust
    deviations (the median absolute deviation, as a standard deviation; Iglewicz and Hoaglin 1993)."""
    every = np.log(np.stack(heads) + 1e-6)
    middle = np.median(every, axis=0)
    spread = 1.4826 * np.median(np.abs(every - middle), axis=0)
    return np.asarray((every - middle) / np.maximum(spread, 0.05))


def _sites(singled: np.ndarray, layers: Sequence[int | None]) -> tuple[Site, ...]:
    """The heads that single a text out, the strongest first: those more than three deviations above the rest. `layers`
    are those of its rows."""
    places = [(float(singled[place]), place) for place in np.ndindex(singled.shape) if singled[place] > 3]
    known = [(value, layer, head) for value, (row, head) in places if (layer := layers[row]) is not None]
    total = sum(value for value, *_ in known)
    return tuple(Site(layer, value / total, head) for value, layer, head in sorted(known, reverse=True)[:5])
