"""Known marks on real pictures: found where they lie, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.detect import KnownMark, known_marks, mark_scores
from forensics.errors import UsageError
from forensics.flows.world import agency_marks
from forensics.render.agencies import AGENCIES, agency_mark
from forensics.thresholds import THRESHOLDS

PICTURES = sorted((Path(__file__).parents[2] / "index_data" / "edits" / "references").glob("*.jpg"))[::8]
MARGIN = THRESHOLDS["known_mark"].value
MARKS = agency_marks()
CHANCE = np.array([mark.chance for mark in MARKS])


def square(path: Path, side: int) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


def scaled(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("side", [64, 128, 256])
def test_each_agencys_mark_is_found_and_no_other(side: int) -> None:
    for number, path in enumerate(PICTURES):
        name = list(AGENCIES)[number % len(AGENCIES)]
        marked = scaled(agency_mark(square(path, 256), AGENCIES[name]).image, side)
        assert [found.name for found in known_marks(marked, MARKS, margin=MARGIN)] == [name], path.name


def test_unmarked_pictures_bear_none() -> None:
    scores = np.array([mark_scores(square(path, 64), MARKS) for path in PICTURES])
    assert (scores <= CHANCE).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_the_ground_does_not_matter(grey: int) -> None:
    plain = np.full((256, 256, 3), grey, np.uint8)
    assert not known_marks(plain, MARKS, margin=1.0)
    for mark, agency in zip(MARKS, AGENCIES.values(), strict=True):
        marked = scaled(agency_mark(plain, agency).image, 64)
        assert known_marks(marked, [mark], margin=2 * MARGIN)


def test_a_pixels_shift_is_forgiven_and_half_a_tile_is_not() -> None:
    mark, agency = MARKS[0], next(iter(AGENCIES.values()))
    marked = scaled(agency_mark(square(PICTURES[0], 256), agency).image, 64)
    assert known_marks(np.roll(marked, (1, -1), (0, 1)), [mark], margin=MARGIN)
    assert not known_marks(np.roll(marked, (8, 0), (0, 1)), [mark], margin=MARGIN)


def test_the_box_is_what_the_mark_covers() -> None:
    bar = AGENCIES["Кадр24"]
    marked = scaled(agency_mark(square(PICTURES[0], 256), bar).image, 128)
    (found,) = known_marks(marked, MARKS, margin=MARGIN)
    assert found.score >= found.threshold == MARGIN * CHANCE[2]
    x0, y0, x1, y1 = found.box
    assert (x0, x1, y1) == (0, 128, 128)
    assert 100 < y0 < 112


def test_a_thumbnail_shows_no_letters() -> None:
    assert mark_scores(np.zeros((24, 200, 3), np.uint8), MARKS) == [0.0, 0.0, 0.0]


def test_an_empty_mask_is_no_mark() -> None:
    empty = np.zeros((64, 64), np.float32)
    nothing = KnownMark(name="none", light=empty, dark=empty)
    assert mark_scores(square(PICTURES[0], 64), [nothing]) == [0.0]
    assert known_marks(square(PICTURES[0], 64), [nothing], margin=0.0)[0].box == (0, 0, 64, 64)


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(UsageError, match="one shape"):
        KnownMark(name="a", light=np.zeros((4, 4), np.float32), dark=np.zeros((5, 4), np.float32))
    with pytest.raises(UsageError, match="uint8"):
        mark_scores(np.zeros((64, 64, 3), np.float32), MARKS)  # type: ignore[arg-type]
