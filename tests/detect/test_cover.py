"""The cover detector: layout measures, what it claims and says, and images that are no images of anything."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from forensics.detect.cover import COVER_KINDS, CoverDetector, cover_box, evidence, without_marks
from forensics.detect.cover_layout import SIDE, Layout, measure_layout, text_lines
from forensics.detect.cover_network import CLASSES, VIEWS, CoverModel, views
from forensics.errors import UsageError, WeightsError
from forensics.render.lettering import SCRIPTS, Lettering, fit_text, invented
from forensics.render.mockups import SUBTYPES, mockup
from forensics.render.stock_fonts import BUNDLED
from forensics.thresholds import THRESHOLDS
from forensics.types import Detection, Detector, Reconsiders

PICTURES = sorted((Path(__file__).parents[2] / "index_data" / "edits" / "references").glob("*.jpg"))[::7]
THRESHOLD = THRESHOLDS["cover"]


def pictures() -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in PICTURES]


def detector(**given: object) -> CoverDetector:
    given = {"unmarked": THRESHOLDS["cover_unmarked"].value, **given}
    return CoverDetector(threshold=THRESHOLD.value, threshold_source=THRESHOLD.source, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def covers() -> dict[str, list[np.ndarray]]:
    shown = pictures()
    return {
        kind: [mockup(kind, shown[n:] + shown[:n], rng=np.random.default_rng((9, n)), side=256) for n in range(5)]
        for kind in SUBTYPES
    }


def test_covers_are_claimed_with_kind_box_and_reasons(covers: dict[str, list[np.ndarray]]) -> None:
    found = {kind: detector().detect(images) for kind, images in covers.items()}
    assert sum(bool(each) for kind in found.values() for each in kind) >= 8, "of 20"
    named = [each[0].label == kind for kind, several in found.items() for each in several if each]
    assert sum(named) >= 0.6 * len(named)
    for several in found.values():
        for detection in (one for each in several for one in each):
            assert detection.kind == "cover"
            assert detection.label == detection.measurements["subtype"]
            assert detection.label in COVER_KINDS
            assert detection.threshold <= detection.score <= 1
            assert detection.reasons[0] == f"The image is made like {COVER_KINDS[detection.label]}."
            assert len(detection.reasons) >= 2
            x0, y0, x1, y1 = detection.box
            assert 0 <= x0 < x1 <= 256
            assert 0 <= y0 < y1 <= 256


def test_covers_stand_above_pictures(covers: dict[str, list[np.ndarray]]) -> None:
    shown = pictures()
    model = detector()
    high = 1 - model.scores([image for several in covers.values() for image in several])[:, 0]
    low = 1 - model.scores(shown)[:, 0]
    assert len(low) >= 10
    assert (high[:, None] > low[None, :]).mean() > 0.9
    assert (low >= THRESHOLD.value).sum() <= 1


def test_one_image_is_judged_alike_alone_and_among_others(covers: dict[str, list[np.ndarray]]) -> None:
    images = covers["book"] + pictures()
    model = detector()
    together = model.scores(images)
    alone = np.concatenate([model.scores([image]) for image in images])
    assert together.shape == (len(images), len(CLASSES))
    assert np.allclose(together, alone, atol=1e-4)
    assert np.allclose(together.sum(1), 1, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (1, 300), (31, 400), (33, 2000), (300, 33)])
def test_odd_sizes_get_an_answer(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    (found,) = detector().detect([image])
    assert len(found) <= 1
    assert min(shape) >= 32 or not found


@pytest.mark.parametrize("grey", [0, 127, 255])
def test_a_blank_image_is_none(grey: int) -> None:
    assert detector().detect([np.full((200, 300, 3), grey, np.uint8)]) == [[]]


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shape"):
        detector().detect([np.zeros((40, 40), np.uint8)])
    with pytest.raises(UsageError, match="threshold cover"):
        CoverDetector(threshold=1.5, threshold_source="", unmarked=0.5)
    given = [np.zeros((VIEWS, 224, 224, 3), np.uint8)], [np.zeros(25, np.float32)]
    with pytest.raises(WeightsError, match="cannot be read"):
        CoverModel(tmp_path / "cover.onnx").chances(*given)
    (tmp_path / "cover.onnx").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cover detector"):
        CoverModel(tmp_path / "cover.onnx").chances(*given)


def test_it_is_a_detector_and_survives_a_copy(covers: dict[str, list[np.ndarray]]) -> None:
    one = detector()
    assert isinstance(one, Detector)
    assert len(str(one.facts["weights_sha256"])) == 64
    before = one.scores(covers["disc"][:1])
    assert np.array_equal(copy.deepcopy(one).scores(covers["disc"][:1]), before)


class Words:
    """A legible embedder: images and texts point where they are told to."""

    def __init__(self, opinion: str) -> None:
        self.opinion = opinion

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return image

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        return np.tile(np.eye(2, dtype=np.float32)[0], (len(prepared), 1))

    def embed_text(self, texts: list[str]) -> np.ndarray:
        return np.array([np.eye(2)[0 if self.opinion in text else 1] for text in texts], np.float32)


class Lines:
    def boxes(self, image: np.ndarray) -> tuple[int, ...]:
        return tuple(range(3))


@pytest.mark.parametrize(
    ("opinion", "kind", "told"),
    [("film poster", "poster", "takes it for a poster"), ("a pattern", "none", "does not take it for a cover")],
)
def test_clip_and_a_reader_add_opinions_and_decide_nothing(
    covers: dict[str, list[np.ndarray]], opinion: str, kind: str, told: str
) -> None:
    images = [image for several in covers.values() for image in several]
    plain = [found[0] for found in detector().detect(images) if found]
    asked = [found[0] for found in detector(clip=Words(opinion), reader=Lines()).detect(images) if found]
    assert [one.score for one in asked] == [one.score for one in plain]
    assert {one.measurements["clip_subtype"] for one in asked} == {kind}
    assert all(one.measurements["text_boxes"] == 3 for one in asked)
    assert all(told in one.reasons[-1] for one in asked)
    assert all("finds 3 lines" in " ".join(one.reasons) for one in asked)


@pytest.mark.parametrize("script", SCRIPTS)
def test_lines_of_letters_are_found_whatever_the_alphabet(script: str) -> None:
    sheet = Image.new("RGB", (320, 320), (235, 230, 220))
    places = (20, 90, 160, 250)
    for number, y in enumerate(places):
        words = invented(np.random.default_rng(number), script, words=3)  # type: ignore[arg-type]
        fit_text(ImageDraw.Draw(sheet), (30, y, 290, y + 30), words, BUNDLED, (30, 20, 40), largest=26)
    layout = measure_layout(np.asarray(sheet))
    assert layout.text_lines >= 3 / 20
    assert layout.text_top > 0.05
    assert layout.text_foot > 0.03
    assert not text_lines(np.full((SIDE, SIDE), 90, np.uint8))


def test_measures_tell_a_frame_a_spine_and_a_disc() -> None:
    window = Image.new("RGB", (320, 320), "white")
    draw = ImageDraw.Draw(window)
    draw.rectangle((0, 0, 320, 30), fill=(205, 205, 210))
    for x in (16, 34, 52):
        draw.ellipse((x - 6, 9, x + 6, 21), fill=(220, 60, 50))
    framed = measure_layout(np.asarray(window))
    assert framed.frame_bar > 0.7
    assert framed.controls == 1
    assert "a browser's frame" in evidence(framed)[0]

    board = Image.new("RGB", (320, 320), (200, 60, 60))
    ImageDraw.Draw(board).rectangle((0, 0, 60, 320), fill=(70, 20, 20))
    bound = measure_layout(np.asarray(board))
    assert bound.spine > 0.8
    assert any("spine" in part for part in evidence(bound))

    disc = Image.new("RGB", (320, 320), "white")
    draw = ImageDraw.Draw(disc)
    draw.ellipse((20, 20, 300, 300), fill=(40, 40, 40))
    draw.ellipse((140, 140, 180, 180), fill="white")
    round_ = measure_layout(np.asarray(disc))
    assert min(round_.ring, round_.hole) > 0.8
    assert any("round outline about the middle with a round hole" in part for part in evidence(round_))


def test_measures_stay_in_range_at_any_size() -> None:
    for path, side in zip(PICTURES, (32, 64, 128, 512, 900, 160, 50, 400, 37), strict=False):
        image = np.asarray(Image.open(path).convert("RGB").resize((side, side + 11)))
        vector = measure_layout(image).vector()
        assert vector.shape == (len(Layout.names()),)
        assert (vector >= 0).all()
        assert (vector <= 1).all()


def test_the_box_is_that_of_what_lies_on_a_plain_ground() -> None:
    image = np.full((200, 400, 3), 250, np.uint8)
    image[40:160, 120:300] = (30, 60, 120)
    x0, y0, x1, y1 = cover_box(image)
    assert np.allclose((x0, y0, x1, y1), (120, 40, 300, 160), atol=4)
    noise = np.random.default_rng(1).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    assert cover_box(noise) == (0, 0, 70, 90)


def test_the_network_sees_an_image_stretched_and_in_its_shape() -> None:
    for shape in ((50, 400), (224, 224), (700, 500), (33, 3000)):
        image = np.zeros((*shape, 3), np.uint8)
        image[:, : shape[1] // 2] = 200
        coarse, shaped = views(image)
        assert coarse.shape == shaped.shape == (224, 224, 3)
        assert np.array_equal(coarse[0], coarse[-1])
        assert (coarse[0, :100] == 200).all()
        assert not coarse[0, 124:].any()
        assert (shaped[112, :90] == 200).all()
        assert not shaped[112, 134:].any()


def test_lettering_finds_no_typeface_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="typeface"):
        Lettering.found([tmp_path])


class BrightModel:
    """A stand-in for the network: an image with white in it is a poster."""

    sha256 = "0" * 64

    def chances(self, seen: object, vectors: list[np.ndarray]) -> np.ndarray:
        chance = np.zeros((len(vectors), len(CLASSES)), np.float32)
        for row, shown in enumerate(seen):  # type: ignore[arg-type]
            chance[row, CLASSES.index("poster") if any(view.max() > 250 for view in shown) else 0] = 1
        return chance


class HalfModel(BrightModel):
    """A stand-in that is never sure."""

    def chances(self, seen: object, vectors: list[np.ndarray]) -> np.ndarray:
        chance = np.zeros((len(vectors), len(CLASSES)), np.float32)
        chance[:, 0], chance[:, CLASSES.index("poster")] = 0.55, 0.45
        return chance


def stamped(*, white_square: bool) -> tuple[np.ndarray, Detection]:
    """A grey image with white bars, and the stock mark that the bars are."""
    image = np.full((1200, 900, 3), 90, np.uint8)
    image += (np.arange(900, dtype=np.uint8) % 8)[None, :, None]
    mask = np.zeros((120, 90), np.uint8)
    image[400:440, 200:700], mask[38:46, 18:72] = 255, 255
    if white_square:
        image[900:1100, 100:300] = 255
    mark = Detection(
        kind="watermark",
        label="iStock",
        score=1.0,
        threshold=0.9,
        threshold_source="a test's",
        box=(200, 400, 700, 440),
        mask=mask,
    )
    return image, mark


def test_a_cover_by_the_stock_mark_alone_is_taken_back() -> None:
    found = detector(model=BrightModel())
    assert isinstance(found, Reconsiders)
    image, mark = stamped(white_square=False)
    own = found.detect([image])[0][0]
    assert found.reconsider(image, own, [mark]) is None
    assert found.reconsider(image, own, [replace(mark, mask=None)]) is own
    assert found.reconsider(image, own, [replace(mark, kind="meme")]) is own
    image, mark = stamped(white_square=True)
    own = found.detect([image])[0][0]
    kept = found.reconsider(image, own, [mark])
    assert kept is not None
    assert kept.measurements["cover_score_unmarked"] == 1.0
    assert kept.reasons[-1].startswith("Without the stock mark")
    assert kept.score == own.score


def test_a_cover_is_withdrawn_by_what_was_filled_in_alone() -> None:
    image, mark = stamped(white_square=True)
    found = CoverDetector(threshold=0.3, threshold_source="a test's", unmarked=0.5, model=HalfModel())
    own = found.detect([image])[0][0]
    assert own.score == pytest.approx(0.45)
    kept = found.reconsider(image, own, [mark])
    assert kept is not None, "an operator's threshold is asked, and no more"
    nowhere = replace(mark, mask=np.zeros((120, 90), np.uint8))
    assert found.reconsider(image, own, [nowhere]) is own
    banner = np.tile(image[:100], (1, 3, 1))[:, :2048]
    assert min(without_marks(banner, [mark.mask]).shape[:2]) == 32  # type: ignore[list-item]
    faint = replace(mark, mask=np.asarray(mark.mask // 3, np.uint8))  # type: ignore[operator]
    grey, _ = stamped(white_square=False)
    assert without_marks(grey, [faint.mask]).max() < 110  # type: ignore[list-item]
    with pytest.raises(UsageError, match="cover_unmarked = 0"):
        detector(unmarked=0.0)


def test_a_mark_is_filled_in_at_a_bounded_size() -> None:
    image, mark = stamped(white_square=False)
    assert mark.mask is not None
    filled = without_marks(image, [mark.mask])
    assert filled.shape == (512, 384, 3)
    assert filled.max() < 110
    assert without_marks(image[:1, :1], [mark.mask]).shape == (1, 1, 3)
