"""Layers that wait elsewhere compute what the whole model computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forensics.errors import UsageError, WeightsError
from forensics.generate.rudalle.checkpoints import load_transformer
from forensics.generate.rudalle.config import DUMMY, MODELS
from forensics.generate.rudalle.decode import Decoder
from forensics.generate.rudalle.placement import check_memory, device_map, estimate_memory, load_placed
from forensics.generate.rudalle.sampling import Sampling, generate_tokens
from forensics.generate.rudalle.transformer import Rudalle
from tests.generate.rudalle.models import SMALL, token_ids, transformer

CONFIG = replace(SMALL, image_side=6, layers=5)
SAMPLING = Sampling(top_k=40)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("placed") / "model.safetensors"
    with torch.no_grad():
        save_file({f"module.{name}": tensor for name, tensor in transformer(CONFIG).state_dict().items()}, path)
    return path


def _weights(model: Rudalle) -> list[bool]:
    """For each layer, whether it has its weights now."""
    return [all(not parameter.is_meta for parameter in layer.parameters()) for layer in model.layers]


def _same(placed: Rudalle, plain: Rudalle) -> None:
    ids = token_ids(CONFIG, 2)
    assert torch.equal(placed(ids), plain(ids))
    for part in ("text", "image"):
        assert torch.equal(getattr(placed.token_log_probs(ids), part), getattr(plain.token_log_probs(ids), part))
    text = ids[:, : CONFIG.text_length]
    for guidance in (1.0, 2.0):
        sampling = replace(SAMPLING, guidance=guidance)
        wanted = generate_tokens(plain, text, [1, 2], sampling=sampling)
        found = generate_tokens(placed, text, [1, 2], sampling=sampling)
        assert torch.equal(found.tokens, wanted.tokens)
        assert torch.equal(found.log_probs, wanted.log_probs)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layers_in_the_file_compute_the_same(file: Path, dtype: str) -> None:
    devices = {"transformer.layers": "cpu", "transformer.layers.1": "disk", "transformer.layers.4": "disk"}
    placed = load_placed(file, CONFIG, dtype=dtype, devices=devices)  # type: ignore[arg-type]
    assert _weights(placed) == [True, False, True, True, False]
    _same(placed, load_transformer(file, CONFIG, dtype=dtype))  # type: ignore[arg-type]
    assert _weights(placed) == [True, False, True, True, False]
    assert {parameter.dtype for parameter in placed.parameters()} == {getattr(torch, dtype)}


def test_what_does_not_fit_stays_in_the_file(file: Path) -> None:
    whole = estimate_memory(CONFIG, "float32", 1).weights
    layer = sum(p.nbytes for p in transformer(CONFIG).layers[0].parameters())
    found = device_map(CONFIG, "float32", max_memory={"cpu": whole - layer})
    layers = [found[f"transformer.layers.{number}"] for number in range(CONFIG.layers)]
    assert layers[0] == "cpu"
    assert layers[-1] == "disk"
    placed = load_placed(file, CONFIG, dtype="float32", max_memory={"cpu": whole - layer})
    assert _weights(placed) == [device == "cpu" for device in layers]
    _same(placed, load_transformer(file, CONFIG))


def test_with_room_for_all_it_is_the_plain_model(file: Path) -> None:
    placed = load_placed(file, CONFIG, dtype="float32", max_memory={"cpu": 1 << 30})
    assert not any(hasattr(module, "_hf_hook") for module in placed.modules())
    assert not any(parameter.requires_grad for parameter in placed.parameters())
    _same(placed, load_transformer(file, CONFIG))


def test_gpus_are_filled_in_order_with_room_for_the_cache() -> None:
    config = MODELS["kandinsky"].config
    estimate = estimate_memory(config, "float16", 8)
    spare = estimate.cache + estimate.work
    found = device_map(config, "float16", max_memory={0: spare + (6 << 30), 1: spare + (6 << 30), "cpu": 64 << 30})
    layers = [found[f"transformer.layers.{number}"] for number in range(64)]
    assert layers == sorted(layers, key=[0, 1, "cpu"].index)
    assert set(layers) == {0, 1, "cpu"}
    on_first = estimate.weights / 64 * layers.count(0)
    assert 4 << 30 < on_first < 6 << 30


def test_estimates_are_the_memory_that_is_taken() -> None:
    model = transformer(CONFIG)
    estimate = estimate_memory(CONFIG, "float32", 3)
    assert estimate.weights == sum(parameter.nbytes for parameter in model.parameters())
    assert estimate.cache == Decoder(model, 3).nbytes
    assert estimate_memory(CONFIG, "float16", 3).weights * 2 == estimate.weights
    assert 22e9 < estimate_memory(MODELS["kandinsky"].config, "float16", 1).weights < 25e9


def test_malevich_fits_in_three_and_a_half_gigabytes() -> None:
    config = MODELS["malevich"].config
    assert check_memory(config, "float16", 8, free=int(3.5e9)).total < 3.5e9
    with pytest.raises(UsageError, match=r"float32 given: 6\.\d+ GB needed \(5\.24 GB .* 3\.50 GB free; take float16"):
        check_memory(config, "float32", 4, free=int(3.5e9))
    with pytest.raises(UsageError, match=r"64 sequences .* at most \d fit"):
        check_memory(config, "float16", 64, free=int(3.5e9))
    with pytest.raises(UsageError, match="several devices or the CPU's memory"):
        check_memory(MODELS["kandinsky"].config, "float16", 1, free=int(8e9))


def test_bad_requests(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no device for transformer\.layers\.2 given"):
        load_placed(file, CONFIG, devices={f"transformer.layers.{number}": "cpu" for number in (0, 1, 3, 4)})
    with pytest.raises(UsageError, match="type 'int8' given"):
        load_placed(file, CONFIG, dtype="int8", devices={"": "cpu"})  # type: ignore[arg-type]
    torch.save(transformer(CONFIG).state_dict(), tmp_path / "model.bin")
    with pytest.raises(UsageError, match="convert it first"):
        load_placed(tmp_path / "model.bin", CONFIG, devices={"": "disk"})
    with pytest.raises(WeightsError, match="another architecture"):
        load_placed(file, DUMMY, devices={"": "cpu"})
    assert _weights(load_placed(tmp_path / "model.bin", CONFIG, devices={"": "cpu"})) == [True] * 5


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_layers_in_the_host_s_memory_compute_the_same(file: Path) -> None:
    devices = {"transformer.layers": 0, "transformer.layers.1": "cpu", "transformer.layers.4": "disk"}
    placed = load_placed(file, CONFIG, dtype="float32", devices=devices)
    assert _weights(placed) == [True, False, True, True, False]
    plain = load_transformer(file, CONFIG, device="cuda")
    ids = token_ids(CONFIG, 2).cuda()
    assert torch.allclose(placed(ids), plain(ids), atol=1e-4)
    text = ids[:, : CONFIG.text_length]
    found = generate_tokens(placed, text, [1, 2], sampling=SAMPLING)
    whole = torch.cat((text, found.tokens.cuda()), 1)
    assert torch.allclose(found.log_probs, plain.token_log_probs(whole).image.cpu(), atol=1e-3)
