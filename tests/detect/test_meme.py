"""Memes: where the picture is, which template it shows, and when nothing is claimed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from forensics.detect.captions import Captions
from forensics.detect.meme import UNKNOWN_TEMPLATE, MemeDetector
from forensics.detect.meme_match import FEATURES, QueryRows, TemplateRows, geometry_features, load_model, match
from forensics.detect.meme_views import picture_rectangles, without_bars
from forensics.render.layouts import screenshot
from forensics.render.memes import caption, decode_again, repaint
from forensics.render.text import caption_bar
from forensics.types import Box, Detector, Verification
from tests.detect.memes import LIMITS, UInt8Array, detector_of, ground, template

NAMES = ["Doubting-Cat", "Robot-And-Flower", "Shouting-Bear", "Wise-Owl", "Pointing-Professor"]


@pytest.fixture(scope="module")
def detector() -> MemeDetector:
    return detector_of(NAMES)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    return shared / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - shared)


def pasted(picture: UInt8Array, *, x: int, y: int, width: int) -> tuple[UInt8Array, Box]:
    canvas = ground(5)
    height = round(picture.shape[0] * width / picture.shape[1])
    canvas[y : y + height, x : x + width] = np.asarray(Image.fromarray(picture).resize((width, height)))
    return canvas, (x, y, x + width, y + height)


# -- where the picture is


@pytest.mark.parametrize("at_bottom", [False, True])
def test_a_bar_with_a_caption_is_cut_away(at_bottom: bool) -> None:
    picture = template("Shouting-Bear")
    made = caption_bar(picture, text="когда приходит дедлайн", at_bottom=at_bottom).image
    x0, y0, x1, y1 = without_bars(made)
    assert (x0, x1) == (0, 400)
    assert y1 - y0 == pytest.approx(300, abs=2)
    assert (y0 == 0) == at_bottom


def test_a_border_of_one_colour_is_cut_away_and_a_picture_is_left_whole() -> None:
    picture = ground(1)
    framed = np.full((500, 560, 3), 255, np.uint8)
    framed[50:450, 60:500] = picture
    assert without_bars(framed) == (60, 50, 500, 450)
    assert without_bars(picture) == (0, 0, 440, 400)


@pytest.mark.parametrize("shape", [(40, 40), (33, 200), (300, 34)])
def test_an_image_of_one_colour_stays_whole(shape: tuple[int, int]) -> None:
    blank = np.full((*shape, 3), 90, np.uint8)
    assert without_bars(blank) == (0, 0, shape[1], shape[0])
    assert picture_rectangles(blank) == []


@pytest.mark.parametrize("place", [(120, 80, 220), (0, 150, 240), (200, 200, 200)])
def test_a_pasted_picture_is_found(place: tuple[int, int, int]) -> None:
    image, truth = pasted(template("Robot-And-Flower"), x=place[0], y=place[1], width=place[2])
    found = picture_rectangles(image, most=2)
    assert max(overlap(box, truth) for box, _ in found) > 0.95


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_in_a_screenshot_is_found(dark: bool) -> None:
    made = screenshot(template("Wise-Owl"), rng=rng(), text="Мемы", dark=dark)
    assert max(overlap(box, made.query_box) for box, _ in picture_rectangles(made.image, most=2)) > 0.95


def test_rectangles_are_in_pixels_of_a_large_image() -> None:
    image, truth = pasted(template("Robot-And-Flower"), x=120, y=80, width=220)
    large = np.asarray(Image.fromarray(image).resize((440 * 4, 400 * 4), Image.Resampling.NEAREST))
    scaled = tuple(4 * value for value in truth)
    assert max(overlap(box, scaled) for box, _ in picture_rectangles(large)) > 0.95  # type: ignore[arg-type]


# -- which template


def edits() -> dict[str, UInt8Array]:
    bear = template("Shouting-Bear")
    written = caption(bear, rng=rng()).image
    return {
        "itself": bear,
        "caption": written,
        "bar": caption_bar(bear, text="КОГДА ПРИШЁЛ ДЕДЛАЙН").image,
        "mirrored": np.ascontiguousarray(written[:, ::-1]),
        "decoded": decode_again(written, strength=0.8, rng=rng()).image,
        "repainted": repaint(written, strength=0.8, rng=rng()).image,
        "screenshot": screenshot(written, rng=rng(), text="кот").image,
        "pasted": pasted(written, x=120, y=80, width=230)[0],
        "large": np.asarray(Image.fromarray(written).resize((2400, 1800))),
        "grey": np.asarray(Image.fromarray(written).convert("L").convert("RGB")),
    }


@pytest.mark.parametrize("edit", list(edits()))
def test_the_template_is_named_whatever_was_done_to_it(detector: MemeDetector, edit: str) -> None:
    (found,) = detector.detect([edits()[edit]])[0]
    assert found.kind == "meme"
    assert found.label == "Shouting-Bear"
    assert found.score >= found.threshold
    assert set(FEATURES) & set(found.measurements) == set(FEATURES) - {"sscd"}, "there is no descriptor here"
    assert bool(found.measurements["mirrored"]) == (edit == "mirrored")
    assert found.reasons


def test_the_box_says_where_it_is_pasted(detector: MemeDetector) -> None:
    image, truth = pasted(template("Shouting-Bear"), x=120, y=80, width=230)
    (found,) = detector.detect([image])[0]
    assert overlap(found.box, truth) > 0.9
    assert any("part of the image" in reason for reason in found.reasons)


def test_other_pictures_get_no_name(detector: MemeDetector) -> None:
    others = [ground(seed) for seed in range(20, 32)]
    others += [template("Running-Snail"), template("Four-Lamps"), template("Lonely-Chess-King")]
    others += [caption(ground(40), rng=rng()).image, np.full((200, 200, 3), 255, np.uint8)]
    assert detector.detect(others) == [[]] * len(others)


def test_a_template_has_its_own_threshold() -> None:
    picture = repaint(template("Shouting-Bear"), strength=0.9, rng=rng()).image
    easy, hard = detector_of(NAMES, threshold=0.3), detector_of(NAMES, threshold=1.0)
    assert easy.detect([picture])[0][0].threshold == 0.3
    assert hard.detect([picture]) == [[]]


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (31, 400), (32, 32), (40, 3000)])
def test_tiny_and_odd_images_get_no_name(detector: MemeDetector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert detector.detect([noise]) == [[]]


def test_it_is_a_detector(detector: MemeDetector) -> None:
    assert isinstance(detector, Detector)
    assert detector.name == "memes"
    assert detector.facts["templates"] == len(NAMES)
    assert detector.facts["copy_descriptor"] is None
    assert detector.detect([]) == []


# -- image macros of no known template


def with_captions(score: float) -> MemeDetector:
    made = detector_of(NAMES)

    def captions(image: UInt8Array) -> Captions:
        height, width = image.shape[:2]
        return Captions(
            score=score,
            frame=(0, 0, width, height),
            top=(),
            bottom=(),
            other=(),
            top_bar=0.2,
            bottom_bar=0.0,
            outlined=True,
            cyrillic=0.9,
            measurements={},
        )

    return MemeDetector(
        made.templates,
        made.rows,
        embedder=None,
        hasher=made._hasher,
        model=made.model,
        limits=LIMITS,
        captions=captions,
    )


def test_an_image_macro_of_no_template_is_an_unknown_one() -> None:
    (found,) = with_captions(0.8).detect([ground(1)])[0]
    assert found.label == UNKNOWN_TEMPLATE
    assert (found.score, found.threshold) == (0.8, 0.5)
    assert found.measurements["cyrillic"] == 0.9
    assert any("Cyrillic" in reason for reason in found.reasons)
    assert any("bar" in reason for reason in found.reasons)
    assert with_captions(0.2).detect([ground(1)]) == [[]]


def test_a_known_template_keeps_its_name_and_says_what_is_written() -> None:
    (found,) = with_captions(0.1).detect([template("Wise-Owl")])[0]
    assert found.label == "Wise-Owl"
    assert found.measurements["macro"] == 0.1


# -- features


def test_features_of_the_same_rows_are_full_and_of_others_small(detector: MemeDetector) -> None:
    rows = detector.rows
    query = QueryRows(vectors=None, layouts=rows.layouts[2, :1], fines=rows.fines[2, :1], hashes=rows.hashes[2, [0, 2]])
    found = match(query, rows)
    assert [round(float(found.features[name][2]), 5) for name in ("layout", "fine", "hash")] == [1.0, 1.0, 1.0]
    assert max(found.features["fine"][[0, 1, 3, 4]]) < 0.5
    assert not found.mirrored[2]
    assert all(values.shape == (5,) and (values >= 0).all() for values in found.features.values())


def test_a_mirrored_template_and_a_part_of_it_are_found_by_the_copy_descriptor() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(4, 12, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    layouts = random.normal(size=(4, 2, 1728)).astype(np.float32)
    layouts /= np.linalg.norm(layouts, axis=2, keepdims=True)
    rows = TemplateRows(vectors=vectors, layouts=layouts, fines=layouts, hashes=np.zeros((4, 4, 8), np.uint8))
    other = random.normal(size=(1, 1728)).astype(np.float32)
    other /= np.linalg.norm(other)
    query = QueryRows(
        vectors=np.stack([vectors[0, 0], vectors[3, 5]]),
        layouts=np.concatenate([other, other]),
        fines=np.concatenate([other, other]),
        hashes=np.full((2, 8), 255, np.uint8),
    )
    found = match(query, rows)
    assert found.features["sscd"][[0, 3]] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert list(found.view[[0, 3]]) == [0, 1]
    assert list(found.mirrored[[0, 3]]) == [False, True]
    assert found.features["fine"][3] == 0.0  # a part has no thumbnail
    assert found.features["hash"].max() == 0.0


def test_geometry_counts_only_where_pixels_were_compared() -> None:
    nothing = {"geometry": 0.0, "aligned": 0.0}
    assert geometry_features(None) == nothing
    assert geometry_features(Verification(status="unverified", reason="gone")) == nothing
    strong = geometry_features(Verification(status="verified", log10_nfa=-50.0, similarity=0.8))
    weak = geometry_features(Verification(status="verified", log10_nfa=-3.0, similarity=0.8))
    assert strong["geometry"] > weak["geometry"] > 0
    assert strong["aligned"] == pytest.approx(0.8 * strong["geometry"])


@pytest.mark.parametrize("descriptor", ["sscd-int8", "sscd-disc-mixup", None])
def test_more_of_any_feature_is_never_believed_less(descriptor: str | None) -> None:
    model = load_model(descriptor)
    low = dict.fromkeys(FEATURES, 0.2)
    assert float(model.belief(dict.fromkeys(FEATURES, 0.0))) < 0.1
    for name in model.weights:
        assert float(model.belief({**low, name: 0.9})) >= float(model.belief(low))
    assert model.source
    if descriptor == "sscd-disc-mixup":
        assert "unmeasured" in model.source
