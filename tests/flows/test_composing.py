"""Composites that worker processes make ahead of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.errors import ForensicsError, SourceError
from forensics.flows.composing import Composing, shards_ahead
from forensics.flows.train_watermark import train_watermark
from forensics.render.stock_names import is_held_out
from forensics.train.composites import Recipe
from forensics.train.shards import SHARD

PLAIN = Recipe(seed=3, spoilt=0.0, distractors=0.0, small=1.0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(10):
        coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"p{number}.png")
    return folder


def files(folder: Path) -> set[int]:
    return {int(path.name[6:11]) for path in folder.glob("shard-*.images.npy")}


def test_workers_make_what_this_process_would_and_what_was_read_goes(tmp_path: Path, pictures: Path) -> None:
    plan = Composing(folder=tmp_path / "here", recipe=PLAIN, data=(pictures,))
    with shards_ahead(plan, count=SHARD, workers=0, once=False) as here:
        expected = [here.row(number) for number in (0, 5, SHARD - 1)]
    plan = Composing(folder=tmp_path / "there", recipe=PLAIN, data=(pictures,))
    with shards_ahead(plan, count=2 * SHARD, workers=1, once=True) as there:
        rows = [there.row(number) for number in (0, 5, SHARD - 1)]
        assert 0 in files(plan.folder)
        there.row(SHARD)
        assert files(plan.folder) == {1}
        for row, own in zip(rows, expected, strict=True):  # still readable
            np.testing.assert_array_equal(row.image, own.image)
            np.testing.assert_array_equal(row.mask, own.mask)
            assert (row.presence, row.brand, row.twin is None) == (own.presence, own.brand, own.twin is None)


def test_a_training_that_was_stopped_goes_on_in_the_middle_and_sees_samples_again(
    tmp_path: Path, pictures: Path
) -> None:
    plan = Composing(folder=tmp_path / "s", recipe=PLAIN, data=(pictures,))
    with shards_ahead(plan, count=2 * SHARD, workers=1, once=False) as shards:
        last = shards.row(SHARD + 1)  # the second shard first
        shards.row(0)
        np.testing.assert_array_equal(shards.row(SHARD + 1).image, last.image)
        assert files(plan.folder) == {0, 1}


def test_what_a_worker_cannot_make_is_said(tmp_path: Path, pictures: Path) -> None:
    for path in pictures.iterdir():
        path.write_bytes(b"no picture")
    plan = Composing(folder=tmp_path / "s", recipe=PLAIN, data=(pictures,))
    with (
        shards_ahead(plan, count=SHARD, workers=1, once=False) as shards,
        pytest.raises(ForensicsError, match=r"composites from number 0 on: .*no picture to compose with"),
    ):
        shards.row(3)


def test_folders_without_pictures_are_refused_before_anything_is_begun(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no folder"):
        train_watermark(data=[tmp_path / "none"], out=tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="no picture to compose with"):
        train_watermark(data=[tmp_path / "none"], out=tmp_path / "out")
    Image.new("RGB", (80, 80)).save(tmp_path / "none" / "p0.png")
    assert not is_held_out("p0")
    with pytest.raises(SourceError, match="none of the pictures is held out"):
        train_watermark(data=[tmp_path / "none"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_kill_while_files_are_deleted_leaves_nothing_that_looks_whole(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Composing(folder=tmp_path / "s", recipe=PLAIN, data=(pictures,))
    plan.folder.mkdir()
    for name in ("masks", "twins", "labels", "images"):
        (plan.folder / f"shard-00000.{name}.npy").write_bytes(b"")
    part = plan.folder / "shard-00000.masks.npy.77.part"
    part.write_bytes(b"")
    gone: list[str] = []
    unlink = Path.unlink

    def note(path: Path, missing_ok: bool = False) -> None:
        gone.append(path.name)
        unlink(path, missing_ok=missing_ok)

    with shards_ahead(plan, count=2 * SHARD, workers=0, once=True) as shards:
        monkeypatch.setattr(Path, "unlink", note)
        shards._drop_before(1)
    assert gone[0] == "shard-00000.images.npy"
    assert part.name in gone
    assert not list(plan.folder.iterdir())
