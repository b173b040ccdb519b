"""Renderings of covers and of what is none: every design draws, alike for one seed, and shows what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.render.decoys import DECOYS
from forensics.render.drawn import DRAWN_BOOKS, DRAWN_DISCS
from forensics.render.fronts import BOOK_FRONTS, DISC_FRONTS, POSTER_FRONTS, Sheet
from forensics.render.lettering import SCRIPTS, Lettering, invented
from forensics.render.mockups import SUBTYPES, mockup, on_ground

RED = np.full((90, 120, 3), (230, 20, 30), np.uint8)
LETTERS = Lettering()


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("side", [128, 500])
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_a_mockup_is_square_and_a_function_of_its_seed(subtype: str, side: int, unseen: bool) -> None:
    first, again, other = (
        mockup(subtype, [RED, 255 - RED], rng=np.random.default_rng(seed), side=side, unseen=unseen)
        for seed in (3, 3, 4)
    )
    assert first.shape == (side, side, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("front", [*BOOK_FRONTS, *DISC_FRONTS, *POSTER_FRONTS])
def test_every_design_shows_the_picture_and_letters(front: object) -> None:
    shown = written = 0
    for seed in range(6):
        faces = []
        for picture in (RED, 255 - RED):
            sheet = Sheet.new(picture, np.random.default_rng(seed), LETTERS, width=150, height=200)
            front(sheet)  # type: ignore[operator]
            faces.append(np.asarray(sheet.canvas).astype(int))
        shown += int((np.abs(faces[0] - faces[1]).max(2) > 60).mean() > 0.01)
        written += int(len(np.unique(faces[0].reshape(-1, 3), axis=0)) > 20)
    assert shown >= 2  # some designs leave the picture out now and then
    assert written == 6


@pytest.mark.parametrize("drawing", [*DRAWN_BOOKS, *DRAWN_DISCS])
def test_drawn_books_and_discs_lie_on_a_plain_ground_and_vary(drawing: object) -> None:
    made = [drawing(np.random.default_rng(seed), LETTERS, 128) for seed in (1, 1, *range(2, 8))]  # type: ignore[operator]
    assert np.array_equal(made[0], made[1])
    assert len({image.tobytes() for image in made}) == 7
    for image in made:
        assert image.shape == (128, 128, 3)
        assert image.dtype == np.uint8
        ground = np.abs(image.astype(int) - image[0, 0]).max(2) <= 2
        assert 0.1 < ground.mean() < 0.9
        assert ground[0].mean() > 0.9


def test_a_drawn_disc_is_round_and_has_a_hole() -> None:
    for seed in range(6):
        image = DRAWN_DISCS[0](np.random.default_rng(seed), LETTERS, 128).astype(int)
        ground = np.abs(image - image[0, 0]).max(2) <= 2
        assert ground[64, 64]
        assert not ground[64, 30:50].all()
        width, height = ((~ground).any(axis).sum() for axis in (0, 1))
        assert abs(width - height) <= 6  # a shadow aside


def test_designs_kept_from_training_are_others() -> None:
    drawn = {
        unseen: [
            mockup("website", [RED], rng=np.random.default_rng(seed), side=128, unseen=unseen)[20:, :20].mean()
            for seed in range(12)
        ]
        for unseen in (False, True)
    }
    # an application's page has a dark panel at the left, which no page of training has everywhere
    assert max(drawn[True]) < np.median(drawn[False])


def test_a_face_comes_to_its_corners() -> None:
    ground = np.zeros((100, 100, 3), np.uint8)
    laid = on_ground(RED, ground, [(20, 30), (80, 30), (80, 70), (20, 70)])
    inside = np.abs(laid.astype(int) - RED[0, 0]).max(2) < 8
    rows, columns = np.nonzero(inside)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 69, 20, 79)
    assert not laid[:29].any()
    assert not laid[72:].any()


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_are_of_their_script(script: str) -> None:
    letters = set("".join(invented(np.random.default_rng(n), script, words=5) for n in range(9)).lower()) - {" "}
    cyrillic = {letter for letter in letters if "а" <= letter <= "ё"}
    assert cyrillic == {"latin": set(), "cyrillic": letters, "pseudo": cyrillic}[script]
    assert script != "pseudo" or cyrillic not in (set(), letters)


@pytest.mark.parametrize("name", DECOYS)
def test_decoys_draw_and_leave_the_picture_given(name: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    before = picture.copy()
    first, again = (DECOYS[name](picture, np.random.default_rng(7), LETTERS) for _ in range(2))
    assert first.ndim == 3
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.array_equal(picture, before)
    assert first.shape != picture.shape or not np.array_equal(first, picture)


def test_what_cannot_be_drawn_is_said() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="choose one of: book, disc"):
        mockup("magazine", [RED], rng=rng)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least one"):
        mockup("book", [], rng=rng)
    with pytest.raises(UsageError, match="cover side is 16"):
        mockup("book", [RED], rng=rng, side=16)
    with pytest.raises(UsageError, match="0 typefaces"):
        Lettering(faces=())
