"""How pages are made from templates: foreign strings are made visible, and markup in them is inert."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dormouse.report.plain import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> Environment:
    """The templates of this room. A name that nobody gave is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("dormouse.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    from markupsafe import Markup

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
