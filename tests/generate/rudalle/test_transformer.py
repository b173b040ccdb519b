"""Masks, the full forward pass and stepping, at sizes where the convolution window has an edge inside the image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from forensics.errors import UsageError
from forensics.generate.rudalle.checkpoints import random_transformer
from forensics.generate.rudalle.config import MODELS, TransformerConfig, VqganConfig, published
from forensics.generate.rudalle.decode import Decoder, key_plan
from forensics.generate.rudalle.masks import KINDS, Kind, layer_kind, mask
from tests.generate.rudalle.golden import far
from tests.generate.rudalle.models import SMALL, token_ids, transformer

CONFIGS = [SMALL, replace(SMALL, version="v2"), replace(SMALL, sandwich=False, image_side=5)]


def _sees(config: TransformerConfig, kind: Kind, query: int, key: int) -> bool:
    """The masks' definition, one pair at a time."""
    side, text = config.image_side, config.text_length
    if key > query:
        return False
    if key < text:
        return True
    if kind == "row":
        return query - key <= side
    if kind == "column":
        return (query - key) % side == 0
    (row, column), (other_row, other_column) = divmod(query - text, side), divmod(key - text, side)
    steps = range(-5, 6)
    if config.version == "v2":
        near = {((other_row + r) % side, (other_column + c) % side) for r in steps for c in steps}
    else:
        near = {(other_row + r, other_column + c) for r in steps for c in steps}
    return (row, column) in near


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", [replace(c, text_length=3, text_vocab=50) for c in CONFIGS], ids=str)
def test_mask_is_its_definition(config: TransformerConfig, kind: Kind) -> None:
    places = range(config.length)
    wanted = torch.tensor([[_sees(config, kind, query, key) for key in places] for query in places])
    assert torch.equal(mask(config, kind), wanted)


def test_layer_kinds() -> None:
    kinds = [layer_kind(SMALL, layer) for layer in range(SMALL.layers)]
    assert kinds == ["row", "column", "row", "row", "row", "column"]  # the column wins in the last layer
    assert layer_kind(replace(SMALL, layers=5), 4) == "conv"
    assert [layer_kind(MODELS["malevich"].config, layer) for layer in (1, 5, 21, 22, 23)] == [
        *("column", "column", "column", "row", "conv")
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", CONFIGS, ids=["v3", "v2", "small"])
def test_a_step_reads_the_keys_of_its_mask_and_no_others(config: TransformerConfig, kind: Kind) -> None:
    plan, seen = key_plan(config, kind, torch.device("cpu")), mask(config, kind)
    kept: dict[int, int] = {}
    for position in range(config.length):
        kept[plan.row[position]] = position
        read = plan.reads[position]
        rows = range(read) if isinstance(read, int) else read.tolist()
        assert sorted(kept[row] for row in rows) == seen[position].nonzero()[:, 0].tolist()
    if kind == "row":
        assert plan.rows == min(config.text_length + config.image_side + 1, config.length)


@pytest.mark.parametrize("layers", [5, 6])  # the last layer is a window in one, a column in the other
@pytest.mark.parametrize("config", CONFIGS, ids=["v3", "v2", "small"])
def test_every_step_equals_the_full_forward(config: TransformerConfig, layers: int) -> None:
    model = transformer(replace(config, layers=layers))
    ids = token_ids(config, 3)
    wanted = model.image_rows(model(ids))
    for first in (0, 1, config.image_side + 2, config.image_length - 1):
        decoder = Decoder(model, 3)
        rows = [*decoder.prefill(ids[:, : config.text_length + first]).unbind(1)]
        rows += [decoder.step(ids[:, config.text_length + cell]) for cell in range(first, config.image_length - 1)]
        assert far(torch.stack(rows, 1), wanted) < 1e-4


def test_half_precision_steps_equal_the_full_forward() -> None:
    model, ids = transformer().bfloat16(), token_ids(SMALL, 2)
    decoder = Decoder(model, 2)
    rows = [*decoder.prefill(ids[:, : SMALL.text_length]).unbind(1)]
    rows += [decoder.step(ids[:, SMALL.text_length + cell]) for cell in range(SMALL.image_length - 1)]
    wanted = model.image_rows(model(ids)).float()
    assert (torch.stack(rows, 1).float() - wanted).abs().mean() < 0.01 * wanted.std()


def test_a_decoder_may_begin_again() -> None:
    model, ids = transformer(), token_ids(SMALL, 2)
    decoder = Decoder(model, 2)
    decoder.prefill(ids[:, :-20])
    decoder.step(ids[:, -20])
    again = decoder.prefill(ids[:, : SMALL.text_length + 2])
    assert torch.equal(again, Decoder(model, 2).prefill(ids[:, : SMALL.text_length + 2]))
    assert decoder.nbytes == Decoder(model, 2).nbytes > 0


def test_prefix_logits_do_not_change_with_what_follows() -> None:
    model, ids = transformer(), token_ids(SMALL, 2)
    whole, half = model(ids), model(ids[:, :-60])
    assert far(half, whole[:, : half.shape[1]]) < 1e-5


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_log_probabilities_sum_to_one_and_sampled_tokens_are_those(version: str) -> None:
    config = TransformerConfig.from_meta(
        {
            **{"hf_version": version, "num_layers": 2, "hidden_size": 16, "num_attention_heads": 2},
            **{"text_seq_length": 4, "image_tokens_per_dim": 3, "vocab_size": 12, "image_vocab_size": 5},
        }
    )
    assert not config.sandwich
    model = transformer(config)
    ids = token_ids(config, 1).repeat(5, 1)
    ids[:, -1] = torch.arange(5)
    last = model.token_log_probs(ids).image[:, -1]
    assert last.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert model.token_log_probs(ids).text.shape == (5, 4 if version == "v2" else 3)


def test_published_sizes() -> None:
    with torch.device("meta"):
        counts = {name: sum(p.numel() for p in _meta_model(row.config)) for name, row in MODELS.items()}
    assert 1.2e9 < counts["malevich"] == counts["emojich"] == counts["surrealist-xl"] < 1.4e9
    assert 1.1e10 < counts["kandinsky"] < 1.2e10
    assert published("Malevich_v2").config.version == "v2"


def _meta_model(config: TransformerConfig) -> list[torch.Tensor]:
    from forensics.generate.rudalle.transformer import Rudalle

    return list(Rudalle(config).parameters())


def test_bad_sizes_and_ids() -> None:
    with pytest.raises(UsageError, match="choose one of malevich, "):
        published("malewitsch")
    with pytest.raises(UsageError, match="multiple of the 5 heads"):
        replace(SMALL, heads=5)
    with pytest.raises(UsageError, match="layers 0"):
        replace(SMALL, layers=0)
    with pytest.raises(UsageError, match="more than the text length"):
        replace(SMALL, text_vocab=10)
    with pytest.raises(UsageError, match="version 'v4'"):
        replace(SMALL, version="v4")
    with pytest.raises(UsageError, match="without hf_version, num_layers"):
        TransformerConfig.from_meta({})
    with pytest.raises(UsageError, match="without ddconfig"):
        VqganConfig.from_meta({})
    model = random_transformer(replace(SMALL, layers=1))
    with pytest.raises(UsageError, match=r"\(1, 9\) given, \(batch, 10 to 179\)"):
        model(torch.ones((1, 9), dtype=torch.int64))
    with pytest.raises(UsageError, match=r"\(batch, 179\) accepted"):
        model.losses(torch.ones((1, 20), dtype=torch.int64))
    with pytest.raises(UsageError, match=r"\(2, 10 to 178\) accepted"):
        Decoder(model, 2).prefill(torch.ones((1, 10), dtype=torch.int64))
    with pytest.raises(UsageError, match="fill in the text first"):
        Decoder(model, 2).step(torch.ones(2, dtype=torch.int64))
