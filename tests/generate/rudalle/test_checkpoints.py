"""Files of weights: published layouts, conversion, and what is said of bad ones."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forensics.errors import IntegrityError, UsageError, WeightsError
from forensics.generate.rudalle import checkpoints
from forensics.generate.rudalle.checkpoints import StateFile, load_transformer, load_vqgan, random_transformer
from forensics.generate.rudalle.config import MODELS, HubFile
from forensics.generate.rudalle.converted import MANIFEST, WEIGHTS, convert, load_converted, read_manifest
from forensics.generate.rudalle.hub import locate, locate_ruclip
from forensics.generate.rudalle.masks import mask
from forensics.generate.rudalle.vqgan import Vqgan
from forensics.weights import sha256_of
from tests.generate.rudalle.models import SMALL, VQGAN, transformer

CONFIG = replace(SMALL, layers=2)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """As published: with mask buffers."""
    weights = dict(transformer(CONFIG).state_dict())
    masks = {f"transformer.{name}_mask": mask(CONFIG, kind) for name, kind in (("row", "row"), ("col", "column"))}
    return weights | masks | {"transformer.conv_mask": mask(CONFIG, "conv")}


@pytest.fixture
def file(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, tmp_path / "pytorch_model.bin")
    return tmp_path / "pytorch_model.bin"


def _equal(model: torch.nn.Module, state: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> bool:
    return all(torch.equal(tensor, state[name].to(dtype)) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_published_file_loads_and_converts(
    tmp_path: Path, file: Path, state: dict[str, torch.Tensor], dtype: Any
) -> None:
    assert _equal(load_transformer(file, CONFIG, dtype=dtype), state, checkpoints.DTYPES[dtype])
    manifest = convert(file, tmp_path / "made", CONFIG, dtype=dtype, origin="a page", licence="its terms")
    assert manifest == read_manifest(tmp_path / "made", check=True)
    assert manifest["source"] == {
        "file": "pytorch_model.bin",
        "bytes": file.stat().st_size,
        "sha256": sha256_of(file),
        "origin": "a page",
        "licence": "its terms",
    }
    assert manifest["weights"]["sha256"] == sha256_of(tmp_path / "made" / WEIGHTS)
    model = load_converted(tmp_path / "made")
    assert _equal(model, state, checkpoints.DTYPES[dtype])
    assert model.config == CONFIG
    assert not model.training
    # it is a safetensors file for everyone
    assert load_file(tmp_path / "made" / WEIGHTS).keys() == model.state_dict().keys()
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [MANIFEST, WEIGHTS]


def test_small_parts_are_read_from_fresh_mappings(
    file: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0
    original = StateFile._open_pickle

    def counting(self: StateFile) -> Any:
        nonlocal opened
        opened += 1
        return original(self)

    monkeypatch.setattr(StateFile, "_open_pickle", counting)
    monkeypatch.setattr(checkpoints, "_PART", 20_000)
    assert _equal(load_transformer(file, CONFIG), state)
    assert opened > file.stat().st_size / 60_000


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s}, lambda s: {"params": s, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_wrappings(tmp_path: Path, state: dict[str, torch.Tensor], wrap: Any, prefix: str) -> None:
    torch.save(wrap({prefix + name: tensor for name, tensor in state.items()}), tmp_path / "wrapped.ckpt")
    assert _equal(load_transformer(tmp_path / "wrapped.ckpt", CONFIG), state)


def test_other_formats(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert _equal(load_transformer(tmp_path / "old.bin", CONFIG), state)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "new.safetensors")
    assert _equal(load_transformer(tmp_path / "new.safetensors", CONFIG), state)


def test_vqgan(tmp_path: Path) -> None:
    for config, prefix in ((VQGAN, ""), (replace(VQGAN, dwt=True), "model.")):
        made = Vqgan(config)
        extra = {"loss.perceptual.weight": torch.ones(2), "decoder.idwt.g0_col": torch.ones(2)}
        tensors = {prefix + name: tensor for name, tensor in (made.state_dict() | extra).items()}
        torch.save({"state_dict": tensors}, tmp_path / "vqgan.ckpt")
        assert _equal(load_vqgan(tmp_path / "vqgan.ckpt", config), made.state_dict())
        convert(tmp_path / "vqgan.ckpt", tmp_path / "made", config, dtype="float16")
        again = load_converted(tmp_path / "made", dtype="float32")
        assert again.config == config
        assert again.quantize.embed.weight.dtype == torch.float32


def test_bad_files_are_named(tmp_path: Path, file: Path, state: dict[str, torch.Tensor]) -> None:
    def load(change: Any) -> None:
        torch.save(change, tmp_path / "bad.bin")
        load_transformer(tmp_path / "bad.bin", CONFIG)

    with pytest.raises(WeightsError, match=r"bad\.bin lacks to_logits\.1\.bias of the 43 tensors of a ruDALL-E"):
        load({name: tensor for name, tensor in state.items() if name != "to_logits.1.bias"})
    with pytest.raises(WeightsError, match=r"lacks transformer\.layers\.1\.\S+ and 15 more of"):
        load({name: tensor for name, tensor in state.items() if ".layers.1." not in name})
    with pytest.raises(WeightsError, match=r"that has no transformer\.layers\.2\.bias and 1 more"):
        load(state | {"transformer.layers.2.bias": torch.ones(1), "other": torch.ones(1)})
    with pytest.raises(WeightsError, match=r"text_embeddings\.weight is \(91, 48\), \(90, 48\) needed"):
        load(state | {"text_embeddings.weight": torch.ones(91, 48)})
    with pytest.raises(WeightsError, match="another architecture than a ruDALL-E transformer v3 of 2 layers, 96 wide"):
        load_transformer(file, replace(CONFIG, hidden=96))
    with pytest.raises(WeightsError, match="holds str under 'note'"):
        load(state | {"note": "text"})
    with pytest.raises(WeightsError, match="holds list, a dict of named tensors needed"):
        load([1])
    with pytest.raises(WeightsError, match=r"gone\.bin is missing"):
        load_transformer(tmp_path / "gone.bin", CONFIG)
    with pytest.raises(UsageError, match="type 'int8' given"):
        load_transformer(file, CONFIG, dtype="int8")


def test_a_truncated_file_is_said_to_be_cut_off(tmp_path: Path, file: Path) -> None:
    whole = file.read_bytes()
    for part in (len(whole) - 1, len(whole) // 2, 10):
        file.write_bytes(whole[:part])
        with pytest.raises(WeightsError, match="is cut off: the end of its archive is missing"):
            load_transformer(file, CONFIG)
    file.write_bytes(b"")
    with pytest.raises(WeightsError, match="no checkpoint of tensors, or damaged"):
        load_transformer(file, CONFIG)
    safe = tmp_path / "half.safetensors"
    save_file({"a": torch.ones(100)}, safe)
    safe.write_bytes(safe.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="cut off or no safetensors file"):
        load_transformer(safe, CONFIG)


class _Harmful:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["FORENSICS_TEST_HARM"],)


def test_nothing_but_tensors_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORENSICS_TEST_HARM", str(tmp_path / "harm"))
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(_Harmful()))
    torch.save({"a": _Harmful()}, tmp_path / "zip.bin")
    for name in ("plain.bin", "zip.bin"):
        with pytest.raises(WeightsError, match="no checkpoint of tensors"):
            StateFile(tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_conversion_keeps_what_was_there_until_it_is_done(
    tmp_path: Path, file: Path, state: dict[str, torch.Tensor]
) -> None:
    convert(file, tmp_path / "made", CONFIG)
    before = sha256_of(tmp_path / "made" / WEIGHTS)
    torch.save(state | {"to_logits.1.bias": torch.full((160,), 1e6)}, file)
    with pytest.raises(WeightsError, match=r"to_logits\.1\.bias has values beyond float16's range"):
        convert(file, tmp_path / "made", CONFIG, dtype="float16")
    assert sha256_of(tmp_path / "made" / WEIGHTS) == before
    assert len(list((tmp_path / "made").iterdir())) == 2
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(WeightsError, match="could not be converted into"):
        convert(file, tmp_path / "taken", CONFIG)
    with pytest.raises(UsageError, match="type 'int8' given"):
        convert(file, tmp_path / "made", CONFIG, dtype="int8")


def test_damaged_conversions(tmp_path: Path, file: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(WeightsError, match="is no converted checkpoint"):
        load_converted(made)
    convert(file, made, CONFIG)
    weights = bytearray((made / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (made / WEIGHTS).write_bytes(weights)
    load_converted(made)
    with pytest.raises(IntegrityError, match="has SHA-256"):
        load_converted(made, check=True)
    (made / WEIGHTS).write_bytes(weights[:-8])
    with pytest.raises(WeightsError, match=rf"has {len(weights) - 8} bytes, {len(weights)} recorded"):
        load_converted(made)
    manifest = json.loads((made / MANIFEST).read_text())
    (made / WEIGHTS).write_bytes(weights)
    for change, message in (
        ({"format": "x"}, "format 'x'"),
        ({"config": {"wings": 2}}, "another configuration than this program knows"),
        ({"weights": {}}, "cannot be read"),
    ):
        (made / MANIFEST).write_text(json.dumps(manifest | change))
        with pytest.raises(WeightsError, match=message):
            load_converted(made)


def test_random_weights_are_the_seed_s() -> None:
    first, again, other = (random_transformer(CONFIG, seed=seed) for seed in (3, 3, 4))
    assert _equal(first, again.state_dict())
    assert not torch.equal(first.to_logits[1].weight, other.to_logits[1].weight)
    assert first.to_logits[1].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert random_transformer(CONFIG, dtype="bfloat16").dtype == torch.bfloat16


def test_files_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = MODELS["malevich"].file
    with pytest.raises(WeightsError, match=r"pytorch_model_v3\.bin is missing; fetch it from https://hugg.*Malevich"):
        locate(wanted, local=tmp_path)
    (tmp_path / "pytorch_model_v3.bin").write_bytes(b"x")
    assert locate(wanted, local=tmp_path) == tmp_path / "pytorch_model_v3.bin"
    assert locate(wanted, local=tmp_path / "pytorch_model_v3.bin") == tmp_path / "pytorch_model_v3.bin"
    cache = tmp_path / "cache"
    with pytest.raises(
        WeightsError, match=rf"not in {cache} .* \(no connection allowed\); fetch it on another machine"
    ):
        locate(wanted, cache=cache, offline=True)
    # the hub's own layout, under the second of two addresses
    commit = "0" * 40
    repository = cache / "models--b--two"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "bpe.model").write_bytes(b"x")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    found = locate(HubFile(repo="a/one", filename="bpe.model", others=("b/two",)), cache=cache, offline=True)
    assert found.read_bytes() == b"x"
    with pytest.raises(WeightsError, match=r"missing: config\.json\) or one of ruclip-vit-base-patch32-224"):
        locate_ruclip(tmp_path)
    for name in ("config.json", "bpe.model", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"x")
    assert locate_ruclip(str(tmp_path)) == tmp_path
    with pytest.raises(WeightsError, match=r"config\.json is not in"):
        locate_ruclip("ruclip-vit-base-patch32-224", cache=cache, offline=True)
