from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from forensics.detect.watermark.network import MarkModel
from forensics.errors import ForensicsError, SourceError, UsageError
from forensics.render.stock_fonts import BUNDLED
from forensics.render.stock_names import is_held_out
from forensics.train.backgrounds import Backgrounds, read_backgrounds
from forensics.train.composites import BRAND_NAMES, Recipe, compose
from forensics.train.config import read_config, shipped_config
from forensics.train.loop import LoopConfig
from forensics.train.mark_check import check_marks, mask_iou, threshold_at
from forensics.train.mark_network import MarkNetwork, MarkOutput, load_imagenet
from forensics.train.shards import SHARD, Sample, Shards
from forensics.train.watermark import (
    WatermarkTraining,
    Weights,
    cut_batch,
    export_onnx,
    mark_losses,
    new_network,
    train_watermark,
)

TINY = WatermarkTraining(
    loop=LoopConfig(steps=2, batch=4, lr=1e-3, log_every=1), weights=Weights(), composites=8, crop=64
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(12):
        coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(coarse).resize((200, 150), Image.Resampling.BICUBIC).save(folder / f"p{number}.png")
    return folder


@pytest.fixture(scope="module")
def backgrounds(pictures):
    return read_backgrounds([pictures], held_out=False, most=50)


def drawn(backgrounds, recipe=None):
    return lambda number: compose(number, recipe or Recipe(), backgrounds=backgrounds, fonts=[BUNDLED], codec=None)


def test_every_picture_is_either_seen_or_held_out(pictures):
    seen, unseen = (read_backgrounds([pictures], held_out=held, most=50) for held in (False, True))
    assert len(seen) + len(unseen) == 12
    assert len(seen) > len(unseen) > 0
    assert len(read_backgrounds([pictures], held_out=False, most=3)) == 3
    one = next(path.name for path in sorted(pictures.iterdir()) if not is_held_out(path.stem))
    assert len(read_backgrounds([pictures], held_out=False, most=50, without={one})) == len(seen) - 1


def test_folders_without_pictures_are_named(tmp_path):
    with pytest.raises(SourceError, match="is no folder"):
        read_backgrounds([tmp_path / "none"], held_out=False, most=5)
    with pytest.raises(SourceError, match="no picture"):
        read_backgrounds([tmp_path], held_out=False, most=5)


def test_a_composite_depends_on_its_number_and_the_recipe_alone(backgrounds):
    one, again, other = drawn(backgrounds)(5), drawn(backgrounds)(5), drawn(backgrounds)(6)
    np.testing.assert_array_equal(one.image, again.image)
    assert not np.array_equal(one.image, other.image)
    assert one.image.shape == (256, 256, 3)
    assert one.mask.shape == one.lines.shape == (64, 64)
    assert one.whole.shape[:2] == one.whole_mask.shape == one.whole_lines.shape


def test_composites_say_truly_what_they_bear(backgrounds):
    made = [drawn(backgrounds)(number) for number in range(60)]
    marked = [one for one in made if one.layout]
    assert 15 < len(marked) < 45
    for one in made:
        if not one.layout:
            assert one.mark == ""
            assert one.presence == 0
            assert one.brand == -1
            assert not one.whole_mask.any()
        elif one.presence == 1:
            assert one.mask.any()
            assert BRAND_NAMES[one.brand] == one.mark
            assert 0.15 <= one.opacity <= 0.7
    assert {one.look for one in made} == {"plain", "warp"}  # no codes without a codec


def test_a_twin_is_the_same_picture_without_its_mark(backgrounds):
    made = [drawn(backgrounds, Recipe(spoilt=0.5, marked=1.0))(number) for number in range(40)]
    pairs = [one for one in made if one.twin is not None]
    assert len(pairs) > 15
    assert {one.presence for one in made if one.twin is None} <= {0, -1}
    inside, outside = [], []
    for one in pairs:
        change = np.abs(one.image.astype(int) - one.twin).max(2)
        places = np.kron((one.mask > 127), np.ones((4, 4), bool))
        free = np.kron((one.mask == 0) & (one.lines == 0), np.ones((4, 4), bool))
        inside.append(np.percentile(change[places], 80))
        outside.append(np.median(change[free]) if free.any() else 0)
    assert np.median(inside) > 15
    assert np.median(outside) <= 2


def test_what_is_spoilt_has_the_sides_that_were_asked_for(backgrounds):
    sides = []
    recipe = Recipe(marked=0.0, spoilt=1.0, codes=1.0, sides=(192,), small=0.5)
    for number in range(12):
        compose(number, recipe, backgrounds=backgrounds, fonts=[BUNDLED], codec=lambda x: sides.append(len(x)) or x)
    assert set(sides) == {128, 192}


def test_codes_are_used_where_there_are_any(backgrounds):
    sizes = []

    def codec(image):
        sizes.append(image.shape)
        return 255 - image

    recipe = Recipe(marked=0.0, spoilt=1.0, codes=1.0)
    one = compose(3, recipe, backgrounds=backgrounds, fonts=[BUNDLED], codec=codec)
    assert one.look == "codes"
    assert len(sizes) == 1
    assert sizes[0][0] == sizes[0][1]
    assert sizes[0][0] % 32 == 0


def test_shards_are_made_once_and_read_back(backgrounds, tmp_path):
    calls = []

    def make(number):
        calls.append(number)
        return drawn(backgrounds)(number % 3)

    shards = Shards(tmp_path / "s", make)
    for number in range(SHARD, SHARD + 6):
        kept, expected = shards.row(number), drawn(backgrounds)(number % 3)
        np.testing.assert_array_equal(kept.image, expected.image)
        np.testing.assert_array_equal(kept.mask, np.stack((expected.mask, expected.lines)))
        assert (kept.presence, kept.brand, kept.inside) == (expected.presence, expected.brand, expected.inside)
        assert (kept.twin is None) == (expected.twin is None) == (expected.presence != 1)
        if expected.twin is not None:
            np.testing.assert_array_equal(kept.twin, expected.twin)
    assert calls == list(range(SHARD, 2 * SHARD))
    Shards(tmp_path / "s", make).row(SHARD)
    assert len(calls) == SHARD


def test_the_network_gives_masks_at_stride_four_for_any_multiple_of_32():
    network = MarkNetwork(3).eval()
    with torch.inference_mode():
        output = network(torch.rand(2, 3, 64, 96) * 255)
    assert output.mask.shape == (2, 16, 24)
    assert output.presence.shape == (2,)
    assert output.brand.shape == (2, 3)


def test_a_published_backbone_is_taken_whole_or_refused():
    network, other = MarkNetwork(3), MarkNetwork(3)
    backbone = {
        name: value for name, value in other.state_dict().items() if name.startswith(("_conv_stem", "_bn0", "_blocks"))
    }
    load_imagenet(network, {**backbone, "_fc.weight": torch.zeros(1), "_bn1.bias": torch.zeros(1)})
    assert torch.equal(network._conv_stem.weight, other._conv_stem.weight)
    with pytest.raises(ForensicsError, match="no part of EfficientNet-Lite0"):
        load_imagenet(network, {**backbone, "layer4.weight": torch.zeros(1)})
    del backbone["_conv_stem.weight"]
    with pytest.raises(ForensicsError, match="have no _conv_stem"):
        load_imagenet(network, backbone)


def test_perfect_answers_cost_next_to_nothing_and_lines_are_not_counted():
    mask = torch.zeros(2, 8, 8)
    mask[0, 2:5, 1:6] = 1
    lines = torch.zeros(2, 8, 8)
    lines[0, 7] = 1
    sure = torch.where(mask > 0.5, 12.0, -12.0)
    presence, brand = torch.tensor([1, 0]), torch.tensor([2, -1])
    output = MarkOutput(mask=sure, presence=torch.tensor([12.0, -12.0]), brand=torch.tensor([[0.0, 0, 30], [9, 0, 0]]))
    losses = mark_losses(output, mask, lines, presence, brand, Weights())
    assert all(float(losses[name]) < 0.01 for name in ("places", "overlap", "presence"))
    along = sure.clone()
    along[0, 7] = 12.0
    same = mark_losses(replace(output, mask=along), mask, lines, presence, brand, Weights())
    assert float(same["total"]) == pytest.approx(float(losses["total"]))
    wrong = mark_losses(replace(output, mask=-sure), mask, lines, presence, brand, Weights())
    assert float(wrong["overlap"]) > 0.5
    assert float(wrong["places"]) > 5


def test_undecided_samples_do_not_count():
    output = MarkOutput(mask=torch.zeros(1, 4, 4), presence=torch.tensor([5.0]), brand=torch.zeros(1, 3))
    losses = mark_losses(
        output, torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), torch.tensor([-1]), torch.tensor([-1]), Weights()
    )
    assert float(losses["presence"]) == float(losses["brand"]) == 0.0


def sample(**changes):
    """A white picture whose twin is black, its mark in the lower right corner."""
    truth = np.zeros((2, 64, 64), np.uint8)
    truth[0, 57:, 57:] = 255
    image = np.full((256, 256, 3), 200, np.uint8)
    kept = Sample(image=image, twin=np.full_like(image, 50), mask=truth, inside=(64, 64), presence=1, brand=4)
    return replace(kept, **changes)


def test_a_crop_beside_the_mark_has_no_mark_and_no_twin():
    generator = torch.Generator().manual_seed(0)
    pixels, mask, _, presence, brand = cut_batch([sample()] * 60, generator, crop=224, tint=0.15)
    marked = int((presence[:60] == 1).sum())
    assert 0 < marked < 60
    assert pixels.shape == (60 + marked, 3, 224, 224)
    assert mask.shape == (60 + marked, 56, 56)
    seen = (mask > 0.5).float().mean((1, 2))
    assert set(presence.tolist()) == {-1, 0, 1}
    assert ((presence == 1) == (seen >= 0.004)).all()
    assert ((presence == 0) == (seen == 0)).all()
    assert ((brand == 4) == (presence == 1)).all()
    assert (presence[60:] == 0).all()
    # the twins, dark where the pictures are bright, in the same tones
    assert float(pixels[:60].mean()) > 150
    assert float(pixels[60:].mean()) < 100
    untinted, *_ = cut_batch([sample()], torch.Generator().manual_seed(3), crop=256, tint=0.0)
    assert untinted.unique().tolist() == [50.0, 200.0]


def test_half_of_the_crops_touch_the_mark_and_all_lie_in_the_picture():
    truth = np.zeros((2, 64, 64), np.uint8)
    truth[0, 20:24, 2:6] = 255
    image = np.full((256, 256, 3), 255, np.uint8)
    image[:, 160:] = 0  # where the window's edge is continued
    kept = sample(image=image, twin=None, mask=truth, inside=(64, 40))
    pixels, mask, *_ = cut_batch([kept] * 400, torch.Generator().manual_seed(1), crop=64, tint=0.0)
    assert float(pixels.min()) == 255
    # by chance alone the mark is touched in 19 of 49 rows and 6 of 25 columns: 9 %
    touched = (mask > 0.5).flatten(1).any(1).float().mean()
    assert 0.47 < float(touched) < 0.62


def test_a_training_goes_on_and_is_exported_as_it_was(backgrounds, tmp_path):
    shards = Shards(tmp_path / "s", lambda number: drawn(backgrounds)(number % 8))
    stopped = replace(TINY, loop=replace(TINY.loop, steps=2))
    network, trained = train_watermark(stopped, shards, tmp_path / "run", imagenet=None)
    assert trained.steps == 2
    assert set(trained.losses) >= {"total", "places", "overlap", "presence", "brand"}
    path = tmp_path / "watermark.onnx"
    export_onnx(network, path, about={"licence": "none"})
    model = MarkModel(path, threads=1)
    assert model.brands == BRAND_NAMES
    image = drawn(backgrounds)(1).image
    opinion = model.look(image)
    with torch.inference_mode():
        own = network(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float())
    # weights are kept in float16
    np.testing.assert_allclose(opinion.mask, torch.sigmoid(own.mask)[0].numpy(), atol=0.02)
    assert opinion.presence == pytest.approx(float(torch.sigmoid(own.presence)), abs=0.02)
    assert sum(opinion.brands.values()) == pytest.approx(1.0, abs=1e-4)
    assert path.stat().st_size < 7e6
    again, more = train_watermark(stopped, shards, tmp_path / "run", imagenet=None)
    assert more.steps == 2
    assert torch.equal(again.mask.weight, network.mask.weight)


def test_checks_compare_with_the_truth(backgrounds, tmp_path):
    path = tmp_path / "w.onnx"
    export_onnx(new_network(0, None).eval(), path, about={})
    scores = check_marks(MarkModel(path, threads=1), drawn(backgrounds, Recipe(held_out=False)), 10)
    assert len(scores.score) == len(scores.number) <= 10
    assert (np.isnan(scores.iou) == ~scores.marked).all()
    assert ((scores.brand >= 0) == scores.marked).all()


def test_overlap_is_one_for_the_truth_and_leaves_lines_out(backgrounds):
    one = next(made for number in range(50) if (made := drawn(backgrounds)(number)).whole_mask.mean() > 5)
    true = (one.whole_mask >= 128).astype(np.float32)
    assert mask_iou(true, one) == 1.0
    assert mask_iou(np.zeros_like(true), one) == 0.0
    lined = replace(one, whole_lines=np.full_like(one.whole_mask, 255))
    assert mask_iou(np.ones_like(true), lined) == 1.0


def test_a_threshold_lets_so_many_through():
    scores = np.linspace(0, 0.99, 100, dtype=np.float32)
    for share, through in ((0.01, 1), (0.05, 5), (0.0, 0)):
        assert (scores >= threshold_at(scores, share)).sum() == through
    with pytest.raises(UsageError, match="no unmarked picture"):
        threshold_at(scores[:0], 0.01)


def test_the_shipped_configuration_is_read():
    training = read_config(shipped_config("watermark"), WatermarkTraining)
    assert training.composites > 10_000
    assert training.crop % 32 == 0
    short = read_config(shipped_config("watermark"), WatermarkTraining, short=True)
    assert short.loop.steps < 50
    with pytest.raises(UsageError, match="crop 100"):
        replace(training, crop=100)


def test_backgrounds_draw_from_each_folder_alike():
    drawn_white = [
        Backgrounds([[_jpeg(0)], [_jpeg(255)] * 30]).draw(np.random.default_rng(seed)).mean() > 127
        for seed in range(60)
    ]
    assert 0.3 < np.mean(drawn_white) < 0.7


def _jpeg(grey):
    import simplejpeg

    return simplejpeg.encode_jpeg(np.full((64, 64, 3), grey, np.uint8))
