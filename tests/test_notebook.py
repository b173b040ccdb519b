"""notebooks/quickstart.ipynb: without outputs, and it runs with the embedded model."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from forensics.generate.rudalle.models import EMBEDDED, home

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "quickstart.ipynb"


def test_it_is_stripped() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


def test_what_it_calls_is_there_and_takes_what_it_gives() -> None:
    """At once, where running it takes minutes."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    tree = ast.parse("\n".join(line for cell in cells for line in cell.splitlines() if not line.startswith("%")))
    imported: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("forensics"):
            for alias in node.names:
                imported[alias.asname or alias.name] = getattr(import_module(node.module or ""), alias.name)
    called = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in imported:
            given = {word.arg: None for word in node.keywords if word.arg}
            inspect.signature(imported[node.func.id]).bind_partial(*[None] * len(node.args), **given)
            called += 1
    assert called >= 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook's own machinery
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes, where the reference index has to be built."""
    if not (home(EMBEDDED) / "transformer").is_dir():
        pytest.skip(f"the model {EMBEDDED} is not there; make it with: make demo-world")
    monkeypatch.setenv("FORENSICS_NOTEBOOK_OUT", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "".join(str(output.get("text", "")) for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "'near_copy'" in text
    assert "'watermark'" in text
    assert "copies that were flagged: " in text
    assert (tmp_path / "run" / "grading.json").is_file()
    assert len(list((tmp_path / "own-generated" / "images").glob("*.png"))) == 4
    assert (tmp_path / "own" / "report.html").is_file()
