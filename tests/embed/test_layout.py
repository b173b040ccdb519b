"""Thumbnails compared by the shape of light and dark."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.embed import create
from forensics.embed.layout import Layout, fine
from forensics.errors import UsageError, VectorError
from tests.detect.memes import ground


def rows(*images: np.ndarray) -> np.ndarray:
    layout = Layout()
    return layout.embed([layout.prepare(image) for image in images])


def test_rows_are_unit_and_as_the_spec_says() -> None:
    made = rows(ground(1), ground(2))
    assert made.shape == (2, create("layout").spec.dim)
    assert made.dtype == np.float32
    assert np.linalg.norm(made, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
    assert Layout().embed([]).shape == (0, 1728)


def test_cosine_is_the_mean_of_the_channels_correlations() -> None:
    layout = Layout()
    one, other = layout.prepare(ground(1)), layout.prepare(ground(2))
    expected = np.mean([np.corrcoef(one[..., c].ravel(), other[..., c].ravel())[0, 1] for c in range(3)])
    a, b = layout.embed([one, other])
    # the faint ramp that keeps rows from being zero moves it a little
    assert float(a @ b) == pytest.approx(float(expected), abs=0.01)


def test_new_colours_change_nothing_and_another_picture_does() -> None:
    image = ground(1)
    recoloured = np.clip(image * np.array([0.5, 0.8, 0.3]) + np.array([60, 5, 90]), 0, 255).astype(np.uint8)
    same, other = rows(image, recoloured, ground(2))[0] @ rows(image, recoloured, ground(2))[1:].T
    assert same > 0.99
    assert other < 0.6
    assert float(fine(rows(image))[0] @ fine(rows(recoloured))[0]) > 0.98


def test_an_empty_picture_has_a_row_and_is_like_no_other() -> None:
    blank = np.full((50, 60, 3), 128, np.uint8)
    made = rows(blank, ground(1))
    assert np.isfinite(made).all()
    assert np.linalg.norm(made, axis=1) == pytest.approx([1.0, 1.0], abs=1e-4)


def test_a_vignette_counts_in_the_coarse_part_only() -> None:
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    vignette = np.repeat((120 * np.exp(-(x**2 + y**2)))[..., None], 3, axis=2)
    random = np.random.default_rng(0)
    images = [np.clip(vignette + 60 + random.normal(0, 6, (200, 200, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    a, b = rows(*images)
    assert a @ b > 0.9
    assert fine(a[None])[0] @ fine(b[None])[0] < a @ b


def test_wrong_names_and_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="layout has no variants"):
        create("layout:fine")
    with pytest.raises(VectorError, match="24, 24, 3"):
        Layout().embed([np.zeros((8, 8, 3), np.uint8)])
