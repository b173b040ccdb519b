import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.render.distractors import DISTRACTORS, add_distractor
from forensics.render.generator_look import latent_warp, low_pass, patch_mix
from forensics.render.stock_fonts import BUNDLED, characters, find_fonts
from forensics.render.stock_layouts import LAYOUTS
from forensics.render.stock_marks import draw_stock_mark, random_stock_mark
from forensics.render.stock_names import BRANDS, UNKNOWN, garble, invented_name, is_held_out

GREY = np.full((160, 220, 3), 120, np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mark_changes_what_its_mask_covers_and_little_else(layout):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        mark = random_stock_mark(rng, fonts=[BUNDLED], opacity=(0.4, 0.7), layout=layout)
        made = draw_stock_mark(GREY, mark, rng)
        changed = np.abs(made.image.astype(int) - 120).max(2)
        outside = (made.mask == 0) & (made.lines == 0)
        assert made.image.shape == GREY.shape
        assert made.mask.shape == made.lines.shape == GREY.shape[:2]
        assert changed[outside].mean() < 1.0  # a rim may reach a little over
        if (made.mask > 0).sum() > 50:
            assert changed[made.mask > 0].mean() > 3.0


def test_a_mark_is_the_same_for_the_same_generator():
    images = []
    for _ in range(2):
        rng = np.random.default_rng(11)
        images.append(draw_stock_mark(GREY, random_stock_mark(rng, fonts=[BUNDLED]), rng).image)
    np.testing.assert_array_equal(*images)


def test_a_faint_mark_changes_less():
    changes = []
    for opacity in (0.15, 0.7):
        rng = np.random.default_rng(2)
        mark = random_stock_mark(rng, fonts=[BUNDLED], opacity=(opacity, opacity), brand="iStock", layout="lattice")
        changes.append(np.abs(draw_stock_mark(GREY, mark, rng).image.astype(int) - 120).sum())
    assert changes[1] > 2 * changes[0] > 0


def test_names_are_real_agencies_or_invented_ones():
    rng = np.random.default_rng(0)
    marks = [random_stock_mark(rng, fonts=[BUNDLED]) for _ in range(200)]
    known = {brand.name: brand for brand in BRANDS}
    for mark in marks:
        if mark.brand != UNKNOWN:
            assert mark.wording.name in known[mark.brand].spellings
    assert 0.4 < np.mean([mark.brand != UNKNOWN for mark in marks]) < 0.8


def test_an_unknown_agency_is_refused_by_name():
    with pytest.raises(UsageError, match=r"'Nobody' given; accepted: iStock"):
        random_stock_mark(np.random.default_rng(0), fonts=[BUNDLED], brand="Nobody")
    with pytest.raises(UsageError, match="no typeface"):
        random_stock_mark(np.random.default_rng(0), fonts=[])
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="at least 16 x 16"):
        draw_stock_mark(np.zeros((8, 40, 3), np.uint8), random_stock_mark(rng, fonts=[BUNDLED]), rng)


@pytest.mark.parametrize("held_out", [False, True])
def test_invented_names_are_on_the_side_that_was_asked_for(held_out):
    rng = np.random.default_rng(3)
    names = [invented_name(rng, held_out=held_out)[0] for _ in range(60)]
    plain = [name.lower().replace("© ", "").split(".")[0] for name in names]
    assert {is_held_out(name) for name in plain} == {held_out}
    spellings = {spelling.lower() for brand in BRANDS for spelling in brand.spellings}
    assert not spellings & set(plain)
    assert len(set(plain)) > 20


def test_garbling_changes_as_many_letters_as_it_is_told():
    rng = np.random.default_rng(5)
    assert garble("shutterstock", rng, rate=0.0) == "shutterstock"
    spoilt = [garble("shutterstock", rng, rate=0.3) for _ in range(50)]
    assert np.mean([word != "shutterstock" for word in spoilt]) > 0.9
    assert all(word for word in (garble("a", rng, rate=1.0) for _ in range(20)))


def test_the_bundled_typeface_stands_in_where_no_folder_is_given(tmp_path):
    assert find_fonts([]) == [BUNDLED]
    assert {"s", "Ж", "©"} <= characters(BUNDLED)
    assert "中" not in characters(BUNDLED)
    with pytest.raises(UsageError, match="is no folder"):
        find_fonts([tmp_path / "none"])
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    with pytest.raises(UsageError, match="no fitting typeface"):
        find_fonts([tmp_path])
    (tmp_path / BUNDLED.name).write_bytes(BUNDLED.read_bytes())
    assert [path.name for path in find_fonts([tmp_path])] == [BUNDLED.name]


@pytest.mark.parametrize("kind", DISTRACTORS)
def test_distractors_draw_something_of_the_picture_s_size(kind):
    made = [add_distractor(GREY, np.random.default_rng(seed), fonts=[BUNDLED], kind=kind) for seed in range(3)]
    assert all(image.shape == GREY.shape and image.dtype == np.uint8 for image in made)
    assert max(int(np.abs(image.astype(int) - 120).max()) for image in made) > 40
    assert (GREY == 120).all()


def test_an_unknown_distractor_is_refused():
    with pytest.raises(UsageError, match="kind 'cat' given"):
        add_distractor(GREY, np.random.default_rng(0), fonts=[BUNDLED], kind="cat")


def test_warps_move_picture_and_mask_alike():
    rng = np.random.default_rng(0)
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[20:44, 20:44] = 255
    mask = picture[..., 0].copy()
    warped, moved = latent_warp((picture, mask), rng, cell=8, strength=0.2)
    np.testing.assert_array_equal(warped[..., 0], moved)
    assert not np.array_equal(moved, mask)
    still, _ = latent_warp((picture, mask), rng, cell=8, strength=0.0)
    np.testing.assert_array_equal(still, picture)


def test_patches_and_blur_keep_the_mean():
    picture = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    mixed = patch_mix(picture, np.random.default_rng(2), cell=8, share=0.5)
    assert mixed.shape == picture.shape
    assert abs(float(mixed.mean()) - float(picture.mean())) < 3
    assert 0.2 < np.mean((mixed != picture).any(2)) < 0.7
    assert low_pass(picture, sigma=2.0).std() < picture.std() / 2
