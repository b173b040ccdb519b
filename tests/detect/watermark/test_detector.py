import numpy as np
import pytest

from forensics.detect.watermark.detector import WatermarkDetector, region_box
from forensics.detect.watermark.feeding import feed, feed_size, parts
from forensics.detect.watermark.network import MarkModel, MarkOpinion
from forensics.errors import UsageError, WeightsError
from forensics.images import decode
from forensics.render.stock_fonts import BUNDLED
from forensics.render.stock_layouts import Wording
from forensics.render.stock_marks import StockMark, draw_stock_mark
from forensics.types import Detector

THRESHOLD = 0.5


@pytest.fixture(scope="module")
def model():
    return MarkModel(threads=1)


@pytest.fixture(scope="module")
def detector(model):
    return WatermarkDetector(threshold=THRESHOLD, threshold_source="test", model=model)


def ground(height, width, seed=0):
    """Return smooth colours, as of an out-of-focus photograph."""
    import cv2

    coarse = np.random.default_rng(seed).integers(40, 200, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def marked(height, width, layout="diagonal", name="shutterstock", opacity=0.6, seed=0):
    mark = StockMark(
        brand="Shutterstock",
        layout=layout,
        wording=Wording(name=name, tagline="", font=BUNDLED),
        opacity=opacity,
    )
    return draw_stock_mark(ground(height, width, seed), mark, np.random.default_rng(seed + 1))


@pytest.mark.parametrize(
    ("size", "fed"),
    [
        ((128, 128), (256, 256)),
        ((300, 200), (288, 192)),
        ((384, 288), (384, 288)),
        ((1600, 1200), (384, 288)),
        ((4000, 30), (384, 32)),
    ],
)
def test_images_are_fed_at_256_to_384_pixels_in_multiples_of_32(size, fed):
    assert feed_size(*size) == fed
    assert feed(np.zeros((size[1], size[0], 3), np.uint8)).shape == (fed[1], fed[0], 3)


def test_large_images_are_looked_at_in_four_overlapping_parts():
    assert parts(600, 400) == []
    boxes = parts(1000, 800)
    cover = np.zeros((800, 1000), int)
    for x0, y0, x1, y1 in boxes:
        cover[y0:y1, x0:x1] += 1
    assert len(boxes) == 4
    assert cover.min() == 1
    assert cover[400, 500] == 4


def test_it_is_a_detector(detector):
    assert isinstance(detector, Detector)
    assert detector.name == "watermark"
    assert len(str(detector.facts["weights_sha256"])) == 64
    with pytest.raises(UsageError, match=r"threshold watermark = 1\.5"):
        WatermarkDetector(threshold=1.5, threshold_source="test")


def test_a_plain_mark_is_found_where_it_is(detector):
    for seed in range(3):
        made = marked(288, 384, seed=seed)
        (claim,) = detector.detect([made.image])[0]
        assert claim.kind == "watermark"
        assert claim.score >= claim.threshold == THRESHOLD
        mask = claim.mask
        import cv2

        truth = cv2.resize(made.mask, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_AREA) > 127
        found = mask > 127
        assert (truth & found).sum() / (truth | found).sum() > 0.3
        x0, y0, x1, y1 = claim.box
        assert 0 <= x0 < x1 <= 384
        assert 0 <= y0 < y1 <= 288
        assert claim.measurements["mark_legibility"] in ("readable", "garbled", "trace")
        assert claim.reasons


def test_smooth_pictures_have_no_mark(detector):
    assert detector.detect([ground(288, 384, seed) for seed in range(5)]) == [[]] * 5


@pytest.mark.parametrize(
    "shape", [(16, 16), (1, 1), (23, 400), (24, 24), (40, 3000), (3000, 40), (129, 131), (1500, 2100)]
)
def test_any_size_gets_an_answer(detector, shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    for claim in detector.detect([image])[0]:
        assert 0 <= claim.box[0] < claim.box[2] <= shape[1]
        assert 0 <= claim.box[1] < claim.box[3] <= shape[0]


def test_blank_and_tiny_images_have_no_mark(detector):
    images = [
        np.full((300, 300, 3), 255, np.uint8),
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((2000, 2000, 3), np.uint8),
    ]
    assert detector.detect(images) == [[], [], []]


def test_50_megapixels_get_an_answer(detector):
    assert detector.detect([np.full((7070, 7070, 3), 9, np.uint8)]) == [[]]


def test_an_animated_image_is_judged_by_its_first_frame(detector):
    import io

    from PIL import Image

    frames = [Image.fromarray(ground(120, 160, seed)) for seed in range(3)]
    data = io.BytesIO()
    frames[0].save(data, format="GIF", save_all=True, append_images=frames[1:])
    pixels = decode(data.getvalue()).pixels
    assert detector.detect([pixels]) == [[]]


def test_what_is_no_image_is_refused(model):
    with pytest.raises(UsageError, match=r"shape \(4, 4\)"):
        model.look(np.zeros((4, 4), np.uint8))


def test_missing_and_damaged_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        MarkModel(tmp_path / "none.onnx").look(ground(64, 64))
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(WeightsError, match="is damaged"):
        MarkModel(tmp_path / "bad.onnx").look(ground(64, 64))


class Scripted(MarkModel):
    """Says of each image shape what it is told to."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def _see(self, image):
        score = self.scores[image.shape[:2]]
        return MarkOpinion(presence=score, score=score, mask=np.full((4, 4), score, np.float32), brands={"iStock": 1.0})


class TwoSizes(MarkModel):
    """Says of each size at which an image is fed what it is told to."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def _once(self, fed):
        score = self.scores[fed.shape[:2]]
        mask = np.full((fed.shape[0] // 4, fed.shape[1] // 4), score, np.float32)
        return MarkOpinion(presence=score, score=score, mask=mask, brands={"iStock": score})


def test_a_second_look_is_averaged_where_the_first_leaves_room_for_a_mark():
    image = ground(256, 256)
    seen = TwoSizes({(256, 256): 0.5, (320, 320): 0.99}).look(image)
    assert seen.score == pytest.approx(1 / (1 + (1 / 99) ** 0.5))
    assert seen.mask.shape == (64, 64)
    assert seen.mask == pytest.approx(0.745)
    assert seen.brands == {"iStock": pytest.approx(0.745)}
    assert TwoSizes({(256, 256): 0.02}).look(image).score == 0.02, "no second look"


def test_a_part_must_be_surer_than_the_whole_four_times_over():
    image = ground(800, 1000)
    part = parts(1000, 800)[0]
    size = (part[3], part[2])
    low = Scripted({(800, 1000): 0.3, size: 0.9}).look(image)
    assert low.in_part
    assert low.score == pytest.approx(0.6)
    lower = Scripted({(800, 1000): 0.3, size: 0.8}).look(image)
    assert not lower.in_part
    assert lower.score == 0.3
    sure = Scripted({(800, 1000): 0.3, size: 0.99}).look(image)
    assert sure.in_part
    assert sure.score == pytest.approx(0.96)
    assert sure.mask.shape == (8, 8)
    settled = Scripted({(800, 1000): 0.8}).look(image, enough=0.7)
    assert settled.score == 0.8


def test_the_box_lies_around_the_strongest_places():
    mask = np.zeros((10, 20), np.float32)
    mask[2:4, 5:8] = 0.9
    assert region_box(mask, 200, 100) == (50, 20, 80, 40)
    assert region_box(mask * 0.3, 200, 100) == (50, 20, 80, 40)
