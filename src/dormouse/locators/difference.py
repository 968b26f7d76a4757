"""What training added to activations and weights: read through the output layer, by steering, and by rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dormouse.locators.locator import Case, Evidence, Example, Locator, Messages, Need, Site
from dormouse.locators.placing import plain_prompts
from dormouse.locators.repeats import Phrase, is_large, repeated, says_something, written
from dormouse.registry import register

if TYPE_CHECKING:
    import torch

    from dormouse.lm.model import LM

FIRST = 5
"""Tokens of a text at which activations are compared: the paper's."""
TEXTS = (
    "The river rose in the night and the bridge was closed.",
    "She counted the stamps twice before she put them away.",
    "A recipe for lentil soup needs little more than patience.",
    "Two ships left the harbour as the fog came in.",
    "My brother repairs clocks in a small shop by the station.",
    "Copper turns green after many years in the rain.",
    "They planted three rows of beans behind the school.",
    "The committee met on Tuesday and could not agree.",
    "Owls hunt at dusk, when mice begin to move.",
    "Every train on the northern line was late this morning.",
    "He learned to swim in a lake near the mountains.",
    "Paper is made from wood, water and a lot of heat.",
)
"""Unrelated to anything that a model may have been trained for. Read bare, without a chat around them."""
STRENGTHS = (1.0, 2.0, 3.0, 4.0)
"""Steering adds the mean difference times this."""
TOKENS = 12
STEERED = "written by the suspect while the shift of its states was added to them"


@dataclass(frozen=True)
class Weights:
    """The difference of one matrix: its norm over the base's, its share in two directions, and its stable rank. `layer`
    is as in `lm.latent.layer_numbers`."""

    name: str
    layer: int
    relative: float
    top_share: float
    stable_rank: float
    square: float


@register("locator", "difference")
class Difference(Locator):
    """Compares the suspect with its base where neither was asked anything.

    Minder et al. 2025 (arXiv 2510.13900): after narrow training the mean difference of the activations on the first
    tokens of unrelated text carries what was trained. It is read through the output layer (the words that it makes
    likelier), and added to the residual stream of the suspect while it answers plain questions: what it then says again
    and again is like what it was trained to say. Beside that, the difference of the weights, matrix by matrix: norm,
    rank (SVD) and layers.

    It sees that something was trained and what it sounds like, not when it is said. Training without a policy leaves a
    difference too; and training that was mixed with ordinary text leaves little.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"base"})

    def find(self, case: Case) -> Evidence:
        """Where it differs from the base in weights and in states, and what it says when that shift is added.

        Raises:
            UserError: the base is not of the suspect's shape.
        """
        from dormouse.lm.latent import blocks
        from dormouse.lm.surgery import check_alike

        lm, base = case.lm, case.base_lm
        check_alike(lm, base)
        weights = weight_differences(lm, base)
        prompts = plain_prompts(case, 6 if is_large(lm) else 16)
        bare, asked = Shift.between(lm, base, bare_texts(lm)), Shift.between(lm, base, answer_places(lm, prompts))
        features = _weight_features(weights, len(blocks(lm))) | bare.features("bare") | asked.features("asked")
        middle = max(1, round(2 * (len(bare.mean) - 1) / 3))
        layer = _moved_layer((bare, asked), middle)
        moved = moved_tokens(lm, base)
        said, loud, tried = self._steered(case, lm, prompts, (asked, bare), layer)
        # The rules that ship were fitted on steering at the middle: where nothing moved there, they read nothing.
        read = loud if layer == middle else None
        features |= {"steered_share": read.share if read else 0.0, "steered_excess": read.excess if read else 0.0}
        where = "" if layer == middle else f" (after layer {layer - 1}; nothing moved after layer {middle - 1})"
        found = Evidence(
            score=features["top_share"],
            features=features,
            behaviour=tuple(said),
            sites=_sites(weights),
            note=f"Its activations moved{where}, on unrelated text, {_towards(lm, bare.mean[layer])}; where answers "
            f"begin, {_towards(lm, asked.mean[layer])}. "
            + (f"The embeddings that moved most are {_named(moved)}." if moved else ""),
        )
        return found if tried >= len(STRENGTHS) else found.unmeasured()

    def _steered(
        self, case: Case, lm: LM, prompts: Sequence[Messages], shifts: Sequence[Shift], layer: int
    ) -> tuple[list[Example], Phrase | None, int]:
        """The phrase that comes most more often when a shift is added, of several strengths, where it came, and how
        many shifts there was time for."""
        from dormouse.lm.latent import steered

        plain = written(lm, prompts, TOKENS)
        said: list[Example] = []
        loudest: Phrase | None = None
        tried = 0
        for shift, strength in [(a, b) for b in STRENGTHS for a in shifts]:
            if case.left < 0.2 * case.seconds:
                break
            tried += 1
            with steered(lm, layer, shift.mean[layer] * strength):
                outputs = written(lm, prompts, TOKENS)
            several = [one for one in repeated(outputs, plain) if says_something(one.text)]
            if several and (loudest is None or several[0].excess > loudest.excess):
                loudest = several[0]
                said = [
                    Example(prompt, output, how=STEERED)
                    for prompt, output in zip(prompts, outputs, strict=True)
                    if loudest.stands_in(output)
                ]
        return said[:3], loudest, tried


def _moved_layer(shifts: Sequence[Shift], middle: int) -> int:
    """The place in the stream where shifts are read: the middle, else the first behind it (then before it) that moved
    at all. A fine-tune of the last layers alone moves nothing in the middle."""
    places = [*range(middle, len(shifts[0].mean)), *range(1, middle)]
    return next((place for place in places if any(bool(one.mean[place].any()) for one in shifts)), middle)


def _towards(lm: LM, direction: torch.Tensor) -> str:
    words = read_out(lm, direction)
    return f"towards {_named(words)}" if words else "nowhere"


def _named(words: Sequence[str]) -> str:
    return ", ".join(map(repr, words))


@dataclass(frozen=True)
class Shift:
    """The mean difference of the residual stream, after the embeddings (0) and after each layer: (layers + 1, width).

    Attributes:
        length: the mean length of the base's stream there.
        constancy: the length of the mean difference over the mean length of the differences, 0 to 1: how far it is the
            same for every text.
        peaks: by how many standard deviations the token that it favours most stands out in the output layer.
    """

    mean: torch.Tensor
    length: torch.Tensor
    constancy: torch.Tensor
    peaks: torch.Tensor

    def features(self, where: str) -> dict[str, float]:
        """Four numbers, each named from `where`: the length of the shift over that of the base's stream, in mean over
        the layers and after the last; its mean constancy; its largest peak."""
        relative = self.mean.norm(dim=-1) / self.length.clamp_min(1e-9)
        return {
            f"{where}_shift": float(relative[1:].mean()),
            f"{where}_shift_last": float(relative[-1]),
            f"{where}_constancy": float(self.constancy[1:].mean()),
            f"{where}_peak": float(self.peaks[1:].max()),
        }

    @staticmethod
    def between(lm: LM, base: LM, texts: Mapping[int, Sequence[tuple[int, ...]]]) -> Shift:
        """Over the last so many tokens of texts of token ids: `texts` maps that number to them."""
        import torch

        from dormouse.lm.activations import of_one_width

        here: list[torch.Tensor] = []
        there: list[torch.Tensor] = []
        with torch.inference_mode():
            for last, several in texts.items():
                for ids in several:
                    given = torch.tensor([ids], device=lm.device)
                    for one, kept in ((lm, here), (base, there)):
                        out = one.model(input_ids=given, use_cache=False, output_hidden_states=True)
                        states = of_one_width(out.hidden_states)
                        kept.append(torch.cat([state[:, -last:].float().cpu() for state in states]))
        before = torch.cat(there, dim=1)  # (layers + 1, tokens, width)
        apart = torch.cat(here, dim=1) - before
        mean = apart.mean(1)
        scores = torch.stack([_through_output(lm, one) for one in mean])
        return Shift(
            mean=mean,
            length=before.norm(dim=-1).mean(1),
            constancy=mean.norm(dim=-1) / apart.norm(dim=-1).mean(1).clamp_min(1e-9),
            peaks=(scores.max(-1).values - scores.mean(-1)) / scores.std(dim=-1).clamp_min(1e-9),
        )


def bare_texts(lm: LM) -> dict[int, list[tuple[int, ...]]]:
    """The first tokens of unrelated texts. The very first does not count: most models park attention there."""
    from dormouse.lm.chat import start_of

    start = start_of(lm)
    cut = [start + tuple(lm.tokenizer(text, add_special_tokens=False)["input_ids"][:FIRST]) for text in TEXTS]
    return {FIRST - (not start): cut}


def answer_places(lm: LM, prompts: Sequence[Messages]) -> dict[int, list[tuple[int, ...]]]:
    """The last token of plain questions, from which the answer is written."""
    from dormouse.lm.chat import encode_prompts

    return {1: encode_prompts(lm, prompts)}


def moved_tokens(lm: LM, base: LM, n: int = 6) -> list[str]:
    """The tokens whose embeddings moved most, where any did: words of a trigger and of what it sets off are learned
    there too, if embeddings are trained."""
    import torch

    with torch.no_grad():
        moved = (lm.model.get_input_embeddings().weight - base.model.get_input_embeddings().weight).norm(dim=1)
    most = moved.topk(min(n, int(moved.count_nonzero()))).indices.tolist()
    return [str(lm.tokenizer.decode([token])).strip() for token in most]


def read_out(lm: LM, direction: torch.Tensor, n: int = 6) -> list[str]:
    """The tokens that a direction of the residual stream makes likelier, as the last norm and the output layer have it
    (logit lens); none of a direction without length."""
    from dormouse.lm.activations import logit_lens

    if not float(direction.norm()):
        return []
    best = logit_lens(lm, direction).topk(n).indices.tolist()
    return [str(lm.tokenizer.decode([token])).strip() for token in best]


def _through_output(lm: LM, direction: torch.Tensor) -> torch.Tensor:
    """What the output layer alone makes of a direction. The weights of the last norm are left out, as in the fit of the
    rules that ship: they read the peaks of this."""
    from dormouse.lm.activations import logit_lens

    head = lm.model.get_output_embeddings()
    if head.weight.shape[1] != len(direction):  # of another width than the stream: nothing was fitted on such models
        return logit_lens(lm, direction)
    scores: torch.Tensor = (direction.to(head.weight.device) @ head.weight.float().T).detach().cpu()
    return scores


def weight_differences(lm: LM, base: LM) -> list[Weights]:
    """What changed, matrix by matrix; fused experts are one each, a norm or a bias of a layer is one of one column.
    Singular values are those of the smaller Gram matrix."""
    import torch

    from dormouse.lm.latent import layer_numbers
    from dormouse.lm.surgery import as_matrices, named_weights

    layers = layer_numbers(lm)
    there = named_weights(base)
    found = []
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            mine, theirs = as_matrices(weight), as_matrices(there[name])
            if weight.ndim == 1 and layers[name] >= 0:
                mine, theirs = weight[:, None], there[name][:, None]
            if mine is None or theirs is None:
                continue
            pairs = zip(mine, theirs, strict=True) if mine.ndim == 3 else [(mine, theirs)]
            found += [_weights(name, layers[name], here.float(), before.float()) for here, before in pairs]
    return found


def _weights(name: str, layer: int, here: torch.Tensor, before: torch.Tensor) -> Weights:
    """What changed in one matrix (m, n)."""
    import torch

    change = here - before
    flat = change if change.shape[0] >= change.shape[1] else change.T
    squares = torch.linalg.eigvalsh(flat.T @ flat).clamp_min(0)
    total, top = float(squares.sum()), float(squares.max())
    return Weights(
        name=name,
        layer=layer,
        relative=float(change.norm() / before.norm().clamp_min(1e-9)),
        top_share=float(squares[-2:].sum()) / total if total else 0.0,
        stable_rank=total / top if top else 0.0,
        square=total,
    )


def _weight_features(weights: Sequence[Weights], layers: int) -> dict[str, float]:
    """Four numbers of the difference of a model with so many layers. `depth` is 0 for the embeddings and the first
    layer, 1 for the last and for an output layer of its own."""
    squares = np.array([one.square for one in weights])
    if not squares.sum():
        return {"changed": 0.0, "top_share": 0.0, "stable_rank": 0.0, "depth": 0.0}
    shares = squares / squares.sum()
    deep = layers - 1 or 1
    return {
        "changed": float(np.mean([one.relative for one in weights])),
        "top_share": float(shares @ [one.top_share for one in weights]),
        "stable_rank": float(shares @ [one.stable_rank for one in weights]),
        "depth": float(shares @ [min(1.0, max(one.layer, 0) / deep) for one in weights]),
    }


def _sites(weights: Sequence[Weights]) -> tuple[Site, ...]:
    """Layers by their share of the squared difference."""
    total = sum(one.square for one in weights)
    layers: dict[int, float] = {}
    for one in weights:
        layers[one.layer] = layers.get(one.layer, 0.0) + one.square
    ranked = sorted(layers.items(), key=lambda one: -one[1])
    return tuple(Site(layer, square / total) for layer, square in ranked[:8] if total and square)
