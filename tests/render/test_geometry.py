"""The geometry that edits report is where the pixels really went."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.render import layouts, spatial, text, tones
from forensics.render.edited import (
    box_of,
    chain,
    clip_polygon,
    compose,
    original,
    polygon_area,
    rectangle,
    warp_points,
)


def smooth(height: int = 90, width: int = 140, seed: int = 0) -> np.ndarray:
    """Return a picture without sharp edges, so that resampled pixels can be compared."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    return np.asarray(spatial.resize(coarse, width=width, height=height).image)


def sample(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the bilinear values of ``image`` at continuous coordinates (n, 2)."""
    x, y = np.clip(points[:, 0] - 0.5, 0, image.shape[1] - 1), np.clip(points[:, 1] - 0.5, 0, image.shape[0] - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, image.shape[1] - 1), np.minimum(y0 + 1, image.shape[0] - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    upper = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    lower = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


EDITS = {
    "crop": lambda image: spatial.crop(image, share=0.3, rng=rng(), stretch=1.5),
    "resize": lambda image: spatial.resize(image, width=70, height=200),
    "scale_to": lambda image: spatial.scale_to(image, long_side=77),
    "squeeze": lambda image: spatial.squeeze(image, factor=1.6),
    "mirror": spatial.mirror,
    "flip": spatial.flip,
    "turn 90": lambda image: spatial.quarter_turn(image, turns=1),
    "turn 180": lambda image: spatial.quarter_turn(image, turns=2),
    "turn 270": lambda image: spatial.quarter_turn(image, turns=3),
    "rotate": lambda image: spatial.rotate(image, degrees=23),
    "rotate expand": lambda image: spatial.rotate(image, degrees=-40, expand=True),
    "tilt": lambda image: spatial.tilt(image, strength=0.25, rng=rng()),
    "pad": lambda image: spatial.pad(image, margins=(0.1, 0.2, 0.3, 0.0)),
    "paste": lambda image: layouts.paste(image, smooth(200, 220, seed=5), share=0.3, rng=rng()),
    "collage": lambda image: layouts.collage([image, smooth(60, 60, 7), smooth(80, 50, 8)], rng=rng())[0],
    "caption above": lambda image: text.caption_bar(image, text="Мой понедельник"),
    "caption below": lambda image: text.caption_bar(image, text="Мой понедельник", at_bottom=True),
    "screenshot": lambda image: layouts.screenshot(image, rng=rng()),
    "chain": lambda image: chain(
        image,
        [
            spatial.mirror,
            lambda i: spatial.crop(i, share=0.5, rng=rng()),
            lambda i: spatial.rotate(i, degrees=15, expand=True),
            lambda i: layouts.paste(i, smooth(200, 220, seed=5), share=0.4, rng=rng()),
        ],
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_pixels_lie_where_the_transform_says(name: str) -> None:
    source = smooth()
    made = EDITS[name](source)
    outline = np.asarray(made.query_polygon)
    # points well inside the outline: random mixtures of its corners, drawn to the centre
    weights = np.random.default_rng(0).dirichlet(np.ones(len(outline)), 300)
    points = (weights @ outline - outline.mean(axis=0)) * 0.85 + outline.mean(axis=0)
    there = np.asarray(warp_points(made.transform, [(float(x), float(y)) for x, y in points]))
    difference = np.abs(sample(made.image, points) - sample(source, there))
    assert np.median(difference) < 2.0
    assert difference.mean() < 4.0


@pytest.mark.parametrize("name", EDITS)
def test_boxes_lie_inside_their_images(name: str) -> None:
    source = smooth()
    made = EDITS[name](source)
    height, width = made.image.shape[:2]
    x0, y0, x1, y1 = made.query_box
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    x0, y0, x1, y1 = made.reference_box
    assert 0 <= x0 < x1 <= source.shape[1]
    assert 0 <= y0 < y1 <= source.shape[0]
    assert 0 < made.query_share <= 1
    assert 0 < made.reference_share <= 1 + 1e-9
    assert made.image.dtype == np.uint8
    assert made.steps


@pytest.mark.parametrize("share", [0.05, 0.25, 0.7, 1.0])
def test_crop_keeps_the_share_it_was_asked_for(share: float) -> None:
    generator = np.random.default_rng(1)
    image = smooth(300, 400)
    for _ in range(20):
        made = spatial.crop(image, share=share, rng=generator, stretch=1.6)
        assert made.reference_share == pytest.approx(share, rel=0.05)
        x0, y0, x1, y1 = made.reference_box
        assert np.array_equal(made.image, image[y0:y1, x0:x1])


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_paste_covers_the_share_it_was_asked_for(share: float) -> None:
    ground = smooth(300, 400, 2)
    made = layouts.paste(smooth(), ground, share=share, rng=rng())
    assert made.query_share == pytest.approx(share, rel=0.05)
    assert made.reference_box == (0, 0, 140, 90)
    x0, y0, x1, y1 = made.query_box
    outside = np.ones(ground.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(made.image[outside], ground[outside])


def test_a_paste_that_would_not_fit_is_made_smaller() -> None:
    made = layouts.paste(smooth(40, 400), smooth(200, 200, 2), share=0.9, rng=rng())
    assert made.query_box[0::2] == (0, 200)


def test_a_collage_gives_each_picture_its_own_place() -> None:
    pictures = [smooth(seed=seed) for seed in range(5)]
    made = layouts.collage(pictures, rng=rng(), cell=64, gap=4)
    assert len({m.query_box for m in made}) == 5
    assert all(m.image is made[0].image or np.array_equal(m.image, made[0].image) for m in made)
    assert all(m.reference_box == (25, 0, 115, 90) for m in made)


def test_crop_after_paste_keeps_only_the_part_in_view() -> None:
    ground = np.zeros((100, 100, 3), np.uint8)
    pasted = layouts.paste(smooth(100, 100), ground, share=0.25, rng=rng())
    x0, y0, _, y1 = pasted.query_box
    assert x0 > 0
    cut = compose(pasted, spatial.crop_box(pasted.image, box=(0, 0, x0 + 25, y1)))
    assert cut.query_box == (x0, y0, x0 + 25, y1)
    assert cut.reference_box == (0, 0, 50, 100)
    assert cut.reference_share == pytest.approx(0.5)
    gone = compose(pasted, spatial.crop_box(pasted.image, box=(0, 0, x0, 100)))
    assert gone.query_polygon == ()
    assert gone.query_share == gone.reference_share == 0.0
    assert gone.reference_box == (0, 0, 0, 0)


def test_mirroring_twice_changes_nothing() -> None:
    image = smooth()
    made = chain(image, [spatial.mirror, spatial.mirror])
    assert np.array_equal(made.image, image)
    assert made.transform == original(image).transform
    assert made.steps == ("mirror", "mirror")


def test_clipping() -> None:
    square = rectangle(10, 10)
    assert clip_polygon(square, rectangle(10, 10, 20, 20)) == ()
    assert clip_polygon((), square) == ()
    assert polygon_area(clip_polygon(square, rectangle(10, 10, 5, 5))) == pytest.approx(25)
    turned = tuple(reversed(rectangle(10, 10, 5, 5)))
    assert polygon_area(clip_polygon(square, turned)) == pytest.approx(25)
    triangle = ((0.0, 0.0), (20.0, 0.0), (0.0, 20.0))
    assert polygon_area(clip_polygon(triangle, square)) == pytest.approx(100)
    assert box_of((), 5, 5) == (0, 0, 0, 0)
    assert box_of(((-3.0, 1.2), (99.0, 4.0000001)), 50, 50) == (0, 1, 50, 4)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda: spatial.crop(smooth(), share=0.0, rng=rng()), "share is 0"),
        (lambda: spatial.crop(smooth(), share=1.5, rng=rng()), "from 0.0001 to 1"),
        (lambda: spatial.crop_box(smooth(), box=(0, 0, 141, 90)), "crop x1 is 141"),
        (lambda: spatial.mirror(np.zeros((4, 4), np.uint8)), "shape"),
        (lambda: spatial.mirror(np.zeros((4, 4, 3), np.float32)), "float32"),
        (lambda: spatial.mirror(np.zeros((0, 4, 3), np.uint8)), "shape"),
        (lambda: tones.jpeg(smooth(), quality=0), "quality is 0"),
        (lambda: layouts.collage([smooth()], rng=rng()), "pictures of a collage is 1"),
        (lambda: layouts.fit_inside(smooth(), width=0, height=5), "at least 1 x 1"),
    ],
)
def test_wrong_arguments_are_named(bad: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bad()  # type: ignore[operator]
