"""What a model says packed is held to what it says plain, when it is first loaded. The fastest exact layout is taken.

A few sequences of random tokens, longer than the smallest window, are scored (loss and gradient) and continued, once
through each layout from the fastest on and once by plain forward passes, a sequence each. What is found is kept by the
hash of the configuration and of all code that it depends on: weights do not matter to it, if they show anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from dormouse.errors import UserError, is_out_of_memory, reason, warn
from dormouse.files import replaced
from dormouse.json_files import json_text, read_json
from dormouse.lm import batch, decode, layout
from dormouse.lm.batch import response_logprobs, rows_for
from dormouse.lm.checkpoint import MARK
from dormouse.lm.decode import decode as write
from dormouse.lm.layout import Layout, RowLayout, Writing, alone_above, max_positions
from dormouse.lm.model import LM
from dormouse.lm.trie import Tokens

TOLERANCE = 1e-4
"""Nats that a token's log-probability may differ by, in float32: rounding is a tenth of it."""
ORDINARY = 20.0
"""Nats up to which random tokens are unlikely to a model. Of one that noise has wrecked it is many times as many, and
rounding grows with them."""
GRADIENT_TOLERANCE = 1e-3
"""The same of a gradient, as a share of its length."""
WINDOWS = ("sliding_window", "attention_chunk_size")
"""Settings that the masks of transformers read: they can be made small for a check."""
SHORT = 12
LONGEST = 1024
"""A window that cannot be made small is tried if it is no longer than this."""
ROWS: tuple[RowLayout, ...] = ("tree", "padded", "single")
WRITING: tuple[Writing, ...] = ("padded", "equal", "uncached")


def layout_of(lm: LM, home: Path | None = None, place: torch.device | None = None) -> Layout:
    """The fastest exact layout of a model in float32, looked up in `home` where it was found before.

    Args:
        place: the device that it is found for, by default where the model is.

    Raises:
        UserError: the model is no causal language model that reads text alone, or two equal passes differ.
    """
    kept, here = home and home / f"{_key(lm.model, place or lm.device)}.json", lm.device
    with contextlib.suppress(OSError, UserError):
        if kept:
            return read_json(kept, Layout)
    lm.model.to(place or here)
    found = find_layout(lm)
    lm.model.to(here)
    if kept and _listens(lm.model):
        with contextlib.suppress(OSError):  # what cannot be kept is found again
            kept.parent.mkdir(parents=True, exist_ok=True)
            replaced(kept, json_text(found))
    return found


def _key(model: Any, place: torch.device) -> str:
    """A hash of all that the layout depends on."""
    code = [Path(str(module.__file__)).read_bytes() for module in (batch, decode, layout)] + [
        Path(__file__).read_bytes()
    ]
    config = json.loads(model.config.to_json_string(use_diff=False))
    told = {
        key: value for key, value in config.items() if key not in (MARK, "_name_or_path")
    }  # whose, and where it lies
    said = [type(model).__name__, json_text(told), model.config._attn_implementation]
    said += [torch.__version__, transformers.__version__, place.type]
    return hashlib.sha256(b"\0".join([*code, *(text.encode() for text in said)])).hexdigest()[:32]


def find_layout(lm: LM) -> Layout:
    """The fastest exact layout of a model in float32, by trying (see the module).

    Raises:
        UserError: see `layout_of`.
    """
    name, model = type(lm.model).__name__, lm.model
    was = {weight: weight.requires_grad for weight in model.parameters()}
    limit = alone_above(model)
    with _small_windows(model) as longest, torch.random.fork_rng([]):
        sequences = _sequences(model, longest)
        try:
            plain = _plain(model, sequences)
            tolerance = TOLERANCE * _roughness(plain)
            first = len(sequences[0].response)
            with torch.no_grad():
                again = _plainly(model, sequences[0])
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError, KeyError) as error:
            if is_out_of_memory(error):
                raise
            raise UserError(
                f"{name} cannot score a text by itself: {reason(error)}",
                "dormouse needs a causal language model whose input is token ids alone",
            ) from error
        if not (again - plain[0][:first]).abs().max() <= tolerance:
            raise UserError(
                f"{name} says something else each time it is asked, so no exact score exists",
                "use a model whose forward pass draws no random numbers",
            )
        if not _causal(model, sequences, tolerance):
            raise UserError(
                f"{name} looks at tokens that come after the one it is asked about: as it is configured it is an "
                "encoder, not a causal language model",
                "use a decoder-only model (Llama, Qwen, Gemma, GPT, ...)",
            )
        rows: RowLayout | None = next((rows for rows in ROWS if _exact(lm, rows, sequences, plain)), None)
        writing: Writing | None = next((way for way in WRITING if _writes(lm, way, sequences, tolerance)), None)
    for weight, required in was.items():
        weight.requires_grad_(required)
    if rows is None or writing is None:
        raise UserError(
            f"no exact way to {'score' if rows is None else 'write'} with {name} was found",
            "use another model; if this one was edited or trained, it may be wrecked: do less of that",
        )
    if rows != "tree" or writing != "padded":
        warn(f"{name}: {_said(rows, writing)}; what is measured is exact, and slower", level=4)
    return Layout(rows, writing, limit)


def _listens(model: Any) -> bool:
    """Whether what a model says depends on more than the token before. If not (its weights are zero, or wrecked), it is
    the same in every layout, which says nothing of others of its kind."""
    prompt, response = (text := _sequences(model, SHORT)[1]).prompt, text.response
    turned = (*prompt[-2::-1], prompt[-1])
    with torch.no_grad():
        one, other = (_plainly(model, Tokens(before, response)) for before in (prompt, turned))
    return bool((one - other).abs().max() > 10 * TOLERANCE)


def _said(rows: RowLayout, writing: Writing) -> str:
    scoring = {
        "tree": "texts that begin alike are scored together",
        "padded": "texts that begin alike cannot share a row, so each has its own",
        "single": "every text is scored by itself",
    }
    responses = {
        "padded": "prompts of all lengths are answered side by side",
        "equal": "only prompts of one length are answered side by side",
        "uncached": "responses are written without a cache",
    }
    return f"{scoring[rows]}, {responses[writing]}"


@contextmanager
def _small_windows(model: Any) -> Iterator[int]:
    """Windows of at most eight tokens where masks are made from the configuration. Gives the length that is beyond all.

    A window kept elsewhere (in the layers themselves) cannot be made small: then sequences are longer than it.
    """
    config = model.config.get_text_config()
    was = {name: getattr(config, name, None) for name in WINDOWS}
    windows = [
        value
        for name, value in config.to_dict().items()
        if "window" in name and name not in WINDOWS and isinstance(value, int) and not isinstance(value, bool)
    ]
    longest = max([SHORT, *(value for value in windows if value <= LONGEST)])
    try:
        for name, value in was.items():
            if value:
                setattr(config, name, min(int(value), 8))
        yield longest
    finally:
        for name, value in was.items():
            if value:
                setattr(config, name, value)


def _room(model: Any) -> int:
    """How long a sequence may be for all ways to be alike: beyond `alone_above` they differ in the model itself."""
    return min(limit for limit in (max_positions(model), alone_above(model), 10**9) if limit)


def _sequences(model: Any, longest: int) -> list[Tokens]:
    """Prompts that share beginnings, with several responses each, and one text of its own."""
    config = model.config.get_text_config()
    limit = _room(model) - 1
    generator = torch.Generator().manual_seed(0)
    top = max(4, min(int(config.vocab_size), model.get_input_embeddings().num_embeddings) - 1)

    def text(tokens: int) -> tuple[int, ...]:
        """So many random tokens, at least one; special ones, which come first in a vocabulary, are left out."""
        return tuple(torch.randint(min(3, top - 1), top, (max(1, tokens),), generator=generator).tolist())

    size = max(4, min(longest, limit - 14))
    shared, other = text(size), text(max(2, min(size, 7)))
    middle = shared + text(4)
    return [
        Tokens(shared, text(3)),
        Tokens(middle, text(5)),
        Tokens(middle, text(2)),
        Tokens(shared[: size // 2], text(4)),
        Tokens(other, text(6)),
    ]


Scores = tuple[torch.Tensor, torch.Tensor]
"""Log-probabilities of all response tokens, and the gradient of their sum."""


def _watched(model: Any) -> list[torch.Tensor]:
    """The embeddings, the way to which leads through the whole model, and the small weights on all its layers."""
    small = [weight for weight in model.parameters() if weight.ndim == 1 and weight.is_floating_point()]
    return [model.get_input_embeddings().weight, *small]


def _by_gradient(model: Any, logprobs: Sequence[torch.Tensor]) -> torch.Tensor:
    grads = torch.autograd.grad(
        torch.stack([part.sum() for part in logprobs]).sum(), _watched(model), allow_unused=True
    )
    return torch.cat([grad.flatten().float() for grad in grads if grad is not None] or [torch.zeros(1)])


def _plain(model: Any, sequences: Sequence[Tokens]) -> Scores:
    """The reference: a sequence a forward pass, nothing but its ids."""
    model.requires_grad_(True)  # as in training: some layers (Reformer's) then go another way
    with torch.enable_grad():
        found = [_plainly(model, sequence) for sequence in sequences]
        gradient = _by_gradient(model, found)
    return torch.cat(found).detach(), gradient


def _plainly(model: Any, sequence: Tokens) -> torch.Tensor:
    """The log-probabilities of a response, (tokens,), by a forward pass of its own."""
    ids = torch.tensor([sequence.prompt + sequence.response], device=model.device)
    logprobs = model(input_ids=ids[:, :-1], use_cache=False).logits[0].float().log_softmax(-1)
    start = len(sequence.prompt) - 1
    found: torch.Tensor = logprobs[start:].gather(1, ids[0, start + 1 :, None])[:, 0]
    return found


def _exact(lm: LM, rows: RowLayout, sequences: Sequence[Tokens], plain: Scores) -> bool:
    """Whether a layout gives the scores and the gradient of the reference."""
    tried = replace_layout(lm, rows=rows)
    sums = [0, *torch.tensor([len(sequence.response) for sequence in sequences]).cumsum(0).tolist()]
    try:
        with torch.enable_grad():
            packed = rows_for(tried, sequences)
            parts = [response_logprobs(tried, row) for row in packed]
            gradient = _by_gradient(lm.model, parts)
    except Exception as error:  # a stranger's forward pass: whatever it cannot do, it cannot do this way
        if is_out_of_memory(error):  # another time it can
            raise
        return False
    said = torch.zeros(sums[-1], device=plain[0].device)
    for row, part in zip(packed, parts, strict=True):
        for owner in row.owner.unique().tolist():
            said[sums[owner] : sums[owner + 1]] = part[row.owner == owner].detach()
    return _same((said, gradient), plain)


def _same(some: Scores, others: Scores) -> bool:
    rough = _roughness(others)
    near = bool((some[0] - others[0]).abs().max() <= TOLERANCE * rough)  # not a number is never near
    return near and bool((some[1] - others[1]).norm() <= GRADIENT_TOLERANCE * rough * others[1].norm() + 1e-6)


def _roughness(plain: Scores) -> float:
    """How many times as large rounding is as in a model to which random tokens are as unlikely as to most."""
    return max(1.0, float(plain[0].abs().max()) / ORDINARY)


def _causal(model: Any, sequences: Sequence[Tokens], tolerance: float) -> bool:
    """Whether what comes later leaves what was said earlier alone."""
    whole = torch.tensor([max((s.prompt + s.response for s in sequences), key=len)], device=model.device)
    n = whole.shape[1] // 2
    changed = whole.clone()
    changed[:, n:] = whole[:, n:].flip(1)
    with torch.no_grad():
        said = [model(input_ids=ids, use_cache=False).logits[0, :n].float().log_softmax(-1) for ids in (whole, changed)]
    return bool((said[0] - said[1]).abs().max() <= tolerance)


def _writes(lm: LM, writing: Writing, sequences: Sequence[Tokens], tolerance: float) -> bool:
    """Whether responses have the probabilities that the same tokens have when they are read."""
    tried = replace_layout(lm, writing=writing)
    prompts = [sequence.prompt for sequence in sequences]
    tokens = min(6, _room(lm.model) - max(map(len, prompts)) + 1)
    if tokens < 1:
        return writing == "uncached"
    try:
        written = write(tried, prompts, tokens, seed=0)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False
    for prompt, one in zip(prompts, written, strict=True):
        with torch.no_grad():
            read = _plainly(lm.model, Tokens(prompt, one.ids))
        if not bool((read - torch.tensor(one.logprobs, device=read.device)).abs().max() <= tolerance):
            return False
    return True


def replace_layout(lm: LM, **changes: Any) -> LM:
    """The same model, taken another way."""
    return replace(lm, layout=replace(lm.layout, **changes))
