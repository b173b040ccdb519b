"""``forensics audit --generate`` as a user runs it, with random weights and an index of hashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import World
from tests.cli.program import Done, one_line, run

_DUMMY = ("--model", "dummy", "--device", "cpu", "--offline")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _words(world: World, prompts: object, out: Path, *more: object) -> list[str]:
    options = ("--index", world.index, "--out", out, "--effort", "fast", "--workers", 0)
    return [str(word) for word in ("audit", "--generate", prompts, *_DUMMY, *options, *more)]


def _audit(world: World, prompts: object, out: Path, *more: object) -> Done:
    return run(*_words(world, prompts, out, *more))


def test_from_prompts_to_the_summary(world: World, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt,phenomenon\nкот,none\nпёс,none\n", "utf-8")
    out = tmp_path / "run"
    done = _audit(world, prompts, out, "-n", 1, "--seed", 42, "--temperature", 0.8, "--batch", 1)
    assert done.code == 0, done.err
    lines = dict(line.split(None, 1) for line in done.out.splitlines())
    assert lines["generated"] == f"2 images in {out}-generated"
    assert lines["searched"] == "2 of 2 images"
    assert lines["report"] == str(out / "report.html")
    for stage in ("images", "drawing tokens", "describe", "verify"):
        assert done.err.count(f"{stage} …\n") == 1
        assert f"{stage}: " in done.err
    entry = json.loads((out / "run.json").read_text("utf-8"))["generator"]
    assert (entry["name"], entry["prompts"], entry["seed"]) == ("dummy", str(prompts), 42)
    assert entry["sampling"] == {"temperature": 0.8}
    again = _audit(world, prompts, out, "--seed", 42, "--temperature", 0.8, "--batch", 1, "--json", "--quiet")
    assert (again.code, again.err) == (0, "")
    assert json.loads(again.out)["generated"] == {"out": f"{out}-generated", "made": 0, "kept": 2}
    # the folder is an ordinary one, that the command for it goes on with
    more = run(
        "generate", prompts, *_DUMMY, "--out", f"{out}-generated", "-n", 2, "--seed", 42, "--temperature", 0.8, "-q"
    )
    assert "images     4 (2 kept from an earlier run)" in more.out


def test_a_killed_run_goes_on(world: World, tmp_path: Path) -> None:
    """By SIGKILL, after its second image: the same command keeps those, to the byte and the time."""
    out, images = tmp_path / "run", tmp_path / "run-generated" / "images"
    words = _words(world, "кот", out, "-n", 6, "--batch", 1, "--json", "--quiet")
    process = subprocess.Popen(
        [sys.executable, "-c", "from forensics.cli.app import main\nmain()", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    for _ in range(600):
        if len(list(images.glob("*.json"))) >= 2:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in images.glob("*.json")}
    assert 2 <= len(kept) < 6
    assert not (out / "report.html").exists()
    done = run(*words)
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts["states"]["ok"] == 6
    assert facts["generated"]["kept"] == len(kept)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to audit given; give SOURCE, the generated images, or --generate PROMPTS --model MODEL"),
        (("SUSPECTS", "--generate", "кот", "--model", "dummy"), "both SOURCE (SUSPECTS) and --generate given"),
        (("--generate", "кот"), "--generate given without --model"),
        (("SUSPECTS", "--model", "dummy", "-n", "1"), "--model, --count given beside SOURCE, which makes no images"),
        (("SUSPECTS", "--set", "a=b", "--replace"), "--set, --replace given beside SOURCE"),
        (("--generate", "кот", "--model", "dummy", "--path-column", "x"), "--path-column given beside --generate"),
        (("--generate", "кот", "--model", "malewitsch"), "unknown model 'malewitsch'; choose one of: malevich,"),
        (("--generate", " ", "--model", "dummy"), "an empty prompt given"),
        (("--generate", "no.csv", "--model", "dummy"), "no such file: no.csv"),
        (("--generate", "кот", "--model", "dummy", "--set", "x=1"), "x '1' given, which dummy does not take"),
        (("--generate", "кот", "--model", "dummy", "--top-k", "5", "--set", "top_k=1"), "give one of the two"),
    ],
)
def test_what_cannot_be_is_one_line(world: World, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    out = tmp_path / "run"
    done = run("audit", *words, "--index", world.index, "--out", out, "--quiet")
    assert done.code == 2
    assert message in one_line(done)
    assert list(tmp_path.iterdir()) == []


def test_a_generator_that_fails_is_one_line_and_keeps_its_images(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from forensics.errors import ForensicsError\n"
        "def paint(prompt, seed):\n"
        "    if seed == 2:\n"
        "        raise ForensicsError('no paint is left; buy some')\n"
        "    return np.full((64, 64, 3), 90 * seed, np.uint8)\n",
        "utf-8",
    )
    out = tmp_path / "run"
    words = ("audit", "--generate", "кот", "--model", f"{tmp_path / 'mine.py'}:paint", "-n", 4, "--batch", 1)
    done = run(*words, "--index", world.index, "--out", out, "--workers", 0, "--quiet")
    assert done.code == 1
    assert one_line(done) == "error: no paint is left; buy some\n"
    assert len(list((tmp_path / "run-generated" / "images").glob("*.json"))) == 2
