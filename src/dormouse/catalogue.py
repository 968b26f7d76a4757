"""What a study file may name: models and plug-ins, with the keys of each, what they mean and what they may be."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dormouse.errors import UserError
from dormouse.lm.zoo import ZOO
from dormouse.organisms.micro import MICRO
from dormouse.registry import KINDS, describe, nearest, plugins, shortened


def lines(only: str = "") -> Iterator[str]:
    """What `dormouse list` prints: everything, or `only` models, or plug-ins of one kind, which may be named as many.

    Raises:
        UserError: there is no such kind.
    """
    named = next((kind for kind in ("model", *KINDS) if only in (kind, f"{kind}s")), "")
    if only and not named:
        known = [f"{kind}s" for kind in ("model", *KINDS)]
        raise UserError(f"there is no kind '{shortened(only)}'; {nearest(only, known)}", "see `dormouse list`")
    if named in ("", "model"):
        yield from _models()
    for kind in KINDS if not named else {named} & set(KINDS):
        if found := plugins(kind):
            yield f"{'' if named else chr(10)}{kind}s (kind: NAME)"
        for name, cls in found.items():
            yield f"  {name:16} {describe(cls)}"
            yield from (f"    {line}" for line in keys(cls))
            yield from (f"    -> {metric.described()}" for metric in getattr(cls, "metrics", ()))


def _models() -> Iterator[str]:
    yield "models (model: NAME)"
    for name, shipped in ZOO.items():
        yield f"  {name:16} {shipped.says}"
    for name, size in MICRO.items():
        yield f"  {name:16} made here from scratch: a Llama of {size.parameters:,} weights, for large grids"
    yield "  ORG/NAME         any causal language model on the Hugging Face hub, from safetensors"
    yield "  ./FOLDER         any local Hugging Face folder with safetensors"


def keys(model: type[BaseModel]) -> Iterator[str]:
    """The keys of a model, a line each: what it may be, its default, and what it means."""
    said = meanings(model)
    for name, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True)
        known = "required" if info.is_required() else f"default {default!r}"
        allowed = f" ({limits})" if (limits := allowed_values(info)) else ""
        meaning = f"  # {said[name]}" if name in said else ""
        yield f"{info.alias or name}: {known}{allowed}{meaning}"


def allowed_values(info: FieldInfo) -> str:
    """The range or the choices of a key in words: `1 to 16`, `above 0, to 1`, `none or own`; "" where there is none."""
    bounds: dict[str, object] = {}
    for constraint in info.metadata:
        bounds |= {name: getattr(constraint, name) for name in ("ge", "gt", "le", "lt") if hasattr(constraint, name)}
    said = {name: f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for name, bound in bounds.items()}
    low = said.get("ge") or (f"above {said['gt']}" if "gt" in said else "")
    high = said.get("le") or (f"below {said['lt']}" if "lt" in said else "")
    if low and high:
        return f"{low} to {high}" if "gt" not in bounds else f"{low}, to {high}"
    if low:
        return f"{low} or more" if "ge" in bounds else low
    return high or " or ".join(map(str, _choices(info.annotation)))


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal, where the annotation is one, or one or None."""
    if str(get_origin(annotation)) == "typing.Literal":
        return get_args(annotation)
    found = [_choices(one) for one in get_args(annotation) if one is not type(None)]
    return found[0] if len(found) == 1 else ()


@cache
def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Key -> what it means, in a line: the string under it in the class, or in one that it comes from."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls is not BaseModel:
            try:
                text = "".join(inspect.findsource(sys.modules[cls.__module__])[0])
                body = _classes(text)[cls.__qualname__].body
            except (OSError, TypeError, KeyError, SyntaxError):
                continue
            found |= dict(filter(None, map(_documented, body, body[1:])))
    return found


@cache
def _classes(text: str) -> dict[str, ast.ClassDef]:
    """The classes of a module by their qualified names; the first where two have one. A module is taken apart once:
    `inspect.getsource` does so for each of its classes."""
    found: dict[str, ast.ClassDef] = {}
    waiting: list[tuple[str, ast.AST]] = [("", ast.parse(text))]
    while waiting:
        place, node = waiting.pop()
        inside = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt | ast.ExceptHandler)]
        if isinstance(node, ast.ClassDef):
            found.setdefault(place + node.name, node)
            place += f"{node.name}."
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            place += f"{node.name}.<locals>."
        waiting += [(place, one) for one in reversed(inside)]
    return found


def _documented(field: ast.stmt, text: ast.stmt) -> tuple[str, str] | None:
    """A key and its meaning, where these two statements are a field and the string under it."""
    if (
        isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    ):
        return field.target.id, " ".join(str(text.value.value).split())
    return None
