"""Every wrong input ends in one line and a fixed exit code."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from forensics import errors
from forensics.cli import app as module
from forensics.errors import ExitCode
from forensics.flows.results import exit_code
from forensics.types import EmbedderSpec
from tests.cli.conftest import World
from tests.cli.program import one_line, run

AUDIT = ["audit", "{suspects}", "--index", "{index}", "--out", "{tmp}/run", "--workers", "0", "--quiet"]
SEARCH = ["search", "{suspects}/s01.jpg", "--index", "{index}"]


def _with(words: list[str], **changes: str) -> list[str]:
    """Replace the values of options, by name without hyphens; ``source`` is the argument."""
    changed = list(words)
    for name, value in changes.items():
        changed[1 if name == "source" else changed.index(f"--{name}") + 1] = value
    return changed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["audit"], 2, "Missing option '--index'"),
        (["audit", "x", "--index", "i"], 2, "Missing option '--out'"),
        (["nothing"], 2, "No such command 'nothing'"),
        (["index", "nothing"], 2, "No such command 'nothing'"),
        ([*AUDIT, "--colour"], 2, "No such option: --colour"),
        ([*AUDIT, "--top", "0"], 2, "--top"),
        ([*AUDIT, "--top", "many"], 2, "--top"),
        ([*AUDIT, "--effort", "high"], 2, "fast, standard"),
        ([*AUDIT, "--threshold", "trust=0.5"], 2, "unknown threshold 'trust'; choose one of: belief"),
        ([*AUDIT, "--threshold", "belief"], 2, "NAME=VALUE"),
        ([*AUDIT, "--threshold", "belief=much"], 2, "must be a number"),
        ([*AUDIT, "--threshold", "belief=nan"], 2, "must be a number"),
        ([*AUDIT, "--source-root", "here"], 2, "OLD=NEW"),
        ([*AUDIT, "--redact", "names"], 2, "faces, references, pixels"),
        ([*AUDIT, "--path-column", "file"], 2, "a path column is for tables"),
        (_with(AUDIT, source="{tmp}/nowhere"), 2, "nowhere"),
        (_with(AUDIT, source="{tmp}/empty"), 2, "empty"),
        (_with(AUDIT, source="{tmp}/empty.csv"), 2, "empty.csv"),
        (_with(AUDIT, index="{tmp}/nowhere"), 1, "is not an index"),
        (_with(AUDIT, index="{suspects}"), 1, "is not an index"),
        (_with(AUDIT, index="{suspects}/s01.jpg"), 1, "is not an index"),
        (_with(AUDIT, out="{references}"), 2, "not of a run"),
        (_with(AUDIT, out="{suspects}/s01.jpg"), 2, "is a file"),
        (_with(SEARCH, source="{tmp}/nowhere.png"), 2, "nowhere.png"),
        (_with(SEARCH, source="{suspects}"), 2, "suspects"),
        (_with(SEARCH, source="{broken}/text.jpg"), 2, "not an image"),
        (_with(SEARCH, index="{tmp}/empty"), 1, "is not an index"),
        ([*SEARCH, "--effort", "high"], 2, "fast, standard"),
        ([*SEARCH, "--top", "0"], 2, "--top"),
        (["demo", "--seed", "-1"], 2, "--seed"),
        (["demo", "--seed", "one"], 2, "--seed"),
        (["report", "verify", "{suspects}"], 2, "suspects"),
        (["report", "render", "{tmp}/nowhere"], 2, "nowhere"),
        (["report", "review", "{tmp}/nowhere"], 2, "--set"),
        (["weights", "fetch", "nothing"], 2, "nothing"),
    ],
)
def test_bad_input(tmp_path: Path, world: World, words: list[str], code: int, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_text("path\n")
    places = {**{name: str(value) for name, value in asdict(world).items()}, "tmp": str(tmp_path)}
    done = run(*[word.format(**places) for word in words])
    assert message in one_line(done)
    assert done.code == code
    assert not (tmp_path / "run").exists(), "a wrong input leaves nothing behind"


def _index(world: World, tmp_path: Path, hashes: str = "phash") -> Path:
    done = run(
        "index", "build", world.references, "--out", tmp_path / "index",
        "--hashes", hashes, "--embedders", "none", "--workers", 0, "--quiet",
    )  # fmt: skip
    assert done.code == 0
    return tmp_path / "index"


def _audit(world: World, index: Path, tmp_path: Path, *more: str) -> list[object]:
    return ["audit", world.suspects, "--index", index, "--out", tmp_path / "run", "--workers", 0, "--quiet", *more]


@pytest.mark.parametrize("name", ["manifest.json", "parts.jsonl", "images/part-00000.parquet"])
def test_a_damaged_index_is_refused_even_where_findings_are_asked_for(tmp_path: Path, world: World, name: str) -> None:
    path = _index(world, tmp_path) / name
    path.write_bytes(path.read_bytes()[:-20])
    done = run(*_audit(world, tmp_path / "index", tmp_path, "--fail-on-findings"))
    assert done.code == (1 if name == "manifest.json" else 20)
    assert path.name in one_line(done)


def _with_other_dimension(index: Path) -> None:
    manifest = json.loads((index / "manifest.json").read_text("utf-8"))
    stored = next(entry for entry in manifest["embedders"] if entry["spec"]["name"] == "phash")
    stored["spec"]["dim"] = 128
    stored["fingerprint"] = EmbedderSpec(**stored["spec"]).fingerprint
    (index / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def test_an_index_of_another_dimension_is_refused(tmp_path: Path, world: World) -> None:
    _with_other_dimension(_index(world, tmp_path))
    for words in (
        _audit(world, tmp_path / "index", tmp_path, "--fail-on-findings"),
        ["search", world.suspects / "s01.jpg", "--index", tmp_path / "index"],
        ["index", "add", tmp_path / "index", world.suspects, "--workers", 0, "--quiet"],
    ):
        done = run(*words)
        assert "phash" in one_line(done)
        assert done.code == 1


def test_another_dimension_beside_a_good_embedder_is_left_out_and_said(tmp_path: Path, world: World) -> None:
    _with_other_dimension(_index(world, tmp_path, "phash,pdq"))
    done = run(*_audit(world, tmp_path / "index", tmp_path, "--json"))
    assert (done.code, done.err) == (0, "")
    assert any("phash" in note for note in json.loads(done.out)["notes"])


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, world: World) -> None:
    """Root may write anywhere, but not below a file."""
    (tmp_path / "file").write_text("")
    for words in (
        [*_audit(world, world.index, tmp_path)[:5], tmp_path / "file" / "run", "--workers", 0, "--quiet"],
        ["index", "build", world.references, "--out", tmp_path / "file" / "index", "--embedders", "none", "--quiet"],
    ):
        done = run(*words)
        assert "Not a directory" in one_line(done)
        assert done.code == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x/y"), 1, "error: x/y: No space left on device\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device\n"),
        (errors.IntegrityError("a\nb"), 20, "error: a b\n"),
        (KeyboardInterrupt(), 130, "interrupted: "),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_how_errors_end(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(module, "app", fail)
    done = run()
    assert done.code == code
    assert done.err.startswith(text)


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError

    monkeypatch.setattr(module, "app", fail)
    monkeypatch.setattr(sys, "argv", ["forensics"])
    with pytest.raises(OSError, match=r"^$"):
        module.main()


@pytest.mark.parametrize("words", [(), ("index",), ("report",)])
def test_nothing_given_shows_the_help(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.code == 2
    assert "Usage: forensics" in done.out + done.err
    assert "Commands" in done.out + done.err


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help(word: str) -> None:
    done = run("audit", word)
    assert (done.code, done.err) == (0, "")
    assert "--fail-on-findings" in done.out


@pytest.mark.parametrize(
    ("states", "findings", "fail", "code"),
    [
        ({"ok": 3}, 0, True, ExitCode.CLEAN),
        ({"ok": 3}, 2, False, ExitCode.CLEAN),
        ({"ok": 3, "degraded": 1}, 0, True, ExitCode.CLEAN),
        ({"ok": 3}, 2, True, ExitCode.FINDINGS),
        ({"ok": 3, "rejected": 1}, 2, True, ExitCode.FINDINGS),
        ({"ok": 3, "error": 1}, 0, True, ExitCode.UNREADABLE),
        ({"ok": 3, "rejected": 1}, 2, False, ExitCode.UNREADABLE),
    ],
)
def test_precedence(states: dict[str, int], findings: int, fail: bool, code: ExitCode) -> None:
    assert exit_code(states, findings=findings, fail_on_findings=fail) is code


def test_exit_codes_of_errors_are_pinned() -> None:
    codes = {name: getattr(errors, name).exit_code for name in errors.__all__ if name.endswith("Error")}
    assert codes == {
        "ForensicsError": 1, "IndexFormatError": 1, "IntegrityError": 20, "MissingExtraError": 1, "SourceError": 2,
        "SpecMismatchError": 1, "UsageError": 2, "VectorError": 1, "WeightsError": 1,
    }  # fmt: skip


def test_a_changed_run_is_20(tmp_path: Path, world: World) -> None:
    assert run(*_audit(world, world.index, tmp_path)).code == 0
    shutil.copytree(tmp_path / "run", tmp_path / "changed")
    (tmp_path / "changed" / "findings.jsonl").write_text("")
    assert run("report", "verify", tmp_path / "run").code == 0
    done = run("report", "verify", tmp_path / "changed")
    assert "findings.jsonl" in one_line(done)
    assert done.code == 20
