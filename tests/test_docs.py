"""The documentation: its code loads, its commands exist, its links lead somewhere. Needs no mkdocs, runs nothing."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml

from dormouse import registry
from dormouse.claims.outlook import outlook
from dormouse.cli import main
from dormouse.registry import load_plugin
from dormouse.studies.file import parse_design, parse_study

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
HOW_TO = sorted(DOCS.glob("how-to/adding-*.md"))
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"^    (dormouse .*)$", re.M)
INLINE = re.compile(r"`(dormouse [^`]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"docs/[\w/.-]+\.(?:md|json|jsonl|png)\b")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


@cache
def reference() -> ModuleType:
    """docs/reference.py, which makes the pages of the reference."""
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def generated() -> Mapping[str, str]:
    return dict(reference().pages())


@pytest.fixture
def plug_ins_of(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Loads the plug-ins of a page, and forgets them afterwards."""
    for kind in registry.KINDS:
        registry.plugins(kind)
    before = {kind: dict(found) for kind, found in registry._registered.items()}
    path, modules = list(sys.path), set(sys.modules)

    def load(page: Path) -> set[tuple[str, str]]:
        for i, text in enumerate(blocks(page, "python")):
            file = tmp_path / f"{page.stem.replace('-', '_')}_{i}.py"
            file.write_text(text, encoding="utf-8")
            load_plugin(file)
        return {(kind, name) for kind in registry.KINDS for name in registry.plugins(kind) if name not in before[kind]}

    yield load
    registry._registered.clear()
    registry._registered.update(before)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("adding_"):
            del sys.modules[name]


@pytest.mark.parametrize("page", HOW_TO, ids=name_of)
def test_the_code_of_a_how_to_page_is_a_plug_in(page: Path, plug_ins_of: Any) -> None:
    kind = page.stem.removeprefix("adding-").removeprefix("an-").removeprefix("a-")
    assert {found for found, _ in plug_ins_of(page)} == {kind}
    ((_, name),) = plug_ins_of(page)
    assert registry.describe(registry.get(kind, name)).endswith((".", "?"))


def test_python_that_is_no_plug_in_compiles_and_names_what_is_there() -> None:
    for page in PAGES:
        nodes = [node for text in blocks(page, "python") for node in ast.walk(ast.parse(text, name_of(page)))]
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dormouse"):
                assert importlib.util.find_spec(str(node.module)), (name_of(page), node.module)
        names = [node for node in nodes if isinstance(node, ast.Name)]
        made = {one.id for one in names if isinstance(one.ctx, ast.Store)} | set(dir(builtins))
        made |= {(one.asname or one.name).partition(".")[0] for one in nodes if isinstance(one, ast.alias)}
        made |= {one.name for one in nodes if isinstance(one, ast.FunctionDef | ast.ClassDef)}
        made |= {one.arg for one in nodes if isinstance(one, ast.arg)}
        assert {one.id for one in names} <= made, f"{name_of(page)} uses what it nowhere makes"


def studies() -> Iterator[Any]:
    """Every yaml block that has organisms; one without a name is given one."""
    for page in PAGES:
        for i, text in enumerate(blocks(page, "yaml")):
            said = yaml.safe_load(text)
            if isinstance(said, dict) and "organisms" in said:
                whole = text if "name" in said else f"name: nameless\n{text}"
                yield pytest.param(page, whole, id=f"{name_of(page)}-{i}")


@pytest.mark.parametrize(("page", "text"), studies())
def test_a_study_in_the_documentation_is_one(page: Path, text: str, plug_ins_of: Any) -> None:
    if page in HOW_TO:
        plug_ins_of(page)
    assert parse_study(text, name_of(page)).organisms


def with_claims() -> Iterator[Any]:
    """The studies that a reader is told to run, and that claim something."""
    yield from (one for one in studies() if "claims" in yaml.safe_load(one.values[1]))
    for file in sorted((ROOT / "examples" / "own").glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        if "claims" in yaml.safe_load(text):
            yield pytest.param(file, text, id=file.stem)


@pytest.mark.parametrize(("page", "text"), with_claims())
def test_what_a_study_claims_it_could_support(page: Path, text: str, plug_ins_of: Any) -> None:
    """The tutorial's could not, whatever came out, and did not say so."""
    if page in HOW_TO:
        plug_ins_of(page)
    lines = outlook(parse_design(text, str(page)))
    assert lines
    assert not [line for line in lines if "support no effect" in line or "takes" in line]


def test_there_are_studies_to_check() -> None:
    assert len(list(studies())) >= 4


def command_lines() -> Iterator[tuple[Path, str, bool]]:
    """Every `dormouse ...`, and whether it stands alone, so that it must be whole."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in blocks(page, "bash", "text", ""):
            yield from ((page, line, True) for line in block.splitlines() if line.startswith("dormouse "))
        yield from ((page, line, True) for line in INDENTED.findall(text))
        yield from ((page, " ".join(line.split()), False) for line in INLINE.findall(FENCE.sub("", text)))


def wrong(line: str, whole: bool) -> str:
    """What is wrong with a command line; nothing is run. Brackets and bars mean what they do in a usage line."""
    words = shlex.split(line.translate(str.maketrans("[]|", "   ")), comments=True)[1:]
    command: click.Command = main
    context = click.Context(command, **command.context_settings)
    try:
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            if words[0] not in command.commands:
                return f"there is no command '{words[0]}'"
            command = command.commands[words.pop(0)]
            context = click.Context(command, parent=context)
        given, left, _ = command.make_parser(context).parse_args(list(words))
    except click.UsageError as error:
        return error.format_message()
    if left:
        return f"'{left[0]}' is one too many"
    needed = [one for one in command.params if isinstance(one, click.Argument) and one.required]
    missing = [str(one.name) for one in needed if not isinstance(given.get(str(one.name)), str | tuple)]
    if whole and missing:
        return f"it needs {', '.join(missing)}"
    return next(
        (f"there is no {word}" for word in words if word.startswith("examples/") and not (ROOT / word).is_file()), ""
    )


def test_every_command_and_option_exists() -> None:
    lines = list(command_lines())
    assert len(lines) > 30
    assert not [(name_of(page), line, said) for page, line, whole in lines if (said := wrong(line, whole))]


@pytest.mark.parametrize(
    "line", ["dormouse rum s.yaml", "dormouse run s.yaml --fast", "dormouse run", "dormouse run examples/no.yaml"]
)
def test_a_wrong_command_line_is_seen(line: str) -> None:
    assert wrong(line, True)


def slugs(text: str) -> set[str]:
    """The anchors of a page, as mkdocs (and GitHub) makes them from its headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)
    marked = {m for heading in headings for m in re.findall(r"\{ #(\S+) \}", heading)}
    words = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return marked | {re.sub(r"[-\s]+", "-", one) for one in words}


def text_of(target: Path) -> str | None:
    """The text of a page that is there, or is made when the site is built."""
    made = generated().get(str(target.relative_to(DOCS))) if target.is_relative_to(DOCS) else None
    if made is not None:
        return made
    return (target.read_text(encoding="utf-8") if target.suffix == ".md" else "") if target.is_file() else None


def broken(page: Path, text: str) -> Iterator[str]:
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        found = text_of((page.parent / file).resolve() if file else page)
        if found is None or (anchor and anchor not in slugs(found)):
            yield link


def test_every_link_leads_somewhere() -> None:
    written = [(page, page.read_text(encoding="utf-8")) for page in PAGES]
    made = [(DOCS / path, text) for path, text in generated().items()]
    assert not [(name_of(page), link) for page, text in [*written, *made] for link in broken(page, text)]


def test_a_broken_link_is_seen() -> None:
    page = DOCS / "index.md"
    assert list(broken(page, "[a](nowhere.md) ![b](figures/report.png) [c](tutorial.md#nothing) [d](https://x)")) == [
        "nowhere.md",
        "tutorial.md#nothing",
    ]


def test_every_page_is_in_the_navigation() -> None:
    class Plain(yaml.SafeLoader):
        """mkdocs.yml may hold tags of Python's; what they mean does not matter here."""

    Plain.add_multi_constructor("tag:", lambda loader, suffix, node: None)
    nav = re.findall(r"[\w/-]+\.md", str(yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Plain)["nav"]))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} | set(generated())
    assert sorted(nav) == sorted(pages)


def test_what_other_files_name_is_there() -> None:
    files = [
        *ROOT.glob("*.md"),
        *ROOT.glob("examples/*.yaml"),
        *ROOT.glob("benchmarks/*.py"),
        *ROOT.glob("tests/**/*.py"),
    ]
    named = {(name_of(file), path) for file in files for path in NAMED.findall(file.read_text(encoding="utf-8"))}
    assert named
    assert not [(file, path) for file, path in sorted(named) if not (ROOT / path).exists()]


def test_the_reference_says_every_key_and_command() -> None:
    made = generated()
    assert {f"`{name}`" for name in registry.plugins("trigger")} <= set(
        re.findall(r"`\w+`", made["reference/triggers.md"])
    )
    assert "| `questions` | whole number, 4 to 100,000 | `48` |" in made["reference/study-file.md"]
    assert "| `exposed_triggers` | number, above 0, at most 1 | `1` |" in made["reference/interventions.md"]
    assert "## `dormouse store prune`" in made["reference/command-line.md"]
    assert "::: dormouse.read_study" in made["reference/api.md"]


def test_a_plug_in_inside_another_leads_to_the_page_of_its_kind() -> None:
    """A locator was called a trigger: any class of plug-ins fits it."""
    page = generated()["reference/interventions.md"]
    assert "| `with` | [locator](locators.md) |" in page
    assert "](triggers.md) | open | The locator" not in page
