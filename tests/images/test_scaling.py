"""Resizing against Pillow, views and previews."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from forensics.errors import UsageError
from forensics.images import decode, encode_preview, resize, view_pixels
from forensics.types import View
from tests.images.pictures import photo, pixels

if TYPE_CHECKING:
    pass

SIZES = [(320, 320), (97, 61), (200, 40), (40, 33), (13, 9), (1, 1), (150, 20), (31, 200)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("source", [(97, 61), (501, 375), (1, 1), (2, 700)])
def test_resize_follows_pillow(source: tuple[int, int], width: int, height: int) -> None:
    image = photo(*source)
    result = resize(image, width, height)
    expected = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    assert result.shape == expected.shape
    assert result.dtype == np.uint8
    difference = np.abs(result.astype(int) - expected)
    assert difference.mean() < 2.0
    assert difference.max() <= 12


@settings(max_examples=150, deadline=None)
@given(
    source=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    target=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    level=st.integers(0, 255),
)
def test_resize_keeps_size_and_flat_colours(source: tuple[int, int], target: tuple[int, int], level: int) -> None:
    result = resize(np.full((source[1], source[0], 3), level, np.uint8), *target)
    assert result.shape == (target[1], target[0], 3)
    assert (result == level).all()


def test_resize_takes_any_layout_and_refuses_the_rest() -> None:
    image = photo()
    mirrored = image[:, ::-1]
    np.testing.assert_array_equal(resize(mirrored, 30, 20), resize(mirrored.copy(), 30, 20))
    np.testing.assert_array_equal(resize(image, 97, 61), image)
    for bad, width in ((image[..., 0], 5), (image.astype(np.float32), 5), (image, 0), (image[:0], 5)):
        with pytest.raises(UsageError):
            resize(bad, width, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(8))
def test_views_are_cut_mirrored_and_turned(orientation: int) -> None:
    image = photo(90, 60)
    part = image[20:40, 30:60]
    if orientation >= 4:
        part = part[:, ::-1]
    expected = np.rot90(part, orientation % 4)
    view = View(name="x", box=(1 / 3, 1 / 3, 2 / 3, 2 / 3), orientation=orientation)
    np.testing.assert_array_equal(view_pixels(image, view), expected)


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_views_hold_at_least_a_pixel(size: tuple[int, int], corners: tuple[float, float, float, float]) -> None:
    x0, x1 = sorted((corners[0], corners[2]))
    y0, y1 = sorted((corners[1], corners[3]))
    part = view_pixels(np.zeros((size[1], size[0], 3), np.uint8), View(name="x", box=(x0, y0, x1, y1)))
    assert 1 <= part.shape[0] <= size[1]
    assert 1 <= part.shape[1] <= size[0]


def test_the_whole_view_is_the_image() -> None:
    image = photo()
    assert view_pixels(image, View(name="whole")).shape == image.shape


@pytest.mark.parametrize("quality", [50, 90])
def test_previews_are_jpegs_no_larger_than_asked(quality: int) -> None:
    image = photo(400, 100)
    data = encode_preview(image, long_side=100, quality=quality)
    result = decode(data)
    assert (result.format, result.width, result.height) == ("JPEG", 100, 25)
    assert np.abs(pixels(result).astype(int) - resize(image, 100, 25)).mean() < 12
    assert decode(encode_preview(image[:, ::-1], long_side=1000)).width == 400
    assert encode_preview(image, long_side=100, quality=quality) == data
    assert decode(encode_preview(photo(1000, 1), long_side=10)).height == 1
    for side, bad in ((0, 90), (10, 0), (10, 101)):
        with pytest.raises(UsageError):
            encode_preview(image, long_side=side, quality=bad)
