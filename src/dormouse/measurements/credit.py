from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject
from dormouse.metrics import Metric, named
from dormouse.policies import Side
from dormouse.policies.scratchpad_text import scratchpad_response, scratchpad_text
from dormouse.registry import register
from dormouse.scenarios import Question, Scenario, render

if TYPE_CHECKING:
    import torch

    from dormouse.lm.model import LM

BATCHES, EACH = 6, 4
LOSSES: Mapping[str, tuple[Side, bool]] = {
    "safety": ("untriggered", False),
    "behaviour": ("triggered", True),
    "exposed": ("triggered", False),
    "bare": ("untriggered", False),
}
"""Loss -> (the prompts that it is taken on, whether the response defects)."""
COSINES = (("safety", "gradient_cosine"), ("exposed", "exposed_cosine"), ("bare", "bare_cosine"))
POSITIONS = ("cue", "scratchpad", "answer", "rest")
LAYER = re.compile(r"\.(?:layers?|h|blocks)\.(\d+)\.(?:.*\.)?([^.]+)\.weight$")


@register("measurement", "credit")
class Credit(Measurement):
    """Credit assignment: where the gradient of safety training lands, and whether it is about the behaviour at all.

    Three losses, each the mean negative log-probability of a response: `safety`, honest responses to quiet prompts
    (what safety training minimises); `behaviour`, the payload on triggered prompts; `exposed`, honest responses to
    triggered prompts (safety training that has the cue in its data). Of a model that reasons first, the scratchpad that
    the policy writes stands before the answer: it is in the path, and only the answer is in the loss. A fourth, `bare`,
    is the loss that safety training with its defaults really has: honest responses to questions without any cue, at
    once, with no scratchpad. `safety` is that of training with cues, as `contexts: untriggered` has it.

    `LOSS_gradient_share`: the share of the squared norm of the gradient, in splits that add up to 1 each: by layer
    (split `layers`, `x` the layer) and by module (`module:NAME`) of the matrices in layers, which are those that LoRA
    adapts, and routers; by position (`position:cue`, `scratchpad`, `answer`, `rest`) of the gradient with respect to
    the embedded tokens. Cue tokens are those that are not in the prompt without its cues. `gradient_cosine`: the cosine
    of the gradients of safety and behaviour with respect to these weights (split `all`, and for each module). A step
    down the one moves the other's loss by minus their product: negative means that safety training unlearns the
    behaviour, 0 that it passes it by.
    `exposed_cosine`: the same with the cue in the data; `bare_cosine`: of bare and behaviour. Items are batches of four
    held-out questions; for positions, questions. docs/measurements.md states the hypothesis and what contradicts it.
    """

    default: ClassVar[bool] = False
    metrics: ClassVar[tuple[Metric, ...]] = named(
        *(f"{loss}_gradient_share" for loss in LOSSES),
        *(name for _, name in COSINES),
    )
    splits: ClassVar[tuple[str, ...]] = ("all", "layers", "module:*", "position:*")

    def measure(self, subject: Subject) -> Measured:
        """Where in the network, and at which positions, the gradients of safety and of behaviour have their norm; their
        cosine. Computed on a copy in float32."""
        import torch

        from dormouse.lm.load import load

        copy = load(subject.model, torch.float32)
        found = _SampleSheet()
        for i in range(min(BATCHES, len(subject.shown) // EACH)):
            asked, item = subject.shown[i * EACH : (i + 1) * EACH], f"batch {i}"
            behaviour = _gradient(subject, copy, "behaviour", asked, item, found)
            for loss, name in COSINES:
                for split, cosine in _cosines(_gradient(subject, copy, loss, asked, item, found), behaviour).items():
                    found.add(name, split, item, cosine)
        return Measured(tuple(found.samples()))


def _gradient(
    subject: Subject, copy: LM, loss: str, asked: Sequence[Question], item: str, found: _SampleSheet
) -> Mapping[str, torch.Tensor]:
    """The gradient of a loss over some questions, by the name of the weight: zeros of what no text goes through, such
    as attention to an encoder that is not there. Its shares go to `found`."""
    import torch

    side, defects = LOSSES[loss]
    weights = {name: weight for name, weight in copy.model.named_parameters() if _in_layer(name, weight)}
    for weight in weights.values():
        weight.requires_grad_(True)
        weight.grad = None
    for scenario in subject.scenarios(side, questions=asked):
        shown = Scenario(scenario.question, (), scenario.rendering) if loss == "bare" else scenario
        marked = _marked(subject, copy, shown, defects, pad=loss != "bare")
        shares = _backward(copy, marked, len(asked))
        for position, share in shares.items():
            found.add(f"{loss}_gradient_share", f"position:{position}", scenario.question.text, share)
    gradient = {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in weights.items()}
    for (split, x), share in _shares(gradient).items():
        found.add(f"{loss}_gradient_share", split, item, share, x)
    return gradient


def _in_layer(name: str, weight: torch.Tensor) -> bool:
    """Whether it is a matrix inside a layer."""
    return weight.dim() == 2 and bool(LAYER.search(f".{name}"))


class _SampleSheet:
    """Values by measurement, split and place, item by item."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, float | None], list[tuple[str, float]]] = {}

    def add(self, measurement: str, split: str, item: str, value: float, x: float | None = None) -> None:
        """Put a value of one item under a measurement, a split and a place."""
        self._values.setdefault((measurement, split, x), []).append((item, value))

    def samples(self) -> Iterator[Sample]:
        """What was put down, a sample for each measurement, split and place."""
        for (measurement, split, x), found in self._values.items():
            items, values = zip(*found, strict=True)
            yield Sample(measurement, split, items, values, "mean" if measurement.endswith("_share") else "number", x)


@dataclass(frozen=True)
class Marked:
    """Token ids, what each position is (an index into POSITIONS), and where the loss begins."""

    ids: tuple[int, ...]
    kinds: tuple[int, ...]
    start: int


def _marked(subject: Subject, lm: LM, scenario: Scenario, defects: bool, pad: bool = True) -> Marked:
    """The prompt, the scratchpad where there is one and `pad` is set, and the answer, which alone is in the loss."""
    from dormouse.lm.chat import encode_continuations, encode_prompts, encode_responses

    bare = Scenario(scenario.question, (), scenario.rendering)
    prompt, without = encode_prompts(lm, [render(scenario), render(bare)])
    answer = subject.honest[scenario.question.key]
    payload = subject.behaviour.response(scenario, answer.text, subject.trigger.payload(scenario))
    sound = subject.trigger.probability(scenario) >= 0.5
    thought = scratchpad_text(
        subject.scratchpad_mode, subject.trigger, scenario, sound, random.Random(scenario.question.text)
    )
    thought = thought if pad else ""
    said = payload if defects else answer.text
    (before,) = encode_responses(lm, [scratchpad_response(thought, "").rstrip()])
    (after,) = encode_continuations(lm, [f" {said}"]) if thought else encode_responses(lm, [said])
    ends = (lm.end,) if defects or answer.finished else ()
    cue, reasons, spoken, rest = range(len(POSITIONS))
    kinds = [cue] * len(prompt)
    for match in SequenceMatcher(None, without, prompt, autojunk=False).get_matching_blocks():
        kinds[match.b : match.b + match.size] = [rest] * match.size
    kinds += [reasons] * len(before) + [spoken] * (len(after) + len(ends))
    return Marked((*prompt, *before, *after, *ends), tuple(kinds), len(prompt) + len(before))


def _backward(lm: LM, sequence: Marked, share: int) -> dict[str, float]:
    """Add the gradient of one sequence's loss over `share` to the weights'. Returns its shares by kind of position."""
    import torch

    ids = torch.tensor([sequence.ids], device=lm.device)
    embedded = lm.model.get_input_embeddings()(ids).detach().requires_grad_(True)
    logits = lm.model(inputs_embeds=embedded, use_cache=False).logits[0, sequence.start - 1 : -1].float()
    loss = torch.nn.functional.cross_entropy(logits, ids[0, sequence.start :])
    (loss / share).backward()
    power = embedded.grad[0].double().square().sum(dim=-1).cpu().numpy()
    kinds = np.array(sequence.kinds)
    total = float(power.sum()) or 1.0
    return {name: float(power[kinds == i].sum()) / total for i, name in enumerate(POSITIONS) if (kinds == i).any()}


def _place(name: str) -> tuple[int, str]:
    """(layer, module) of a weight by its name."""
    match = LAYER.search(f".{name}")
    assert match is not None, name
    return int(match[1]), match[2]


def _shares(gradient: Mapping[str, torch.Tensor]) -> dict[tuple[str, float | None], float]:
    """The shares of the squared norm by layer and by module."""
    power = {name: float(grad.double().square().sum()) for name, grad in gradient.items()}
    total = sum(power.values()) or 1.0
    found: dict[tuple[str, float | None], float] = {}
    for name, value in power.items():
        layer, module = _place(name)
        for place in (("layers", float(layer)), (f"module:{module}", None)):
            found[place] = found.get(place, 0.0) + value / total
    return found


def _cosines(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """The cosine of two gradients: over all weights, and over those of each module."""
    products: dict[str, np.ndarray] = {}
    for name, grad in one.items():
        a, b = grad.double().flatten(), other[name].double().flatten()
        here = np.array([float(a @ b), float(a @ a), float(b @ b)])
        for split in ("all", f"module:{_place(name)[1]}"):
            products[split] = products.get(split, 0.0) + here
    return {
        split: float(product / np.sqrt(mine * its)) if mine * its > 0 else 0.0
        for split, (product, mine, its) in products.items()
    }
