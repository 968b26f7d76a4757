"""How pages are made from templates: foreign strings are made visible, and markup in them is inert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dormouse.report.plain_text import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(room: str = "dormouse.report") -> Environment:
    """The templates of a room, and of this one. A name that nobody gave is an error."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(one, ".") for one in dict.fromkeys((room, "dormouse.report"))]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    from markupsafe import Markup

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
