from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from forensics.verify import Hint, aligned_parts, extract, verify_pair


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()[:384, :512]


@pytest.fixture(scope="module")
def other():
    return data.chelsea()


def _mapped(verification, points):
    matrix = np.array(verification.transform).reshape(3, 3)
    homogeneous = np.hstack([points, np.ones((len(points), 1))]) @ matrix.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def test_crop_is_located_in_full_size_pixels(photo):
    crop = photo[100:290, 200:460]
    found = verify_pair(extract(crop), extract(photo))
    corners = np.array([[0.0, 0.0], [259.0, 189.0]])
    assert np.abs(_mapped(found, corners) - (corners + np.array([200, 100]))).max() < 2.0
    assert found.query_area > 0.95
    assert found.reference_area == pytest.approx(260 * 190 / (512 * 384), abs=0.03)
    assert found.similarity > 0.9
    assert found.log10_nfa < -50
    x0, y0, x1, y1 = found.region.reference_box
    assert np.abs(np.array([x0, y0, x1, y1]) - [200, 100, 460, 290]).max() <= 6


def test_mirrored_copy_is_seen_as_mirrored(photo):
    found = verify_pair(extract(np.ascontiguousarray(photo[:, ::-1])), extract(photo))
    assert found.mirrored
    assert np.abs(_mapped(found, np.array([[10.0, 20.0]])) - [[511 - 10, 20]]).max() < 2.0
    assert not verify_pair(extract(photo), extract(photo), mirror=False).mirrored


def test_paste_region_is_the_pasted_rectangle(photo, other):
    canvas = other.copy()
    small = photo[::2, ::2]  # 192 x 256
    canvas[60:252, 150:406] = small
    found = verify_pair(extract(canvas), extract(photo))
    box = np.array(found.region.query_box)
    assert np.abs(box - [150, 60, 406, 252]).max() <= 12
    assert found.reference_area > 0.85
    assert found.query_area < 0.5


def test_unrelated_pictures_do_not_align(photo, other):
    found = verify_pair(extract(photo), extract(other))
    assert found.status == "verified"
    assert found.log10_nfa > -2


def test_a_shared_mark_is_not_a_shared_picture(photo, other):
    """Two different photographs under one overlaid lattice align perfectly, but the claimed region does not agree."""
    import cv2

    def marked(image):
        out = np.ascontiguousarray(image[:300, :450])
        for y in range(40, 300, 90):
            for x in range(10, 450, 150):
                cv2.putText(out, "Stock-o", (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2)
        return out

    found = verify_pair(extract(marked(photo)), extract(marked(other)))
    same = verify_pair(extract(marked(photo)), extract(photo[:300, :450]))
    assert found.similarity < 0.4 < same.similarity


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (16, 16), (9, 300)])
def test_tiny_and_flat_images_are_measured_not_raised(photo, shape):
    flat = np.full((*shape, 3), 128, np.uint8)
    assert verify_pair(extract(flat), extract(photo)).inliers == 0
    assert verify_pair(extract(photo), extract(flat)).inliers == 0
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    verify_pair(extract(noise), extract(noise))


def test_preview_and_original_give_one_geometry(photo):
    """A reference known only by its preview is located in the pixels of the original."""
    preview = photo[::2, ::2]
    found = verify_pair(extract(photo[50:350, 100:450]), extract(preview, width=512, height=384))
    x0, y0, x1, y1 = found.region.reference_box
    assert np.abs(np.array([x0, y0, x1, y1]) - [100, 50, 450, 350]).max() <= 8


def test_a_hint_finds_what_the_whole_frames_miss(photo, other):
    """A small, blurred paste has too few features in the frame of the whole; enlarged it has enough."""
    import cv2

    canvas = cv2.resize(other, (1024, 680))
    small = cv2.resize(photo, (150, 112), interpolation=cv2.INTER_AREA)
    canvas[500:612, 700:850] = small
    query, reference = extract(canvas), extract(photo)
    hint = Hint(query=(690 / 1024, 490 / 680, 860 / 1024, 622 / 680), reference=(0.0, 0.0, 1.0, 1.0))
    without = verify_pair(query, reference, placing=False)
    found = verify_pair(query, reference, placing=False, hints=(hint,))
    assert found.log10_nfa <= without.log10_nfa
    assert found.log10_nfa < -10
    box = np.array(found.region.query_box)
    assert np.abs(box - [700, 500, 850, 612]).max() <= 16
    corner = _mapped(found, np.array([[700.0, 500.0], [849.0, 611.0]]))
    assert np.abs(corner - [[0, 0], [511, 383]]).max() < 12


def test_aligned_parts_show_the_same_place(photo, other):
    canvas = other.copy()
    canvas[60:252, 150:406] = photo[::2, ::2][:, ::-1]
    query, reference = extract(canvas), extract(photo)
    found = verify_pair(query, reference)
    assert found.mirrored
    ours, theirs = aligned_parts(query, reference, found, side=64)
    assert ours.shape == theirs.shape == (64, 64, 3)
    correlation = np.corrcoef(ours.astype(float).ravel(), theirs.astype(float).ravel())[0, 1]
    assert correlation > 0.9
    nothing = verify_pair(extract(photo), extract(other))
    assert aligned_parts(extract(photo), extract(other), nothing, side=64) is None
