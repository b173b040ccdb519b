from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from forensics.cli.app import main


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("FORENSICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["forensics", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_weights_lists_every_model_with_its_licence_and_command(run):
    code, out, err = run("weights")
    assert (code, err) == (0, "")
    assert "sscd-disc-mixup: missing" in out
    assert "licence  MIT" in out
    assert "forensics weights fetch sscd-disc-mixup" in out


def test_weights_as_json(run):
    code, out, _ = run("weights", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["clip"]["state"] == "missing"
    assert {"purpose", "state", "path", "size", "licence", "sha256", "source", "command", "note"} <= set(rows["clip"])


def test_import_makes_a_model_present(run, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"visual.proj": np.ones(3, np.float32)}, path)
    code, out, _ = run("weights", "import", "clip", str(path))
    assert code == 0
    assert out.startswith("clip: present")
    assert {row["name"]: row["state"] for row in json.loads(run("weights", "--json")[1])}["clip"] == "present"


@pytest.mark.parametrize(
    ("arguments", "expected", "text"),
    [
        (("fetch", "no-such"), 2, "no weights are called 'no-such'"),
        (("import", "clip", "no-such-file"), 2, "no file no-such-file"),
        (("import", "sscd-int8", "x"), 2, "installed package"),
        (("fetch",), 2, "Missing argument"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(run, arguments, expected, text):
    code, out, err = run("weights", *arguments)
    assert (code, out) == (expected, "")
    assert text in err
    assert "Traceback" not in err


def test_a_file_that_is_no_model_is_exit_1(run, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(b"nothing")
    code, out, err = run("weights", "import", "sscd-disc-mixup", str(path))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
