"""From two folders to a page: known likelihoods, odd files, restarts, and a GPT-2 that recites Faust."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forensics.errors import SourceError, UsageError
from forensics.flows.membership import membership
from forensics.flows.membership_asking import Estimate
from forensics.generate.likelihood import open_likelihood
from forensics.lab.membership import STATISTICS
from forensics.testing.bigram import BigramModel
from forensics.types import TokenLikelihoods
from tests.faust import LENGTH, SEEN, UNSEEN, reciting_model

TABLE = np.full((4, 4), 0.25)
KNOWN = 0.85
"""p of each token of a remembered picture; the others share the rest."""


class Remembering(BigramModel):
    """Knows some pictures by heart and finds all else equally likely; counts how often it was asked, and may fail."""

    def __init__(self, *folders: Path, fail_at: int = -1, **more: Any) -> None:
        super().__init__(TABLE, **more)
        self.calls, self.fail_at = 0, fail_at
        paths = [path for folder in folders for path in sorted(folder.glob("*.png"))]
        tokens = self.encode([np.asarray(Image.open(path).convert("RGB")) for path in paths])
        self.known = {row[:8].tobytes() for row in tokens}

    def log_probabilities(self, tokens: Any, captions: Sequence[str], *, progress: Any = None) -> TokenLikelihoods:
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        plain = super().log_probabilities(tokens, captions, progress=progress)
        known = np.array([row[:8].tobytes() in self.known for row in np.asarray(tokens)])[:, None]
        rest = (1 - KNOWN) / 3
        mean = KNOWN * np.log(KNOWN) + 3 * rest * np.log(rest)
        spread = np.sqrt(KNOWN * (np.log(KNOWN) - mean) ** 2 + 3 * rest * (np.log(rest) - mean) ** 2)
        return TokenLikelihoods(
            log_probability=np.where(known, np.float32(np.log(KNOWN)), plain.log_probability),
            mean=np.where(known, np.float32(mean), plain.mean),
            deviation=np.where(known, np.float32(spread), plain.deviation),
        )


def write(folder: Path, count: int, seed: int, size: int = 32) -> Path:
    """Pictures of 4 x 4 grey cells at random: nothing but the model's memory tells them apart."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    model = BigramModel(TABLE)
    for number in range(count):
        image = Image.fromarray(model.decode(rng.integers(0, 4, (1, 16)))[0])
        image.resize((size, size), Image.Resampling.NEAREST).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sides")
    return write(root / "images", 40, 1), write(root / "others", 110, 2)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_from_folders_to_a_page(sides: tuple[Path, Path], tmp_path: Path) -> None:
    images, others = sides
    told: list[Estimate] = []
    result = membership(
        images, model=Remembering(images), nonmembers=others, out=tmp_path / "out", as_set=True,
        on_estimate=lambda expected: not told.append(expected),
    )  # fmt: skip
    assert result is not None
    assert (result.images, result.nonmembers, result.left_out) == (40, 110, 0)
    assert told[0].items == 150
    assert told[0].passes == 5
    assert "about" in told[0].text
    assert set(result.separations) == set(STATISTICS) - {"loss_empty", "caption_ratio"}
    assert result.separations["loss"].auc.low > 0.8
    assert result.separations["loss"].at[0.01] is not None
    assert result.separations["loss"].at[0.001] is None
    assert result.dataset is not None
    assert result.dataset.permutation_p == pytest.approx(1e-4)
    table = rows(result.table)
    assert len(table) == 150
    one = next(row for row in table if row["side"] == "image")
    assert float(one["loss"]) == pytest.approx(np.log(KNOWN), abs=1e-5)
    other = next(row for row in table if row["side"] == "nonmember")
    assert float(other["loss"]) == pytest.approx(np.log(0.25), abs=1e-5)
    others_scores = [float(row["min_k_plus_20"]) for row in table if row["side"] == "nonmember"]
    reaching = sum(score >= float(one["min_k_plus_20"]) for score in others_scores)
    assert float(one["p"]) == pytest.approx((1 + reaching) / 111)
    facts = json.loads((tmp_path / "out" / "membership.json").read_text("utf-8"))
    assert facts["statistics"]["loss"]["auc"]["value"] == pytest.approx(result.separations["loss"].auc.value)
    assert facts["counts"] == {"images": 40, "nonmembers": 110, "left_out": 0}
    page = result.report.read_text("utf-8")
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert "A high likelihood is not a proof of membership" in page
    assert "cannot be stated with 110 non-members; it takes 1,000" in page
    assert page.count("<svg") == 2


def test_a_second_run_asks_nothing_again(sides: tuple[Path, Path], tmp_path: Path) -> None:
    images, others = sides
    out = tmp_path / "out"
    first = membership(images, model=Remembering(images), nonmembers=others, out=out)
    model = Remembering(images)
    again = membership(images, model=model, nonmembers=others, out=out)
    assert first is not None
    assert again is not None
    assert model.calls == 2  # the estimate's
    assert again.separations == first.separations
    other = Remembering(images, side=8, cell=4)
    membership(images, model=other, nonmembers=others, out=out)
    assert other.calls > 2  # another model's answers are not these


def test_an_interrupted_run_goes_on(sides: tuple[Path, Path], tmp_path: Path) -> None:
    images, others = sides
    whole = membership(images, model=Remembering(images), nonmembers=others, out=tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        membership(images, model=Remembering(images, fail_at=2 + 5 * 2 + 3), nonmembers=others, out=out)
    parts = sorted(out.glob("answers/*/part-*.npz"))
    assert len(parts) == 2
    parts[0].write_bytes(parts[0].read_bytes()[:100])  # the disk was full
    told: list[Estimate] = []
    model = Remembering(images)
    found = membership(
        images, model=model, nonmembers=others, out=out, on_estimate=lambda expected: not told.append(expected)
    )
    assert told[0].kept == 32
    assert model.calls == 2 + 5 * 4  # five parts, of which one is kept
    assert whole is not None
    assert found is not None
    assert found.separations == whole.separations


def test_only_an_estimate(sides: tuple[Path, Path], tmp_path: Path) -> None:
    model = Remembering(sides[0])
    out = tmp_path / "out"
    assert membership(sides[0], model=model, nonmembers=sides[1], out=out, on_estimate=lambda _: False) is None
    assert model.calls == 2
    assert not out.exists()


def test_odd_files_are_rows(tmp_path: Path) -> None:
    images, others = write(tmp_path / "images", 3, 1), write(tmp_path / "others", 12, 2)
    model = Remembering(images)
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    Image.new("RGB", (8, 8)).save(images / "tiny.png")
    Image.new("RGB", (16, 16)).save(images / "sixteen.png")
    Image.new("RGB", (300, 200), "white").save(images / "wide.png")
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(images / "moving.gif", save_all=True, append_images=frames[1:])
    (images / "copy.png").write_bytes((images / "000.png").read_bytes())
    (images / "both.png").write_bytes((others / "001.png").read_bytes())
    result = membership(images, model=model, nonmembers=others, out=tmp_path / "out", as_set=True)
    assert result is not None
    table = {row["id"]: row for row in rows(result.table) if row["side"] == "image"}
    assert table["broken.png"]["state"] == "error"
    assert "16 or more along each side" in table["tiny.png"]["reason"]
    assert table["sixteen.png"]["state"] == table["wide.png"]["state"] == "ok"
    assert table["moving.gif"]["loss"]
    assert {table["copy.png"]["reason"], table["000.png"]["reason"]} == {"", "the same as 000.png; counted once"}
    assert "cannot be both" in table["both.png"]["reason"]
    assert (result.images, result.nonmembers, result.left_out) == (6, 11, 5)
    assert any("were enlarged" in note for note in result.notes)
    assert any("not square" in note for note in result.notes)
    assert result.blind.verdict.state == "unknown"


def test_one_image(sides: tuple[Path, Path], tmp_path: Path) -> None:
    result = membership(
        sides[0] / "000.png", model=Remembering(sides[0]), nonmembers=sides[1], out=tmp_path, as_set=True
    )
    assert result is not None
    assert result.images == 1
    assert result.dataset is not None
    assert result.dataset.welch_p is None
    assert "not defined" in result.report.read_text("utf-8")  # Welch's test


def test_sizes_that_differ_are_told(tmp_path: Path) -> None:
    images = write(tmp_path / "images", 25, 1, size=64)
    others = write(tmp_path / "others", 25, 2, size=128)
    result = membership(images, model=Remembering(images), nonmembers=others, out=tmp_path / "out", neighbours=False)
    assert result is not None
    assert any("64 pixels in the median, the non-members' 128" in note for note in result.notes)
    assert result.blind.verdict.state == "biased"
    assert "means nothing" in result.sentences[0]
    assert len(result.sentences) == 1
    assert "The result means nothing." in result.report.read_text("utf-8")


def captioned(path: Path, folder: Path, captions: Sequence[str]) -> Path:
    files = sorted(folder.glob("*.png"))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "series"])
        writer.writerows(zip(files, captions * len(files), ["a", "b"] * len(files), strict=False))
    return path


def test_captions(sides: tuple[Path, Path], tmp_path: Path) -> None:
    images, others = sides
    model = Remembering(images, captioned={"кот": TABLE})
    one = captioned(tmp_path / "one.csv", images, ["кот"])
    other = captioned(tmp_path / "other.csv", others, ["кот", "дом"])
    found = membership(one, model=model, nonmembers=other, out=tmp_path / "out")
    assert found is not None
    assert set(found.separations) == set(STATISTICS)
    assert found.notes == ()
    without = membership(one, model=model, nonmembers=other, out=tmp_path / "out", captions=False)
    assert without is not None
    assert "caption_ratio" not in without.separations
    assert "as was asked for" in without.notes[0]
    missing = captioned(tmp_path / "missing.csv", others, ["кот", ""])
    with pytest.raises(UsageError, match=r"55 of 150 images have no caption \(the first: .*001.png\)"):
        membership(one, model=model, nonmembers=missing, out=tmp_path / "out")
    table = captioned(tmp_path / "both.csv", images, ["кот"])
    table.write_text(table.read_text("utf-8") + (tmp_path / "other.csv").read_text("utf-8").partition("\n")[2], "utf-8")
    given = membership(images, model=model, nonmembers=others, out=tmp_path / "out", captions=table)
    assert given is not None
    assert given.separations["caption_ratio"] == found.separations["caption_ratio"]
    none = membership(images, model=model, nonmembers=others, out=tmp_path / "out")
    assert none is not None
    assert "the sources have none" in none.notes[0]
    with pytest.raises(UsageError, match="needs captions"):
        membership(images, model=model, nonmembers=others, out=tmp_path / "out", statistic="caption_ratio")
    grouped = membership(one, model=model, nonmembers=other, out=tmp_path / "out", group="series")
    assert grouped is not None
    assert grouped.blind.verdict.state == "unknown"  # two series are not enough to part
    with pytest.raises(UsageError, match="group column 'serie'"):
        membership(one, model=model, nonmembers=other, out=tmp_path / "out", group="serie")


def test_what_cannot_be_asked(sides: tuple[Path, Path], tmp_path: Path) -> None:
    images, others = sides
    few = write(tmp_path / "few", 3, 3)
    with pytest.raises(UsageError, match="3 non-members given, 10 or more needed"):
        membership(images, model=Remembering(images), nonmembers=few, out=tmp_path / "out")
    for number in range(9):
        (few / f"broken{number}.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"3 non-members given, 10 or more .* \(9 cannot be used; the first: bro"):
        membership(images, model=Remembering(images), nonmembers=few, out=tmp_path / "out")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError):
        membership(empty, model=Remembering(images), nonmembers=others, out=tmp_path / "out")
    (empty / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="no image to ask about is left"):
        membership(empty, model=Remembering(images), nonmembers=others, out=tmp_path / "out")
    with pytest.raises(SourceError, match="no such file or folder"):
        membership(tmp_path / "nowhere", model=Remembering(images), nonmembers=others, out=tmp_path / "out")
    with pytest.raises(UsageError, match="unknown statistic 'los'"):
        membership(images, model=Remembering(images), nonmembers=others, out=tmp_path / "out", statistic="los")
    with pytest.raises(UsageError, match="not asked about altered copies"):
        membership(
            images, model=Remembering(images), nonmembers=others, out=tmp_path / "out", statistic="neighbourhood",
            neighbours=False,
        )  # fmt: skip
    with pytest.raises(SourceError, match="has no captions"):
        membership(
            images, model=Remembering(images), nonmembers=others, out=tmp_path / "out",
            captions=captioned(tmp_path / "c.csv", others, [""]),
        )  # fmt: skip


def test_a_gpt2_that_recites_faust(tmp_path: Path) -> None:
    folder = reciting_model(tmp_path / "gpt2")
    model = open_likelihood(f"transformers:{folder}", length=LENGTH)
    tokens = model.encode(SEEN)
    begun = model.complete(tokens[:, :6], [""] * len(SEEN), [0] * len(SEEN), greedy=True)
    assert (begun == tokens).all(1).mean() >= 0.8  # it recites
    (tmp_path / "seen.txt").write_text("\n".join(SEEN), "utf-8")
    (tmp_path / "unseen.txt").write_text("\n".join(UNSEEN), "utf-8")
    found = membership(
        tmp_path / "seen.txt", model=model, nonmembers=tmp_path / "unseen.txt", out=tmp_path / "out", as_set=True
    )
    assert found is not None
    assert found.separations["loss"].auc.value == 1.0
    assert found.separations["min_k_plus_20"].auc.low > 0.8
    assert found.dataset is not None
    assert found.dataset.permutation_p == pytest.approx(1e-4)
    assert found.blind.verdict.state != "biased"
    half = membership(tmp_path / "unseen.txt", model=model, nonmembers=tmp_path / "seen.txt", out=tmp_path / "other")
    assert half is not None
    assert "look at how they were chosen" in half.sentences[0]
