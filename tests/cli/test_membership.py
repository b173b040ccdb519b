"""``forensics membership`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import one_line, run
from tests.flows.test_membership import write

ADAPTER = """
from pathlib import Path
from tests.flows.test_membership import Remembering

def model():
    return Remembering(Path(__file__).parent / "images")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("membership")
    (root / "adapter.py").write_text(ADAPTER)
    write(root / "images", 12, 1)
    write(root / "others", 25, 2)
    return root


def asked(place: Path, *more: object) -> tuple[object, ...]:
    model = f"{place / 'adapter.py'}:model"
    return ("membership", place / "images", "--model", model, "--nonmembers", place / "others", *more)


def test_summary(place: Path, tmp_path: Path) -> None:
    done = run(*asked(place, "--out", tmp_path, "--set", "-q"))
    assert done.code == 0
    assert done.err.startswith("estimate   ")
    assert "collection p = 0.0001" in done.out
    assert f"report     {tmp_path / 'membership.html'}" in done.out
    done = run(*asked(place, "--out", tmp_path, "--set", "-q", "--json"))
    summary = json.loads(done.out)
    assert summary["images"] == 12
    assert summary["auc"][0] > 0.9
    assert "kept from an earlier run" in done.err


def test_dry_run(place: Path, tmp_path: Path) -> None:
    done = run(*asked(place, "--out", tmp_path / "out", "--dry-run", "-q"))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("estimate   37 items, each read 5 times by the model")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--statistic", "luck"), "unknown statistic 'luck'"),
        (("--captions", "x.csv", "--no-captions"), "give one of the two"),
        (("--captions", "nowhere.csv"), "captions nowhere.csv given"),
        (("--length", 8), "models of text take"),
    ],
)
def test_wrong_options(place: Path, tmp_path: Path, more: tuple[object, ...], message: str) -> None:
    done = run(*asked(place, "--out", tmp_path / "out", "-q", *more))
    assert done.code == 2
    assert message in one_line(done)


def test_diffusion_has_no_likelihood(place: Path, tmp_path: Path) -> None:
    words = ("membership", place / "images", "--model", "diffusers:some/model", "--nonmembers", place / "others")
    done = run(*words, "--out", tmp_path / "out")
    assert done.code == 2
    assert "neither likelihoods of tokens nor prefixes" in one_line(done)


def test_a_rudalle(place: Path, tmp_path: Path) -> None:
    words = ("membership", place / "images" / "000.png", "--model", "dummy", "--nonmembers", place / "others")
    done = run(*words, "--out", tmp_path, "--device", "cpu", "--offline", "--no-neighbours", "-q")
    assert done.code == 0, done.err
    assert "first token of each item is left out" in done.out
    facts = json.loads((tmp_path / "membership.json").read_text("utf-8"))
    assert facts["model"]["settings"]["pixels"] == 128
