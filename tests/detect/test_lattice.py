"""The period of a repeated mark, and the average over its repeats."""

import numpy as np
import pytest

from forensics.detect.watermark.lattice import averaged, find_lattice, local_contrast, tile


def dotted(shape: tuple[int, int], steps: tuple[tuple[int, int], ...], start: tuple[int, int] = (12, 9)) -> np.ndarray:
    """Blobs of 14 x 6 at every whole combination of the steps."""
    mask = np.zeros(shape, np.uint8)
    first = np.array(steps[0])
    second = np.array(steps[1]) if len(steps) > 1 else np.zeros(2, int)
    for i in range(-40, 41):
        for j in range(-40, 41) if len(steps) > 1 else (0,):
            x, y = np.array(start) + i * first + j * second
            mask[max(0, y) : max(0, y + 6), max(0, x) : max(0, x + 14)] = 255
    return mask


def grey(shape: tuple[int, int]) -> np.ndarray:
    return np.full((*shape, 3), 128, np.uint8)


@pytest.mark.parametrize("steps", [((60, 0), (0, 44)), ((48, 30), (-48, 30)), ((70, 12), (-20, 52))])
def test_the_steps_of_a_lattice_are_found(steps: tuple[tuple[int, int], ...]) -> None:
    shape = (220, 256)
    lattice = find_lattice(dotted(shape, steps), grey(shape))
    assert lattice is not None
    assert lattice.confidence > 0.8
    found = np.array(lattice.steps)
    truth = np.array(steps, float)
    # any basis of the same lattice is right: whole coefficients, of determinant one
    coefficients = found @ np.linalg.inv(truth)
    assert coefficients == pytest.approx(np.rint(coefficients), abs=0.1)
    assert abs(np.linalg.det(coefficients)) == pytest.approx(1.0, abs=0.1)


def test_steps_are_in_pixels_of_the_picture() -> None:
    lattice = find_lattice(dotted((220, 256), ((60, 0), (0, 44))), grey((440, 512)))
    assert lattice is not None
    assert sorted(np.hypot(x, y) for x, y in lattice.steps) == pytest.approx([88, 120], abs=4)


@pytest.mark.parametrize("kind", ["single", "bar", "blank", "noise"])
def test_what_does_not_repeat_has_no_lattice(kind: str) -> None:
    mask = np.zeros((200, 256), np.uint8)
    if kind == "single":
        mask[80:110, 60:200] = 255
    elif kind == "bar":
        mask[180:] = 255
    elif kind == "noise":
        mask = np.random.default_rng(0).integers(0, 256, mask.shape).astype(np.uint8)
    assert find_lattice(mask, grey((200, 256))) is None


def test_a_tiny_picture_has_no_lattice() -> None:
    assert find_lattice(None, grey((16, 16))) is None


def test_averaging_completes_a_copy_that_is_covered() -> None:
    shape, steps = (220, 256), ((60, 0), (0, 44))
    clean = dotted(shape, steps).astype(np.float32)
    lattice = find_lattice(clean, grey(shape))
    assert lattice is not None
    covered = clean.copy()
    covered[90:110, 60:100] = 0.0
    mean = averaged(covered, lattice)
    gap = clean[90:110, 60:100] > 0
    assert gap.any()
    assert covered[90:110, 60:100][gap].max() == 0.0
    assert mean[90:110, 60:100][gap].mean() > 150


def test_averaging_blurs_what_does_not_repeat() -> None:
    shape = (220, 256)
    mask = dotted(shape, ((60, 0), (0, 44)))
    lattice = find_lattice(mask, grey(shape))
    assert lattice is not None
    noise = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    assert averaged(noise, lattice)[60:160, 60:190].std() < 0.4


def test_a_tile_is_one_period_inside_the_frame() -> None:
    shape = (220, 256)
    mask = dotted(shape, ((60, 0), (0, 44)))
    lattice = find_lattice(mask, grey(shape))
    assert lattice is not None
    assert tile(mask.astype(np.float32), lattice, (128, 110)).shape == pytest.approx((44, 60), abs=3)
    assert min(tile(mask.astype(np.float32), lattice, (0, 0)).shape) > 0


def test_local_contrast_does_not_depend_on_brightness() -> None:
    ground = np.full((100, 100, 3), 60, np.uint8)
    ground[:, 50:] = 180
    ground[40:44, 10:20] += 30
    ground[40:44, 70:80] += 30
    contrast = local_contrast(ground)
    assert contrast[41, 15] == pytest.approx(contrast[41, 75], rel=0.35)
    assert abs(float(contrast[5, 5])) < 0.2
