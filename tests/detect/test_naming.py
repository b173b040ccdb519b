"""Naming a mark: the distance on its own, what is near, what is decided, and whole marks where text can be read."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from forensics.detect import ocr
from forensics.detect.lines import TextLine
from forensics.detect.ocr import TextBox, TextReader
from forensics.detect.watermark.agencies import AGENCIES, UNKNOWN_AGENCY
from forensics.detect.watermark.garble import distance, fold, partial_distance
from forensics.detect.watermark.lattice import Lattice
from forensics.detect.watermark.naming import decide, match_words, name_mark, near_limit
from forensics.detect.watermark.readings import Reading, read_passes
from forensics.render.text import font

words = st.text(alphabet="abcdefiklmnoprstфотбанк0158", max_size=9)
needs_reader = pytest.mark.skipif(bool(ocr.missing()), reason=ocr.missing() or "the extra ocr is installed")


def reading(
    text: str, *, at: tuple[float, float] = (50.0, 50.0), sure: float = 0.95, start: bool = False, end: bool = False
) -> Reading:
    line = TextLine(text=text, confidence=sure, script="latin")
    return Reading(line=line, centre=at, length=40.0, cut_start=start, cut_end=end)


@given(words, words)
def test_the_distance_is_zero_for_the_same_word_and_never_more_than_one(one: str, other: str) -> None:
    assert 0.0 <= distance(one, other) <= 1.0
    assert distance(one, one) == (0.0 if fold(one) else 1.0)


@given(words, words)
def test_the_edits_are_the_same_both_ways(one: str, other: str) -> None:
    there, back = distance(one, other) * len(fold(other)), distance(other, one) * len(fold(one))
    if distance(one, other) < 1.0 and distance(other, one) < 1.0:
        assert there == pytest.approx(back)


@pytest.mark.parametrize("garbled", ["iSiock", "i5tock", "1Stock", "iStocк", "ISTOCK"])
def test_letters_that_look_alike_are_near(garbled: str) -> None:
    assert distance(garbled, "istock") <= near_limit("istock")


def test_letters_that_do_not_look_alike_are_farther() -> None:
    assert distance("iSiock", "istock") < distance("iSpock", "istock") < distance("iSpzck", "istock")
    assert distance("iSnoolr", "istock") < 0.3 < distance("sunset", "istock")


def test_both_scripts_are_compared_by_their_looks() -> None:
    assert distance("РRЕSSFОТО", "pressfoto") == 0.0  # Р, Е, О, Т in Cyrillic
    assert distance("лори", "лори") == 0.0
    assert distance("", "istock") > 0.9
    assert distance("istock", "") == 1.0


def test_merged_letters_cost_less_than_two_edits() -> None:
    assert distance("dreannstime", "dreamstime") < distance("dreaxxstime", "dreamstime")


def test_a_cut_word_is_compared_with_the_part_that_is_left() -> None:
    found, share = partial_distance("tterstock", "shutterstock", cut_start=True, cut_end=False)
    assert (found, share) == (0.0, 0.75)
    assert partial_distance("tterstock", "shutterstock", cut_start=False, cut_end=True)[0] > 0.0


def test_the_shorter_a_name_the_nearer_its_reading_must_be() -> None:
    limits = [near_limit(name) for name in ("лори", "alamy", "istock", "fotolia", "dreamstime")]
    assert limits[0] == 0.0
    assert limits == sorted(limits)


def test_what_many_agencies_are_called_makes_nothing_near() -> None:
    assert near_limit("gettyimages") < near_limit("dreamstime")
    for invented in ("clipimages", "freefoto", "fotoland", "mystock", "artphotos", "openstock"):
        assert decide([reading(invented)], {}) is None


@pytest.mark.parametrize(("agency", "spelling"), [(a, s) for a, words in AGENCIES.items() for s in words.spellings])
def test_every_spelling_names_its_own_agency_first(agency: str, spelling: str) -> None:
    matches = match_words(reading(spelling))
    assert matches[0].relative == 0.0
    assert agency in {match.agency for match in matches if match.relative == 0.0}


@pytest.mark.parametrize(
    ("text", "agency"),
    [
        ("www.bigelock.com - 230806899", "Bigstock"),
        ("getty images", "Getty Images"),
        ("© 123RF.com", "123RF"),
        ("Adobe Stock | #1234", "Adobe Stock"),
        ("shuttersiock", "Shutterstock"),
        ("ФОТОБАНК", "Фотобанк"),
        ("прессфото", "PressFoto"),
    ],
)
def test_words_of_a_line_name_an_agency(text: str, agency: str) -> None:
    verdict = decide([reading(text)], {})
    assert verdict is not None
    assert verdict[0].agency == agency


@pytest.mark.parametrize(
    "text",
    [
        *("stock", "stock photos", "in stock", "clock", "by Getty", "by Adobe", "photo bank of pixels", "Woodstock"),
        *("dream time", "alarm", "фото", "пресса", "банк", "12345", "лори", "shutter", "PIXSTOCK", "fotostock"),
        *("big stick", "Brock"),
    ],
)
def test_ordinary_words_and_other_names_name_nobody(text: str) -> None:
    assert decide([reading(text)], {}) is None


def test_two_words_on_two_lines_are_one_name() -> None:
    verdict = decide([reading("Adobe", at=(50, 50)), reading("Stock", at=(52, 64))], {})
    assert verdict is not None
    assert verdict[0].agency == "Adobe Stock"


def test_a_likely_reading_needs_a_second_place_or_the_network() -> None:
    likely = "iSeook"
    assert match_words(reading(likely))[0].relative > 1.0
    assert decide([reading(likely)], {}) is None
    twice = decide([reading(likely), reading(likely, at=(300, 50))], {})
    assert twice is not None
    assert twice[1] == 2
    assert decide([reading(likely), reading(likely, at=(52, 51))], {}) is None  # one place, read twice
    helped = decide([reading(likely)], {"iStock": 0.7})
    assert helped is not None
    assert helped[0].agency == "iStock"


def test_the_network_alone_names_nobody() -> None:
    assert decide([], {"iStock": 0.99}) is None
    assert decide([reading("qwgzb")], {"iStock": 0.99}) is None


def test_a_network_that_is_sure_of_another_agency_stands_against_a_garbled_reading() -> None:
    assert decide([reading("shuttersiack")], {}) is not None
    assert decide([reading("shuttersiack")], {"Dreamstime": 0.95}) is None
    assert decide([reading("shutterstock")], {"Dreamstime": 0.95}) is not None


def test_a_part_of_the_name_is_enough_where_something_speaks_for_the_agency() -> None:
    assert decide([reading("tolia")], {}) is None
    beside = decide([reading("tolia"), reading("by Adobe", at=(60, 70))], {})
    assert beside is not None
    assert beside[0].agency == "Fotolia"


def test_a_word_that_the_frame_cuts_is_named_and_one_in_the_middle_is_not() -> None:
    assert decide([reading("tterstock")], {}) is None
    cut = decide([reading("tterstock", start=True)], {})
    assert cut is not None
    assert cut[0].agency == "Shutterstock"


def test_the_end_that_the_frame_leaves_of_one_name_is_not_taken_for_another() -> None:
    agencies = [match.agency for match in match_words(reading("rstock", start=True))]
    assert "iStock" not in agencies
    assert match_words(reading("rstock"))[0].agency == "iStock"
    assert match_words(reading("istock", start=True))[0].agency == "iStock"


@given(words, words, st.floats(0.0, 1.0))
def test_a_comparison_that_ends_early_says_the_same_of_what_is_near(one: str, other: str, most: float) -> None:
    whole, early = distance(one, other), distance(one, other, most=most)
    assert early == (whole if whole <= most else early)
    assert early in (whole, 1.0)


def test_what_stands_beside_istock_is_not_taken_for_getty() -> None:
    verdict = decide([reading("iStock"), reading("by Getty Images", at=(52, 64))], {})
    assert verdict is not None
    assert verdict[0].agency == "iStock"
    assert decide([reading("by Getty Images")], {}) is None
    plain = decide([reading("Getty Images")], {})
    assert plain is not None
    assert plain[0].agency == "Getty Images"


def test_its_full_name_is_lori_and_not_fotobank() -> None:
    verdict = decide([reading("Фотобанк Лори")], {})
    assert verdict is not None
    assert verdict[0].agency == "Lori"


def test_without_a_reader_nothing_is_named_and_it_says_why() -> None:
    named = name_mark(np.full((64, 64, 3), 90, np.uint8), None, (0, 0, 64, 64), {"iStock": 0.9}, None)
    assert (named.label, named.legibility) == (UNKNOWN_AGENCY, "trace")
    assert "ocr" in named.evidence[0]


def marked(word: str, *, repeat: bool = True, opacity: int = 150, side: int = 320) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a word laid over it at one or four places, and its mask."""
    ramp = np.linspace(40, 150, side)
    ground = np.stack(
        [ramp[None, :] + 0 * ramp[:, None], 90 + 0 * ramp[:, None] + 0 * ramp, ramp[:, None] + 0 * ramp], 2
    )
    canvas = Image.fromarray(ground.astype(np.uint8))
    coverage = Image.new("L", canvas.size)
    places = [(20, 40), (170, 40), (20, 190), (170, 190)] if repeat else [(60, 140)]
    for place in places:
        ImageDraw.Draw(coverage).text(place, word, font=font(24), fill=opacity)
    canvas.paste(Image.new("RGB", canvas.size, "white"), (0, 0), coverage)
    return np.asarray(canvas), np.asarray(coverage)


@needs_reader
@pytest.mark.parametrize(("word", "agency"), [("iStock", "iStock"), ("Фотобанк", "Фотобанк"), ("123RF", "123RF")])
def test_a_drawn_mark_is_read_and_named(word: str, agency: str) -> None:
    image, mask = marked(word)
    named = name_mark(image, mask, (0, 0, 320, 320), None, TextReader(threads=1))
    assert named.label == agency
    assert named.lattice is not None
    assert named.distance <= 0.05
    assert any("reads" in sentence for sentence in named.evidence)


@needs_reader
def test_an_invented_agency_is_unknown_and_its_name_is_told() -> None:
    image, mask = marked("Veldmora", repeat=False)
    named = name_mark(image, mask, (50, 130, 250, 180), None, TextReader(threads=1))
    assert (named.label, named.legibility) == (UNKNOWN_AGENCY, "readable")
    assert named.text.lower() == "veldmora"


@needs_reader
@pytest.mark.parametrize("shape", [(16, 16), (40, 900)])
def test_a_blank_picture_names_nobody(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 128, np.uint8)
    named = name_mark(image, None, (0, 0, shape[1], shape[0]), None, TextReader(threads=1))
    assert (named.label, named.legibility, named.text) == (UNKNOWN_AGENCY, "trace", "")


@needs_reader
def test_an_empty_box_names_nobody() -> None:
    image = np.full((64, 64, 3), 128, np.uint8)
    assert name_mark(image, np.zeros((16, 16)), (80, 80, 80, 80), None, TextReader(threads=1)).label == UNKNOWN_AGENCY


class Reads:
    """A reader that finds given lines in whatever it is shown, and counts."""

    def __init__(self, *polygons: tuple[float, float, float, float]) -> None:
        self.polygons, self.searched, self.read = polygons, 0, []

    def boxes(self, image: np.ndarray, *, tallest: float) -> tuple[TextBox, ...]:
        self.searched += 1
        height, width = image.shape[:2]
        corners = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, y0, x1, y1 in self.polygons]
        scaled = [tuple((x * width, y * height) for x, y in quad) for quad in corners]
        return tuple(TextBox(polygon=quad, score=0.9) for quad in scaled)

    def readings(self, image: np.ndarray, box: TextBox) -> tuple[TextLine, ...]:
        self.read.append(box)
        return (TextLine(text=f"line {len(self.read)}", confidence=0.9, script="latin"),)


def test_lines_on_the_mark_are_read_first_and_few_of_the_others() -> None:
    image = np.random.default_rng(0).integers(0, 255, (200, 400, 3)).astype(np.uint8)
    mask = np.zeros((50, 100), np.float32)
    mask[40:48, 10:90] = 1.0
    reader = Reads(*((0.1, 0.05 + 0.07 * n, 0.9, 0.1 + 0.07 * n) for n in range(10)), (0.1, 0.8, 0.9, 0.95))
    first = next(read_passes(image, mask, (0, 0, 400, 200), None, reader))
    assert len(first) == 6
    assert first[0].centre[1] == pytest.approx(0.875 * 200, abs=2)
    assert first[0].length == pytest.approx(0.8 * 400, abs=4)


def test_pieces_of_the_mask_are_read_enlarged_and_the_repeats_where_there_are_any() -> None:
    image = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    mask = np.zeros((75, 75), np.float32)
    mask[5:10, 5:25] = mask[60:65, 45:65] = 1.0
    reader = Reads((0.2, 0.2, 0.8, 0.8))
    passes = list(read_passes(image, mask, (0, 0, 300, 300), None, reader))
    assert [len(one) for one in passes] == [1, 2, 1, 1, 1]  # whole, two rectangles, two pieces, contrast
    lines = sorted(line.centre for line in passes[1])
    pieces = sorted(one[0].centre for one in passes[2:4])
    for found in (lines, pieces):
        assert found[0] == pytest.approx((60, 30), abs=8)
        assert found[1] == pytest.approx((220, 250), abs=8)
    lattice = Lattice(steps=((100.0, 0.0), (0.0, 100.0)), confidence=0.9, copies=9)
    assert len(list(read_passes(image, mask, (0, 0, 300, 300), lattice, reader))) == 6
    assert next(read_passes(image, None, (5, 5, 5, 5), None, reader))


def test_a_turned_piece_is_read_along_its_own_line() -> None:
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype(np.uint8)
    mask = np.zeros((64, 64), np.float32)
    cv2.line(mask, (12, 50), (50, 12), 1.0, 5)
    passes = list(read_passes(image, mask, (30, 30, 220, 220), None, Reads()))
    (line,) = passes[1]
    assert line.centre == pytest.approx((126, 126), abs=8)
    assert line.length == pytest.approx(4 * np.hypot(38, 38), rel=0.15)


def test_a_large_region_is_read_in_tiles_where_the_mark_is() -> None:
    image = np.random.default_rng(0).integers(0, 255, (800, 1000, 3)).astype(np.uint8)
    mask = np.zeros((80, 100), np.float32)
    mask[70:78, 70:98] = 1.0
    mask[0:2, 0:2] = 0.1
    passes = list(read_passes(image, mask, (0, 0, 1000, 800), None, Reads((0.2, 0.2, 0.8, 0.8))))
    assert [len(one) for one in passes] == [1, 0, 1, 1, 1, 1]
    assert passes[2][0].centre == pytest.approx((775, 620), abs=30)


@pytest.mark.parametrize(("text", "passes"), [("Terravista", 1), ("Terra", 3), ("12345678", 3)])
def test_a_plain_name_that_is_no_agencys_is_not_looked_at_again(text: str, passes: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    mask = np.zeros((25, 25), np.float32)
    mask[5:9, 2:8] = mask[15:22, 4:22] = 1.0
    reader = Reads((0.2, 0.2, 0.8, 0.8))
    reader.readings = lambda image, box: (TextLine(text=text, confidence=0.95, script="latin"),)  # type: ignore[method-assign]
    named = name_mark(image, mask, (0, 0, 100, 100), None, reader)  # type: ignore[arg-type]
    assert named.label == UNKNOWN_AGENCY
    assert reader.searched == passes if passes == 1 else reader.searched >= passes
