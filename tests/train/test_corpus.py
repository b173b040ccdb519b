"""The corpus reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.errors import SourceError
from forensics.train.corpus import read_corpus, read_pixels
from tests.train.worlds import pixels, write_corpus


def test_rows_come_in_order_with_everything_they_say(tmp_path: Path) -> None:
    corpus = read_corpus(write_corpus(tmp_path / "world"))
    assert [picture.role for picture in corpus.pictures] == ["member"] * 6 + ["held-out", "distractor"]
    first = corpus.of(("member",))[0]
    assert (first.caption, first.planted, first.details) == ("красный круг", 4, {"licence": "CC0"})
    assert len(corpus.of(("held-out", "distractor"))) == 2


def test_pixels_are_as_drawn_or_resized_by_lanczos(tmp_path: Path) -> None:
    corpus = read_corpus(write_corpus(tmp_path / "world"))
    assert np.array_equal(read_pixels(corpus.pictures, 32), pixels())
    small = read_pixels(corpus.pictures[:1], 16)
    wanted = Image.fromarray(pixels()[0]).resize((16, 16), Image.Resampling.LANCZOS)
    assert np.array_equal(small[0], np.asarray(wanted))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("role,planted", "role,times", "no column planted"),
        ("held-out", "heldout", "line 8: role 'heldout' given, one of member, held-out, distractor"),
        ("held-out,0", "held-out,3", "line 8: planted '3' given; 1 or more for a member, 0 for others"),
        ("member,4", "member,0", "line 2: planted '0'"),
        ("member,4", "member,-1", "line 2: planted '-1'"),
        ("красный круг", "", "line 2: an empty caption"),
        ("member,4,CC0", "member,4,CC0,more", "line 2: the row has another number of columns"),
        ("member,4,CC0", "member,4", "line 2: the row has another number of columns"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    folder = write_corpus(tmp_path / "world")
    text = (folder / "manifest.csv").read_text("utf-8")
    assert before in text
    (folder / "manifest.csv").write_text(text.replace(before, after, 1), "utf-8")
    with pytest.raises(SourceError, match=message):
        read_corpus(folder)


def test_pictures_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "world")
    pictures = read_corpus(folder).pictures
    Image.new("RGB", (8, 9)).save(pictures[0].path)
    pictures[1].path.write_bytes(b"no picture")
    pictures[2].path.unlink()
    for picture, message in zip(pictures, ("is 8 x 9", "cannot be used: not an image", "cannot be read"), strict=False):
        with pytest.raises(SourceError, match=message):
            read_pixels([picture], 8)
    with pytest.raises(SourceError, match=r"manifest\.csv cannot be read"):
        read_corpus(tmp_path / "none")
