"""YAML as plain data: what a study says, in its file or beside it, before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from dormouse.errors import UserError
from dormouse.registry import shortened
from dormouse.studies.axis_names import Place

DEEPEST = 20
LONGEST_NUMBER = 100
"""Signs in a number: what is longer is one that Python would not print."""
OTHER_BASE = re.compile(r"[-+]?((?P<octal>0[0-7_]+)|[0-9_.]+(:[0-9_.]+)+)")
"""Numbers that YAML 1.1 reads otherwise than everybody: 1:30 is 90 there, and 02024 is 1044."""
YAML = "tag:yaml.org,2002:"
TAGS: dict[type[yaml.Node], set[str]] = {
    yaml.MappingNode: {f"{YAML}map"},
    yaml.SequenceNode: {f"{YAML}seq"},
    yaml.ScalarNode: {YAML + name for name in ("str", "int", "float", "bool", "null", "timestamp")},
}


READ_OTHERWISE = {"\t", "\ufeff", "!"}
"""Signs that libyaml does not read as PyYAML does."""

try:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]
except ImportError:  # there is a PyYAML without libyaml
    _Quick: Any = yaml.SafeLoader
else:

    class _Quick(Composer, CParser, Resolver):  # type: ignore[misc, no-redef]
        """libyaml finds what stands there, and PyYAML makes nodes of it: its own recursion would end the process where
        a text is nested too deep."""

        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            Composer.__init__(self)
            Resolver.__init__(self)


def nodes_of(text: str) -> yaml.Node | None:
    """The nodes of a text, as `yaml.compose` finds them, in an eighth of the time. What libyaml refuses PyYAML reads
    once more, to say what is wrong.

    Raises:
        YAMLError: it is no YAML; also RecursionError, ValueError.
    """
    if not READ_OTHERWISE & set(text):
        with suppress(yaml.YAMLError, ValueError):
            return yaml.compose(text, _Quick)  # type: ignore[no-any-return]
    return yaml.compose(text, yaml.SafeLoader)  # type: ignore[no-any-return]


def plain_data(root: yaml.Node, lines: dict[Place, int], called: str) -> Any:
    """A YAML node as plain data. Keys are texts, and words for true and false stay words: what stands there decides.

    Args:
        lines: where the line of every place is put down.
        called: the name of the text, for messages.

    Raises:
        UserError: it is too deep or too large, a key is given twice or is none, or a value means nothing here.
    """
    return _plain(root, (), lines, called, yaml.SafeLoader(""))


def _plain(node: yaml.Node, at: Place, lines: dict[Place, int], called: str, loader: Any) -> Any:
    lines[at] = node.start_mark.line + 1
    where = f"{called}, line {lines[at]}"
    if len(at) > DEEPEST or len(lines) > 50_000:  # aliases can nest and multiply ("billion laughs")
        raise UserError(f"{where}: too deep or too large for a study", "write a plain study file")
    if node.tag not in TAGS[type(node)]:
        raise UserError(f"{where}: the tag '{shortened(node.tag)}' means nothing here", "remove the tag")
    if isinstance(node, yaml.MappingNode):
        result: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            line = key_node.start_mark.line + 1
            if key is None or key == "<<" or any("\ud800" <= sign <= "\udfff" for sign in key):
                raise UserError(f"{called}, line {line}: a key must be a plain word", "fix the key there")
            if key in result:
                raise UserError(f"{called}, line {line}: duplicate key '{key}'", "remove one of them")
            result[key] = _plain(value_node, (*at, key), lines, called, loader)
            lines[(*at, key)] = line
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*at, i), lines, called, loader) for i, item in enumerate(node.value)]
    if node.tag in (f"{YAML}int", f"{YAML}float") and len(node.value) > LONGEST_NUMBER:
        raise UserError(f"{where}: a number of {len(node.value):,} signs", "write a number that a study can use")
    if node.tag in (f"{YAML}int", f"{YAML}float") and (other := OTHER_BASE.fullmatch(node.value)):
        base = "eight, as it begins with 0" if other["octal"] else "sixty, as it has colons"
        what = f"{where}: YAML reads {node.value} as a number of base {base}"
        raise UserError(what, f"write it in decimal, or in quotes as a text: '{node.value}'")
    if not node.value.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in node.value):
        raise UserError(f"{where}: half of a character (a lone surrogate) in a text", "write the whole character")
    if node.tag == f"{YAML}bool":  # as it is written: pydantic takes true for a number too
        return node.value
    try:
        return loader.construct_object(node)
    # PyYAML trips over `!!int ''` and `!!timestamp x`: LookupError, AttributeError.
    except (yaml.YAMLError, ValueError, OverflowError, LookupError, AttributeError) as error:
        day = "there is no such day: write YYYY-MM-DD" if node.tag == f"{YAML}timestamp" else "write a plain value"
        raise UserError(f"{where}: '{str(node.value)[:40]}' cannot be read", day) from error
