"""Edits that keep the geometry do what their names say, and chance comes from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.render import layouts, marks, redraw, spatial, text, tones
from forensics.render.edited import IDENTITY


def picture(height: int = 96, width: int = 128) -> np.ndarray:
    """Return a colourful picture with shapes and a gradient."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([columns * 255 // width, rows * 255 // height, 128 + 0 * rows], axis=2).astype(np.uint8)
    image[20:50, 30:70] = (220, 30, 40)
    image[60:80, 80:120] = (20, 60, 200)
    return image


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


IN_PLACE = {
    "blur": lambda image, r: tones.blur(image, radius=2.0),
    "sharpen": lambda image, r: tones.sharpen(image, percent=200),
    "noise": lambda image, r: tones.noise(image, sigma=12, rng=r),
    "jpeg": lambda image, r: tones.jpeg(image, quality=20),
    "grayscale": lambda image, r: tones.grayscale(image),
    "jitter": lambda image, r: tones.jitter(image, brightness=1.2, contrast=0.8, saturation=1.4, hue=0.1),
    "tint": lambda image, r: tones.tint(image, colour=(255, 0, 0), opacity=0.3),
    "posterize": lambda image, r: tones.posterize(image, levels=4),
    "pixelize": lambda image, r: tones.pixelize(image, block=6),
    "shuffle": lambda image, r: tones.shuffle_pixels(image, radius=3, rng=r),
    "meme": lambda image, r: text.meme_text(image, top="Поехали", bottom="в пятницу"),
    "overlay": lambda image, r: text.overlay_text(image, text="Фото дня", rng=r),
    "mark": lambda image, r: marks.stock_mark(image),
    "blend": lambda image, r: layouts.blend(image, image[::-1].copy(), opacity=0.4),
    "stripes": lambda image, r: layouts.stripes(image, count=5, share=0.3, rng=r),
    "redraw": lambda image, r: redraw.redraw(image, strength=0.6, rng=r),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_changes_pixels_and_keeps_their_places(name: str) -> None:
    image = picture()
    before = image.copy()
    made = IN_PLACE[name](image, rng())
    assert np.array_equal(image, before), "the input was written to"
    assert made.image.shape == image.shape
    assert made.image.dtype == np.uint8
    assert not np.array_equal(made.image, image)
    assert made.transform == IDENTITY
    assert made.reference_box == made.query_box == (0, 0, 128, 96)
    assert made.query_share == pytest.approx(1.0)


@pytest.mark.parametrize("name", IN_PLACE)
def test_the_same_generator_gives_the_same_picture(name: str) -> None:
    first, second = (IN_PLACE[name](picture(), rng(4)).image for _ in range(2))
    assert np.array_equal(first, second)


def test_neutral_settings_change_nothing() -> None:
    image = picture()
    assert np.array_equal(tones.jitter(image).image, image)
    assert np.array_equal(tones.noise(image, sigma=0, rng=rng()).image, image)
    assert np.array_equal(tones.shuffle_pixels(image, radius=0, rng=rng()).image, image)
    assert np.array_equal(tones.pixelize(image, block=1).image, image)
    assert np.array_equal(layouts.blend(image, image[::-1].copy(), opacity=0).image, image)
    assert np.array_equal(marks.stock_mark(image, opacity=0).image, image)


def test_grayscale_and_posterize() -> None:
    grey = tones.grayscale(picture()).image
    assert np.array_equal(grey[..., 0], grey[..., 2])
    assert len(np.unique(tones.posterize(picture(), levels=3).image)) == 3


def test_hue_turns_red_to_green() -> None:
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    assert tones.jitter(red, hue=1 / 3).image[0, 0].tolist() == pytest.approx([0, 255, 0], abs=6)


def test_stripes_cover_their_share() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    made = layouts.stripes(image, count=10, share=0.25, rng=rng(1)).image
    assert (made != 0).any(axis=2).mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("words", ["Ёжик в тумане", "sale 50 %", "«Да» — нет…"])
def test_every_letter_is_in_the_font(words: str) -> None:
    missing = text.font(20).getmask("\uffff").getbbox(), bytes(text.font(20).getmask("\uffff"))
    for letter in words.replace(" ", ""):
        assert (text.font(20).getmask(letter).getbbox(), bytes(text.font(20).getmask(letter))) != missing


def test_long_captions_are_wrapped_and_stay_inside() -> None:
    lines = text.wrap("очень длинная подпись которая не помещается в одну строку", size=12, width=120)
    assert len(lines) > 2
    assert all(text.font(12).getlength(line) <= 120 for line in lines)
    made = text.caption_bar(picture(), text="очень длинная подпись которая не помещается в одну строку")
    bar = made.query_box[1]
    assert np.array_equal(made.image[bar:], picture())
    dark = (made.image[:bar] < 128).all(axis=2)
    assert dark.any()
    assert not dark[0].any()
    assert not dark[-1].any()


def test_the_mark_shows_on_white_and_on_black() -> None:
    for ground in (0, 255):
        image = np.full((200, 300, 3), ground, np.uint8)
        changed = np.abs(marks.stock_mark(image, opacity=0.4).image.astype(int) - ground).max(axis=2)
        assert (changed > 20).mean() > 0.01


def test_redraw_keeps_the_structure_and_changes_more_with_strength() -> None:
    image = np.asarray(spatial.resize(picture(), width=384, height=288).image)
    errors, alike = [], []
    for strength in (0.2, 0.6, 1.0):
        made = redraw.redraw(image, strength=strength, rng=rng(2)).image
        errors.append(float(np.abs(made.astype(float) - image).mean()))
        small = [spatial.resize(np.ascontiguousarray(p), width=12, height=9).image.ravel() for p in (image, made)]
        alike.append(float(np.corrcoef(small[0], small[1])[0, 1]))
    assert errors == sorted(errors)
    assert errors[0] > 1.0
    assert min(alike) > 0.95


def test_gradient_and_background_have_the_asked_size() -> None:
    assert layouts.gradient(30, 20, rng=rng()).shape == (20, 30, 3)
    for width, height in ((50, 80), (300, 40)):
        assert layouts.fit_inside(picture(), width=width, height=height).shape == (height, width, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2)])
def test_tiny_pictures_survive(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    for edit in IN_PLACE.values():
        assert edit(image, rng()).image.shape == image.shape
    assert spatial.scale_to(image, long_side=20).image.size
    assert layouts.screenshot(image, rng=rng()).image.size
