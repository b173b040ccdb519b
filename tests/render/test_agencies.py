"""Agencies' marks and book covers: where they lie, what they leave alone, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.render.agencies import AGENCIES, Agency, agency_mark, coverage
from forensics.render.covers import PALETTES, book_cover


def grey(value: int = 128, side: int = 128) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


@pytest.mark.parametrize("name", AGENCIES)
def test_a_mark_changes_what_it_covers_and_nothing_else(name: str) -> None:
    light, dark = coverage(AGENCIES[name], width=128, height=128)
    made = agency_mark(grey(), AGENCIES[name]).image
    untouched = (light == 0) & (dark == 0)
    assert untouched.mean() > 0.3, "the picture must stay visible"
    assert np.all(made[untouched] == 128)
    assert made[light > 0.8].mean() > 160
    assert made[(dark > 0.8) & (light < 0.2)].mean() < 110


@pytest.mark.parametrize("name", AGENCIES)
@pytest.mark.parametrize("value", [0, 255])
def test_a_mark_is_visible_on_black_and_on_white(name: str, value: int) -> None:
    made = agency_mark(grey(value), AGENCIES[name]).image.astype(int)
    assert np.abs(made - value).max() > 60


def test_a_mark_is_a_template() -> None:
    """On two pictures of one size it lies at the same place; that is what a generator learns."""
    one, two = (agency_mark(grey(value), AGENCIES["iСнимок"]).image.astype(int) for value in (110, 120))
    assert np.corrcoef((one - 110).ravel(), (two - 120).ravel())[0, 1] > 0.97


def test_the_bar_lies_at_the_foot_and_lattices_everywhere() -> None:
    for name, agency in AGENCIES.items():
        _, dark = coverage(agency, width=96, height=96)
        upper = dark[:48].mean()
        assert (upper == 0) == (agency.style == "bar"), name


def test_no_opacity_is_no_mark_and_out_of_range_is_refused() -> None:
    assert np.array_equal(agency_mark(grey(), AGENCIES["ФОТОДОМ"], opacity=0).image, grey())
    with pytest.raises(UsageError, match=r"opacity is 1\.5"):
        agency_mark(grey(), AGENCIES["ФОТОДОМ"], opacity=1.5)
    with pytest.raises(UsageError, match="at least 16 x 16"):
        coverage(Agency(name="Б", style="bar"), width=8, height=128)


def test_coverage_cannot_be_written_to() -> None:
    light, _ = coverage(AGENCIES["Кадр24"], width=64, height=64)
    with pytest.raises(ValueError, match="read-only"):
        light[0, 0] = 1


@pytest.mark.parametrize("palette", range(len(PALETTES)))
def test_a_cover_shows_the_whole_picture_where_it_says(palette: int) -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[:, :40] = (250, 0, 0)
    picture[:, 40:] = (0, 0, 250)
    made = book_cover(picture, title="Тайна старого сада", author="И. Петров", side=256, palette=palette)
    assert made.image.shape == (256, 256, 3)
    assert made.reference_share == pytest.approx(1.0, abs=0.01)
    x0, y0, x1, y1 = made.query_box
    inside = made.image[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].astype(int)
    width = inside.shape[1]
    assert inside[:, : width // 2 - 4, 0].min() > 200
    assert inside[:, width // 2 + 4 :, 2].min() > 200


def test_a_small_cover_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 64"):
        book_cover(grey(), title="А", author="Б", side=32)
