from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from forensics.detect.watermark.network import MarkModel
from forensics.errors import ForensicsError, SourceError, UsageError
from forensics.render.stock_fonts import BUNDLED
from forensics.train.backgrounds import Backgrounds, read_backgrounds
from forensics.train.composites import BRAND_NAMES, Recipe, compose
from forensics.train.config import read_config, shipped_config
from forensics.train.loop import LoopConfig
from forensics.train.mark_check import check_marks, mask_iou, threshold_at
from forensics.train.mark_network import MarkNetwork, MarkOutput, load_imagenet
from forensics.train.shards import SHARD, Shards
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
    image, masks, presence, brand = shards.row(SHARD + 1)
    expected = drawn(backgrounds)((SHARD + 1) % 3)
    np.testing.assert_array_equal(image, expected.image)
    np.testing.assert_array_equal(masks, np.stack((expected.mask, expected.lines)))
    assert (presence, brand) == (expected.presence, expected.brand)
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


def test_a_crop_beside_the_mark_has_no_mark():
    image = np.zeros((256, 256, 3), np.uint8)
    truth = np.zeros((2, 64, 64), np.uint8)
    truth[0, 57:, 57:] = 255
    generator = torch.Generator().manual_seed(0)
    rows = [(image, truth, 1, 4)] * 40
    pixels, mask, _, presence, brand = cut_batch(rows, replace(TINY, crop=224), generator)
    assert pixels.shape == (40, 3, 224, 224)
    assert mask.shape == (40, 56, 56)
    seen = (mask > 0.5).float().mean((1, 2))
    assert set(presence.tolist()) == {-1, 0, 1}
    assert ((presence == 1) == (seen >= 0.004)).all()
    assert ((presence == 0) == (seen == 0)).all()
    assert ((brand == 4) == (presence == 1)).all()


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
