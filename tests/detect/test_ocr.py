"""Reading text: the arithmetic on its own, and the networks where the extra is installed."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from forensics.detect import ocr
from forensics.detect.lines import greedy, script_of
from forensics.detect.ocr import TextReader
from forensics.detect.text_boxes import crop_line, network_size, rectangles, to_input
from forensics.errors import MissingExtraError, UsageError
from forensics.render.text import font

needs_reader = pytest.mark.skipif(bool(ocr.missing()), reason=ocr.missing() or "the extra ocr is installed")


def page(*lines: str, size: int = 32, width: int = 420) -> np.ndarray:
    canvas = Image.new("RGB", (width, 60 * len(lines) + 30), (40, 60, 90))
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((24, 20 + 60 * number), line, font=font(size), fill=(240, 240, 240))
    return np.asarray(canvas)


def test_repeats_are_one_letter_and_blanks_part_doubled_ones() -> None:
    path = [0, 1, 1, 0, 2, 0, 2, 2]
    probability = np.full((len(path), 3), 0.1, np.float32)
    probability[np.arange(len(path)), path] = 0.8
    text, confidence = greedy(probability, ("a", "b"))
    assert text == "abb"
    assert confidence == pytest.approx(0.8)
    assert greedy(np.array([[0.9, 0.1]], np.float32), ("a",)) == ("", 0.0)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello", "latin"),
        ("Привет", "cyrillic"),
        ("Aбв", "cyrillic"),
        ("2024!", "other"),
        ("甲乙", "other"),
        ("", "other"),
    ],
)
def test_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script


def test_pictures_are_shown_at_multiples_of_32_and_small_ones_are_not_blown_up() -> None:
    assert network_size(300, 600, 512) == (256, 512)
    assert network_size(16, 16, 512) == (64, 64)
    assert network_size(1, 5000, 512) == (32, 512)


def test_input_is_bgr_between_minus_one_and_one() -> None:
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 255
    planes = to_input(red, (32, 64))
    assert planes.shape == (1, 3, 32, 64)
    assert planes[0, 2].mean() == pytest.approx(1.0)
    assert planes[0, 0].mean() == pytest.approx(-1.0)


def test_a_region_is_grown_back_and_scaled_to_the_picture() -> None:
    probability = np.zeros((64, 128), np.float32)
    probability[28:36, 20:100] = 0.9
    ((corners, score),) = rectangles(probability, image_size=(128, 256))
    assert score > 0.7
    (left, top), _, (right, bottom), _ = corners
    # 80 x 8 grows by 80 * 8 * 1.6 / 2 / 88 = 5.8 pixels at each side, then doubles
    assert left == pytest.approx(2 * (20 - 5.8), abs=4)
    assert right == pytest.approx(2 * (100 + 5.8), abs=4)
    assert bottom - top == pytest.approx(2 * (8 + 11.6), abs=6)


def test_weak_regions_and_specks_are_no_text() -> None:
    probability = np.zeros((64, 64), np.float32)
    probability[10:20, 10:50] = 0.4
    probability[40:42, 40:42] = 0.9
    assert rectangles(probability, image_size=(64, 64)) == []


def test_a_single_thing_on_a_plain_ground_is_no_line() -> None:
    probability = np.zeros((64, 128), np.float32)
    probability[6:58, 30:100] = 0.9
    assert rectangles(probability, image_size=(64, 128), tallest=0.35) == []
    assert len(rectangles(probability, image_size=(64, 128), tallest=2.0)) == 1


def test_a_slanted_line_is_laid_level() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    corners = ((20.0, 40.0), (60.0, 80.0), (50.0, 90.0), (10.0, 50.0))
    image[45:75, 15:55] = 200
    line = crop_line(image, corners, height=16, most_width=400)
    assert line.shape[0] == 16
    assert line.shape[1] == pytest.approx(16 * 4, abs=2)
    assert (
        crop_line(image, ((5.0, 5.0), (9.0, 5.0), (9.0, 60.0), (5.0, 60.0)), height=16, most_width=400).shape[1] > 100
    )


def test_a_missing_package_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_spec", lambda name: None)
    assert "pip install 'forensics[ocr]'" in ocr.missing()
    with pytest.raises(MissingExtraError):
        TextReader().boxes(np.zeros((64, 64, 3), np.uint8))


def test_an_odd_array_and_an_odd_side_are_refused() -> None:
    with pytest.raises(UsageError, match="uint8"):
        TextReader(threads=1).boxes(np.zeros((64, 64), np.uint8))
    with pytest.raises(UsageError, match="64 to 2048"):
        TextReader(side=8)


@needs_reader
def test_latin_and_cyrillic_lines_are_found_and_read() -> None:
    reader = TextReader(threads=1)
    image = page("Shutterstock", "Фотобанк")
    boxes = reader.boxes(image)
    assert len(boxes) == 2
    assert boxes[0].bounds[1] < boxes[1].bounds[1]
    latin, russian = reader.read(image, boxes)
    assert (latin.text.lower(), latin.script) == ("shutterstock", "latin")
    assert (russian.text.lower(), russian.script) == ("фотобанк", "cyrillic")
    assert min(latin.confidence, russian.confidence) > 0.7


@needs_reader
@pytest.mark.parametrize("turns", [1, 3])
def test_a_line_on_its_end_is_read_whichever_way_it_runs(turns: int) -> None:
    reader = TextReader(threads=1)
    image = np.ascontiguousarray(np.rot90(page("Shutterstock"), turns))
    (line,) = reader.read(image, reader.boxes(image))
    assert line.text.lower() == "shutterstock"


@needs_reader
def test_a_script_that_is_not_asked_for_is_not_read() -> None:
    reader = TextReader(threads=1)
    image = page("Фотобанк")
    (line,) = reader.read(image, reader.boxes(image), scripts=("latin",))
    assert line.script != "cyrillic"


@needs_reader
@pytest.mark.parametrize("shape", [(16, 16), (1, 1), (2, 900), (900, 3)])
def test_pictures_of_any_size_are_taken(shape: tuple[int, int]) -> None:
    reader = TextReader(threads=1)
    image = np.full((*shape, 3), 128, np.uint8)
    assert reader.read(image, reader.boxes(image)) == ()


@needs_reader
def test_the_networks_are_named_for_the_run() -> None:
    facts = TextReader(threads=1).facts
    assert "sha256:" in str(facts["text_detector"])
    assert facts["cyrillic_head"] is True
