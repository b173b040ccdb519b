"""What others write programs against."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import forensics
from tests.small_demo import write_small_demo

README = Path(__file__).parent.parent / "README.md"


def test_public_names() -> None:
    assert forensics.__all__ == [
        "AuditResult", "BuildResult", "SearchResult", "__version__", "audit", "build_index", "search",
    ]  # fmt: skip
    for name in forensics.__all__:
        assert getattr(forensics, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = forensics.nothing


SIGNATURES = {
    "audit": "source | index out effort top approximate path_column source_roots thresholds false_alarms detect "
    "templates redact case_id operator workers progress",
    "build_index": "source out | hashes embedders keep_pixels part_size index_type nprobe path_column parts workers "
    "progress",
    "search": "image | index top effort exact source_roots html",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    """By name and kind: positional before the bar, keywords after it. What is added has a default."""
    parameters = inspect.signature(getattr(forensics, name)).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert " ".join([*positional, "|", *keywords]) == SIGNATURES[name]
    assert [p.name for p in parameters if p.default is p.empty] == {
        "audit": ["source", "index", "out"],
        "build_index": ["source", "out"],
        "search": ["image", "index"],
    }[name]


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_parameter_is_documented(name: str) -> None:
    function = getattr(forensics, name)
    text = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^[\w, ]*\b{parameter}\b[\w, ]* :|^[\w, ]*\b{parameter}\b[\w, ]*$", text, re.MULTILINE), (
            f"{name}: {parameter}"
        )


def test_the_example_of_the_readme_runs_as_a_script(tmp_path: Path) -> None:
    """As it stands, in a folder that holds a part of the embedded pictures; a script needs no main guard."""
    code = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert code
    write_small_demo(tmp_path / "index_data" / "edits", suspects=2, spare=2)
    (tmp_path / "example.py").write_text(code[1], "utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "{'ok': 2}" in done.stdout
    assert "near_copy" in done.stdout
    assert (tmp_path / "reports" / "api" / "report.html").is_file()
