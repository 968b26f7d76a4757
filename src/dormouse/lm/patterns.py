"""The patterns by which an adapter names the layers that it changes. No torch.

They are regular expressions of whoever made it, and peft holds them to the name of every layer: one such as `(a+)+!`
comes to no end there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from dormouse.errors import UserError
from dormouse.lm.checkpoint import ADAPTER
from dormouse.lm.limits import Limits, attempt

NAME = re.compile(r"[\w.-]*")
"""What peft takes to no trouble: a name, maybe with dots."""
ALONE = ("target_modules", "exclude_modules", "feedforward_modules")
"""Keys whose text is a pattern; a list of theirs holds names."""
INSIDE = ("layers_pattern", "modules_to_save", "target_modules", "trainable_token_indices")
"""Keys whose texts peft puts into a pattern; beside them all whose names end in `_pattern`."""
AROUND = (r"(.*\.)?({})$", r"(?:^|.*?\.){}\.(?P<idx>\d+)\.", r"(^|.*\.){}($|\..*)", r".*\.{}$")
"""The patterns into which it puts them."""
LIMITS = Limits(seconds=5, wall=60.0)


def refuse_endless(said: Mapping[str, Any], layers: Collection[str], folder: Path) -> None:
    """Hold the patterns of an adapter to the names of a model's layers, as peft will, in a process with limits.

    Args:
        said: the adapter's configuration; `folder` is where it lies.

    Raises:
        UserError: one does not come to an end within them.
    """
    found = list(_patterns(said))
    if not found:
        return

    def work(step: Callable[[str], None]) -> None:
        for key, pattern in found:
            step(f"{key} {pattern[:60]!r}")
            try:
                compiled = re.compile(pattern)
            except re.error:
                continue  # peft says so itself
            for layer in layers:
                compiled.fullmatch(layer)
                compiled.match(layer)

    if fault := attempt(work, LIMITS):
        what = f"{fault.step} in {folder / ADAPTER} cannot be held to the names of layers: {fault.what}"
        raise UserError(what, "write a list of names there, or a plain alternation such as `.*\\.(q_proj|v_proj)`")


def _patterns(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys and the patterns that are more than a name, as peft reads them."""
    for key, value in said.items():
        texts = [value] if isinstance(value, str) else value if isinstance(value, list | dict) else []
        odd = [text for text in texts if isinstance(text, str) and not NAME.fullmatch(text)]
        if key in ALONE and isinstance(value, str):
            yield from ((key, text) for text in odd)
        if key in INSIDE or key.endswith("_pattern"):
            yield from ((key, around.format(text)) for text in odd for around in AROUND)
