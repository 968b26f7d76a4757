"""The shape of the code in numbers: `python benchmarks/structure.py`.

Circles of imports (those inside functions and under TYPE_CHECKING too), the largest files, the longest functions, the
most parameters, the share of public functions with a docstring, loosely typed dictionaries, and what `import dormouse`
costs.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "dormouse"
LOOSE = re.compile(r"(?:dict|Mapping)\[str, Any\]")


def module(path: Path) -> str:
    parts = ("dormouse", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: Path = SOURCE) -> dict[str, set[str]]:
    """Module -> the modules of dormouse that it imports, wherever in the file."""
    files = {module(path): path for path in sorted(source.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}", node


def length(node: ast.FunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def parameters(node: ast.FunctionDef) -> int:
    names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def main() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    every = list(functions())
    public = [node for _, node in every if not node.name.startswith("_")]
    text = "".join(path.read_text(encoding="utf-8") for path in lines)
    script = "import time; t = time.perf_counter(); import dormouse; print(time.perf_counter() - t)"
    times = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True) for _ in range(5)]
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
    loose = len(LOOSE.findall(text))
    print(
        f"| dict[str, Any] and Mapping[str, Any] | {loose} ({1000 * loose / sum(lines.values()):.1f} in 1,000 lines) |"
    )
    print(f"| .get( | {text.count('.get(')} |")
    print(f"| import dormouse, ms (best of 5) | {1000 * min(float(one.stdout) for one in times):.1f} |")


if __name__ == "__main__":
    main()
