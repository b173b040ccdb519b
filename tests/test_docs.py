"""The documentation says what the program does: names, options, links, tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main

from forensics import schema
from forensics.cli.app import app
from forensics.embed import EMBEDDERS
from forensics.errors import ExitCode
from forensics.generate import GENERATORS
from forensics.thresholds import THRESHOLDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "reports" / "README.md", *ROOT.glob("index_data/*.md")])


def _commands(command: Any = None, name: str = "forensics") -> Iterator[tuple[str, Any]]:
    """Yield every command and group with its whole name."""
    command = command or typer.main.get_command(app)
    yield name, command
    for child in getattr(command, "commands", {}).values():
        yield from _commands(child, f"{name} {child.name}")


def _text(page: Path) -> str:
    return page.read_text("utf-8")


def _pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", _text(ROOT / "constraints.txt"), re.MULTILINE)
    assert found, package
    return found[1]


@pytest.mark.parametrize("columns", ["60", "200"])
def test_the_command_line_reference_is_the_programs(tmp_path: Path, columns: str) -> None:
    """Written by ``make docs``; the same whatever the width of the terminal."""
    if version("typer") != _pinned("typer"):
        pytest.skip(f"docs/cli.md is written by typer {_pinned('typer')}, installed is {version('typer')}")
    out = tmp_path / "cli.md"
    command = [sys.executable, "-m", "typer", "forensics.cli.app", "utils", "docs", "--name", "forensics"]
    subprocess.run(
        [*command, "--title", "Command line", "--output", str(out)],
        cwd=ROOT, env={**os.environ, "COLUMNS": columns}, check=True, capture_output=True,
    )  # fmt: skip
    assert _text(DOCS / "cli.md") == _text(out), "docs/cli.md is out of date; run: make docs"


@pytest.mark.parametrize(("name", "command"), list(_commands()))
def test_every_command_and_option_is_explained(name: str, command: Any) -> None:
    assert command.help, name
    assert command.help.strip().endswith("."), name
    for parameter in command.params:
        # click's own --help and typer's completion explain themselves
        assert getattr(parameter, "help", None), f"{name}: {parameter.name}"
        assert parameter.help.rstrip().endswith((".", ":")), f"{name}: {parameter.name}"
    if getattr(command, "commands", None) is None:
        example = command.epilog or ""
        assert f"    {name} " in f"{example} ", f"{name} shows no example of itself"
        for line in re.findall(rf"^    {name}(.*)$", example, re.MULTILINE):
            _accepted(name, command, line)


def _accepted(name: str, command: Any, line: str) -> None:
    """The options of an example are those of the command."""
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", line):
        assert word in options, f"{name}: {word}"


def test_options_that_the_pages_name_exist() -> None:
    """Every ``forensics …`` line of the pages' code blocks is a command with options that it has."""
    known = dict(_commands())
    seen = 0
    for page in PAGES:
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", _text(page), re.DOTALL):
            for line in re.findall(r"^\$? ?forensics .*$", block, re.MULTILINE):
                if "[OPTIONS]" in line:
                    continue
                words = line.lstrip("$ ").partition(" #")[0]
                name = next(name for name in sorted(known, key=len, reverse=True) if f"{words} ".startswith(f"{name} "))
                assert name != "forensics", f"{page.name}: {line}"
                _accepted(name, known[name], words)
                seen += 1
    assert seen > 10


def test_names_are_mentioned() -> None:
    text = "\n".join(_text(page) for page in PAGES)
    for name in (*EMBEDDERS.targets(), *GENERATORS.targets()):
        assert re.search(rf"\b{re.escape(name)}\b", text), name
    for code in ExitCode:
        assert re.search(rf"(?:[Ee]xit codes?|exit)[^.\n]*\b{int(code)}\b", text), code


@pytest.mark.parametrize("name", THRESHOLDS)
def test_every_threshold_is_in_the_method(name: str) -> None:
    entry = THRESHOLDS[name]
    row = f"| `{name}` | {entry.value:g} | {entry.unit} | {entry.source} |"
    assert row in _text(DOCS / "method.md"), f"docs/method.md lacks: {row}"


@pytest.mark.parametrize("table", ["INDEX_IMAGES", "INDEX_ROWS"])
def test_every_column_of_the_index_is_documented(table: str) -> None:
    section = _text(DOCS / "formats.md").partition("## The reference index")[2]
    for column in getattr(schema, table):
        assert f"| `{column.name}` | {column.dtype} | {column.doc} |" in section


def test_every_key_of_the_manifest_is_documented() -> None:
    from dataclasses import fields

    from forensics.index.manifest import EmbedderEntry, FaissEntry, Manifest, PartEntry, SourceEntry, TombstonesEntry
    from forensics.index.tombstones import Tombstone

    section = _text(DOCS / "formats.md").partition("## The reference index")[2]
    for kind in (Manifest, EmbedderEntry, SourceEntry, PartEntry, FaissEntry, TombstonesEntry, Tombstone):
        for field in fields(kind):
            assert f"`{field.name}`" in section, f"{kind.__name__}.{field.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", _text(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in _anchors(path), f"{page.name} links to {target}"


def _anchors(page: Path) -> set[str]:
    """Anchors as code hosts make them: lower case, spaces to hyphens, other signs dropped."""
    headings = re.findall(r"^#+ (.*)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_listed() -> None:
    listing = _text(DOCS / "adr" / "README.md")
    for page in (DOCS / "adr").glob("[0-9]*.md"):
        assert f"({page.name})" in listing, page.name


def test_make_targets_of_the_pages_exist() -> None:
    makefile = _text(ROOT / "Makefile")
    for page in PAGES:
        for target in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)\b", " ".join(re.findall(r"`[^`]+`", _text(page)))):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def test_every_measurement_is_documented() -> None:
    """The columns that an audit writes beyond the documented ones, and the table that explains them."""
    from forensics.report.words import MEASUREMENTS

    text = (ROOT / "docs" / "formats.md").read_text("utf-8")
    section = text.partition("### Measurements")[2].partition("\n### ")[0]
    missing = [name for name in MEASUREMENTS if f"`{name}`" not in section and name != "expected_false"]
    assert not missing
