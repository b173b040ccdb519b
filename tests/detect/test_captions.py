"""Captions of image macros: what is measured from boxes, how letters are drawn, and whole pictures."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from forensics.detect import ocr
from forensics.detect.captions import (
    MEASUREMENTS,
    bar_share,
    find_captions,
    frames,
    macro_score,
    measure,
    outline_strength,
)
from forensics.detect.ocr import TextBox, TextReader
from forensics.render.memes import pseudo_russian
from forensics.render.text import caption_bar, font, meme_text, overlay_text

needs_reader = pytest.mark.skipif(bool(ocr.missing()), reason=ocr.missing() or "the extra ocr is installed")


def box(left: float, top: float, right: float, bottom: float) -> TextBox:
    return TextBox(polygon=((left, top), (right, top), (right, bottom), (left, bottom)), score=0.9)


def picture(height: int = 300, width: int = 400, *, seed: int = 0) -> np.ndarray:
    """Soft colours without an edge, of no text."""
    coarse = np.random.default_rng(seed).integers(30, 200, (4, 5, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).copy()


def line_of(ink: str, edge: str | None, ground: tuple[int, int, int]) -> np.ndarray:
    canvas = Image.new("RGB", (240, 48), ground)
    ImageDraw.Draw(canvas).text(
        (12, 8), "CAPTION", font=font(28), fill=ink, stroke_width=2 if edge else 0, stroke_fill=edge
    )
    return np.asarray(canvas)


def test_lines_are_measured_where_they_stand() -> None:
    image = picture()
    values = measure(image, [box(100, 10, 300, 40), box(150, 260, 250, 290), box(0, 140, 40, 150)], (0, 0, 400, 300))
    assert set(values) == set(MEASUREMENTS)
    assert values["top"] == pytest.approx(0.5)
    assert values["bottom"] == pytest.approx(0.25)
    assert values["both"] == pytest.approx(0.25)
    assert values["centred"] == pytest.approx(1.0)
    assert values["letters"] == pytest.approx(0.1)
    assert values["middle"] == pytest.approx(400 / 120_000)
    assert values["small"] == pytest.approx(np.log(2))


def test_slanted_lines_and_lines_outside_the_frame_are_no_captions() -> None:
    slanted = TextBox(polygon=((10.0, 10.0), (100.0, 60.0), (90.0, 75.0), (0.0, 25.0)), score=0.9)
    values = measure(picture(), [slanted], (0, 0, 400, 300))
    assert values["top"] == 0.0
    assert values["lines"] > 0.0
    assert measure(picture(), [box(100, 10, 300, 40)], (0, 100, 400, 300))["lines"] == 0.0


def test_a_caption_in_a_bar_is_told_from_one_over_the_picture() -> None:
    barred = caption_bar(picture(), text="WHEN IT WORKS", scale=0.08).image
    top = barred.shape[0] - 300
    values = measure(barred, [box(80, 4, 320, top - 6)], (0, 0, 400, barred.shape[0]))
    assert values["top_bar"] == pytest.approx(top / barred.shape[0], abs=0.02)
    assert values["bar_text"] == pytest.approx(0.6)
    assert measure(picture(), [box(80, 4, 320, 30)], (0, 0, 400, 300))["bar_text"] == 0.0


def test_a_bar_ends_where_the_picture_begins() -> None:
    image = picture()
    assert bar_share(image) == 0.0
    image[:60] = 255
    image[20:40, 50:350] = 0
    assert bar_share(image) == pytest.approx(0.2)
    assert bar_share(image[::-1]) == 0.0
    image[20:40, :350] = 0
    assert bar_share(image) == pytest.approx(0.2)
    plain = np.full((100, 100, 3), 255, np.uint8)
    assert bar_share(plain) == 0.0
    plain[0, :2] = 0
    assert bar_share(plain) == 0.0


def test_light_letters_with_a_dark_edge_are_outlined() -> None:
    outlined = outline_strength(line_of("white", "black", (120, 140, 90)))
    assert outlined > 0.5
    assert outline_strength(line_of("white", None, (120, 140, 90))) < 0.3
    assert outline_strength(line_of("black", None, (250, 250, 250))) < 0.3
    assert outline_strength(np.full((48, 100, 3), 128, np.uint8)) == 0.0
    assert outline_strength(line_of("red", "black", (120, 140, 90))) < outlined / 2


def test_a_small_picture_has_one_frame() -> None:
    assert frames(np.zeros((16, 16, 3), np.uint8)) == [(0, 0, 16, 16)]
    assert frames(picture())[0] == (0, 0, 400, 300)


def test_outlined_lines_above_and_below_make_a_macro_and_an_empty_picture_does_not() -> None:
    nothing = dict.fromkeys(MEASUREMENTS, 0.0)
    captioned = nothing | {
        "top": 0.7, "bottom": 0.7, "both": 0.7, "top_outlined": 0.5, "bottom_outlined": 0.5, "letters": 0.1,
        "centred": 1.0, "lines": np.log(3),
    }  # fmt: skip
    assert macro_score(nothing) < 0.2
    assert macro_score(captioned) > 0.9


@needs_reader
def test_invented_letters_over_both_edges_are_captions() -> None:
    rng = np.random.default_rng(2)
    image = meme_text(picture(), top=pseudo_russian(rng, 2), bottom=pseudo_russian(rng, 2), scale=0.11).image
    found = find_captions(image, TextReader(threads=1))
    assert found.score > 0.5
    assert found.top
    assert found.bottom
    assert found.outlined
    assert found.cyrillic is not None
    assert found.cyrillic > 0.5


@needs_reader
def test_an_english_caption_in_a_bar_is_one_and_not_cyrillic() -> None:
    image = caption_bar(picture(), text="when the tests are green", scale=0.08).image
    found = find_captions(image, TextReader(threads=1))
    assert found.score > 0.5
    assert found.top_bar > 0.1
    assert not found.outlined
    assert found.cyrillic == 0.0


@needs_reader
def test_a_plain_picture_and_a_sign_are_no_macros() -> None:
    reader = TextReader(threads=1)
    plain = find_captions(picture(), reader)
    assert plain.score < 0.5
    assert plain.cyrillic is None
    sign = overlay_text(picture(), text="OPEN", rng=np.random.default_rng(4), scale=0.08, opacity=1.0).image
    assert find_captions(sign, reader).score < 0.5


@needs_reader
@pytest.mark.parametrize("shape", [(16, 16), (1, 1), (5, 2000)])
def test_pictures_of_any_size_are_taken(shape: tuple[int, int]) -> None:
    found = find_captions(np.full((*shape, 3), 200, np.uint8), TextReader(threads=1))
    assert found.score < 0.5
    assert found.frame == (0, 0, shape[1], shape[0])
