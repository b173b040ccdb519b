"""Layouts that several references share, told from copies of one of them."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from forensics.errors import UsageError
from forensics.render.covers import book_cover
from forensics.verify.template import compare_with_group

IDENTITY = np.eye(3)


def pictures() -> dict[str, np.ndarray]:
    camera = np.repeat(data.camera()[..., None], 3, axis=2)
    coins = np.repeat(data.coins()[..., None], 3, axis=2)
    return {
        "astronaut": data.astronaut(),
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "rocket": data.rocket(),
        "camera": camera,
        "coins": coins,
    }


def cover(name: str, *, side: int = 256, palette: int = 0) -> np.ndarray:
    picture = pictures()[name]
    square = picture[: min(picture.shape[:2]), : min(picture.shape[:2])]
    return book_cover(square, title="The Long Winter", author="A. Writer", side=side, palette=palette).image


def series(*names: str, **settings: int) -> list[np.ndarray]:
    return [cover(name, **settings) for name in names]


def test_a_new_picture_in_a_known_design_is_the_design_and_no_copy() -> None:
    found = compare_with_group(cover("coins"), series("astronaut", "cat", "coffee", "rocket"), [IDENTITY] * 4)
    assert found.references == 4
    assert found.cells >= 12
    assert found.agreement >= 0.9
    assert found.most_own < 0.4
    assert found.box is not None
    assert found.box[1] <= 1  # the title stands at the top


def test_a_copy_of_one_of_them_agrees_with_that_one_s_own_picture() -> None:
    found = compare_with_group(cover("cat"), series("astronaut", "cat", "coffee", "rocket"), [IDENTITY] * 4)
    assert found.own[1] > 0.9
    assert max(found.own[0], *found.own[2:]) < 0.4


def test_other_sizes_are_laid_over_the_query() -> None:
    twice = np.diag([2.0, 2.0, 1.0])
    found = compare_with_group(cover("coins", side=256), series("cat", "coffee", "rocket", side=512), [twice] * 3)
    assert (found.references, found.agreement >= 0.9) == (3, True)
    assert found.most_own < 0.4


def test_another_design_does_not_agree() -> None:
    other = book_cover(data.coffee()[:400, :400], title="Birds of the North", author="B. Other", side=256, palette=3)
    found = compare_with_group(other.image, series("astronaut", "cat", "rocket"), [IDENTITY] * 3)
    assert found.agreement < 0.5


def test_near_duplicates_count_once() -> None:
    noisy = np.clip(cover("cat").astype(int) + np.random.default_rng(0).integers(-6, 7, (256, 256, 3)), 0, 255)
    references = [*series("astronaut", "cat"), noisy.astype(np.uint8)]
    found = compare_with_group(cover("coins"), references, [IDENTITY] * 3)
    assert found.references == 2
    assert np.isnan(found.own[2])


def test_unrelated_pictures_are_no_template() -> None:
    several = pictures()
    found = compare_with_group(several["coins"][:256, :256], [several[n][:256, :256] for n in ("cat", "coffee")],
                               [IDENTITY] * 2)  # fmt: skip
    assert found.agreement < 0.5


@pytest.mark.parametrize(("count", "transforms"), [(1, 1), (3, 2), (0, 0)])
def test_what_cannot_be_compared_is_said(count: int, transforms: int) -> None:
    with pytest.raises(UsageError, match="two references or more"):
        compare_with_group(cover("cat"), series("cat") * count, [IDENTITY] * transforms)


def test_a_blank_query_is_no_template() -> None:
    blank = np.full((16, 16, 3), 255, np.uint8)
    found = compare_with_group(blank, series("cat", "coffee"), [np.diag([16.0, 16.0, 1.0])] * 2)
    assert found.agreement < 0.2
