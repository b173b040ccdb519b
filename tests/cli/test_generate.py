"""``forensics generate`` as a user runs it, with random weights."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.cli.program import Done, one_line, run
from tests.generate.rudalle.golden import FOLDER, holding, of_version
from tests.generate.rudalle.models import official_folder

_DUMMY = ("--model", "dummy", "--device", "cpu", "--offline")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _generate(prompts: object, out: Path, *more: object) -> Done:
    return run("generate", prompts, *_DUMMY, "--out", out, *more)


def _process(out: Path, *more: object, limit: str = "") -> subprocess.Popen[str]:
    words = ["generate", "кот", *_DUMMY, "--out", out, *more]
    code = f"{limit}\nfrom forensics.cli.app import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _in_its_own(out: Path, *more: object) -> str:
    """Run to the end in a process of its own, as a restart is: the threads a process began with show in pixels."""
    with _process(out, "-n", 8, "--seed", 42, *more) as process:
        said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return said


def _wait_for(out: Path, count: int) -> None:
    for _ in range(600):
        if len(list(out.glob("images/*.json"))) >= count:
            return
        time.sleep(0.1)
    pytest.fail("no image within a minute")


def _bytes(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "images").iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of one run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    _in_its_own(out, "--batch", 8, "-q")
    return out


def test_the_summary_and_progress(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = _generate("радуга на фоне ночного города", out, "-n", 2, "--seed", 42, "--temperature", 0.8)
    assert done.code == 0
    lines = dict(line.split(None, 1) for line in done.out.splitlines())
    assert lines["images"] == "2"
    assert "images/s" in lines["speed"]
    assert "tokens/s" in lines["speed"]
    assert lines["table"] == str(out / "generated.csv")
    for stage in ("images", "drawing tokens"):
        assert done.err.count(f"{stage} …\n") == 1
    assert "drawing tokens: 512/512 in " in done.err
    sidecar = json.loads((out / "images" / "00001-seed43.json").read_text("utf-8"))
    assert sidecar["prompt"] == "радуга на фоне ночного города"
    assert sidecar["sampling"]["temperature"] == 0.8
    again = _generate("радуга на фоне ночного города", out, "-n", 2, "--seed", 42, "--set", "temperature=0.8", "--json")
    assert again.err == ""
    facts = json.loads(again.out)
    assert (facts["images"], facts["made"], facts["kept"]) == (2, 0, 2)
    assert set(facts) == {"out", "table", "images", "made", "kept", "seconds", "tokens", "notes"}


def test_a_killed_run_goes_on(tmp_path: Path, whole: Path) -> None:
    """SIGKILL in the middle, another batch size after it: the files are those of an undisturbed run, byte for byte."""
    out = tmp_path / "out"
    with _process(out, "-n", 8, "--seed", 42, "--batch", 1) as process:
        _wait_for(out, 2)
        process.kill()
    kept = len(list(out.glob("images/*.json")))
    assert 2 <= kept < 8
    assert json.loads(_in_its_own(out, "--batch", 3, "--json", "-q"))["kept"] == kept
    assert _bytes(out) == _bytes(whole)
    assert (out / "generated.csv").read_bytes() == (whole / "generated.csv").read_bytes()


def test_ctrl_c_keeps_and_lists_what_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with _process(out, "-n", 200, "--batch", 1, "-q") as process:
        _wait_for(out, 2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "interrupted: what was finished is kept; run the same command again to go on\n"
    finished = len(list(out.glob("images/*.json")))
    with (out / "generated.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == finished
    run_facts = json.loads((out / "generation.json").read_text("utf-8"))
    assert run_facts["images"] == {"planned": 200, "finished": finished, "kept": 0}


def test_a_full_disk_is_one_clear_error(tmp_path: Path, whole: Path) -> None:
    """The system itself refuses to write more than 20 kB a file, which no image fits into."""
    out = tmp_path / "out"
    with _process(out, "-n", 3, "--seed", 42, "-q") as process:
        assert process.wait(timeout=120) == 0
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    with _process(out, "-n", 8, "--seed", 42, "-q", limit=limit) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert said.startswith(f"error: {out}: File too large; ")
    assert "3 of 8 images are finished and kept: make room, then give the same command again to go on" in said
    assert not list(out.rglob("*.part"))
    _in_its_own(out, "-q")
    assert _bytes(out) == _bytes(whole)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["", *_DUMMY], "an empty prompt given; give the words that the image shall show"),
        (["кот", "--model", "malevitch"], "unknown model 'malevitch'; choose one of: malevich, malevich-v2, emojich, "),
        (["кот", "--model", "malevich", "--offline"], "fetch it on another machine"),
        (["кот", "--model", "kandinsky", "--weights", "/nowhere"], "--weights /nowhere given, which does not exist"),
        (["no.csv", *_DUMMY], "no such file: no.csv"),
        (["broken.csv", *_DUMMY], "broken.csv, line 3: 3 cells, the header has 2"),
        (["wrong.csv", *_DUMMY], "wrong.csv, line 2: top_p 'much' given, a number accepted"),
        (["кот", *_DUMMY, "--temperature", "0"], "temperature 0.0 given, a number above 0 accepted"),
        (["кот", *_DUMMY, "--set", "steps=3"], "steps '3' given, which dummy does not take"),
        (["кот", *_DUMMY, "--set", "top_k"], "--set 'top_k' given; write it as NAME=VALUE"),
        (["кот", *_DUMMY, "--top-k", "5", "--set", "top_k=6"], "give one of the two"),
        (["кот", *_DUMMY, "--size", "big"], "size 'big' given; write rows x columns in tokens, e.g. 16x32"),
        (["кот", *_DUMMY, "--upscale", "3"], "upscaling by 3 given; choose one of: 1, 2, 4, 8"),
        (["кот", *_DUMMY, "--dtype", "int4"], "type 'int4' given; choose one of: auto, float32"),
        (["кот", *_DUMMY, "-n", "0"], "Invalid value for '-n'"),
        (["кот", *_DUMMY, "--seed", str(2**63)], "0 to 2^63 - 1 accepted"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORENSICS_WEIGHTS", str(tmp_path / "cache"))
    Path("broken.csv").write_text("prompt,seed\nкот,1\nпёс, дом,2\n", "utf-8")
    Path("wrong.csv").write_text("prompt,top_p\nкот,much\n", "utf-8")
    done = run("generate", *words, "--out", "out", "-q")
    assert done.code == (1 if "machine" in said else 2)
    assert said in one_line(done)
    assert not Path("out").exists()


def test_a_long_prompt_is_cut_with_a_warning(tmp_path: Path) -> None:
    done = _generate("очень длинная строка " * 20, tmp_path / "out", "-n", 2, "-q")
    assert done.code == 0
    assert 'note       Prompt 1 is longer than the model reads; it was cut after "' in done.out
    assert done.out.count("note") == 1
    sidecar = json.loads((tmp_path / "out" / "images" / "00001-seed0.json").read_text("utf-8"))
    assert sidecar["measurements"]["prompt_used"].startswith("очень длинная строка очень")
    assert sidecar["measurements"]["prompt_dropped"].endswith("длинная строка")


def test_the_list_that_ships(tmp_path: Path) -> None:
    done = _generate("merzmensch", tmp_path / "out", "--json", "-q")
    assert json.loads(done.out)["images"] >= 12
    with (tmp_path / "out" / "generated.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[2]["prompt"] == "Ностальгия"
    assert rows[2]["translation"] == "Nostalgia"


def test_a_conversion_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORENSICS_WEIGHTS", str(tmp_path / "cache"))
    folder = official_folder(tmp_path / "official", of_version("v3"), "pytorch_model_v3.bin")
    assert "choose one of: float32" in one_line(run("weights", "convert", "malevich", "--dtype", "int8"))
    assert "--weights" in one_line(run("weights", "convert", "malevich", "--offline"))
    done = run("weights", "convert", "malevich", "--weights", folder, "--dtype", "bfloat16", "--offline")
    assert done.code == 0
    assert "transformer: bfloat16, " in done.out
    assert f"folder: {tmp_path / 'cache' / 'rudalle' / 'malevich'}" in done.out
    options = ("--model", "malevich", "--offline", "--device", "cpu", "--dtype", "bfloat16", "-q")
    assert run("generate", "кот", *options, "--out", tmp_path / "out").code == 0
    sidecar = json.loads((tmp_path / "out" / "images" / "00001-seed0.json").read_text("utf-8"))
    assert set(sidecar["weights"]) == {"transformer/weights.safetensors", "vqgan/weights.safetensors", "bpe.model"}
    assert sidecar["settings"]["dtype"] == "bfloat16"
    assert sidecar["settings"]["lanes"] == 8


def test_ranking_by_ruclip(tmp_path: Path) -> None:
    if not (names := holding("texts.json")):
        pytest.skip("no ruCLIP folder among the reference tensors")
    folder = FOLDER / names[0]
    done = _generate("кот", tmp_path / "out", "-n", 3, "--rank", f"ruclip:{folder}", "-q")
    assert done.code == 0
    with (tmp_path / "out" / "generated.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["0", "1", "2"]
    assert sorted(row["ruclip_rank"] for row in rows) == ["1", "2", "3"]
    assert max(rows, key=lambda row: float(row["ruclip"]))["ruclip_rank"] == "1"
