"""``forensics index`` as a user runs it: output, exit codes, kill and go on."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from forensics.cli.app import main
from tests.index.pictures import tree, write_pictures

PROGRAM = [sys.executable, "-c", "from forensics.cli.app import main; main()", "index"]
QUICK = ["--hashes", "phash", "--embedders", "none", "--workers", "0", "--quiet"]


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: object) -> Done:
    """Run a command in this process, as its entry point would."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["forensics", "index", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("source") / "pictures", 12)


def test_life_of_an_index(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "index"
    built = run("build", pictures, "--out", out, *QUICK, "--part-size", 5)
    assert (built.returncode, built.stderr) == (0, "")
    assert "12 images (12 ok, 0 degraded, 0 rejected, 0 error); 12 added" in built.stdout
    again = run("build", pictures, "--out", out, *QUICK, "--part-size", 5)
    assert again.returncode == 0
    assert "is complete" in again.stdout

    more = write_pictures(tmp_path / "more", 1, first=30)
    (more / "text.jpg").write_bytes(b"no image")
    added = run("add", out, more, "--workers", 0, "--quiet")
    assert added.returncode == 11
    assert "2 added" in added.stdout
    facts = json.loads(run("info", out, "--json").stdout)
    assert sum(facts["states"].values()) == facts["images"] == 14
    assert facts["states"]["ok"] == 13
    assert facts["embedders"][0]["fingerprint"] in run("info", out, "--json").stdout
    assert "13 ok" in run("info", out).stdout

    (tmp_path / "ids.txt").write_text("000.png\n\nmore/030.png\n")
    removed = run("remove", out, "--from-file", tmp_path / "ids.txt", "--reason", "asked")
    assert (removed.returncode, removed.stdout.splitlines()[-1]) == (0, f"2 images removed from {out}")
    assert run("remove", out, "--id", "nowhere.png").returncode == 2

    optimized = run("optimize", out, "--index-type", "BIVF2")
    assert optimized.returncode == 0
    assert "recall@10" in optimized.stdout
    assert run("verify", out, "--quiet").returncode == 0

    (more / "030.png").unlink()
    assert run("verify", out, "--sources", "--quiet").returncode == 0  # it was removed from the index too
    part = out / "hashes" / "phash" / "part-00001.npy"
    part.write_bytes(part.read_bytes()[:-1] + b"\x00")
    broken = run("verify", out, "--quiet")
    assert broken.returncode == 20
    assert broken.stdout.startswith("changed  hashes/phash/part-00001.npy")
    assert broken.stderr.startswith("error: 1 of ")
    assert len(broken.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["build", "{tmp}/nowhere", "--out", "{tmp}/new", *QUICK], 2, "nowhere"),
        (["build", "{tmp}/empty", "--out", "{tmp}/new", *QUICK], 2, "empty"),
        (["build", "{pictures}", "--out", "{pictures}", *QUICK], 2, "not an index"),
        (["build", "{pictures}", "--out", "{tmp}/new", "--hashes", "none", "--embedders", "none"], 2, "at least one"),
        (["build", "{pictures}", "--out", "{tmp}/new", "--hashes", "nosuch", "--embedders", "none"], 2, "nosuch"),
        (["info", "{pictures}"], 1, "is not an index"),
        (["verify", "{tmp}/nowhere"], 1, "is not an index"),
        (["remove", "{pictures}"], 2, "nothing to remove"),
        (["add", "{tmp}/nowhere", "{pictures}"], 1, "is not an index"),
    ],
)
def test_one_clear_line(tmp_path: Path, pictures: Path, words: list[str], code: int, message: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run(*[word.format(tmp=tmp_path, pictures=pictures) for word in words])
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_truncated_manifest(tmp_path: Path, pictures: Path) -> None:
    run("build", pictures, "--out", tmp_path / "index", *QUICK)
    manifest = tmp_path / "index" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:300])
    for words in (["info"], ["verify"], ["remove", "--id", "a"], ["optimize", "--index-type", "Flat"]):
        done = run(words[0], tmp_path / "index", *words[1:])
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "damaged" in done.stderr


def test_kill_and_go_on(tmp_path: Path, pictures: Path) -> None:
    words = [*QUICK, "--part-size", 1, "--keep-pixels", 32]
    run("build", pictures, "--out", tmp_path / "whole", *words)
    committed = 0
    for wanted in (0, 4, 9):
        process = subprocess.Popen([*PROGRAM, *map(str, ["build", pictures, "--out", tmp_path / "cut", *words])])
        parts = tmp_path / "cut" / "parts.jsonl"
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (tmp_path / "cut" / "manifest.json").exists() and (
                wanted == 0 or (parts.exists() and parts.read_bytes().count(b"\n") >= wanted)
            ):
                break
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        committed = parts.read_bytes().count(b"\n") if parts.exists() else 0
        assert wanted <= committed <= 12
    done = run("build", pictures, "--out", tmp_path / "cut", *words)
    assert done.returncode == 0
    assert f"{12 - committed} added" in done.stdout
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")
