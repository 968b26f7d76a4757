"""How pages are made from templates: foreign strings are made visible, and markup in them is inert."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from dormouse.report.plain_text import visible

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment


def environment(room: str = "dormouse.report") -> Environment:
    """The templates of a room, and of this one. A name that nobody gave is an error."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        bytecode_cache=_compiled(),
        loader=ChoiceLoader([PackageLoader(one, ".") for one in dict.fromkeys((room, "dormouse.report"))]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _compiled() -> BytecodeCache:
    """What templates were compiled to in this process: a page after the first takes half the time."""
    from jinja2 import BytecodeCache
    from jinja2.bccache import Bucket

    class InMemory(BytecodeCache):
        """By the name and the content of a template."""

        def __init__(self) -> None:
            self.kept: dict[tuple[str, str], Any] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            """Give a template its code, if it was compiled before."""
            bucket.code = self.kept.get((bucket.key, bucket.checksum))

        def dump_bytecode(self, bucket: Bucket) -> None:
            """Keep the code of a template."""
            self.kept[bucket.key, bucket.checksum] = bucket.code

    return InMemory()


def _shown(value: Any) -> Any:
    from markupsafe import Markup

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
