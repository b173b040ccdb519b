from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data

from forensics.verify import extract, verify_pair
from forensics.verify.placing import place


@pytest.fixture(scope="module")
def smooth():
    """A photograph blurred until no local feature is left to match."""
    image = Image.fromarray(data.coffee()[:384, :512]).filter(ImageFilter.GaussianBlur(9))
    return np.asarray(image)


def _box(matrix, width, height):
    corners = np.array([[0, 0, 1], [width - 1, height - 1, 1]]) @ matrix.T
    return corners[:, :2].ravel()


def test_a_crop_lies_inside(smooth):
    found = place(smooth[100:292, 200:456], smooth)
    assert found.correlation > 0.97
    assert np.abs(_box(found.matrix, 256, 192) - [200, 100, 455, 291]).max() < 14


def test_a_paste_lies_around(smooth):
    canvas = np.full((400, 600, 3), 200, np.uint8)
    canvas[100:292, 250:506] = np.asarray(Image.fromarray(smooth).resize((256, 192)))
    found = place(canvas, smooth)
    assert found.correlation > 0.94
    assert np.abs(_box(np.linalg.inv(found.matrix), 512, 384) - [250, 100, 505, 291]).max() < 14


def test_unrelated_pictures_have_no_place(smooth):
    other = Image.fromarray(data.astronaut()).filter(ImageFilter.GaussianBlur(9))
    assert place(np.asarray(other), smooth).correlation < 0.8


def test_verification_falls_back_on_it():
    """A redraw coarse enough that no detail of it matches the sharp reference."""
    photo = data.coffee()[:384, :512]
    coarse = Image.fromarray(photo[60:300, 40:360]).resize((20, 15), Image.Resampling.BOX)
    redraw = np.asarray(coarse.resize((320, 240), Image.Resampling.NEAREST))
    reference = extract(photo)
    assert verify_pair(extract(redraw), reference, placing=False).region is None
    found = verify_pair(extract(redraw), reference)
    assert found.correlation > 0.9
    assert np.abs(np.array(found.region.reference_box) - [40, 60, 360, 300]).max() < 24
    flipped = verify_pair(extract(np.ascontiguousarray(redraw[:, ::-1])), reference)
    assert flipped.mirrored
    assert np.abs(np.array(flipped.region.reference_box) - [40, 60, 360, 300]).max() < 24


@pytest.mark.parametrize("shape", [(8, 8), (8, 512), (64, 64)])
def test_flat_frames_correlate_with_nothing(smooth, shape):
    flat = np.full((*shape, 3), 90, np.uint8)
    assert place(flat, smooth).correlation <= 0.0
    assert place(smooth, flat).correlation <= 0.0
