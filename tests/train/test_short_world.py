"""The recipe of the embedded world, on its own corpus, as `make demo-world SHORT=--short` runs it: about a minute."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from forensics.flows.generate import generate
from forensics.flows.train import train_clip, train_tokenizer, train_transformer, train_vqgan
from forensics.generate import GeneratorOptions

CORPUS = Path(__file__).parents[2] / "index_data" / "demo"


def falls(curve: Path) -> bool:
    with curve.open(newline="", encoding="utf-8") as file:
        totals = [float(row["total"]) for row in csv.DictReader(file)]
    assert len(totals) > 1
    return totals[-1] < 0.9 * totals[0]


@pytest.mark.slow
def test_the_short_recipe_learns_and_what_it_makes_generates(tmp_path: Path) -> None:
    out = tmp_path / "short"
    train_tokenizer(data=CORPUS, out=out, short=True)
    train_vqgan(data=CORPUS, out=out, short=True)
    train_transformer(data=CORPUS, out=out, short=True)
    train_clip(data=CORPUS, out=out, short=True)
    training = out / "training"
    for curve in ("vqgan/autoencoder", "vqgan/codes", "transformer", "clip"):
        assert falls(training / curve / "losses.csv"), curve
    made = generate("рыжий кот", model=str(out), out=tmp_path / "images", n=2, options=GeneratorOptions())
    assert [file.path.is_file() for file in made.files] == [True, True]
