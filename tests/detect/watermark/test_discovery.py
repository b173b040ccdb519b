from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from forensics.detect.watermark.discovery import discover
from forensics.detect.watermark.fields import agreement, field, letters, whitened
from forensics.detect.watermark.groups import consensus_p, distinct
from forensics.detect.watermark.judging import Batch, Placed
from forensics.detect.watermark.mark_fit import Presence, fit_mark, presence, word_regions
from forensics.detect.watermark.repeats import common_period, shifts
from forensics.detect.watermark.shared_mark import find_mark, least_z, mark_mask
from forensics.render.marks import stock_mark
from forensics.thresholds import THRESHOLDS

SIDE = 128
LIMITS = {"fixed": THRESHOLDS["shared_mark"].value, "moving": THRESHOLDS["moving_mark"].value}
SHARE = THRESHOLDS["shared_mark_share"].value


def picture(number: int) -> np.ndarray:
    """A picture of its own: soft ground, shapes at random places."""
    rng = np.random.default_rng([7, number])
    ground = Image.fromarray(rng.integers(40, 200, (5, 5, 3), np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(ground)
    for _ in range(7):
        x, y, w, h = (int(value) for value in rng.integers((0, 0, 8, 8), (SIDE, SIDE, 50, 50)))
        shade = tuple(int(value) for value in rng.integers(0, 255, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)((x, y, x + w, y + h), fill=shade)
    return np.asarray(ground)


def marked(image: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
    return stock_mark(image, name="DEMO", opacity=0.5, period=0.5, degrees=0, offset=offset).image


def truth(offset: tuple[float, float]) -> np.ndarray:
    black, white = (
        marked(np.full((SIDE, SIDE, 3), value, np.uint8), offset)[..., 0].astype(float) for value in (0, 255)
    )
    opacity = 1 - (white - black) / 255
    return word_regions(np.asarray(opacity > 0.5 * opacity.max())) > 0


def grey(images: list[np.ndarray]) -> list[np.ndarray]:
    return [np.asarray(Image.fromarray(image).convert("L")) for image in images]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.fixture(scope="module")
def plain() -> list[np.ndarray]:
    return [picture(number) for number in range(40)]


@pytest.fixture(scope="module")
def fixed(plain: list[np.ndarray]) -> list[np.ndarray]:
    return grey([marked(image, (0.3, 0.2)) if n < 10 else image for n, image in enumerate(plain)])


def test_a_mark_at_one_place_is_found_and_its_images_are_listed(fixed: list[np.ndarray]) -> None:
    (mark,) = discover(fixed, limits=LIMITS, share=SHARE)
    assert mark.path == "fixed"
    assert set(mark.members) <= set(range(10))
    assert len(mark.members) >= 8
    assert iou(mark.mask > 0, truth((0.3, 0.2))) >= 0.85
    assert mark.p_value <= 0.1
    assert mark.period is not None
    assert mark.period[0] == pytest.approx(0.25, abs=0.02)  # half a period aside in every other line


def test_a_mark_that_moves_is_found(plain: list[np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    images = grey([marked(image, tuple(rng.random(2))) if n < 12 else image for n, image in enumerate(plain)])
    marks = discover(images, limits=LIMITS, share=SHARE)
    assert marks
    assert set(marks[0].members) <= set(range(12))
    assert len(marks[0].members) >= 6
    assert marks[0].path == "moving"


def test_nothing_is_found_where_there_is_nothing(plain: list[np.ndarray]) -> None:
    assert discover(grey(plain), limits=LIMITS, share=SHARE) == []


def test_one_picture_in_many_versions_is_no_mark(plain: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    again = [
        np.clip(picture(99).astype(float) + rng.normal(0, 6, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        for _ in range(10)
    ]
    images = grey([*again, *plain[:20]])
    assert len(distinct(images)) == 21
    assert discover(images, limits=LIMITS, share=SHARE) == []


def test_a_few_images_say_nothing(fixed: list[np.ndarray]) -> None:
    assert discover(fixed[:7], limits=LIMITS, share=SHARE) == []
    assert discover([np.full((SIDE, SIDE), 200, np.uint8)] * 20, limits=LIMITS, share=SHARE) == []
    assert discover([], limits=LIMITS, share=SHARE) == []


def test_the_consensus_of_marked_images_is_unlikely_by_chance(fixed: list[np.ndarray], plain: list[np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    fields = np.stack([whitened(field(np.asarray(image, np.float32) / 255)) for image in fixed])
    assert consensus_p(fields, rng) <= 0.02
    clean = np.stack([whitened(field(np.asarray(image, np.float32) / 255)) for image in grey(plain)])
    assert consensus_p(clean, rng, flips=99) > 0.02


def test_a_fitted_mark_tells_how_opaque_it_is(plain: list[np.ndarray]) -> None:
    images = [np.asarray(image, np.float32) / 255 for image in grey([marked(i, (0, 0)) for i in plain[:20]])]
    mark = fit_mark(images)
    assert float(np.median(mark.opacity[mark.inked & (mark.grey == 1)])) == pytest.approx(0.5, abs=0.15)
    seen = presence(np.asarray(grey([marked(plain[30], (0, 0))])[0], np.float32) / 255, mark)
    assert (seen.dx, seen.dy) == (0, 0)
    assert seen.share == pytest.approx(1, abs=0.35)
    assert seen.z > 6
    absent = presence(np.asarray(grey([plain[30]])[0], np.float32) / 255, mark)
    assert absent.z < 4
    moved = np.roll(grey([marked(plain[31], (0, 0))])[0], (5, -9), (0, 1))
    found = presence(np.asarray(moved, np.float32) / 255, mark, reach=20)
    assert (found.dy, found.dx) == (5, -9)


def test_shifts_undo_what_moved_an_image(fixed: list[np.ndarray]) -> None:
    one = field(np.asarray(fixed[0], np.float32) / 255)
    one = np.asarray(one * letters(one), np.complex64)
    fields = np.stack([one, np.roll(one, (7, -12), (0, 1)), np.roll(one, (-3, 4), (0, 1))])
    strength, steps = shifts(fields)
    assert np.array_equal(strength, strength.T)
    for a in range(3):
        for b in range(3):
            if a != b:
                assert np.allclose(np.roll(fields[b], tuple(steps[a, b]), (0, 1)), fields[a], atol=1e-4)


def test_agreement_is_what_a_plain_loop_says() -> None:
    rng = np.random.default_rng(4)
    fields = (rng.normal(size=(4, 32, 32)) + 1j * rng.normal(size=(4, 32, 32))).astype(np.complex64)
    fields[1, :16] = fields[0, :16]
    fast = agreement(fields, cell=16)
    sizes = np.array([[np.linalg.norm(f[y : y + 16, x : x + 16]) for y in (0, 16) for x in (0, 16)] for f in fields])
    floor = 0.15 * np.median(sizes)
    for a in range(4):
        for b in range(4):
            total = 0.0
            for cell, (y, x) in enumerate((y, x) for y in (0, 16) for x in (0, 16)):
                one, other = fields[a, y : y + 16, x : x + 16], fields[b, y : y + 16, x : x + 16]
                total += float((one * other.conj()).sum().real) / ((sizes[a, cell] + floor) * (sizes[b, cell] + floor))
            expected = 0.0 if a == b else total / np.sqrt(4 + 8)
            assert fast[a, b] == pytest.approx(expected, abs=1e-4)


def test_a_mark_that_does_not_repeat_has_no_period() -> None:
    images = []
    for number in range(12):
        image = Image.fromarray(picture(number))
        ImageDraw.Draw(image).text((20, 60), "AGENCY", fill=(255, 255, 255), font_size=22)
        images.append(np.asarray(np.asarray(image.convert("L")), np.float32) / 255)
    assert common_period(fit_mark(images)) is None


def test_a_shared_mark_is_looked_for_in_an_image_of_its_own(fixed: list[np.ndarray], plain: list[np.ndarray]) -> None:
    (mark,) = discover(fixed, limits=LIMITS, share=SHARE)
    another = np.asarray(grey([marked(picture(500), (0.3, 0.2))])[0], np.float32) / 255
    assert find_mark(another, mark).z >= LIMITS["fixed"]
    assert find_mark(np.asarray(grey([picture(501)])[0], np.float32) / 255, mark).z < LIMITS["fixed"]


def pointing(count: int, bearing: range, offset: tuple[float, float]) -> list[np.ndarray | None]:
    """What a network that sees the marks says, and a false alarm on the last image."""
    seen = truth(offset).astype(np.float32)
    seen = np.asarray(0.9 * cv2.GaussianBlur(seen, (0, 0), 2.0))
    masks: list[np.ndarray | None] = [seen if number in bearing else None for number in range(count)]
    masks[-1] = np.roll(seen, 31, 0)
    return masks


def test_a_network_that_points_to_images_lets_fewer_of_them_be_found(plain: list[np.ndarray]) -> None:
    offset = (0.3, 0.2)
    images = grey([marked(image, offset) if n < 4 else image for n, image in enumerate(plain)])
    masks = pointing(len(images), range(4), offset)
    (mark,) = discover(images, limits=LIMITS, share=SHARE, masks=masks)
    assert mark.vouched
    assert set(mark.members) == set(range(4))
    assert iou(mark.mask > 0, truth(offset)) >= 0.8


def test_a_motif_that_moves_and_is_not_pointed_to_is_the_pictures_own(plain: list[np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    images = grey([marked(image, tuple(rng.random(2))) if n < 12 else image for n, image in enumerate(plain)])
    assert discover(images, limits=LIMITS, share=SHARE)
    assert discover(images, limits=LIMITS, share=SHARE, masks=[None] * len(images)) == []


def test_a_moving_mark_is_in_no_image_that_the_network_passes_over(plain: list[np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    offsets = [tuple(rng.random(2)) for _ in range(20)]
    images = grey([marked(image, offsets[n]) if n < 20 else image for n, image in enumerate(plain)])
    masks: list[np.ndarray | None] = [None] * len(images)
    for number in range(10):
        mask = truth(offsets[number]).astype(np.float32)
        masks[number] = np.asarray(0.9 * cv2.GaussianBlur(mask, (0, 0), 2.0))
    (mark,) = discover(images, limits=LIMITS, share=SHARE, masks=masks)
    assert mark.path == "moving"
    assert set(mark.members) <= set(range(10))
    assert len(mark.members) >= 8


def test_a_network_that_points_to_clean_images_makes_no_mark(plain: list[np.ndarray]) -> None:
    masks = pointing(40, range(3, 9), (0.3, 0.2))
    assert discover(grey(plain), limits=LIMITS, share=SHARE, masks=masks) == []


def test_lines_that_a_network_leaves_out_are_no_words(plain: list[np.ndarray]) -> None:
    images = [np.array(marked(image, (0.3, 0.2))) for image in plain[:10]]
    for image in images:
        cv2.line(image, (0, 5), (SIDE - 1, SIDE - 9), (235, 235, 235), 2)
    batch = Batch(
        images=[np.asarray(image, np.float32) / 255 for image in grey(images)],
        masks=pointing(11, range(10), (0.3, 0.2))[:10],
        limits=LIMITS,
        share=SHARE,
    )
    fitted = fit_mark(batch.images)
    alone = iou(word_regions(fitted.inked) > 0, truth((0.3, 0.2)))
    together = iou(batch.words([Placed(number=n) for n in range(10)], fitted) > 0, truth((0.3, 0.2)))
    assert together > alone + 0.02
    unseen = replace(batch, masks=[None] * 10)
    assert np.array_equal(unseen.words([Placed(number=n) for n in range(10)], fitted), word_regions(fitted.inked))


def test_less_is_asked_where_a_network_points_and_more_where_it_does_not(fixed: list[np.ndarray]) -> None:
    (mark,) = discover(fixed, limits=LIMITS, share=SHARE)
    assert least_z(mark, 6.0, pointed=True) == least_z(mark, 6.0, pointed=False) == 6.0
    vouched = replace(mark, vouched=True)
    assert least_z(vouched, 6.0, pointed=True) == pytest.approx(4.0)
    assert least_z(vouched, 6.0, pointed=False) == pytest.approx(8.0)
    tile = replace(vouched, repeated=True)
    assert least_z(tile, 6.0, pointed=True) == 6.0
    assert least_z(tile, 6.0, pointed=False) == pytest.approx(8.0)


def test_a_moving_mark_is_drawn_where_a_network_sees_it_beyond_the_estimate(fixed: list[np.ndarray]) -> None:
    (mark,) = discover(fixed, limits=LIMITS, share=SHARE)
    moving = replace(mark, path="moving", period=None)
    image = np.asarray(fixed[0], np.float32) / 255
    seen = Presence(share=1.0, z=9.0, dx=0, dy=40)
    own = np.zeros_like(image)
    own[:20, :20] = own[100:, 100:] = 0.9
    drawn = mark_mask(image, moving, seen, z=7.0, own=own) > 0
    assert drawn[:20, :20].all()  # moved down by 40, the estimate does not reach the first rows
    assert np.array_equal(drawn[40:], mark.mask[:-40] > 0)  # and speaks where it does
    assert np.array_equal(mark_mask(image, moving, seen, z=7.0) > 0, np.pad(mark.mask[:-40], ((40, 0), (0, 0))) > 0)
