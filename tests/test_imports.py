"""What is imported before a command runs: a help text must not wait for torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "torchvision", "faiss", "pandas", "cv2", "pyarrow", "transformers", "open_clip", "onnxruntime",
    "imagehash", "pdqhash", "simplejpeg", "scipy", "skimage", "sklearn", "jinja2", "huggingface_hub", "safetensors",
    "numpy", "PIL",
)  # fmt: skip


def _loaded(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{n.partition('.')[0] for n in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import forensics",
        "import forensics.cli.app",
        "import forensics.schema, forensics.thresholds, forensics.errors, forensics.registry",
    ],
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    loaded = _loaded(statement)
    assert "forensics" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_help_runs_without_anything_heavy() -> None:
    """The texts themselves are made without it, too."""
    code = (
        "import sys; from forensics.cli.app import main; sys.argv = ['forensics', 'audit', '--help']\n"
        "try: main()\nexcept SystemExit as ended: assert not ended.code"
    )
    assert _loaded(code).isdisjoint(HEAVY)


def test_the_public_functions_bring_no_network_library() -> None:
    """``from forensics import audit`` needs arrays; torch and the others wait until an embedder asks for them."""
    loaded = _loaded("from forensics import audit, build_index, search")
    assert loaded.isdisjoint({"torch", "torchvision", "faiss", "transformers", "open_clip", "onnxruntime", "pandas"})
