"""Rectangles that look like pictures of their own."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from forensics.images.insets import insets


def overlap(one, two) -> float:
    width, height = min(one[2], two[2]) - max(one[0], two[0]), min(one[3], two[3]) - max(one[1], two[1])
    if min(width, height) <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return width * height / (areas - width * height)


@pytest.fixture(scope="module")
def ground() -> np.ndarray:
    return np.ascontiguousarray(data.coffee()[:384, :512])


@pytest.mark.parametrize("box", [(40, 60, 200, 180), (300, 200, 470, 350), (100, 30, 400, 330)])
def test_a_paste_is_found(ground: np.ndarray, box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box
    pasted = ground.copy()
    pasted[y0:y1, x0:x1] = data.astronaut()[: y1 - y0, : x1 - x0]
    true = (x0 / 512, y0 / 384, x1 / 512, y1 / 384)
    assert max(overlap(true, found) for found in insets(pasted)) > 0.85


def test_what_is_left_between_bars_is_found(ground: np.ndarray) -> None:
    barred = np.zeros((512, 512, 3), np.uint8)
    barred[64:448] = ground
    assert max(overlap((0, 0.125, 1, 0.875), found) for found in insets(barred)) > 0.95


@pytest.mark.parametrize("picture", ["astronaut", "chelsea", "rocket"])
def test_a_photograph_has_none_of_four_sides(picture: str) -> None:
    """Lines of buildings and tables may bound bars; what is asked is that no small rectangle is invented."""
    for x0, y0, x1, y1 in insets(getattr(data, picture)()):
        sides = [x0 > 0.01, y0 > 0.01, x1 < 0.99, y1 < 0.99]
        assert sum(sides) < 4


@pytest.mark.parametrize("shape", [(16, 16, 3), (31, 400, 3), (1, 1, 3)])
def test_tiny_pictures_have_none(shape: tuple[int, int, int]) -> None:
    assert insets(np.zeros(shape, np.uint8)) == []


def test_plain_pictures_have_none() -> None:
    assert insets(np.full((300, 200, 3), 128, np.uint8)) == []
    slope = np.broadcast_to(np.arange(300, dtype=np.float32)[:, None, None] / 2, (300, 200, 3))
    assert insets(slope.astype(np.uint8)) == []


def test_most(ground: np.ndarray) -> None:
    collage = np.tile(ground, (2, 2, 1))
    collage[382:386] = 255
    collage[:, 510:514] = 255
    assert len(insets(collage, most=1)) == 1
    assert len(insets(collage, most=3)) == 3
