"""From a prompt to pixels, and from a model's name to its files."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from spandrel.architectures.ESRGAN import ESRGAN

from forensics.errors import ForensicsError, IntegrityError, UsageError, WeightsError
from forensics.generate import GENERATORS, GeneratorOptions, create
from forensics.generate.rudalle import models
from forensics.generate.rudalle.bundle import convert_model
from forensics.generate.rudalle.checkpoints import random_transformer
from forensics.generate.rudalle.config import MODELS, TransformerConfig
from forensics.generate.rudalle.converted import MANIFEST, WEIGHTS
from forensics.generate.rudalle.dummy import DUMMIES, character_tokenizer, random_vqgan
from forensics.generate.rudalle.generator import RudalleGenerator
from forensics.generate.rudalle.sampling import Sampling, generate_tokens
from forensics.generate.rudalle.upscale import Upscaler
from forensics.types import Generator
from tests.generate.rudalle.golden import META, TOLERANCE, far, of_version, tensors
from tests.generate.rudalle.models import VQGAN, official_folder, spread

CONFIG = TransformerConfig(
    layers=4, hidden=32, heads=2, text_length=12, image_side=6, text_vocab=140, image_vocab=VQGAN.codes
)
CPU = GeneratorOptions(device="cpu", offline=True)


@pytest.fixture(scope="module")
def small() -> RudalleGenerator:
    return _small()


def _small(dtype: torch.dtype = torch.float32, **options: object) -> RudalleGenerator:
    model = spread(random_transformer(CONFIG)).to(dtype)
    return RudalleGenerator(model, random_vqgan(VQGAN), character_tokenizer(), name="small", **options)


def test_an_image_is_what_its_parts_make(small: RudalleGenerator) -> None:
    assert isinstance(small, Generator)
    (image,) = small.generate(["Кот "], [7], settings={"temperature": 0.9, "top_k": 20, "top_p": 0.9})
    ids = torch.tensor(small.tokenizer.encode_prompt("кот", 12).ids)
    drawn = generate_tokens(small.model, ids, [7], sampling=Sampling(temperature=0.9, top_k=20, top_p=0.9))
    assert image.tokens == tuple(drawn.tokens[0].tolist())
    assert image.measurements["perplexity"] == pytest.approx(drawn.perplexity.item())
    assert image.measurements["mean_log_prob"] == pytest.approx(drawn.log_probs.mean().item())
    assert image.measurements["prompt_tokens"] == 6  # begin, the space mark, three letters, end
    pixels = small.vqgan.decode(drawn.tokens)[0].permute(1, 2, 0) * 255
    assert image.pixels.shape == (24, 24, 3)
    assert image.pixels.dtype == np.uint8
    assert np.abs(image.pixels - pixels.numpy()).max() <= 0.501


def test_an_image_does_not_depend_on_its_batch(small: RudalleGenerator) -> None:
    prompts, seeds = ["кот", "пёс", "кот", "дом у реки", "кот", "лес"], [1, 1, 2, 3, 2**63 - 1, 0]
    together = small.generate(prompts, seeds, settings={"guidance": 2.0})
    for take in ([0], [5, 2], [4, 3, 1]):
        apart = small.generate([prompts[i] for i in take], [seeds[i] for i in take], settings={"guidance": 2.0})
        for i, image in zip(take, apart, strict=True):
            assert image.tokens == together[i].tokens
            assert np.array_equal(image.pixels, together[i].pixels)
            assert image.measurements == together[i].measurements
    assert len({image.tokens for image in together}) == 6
    assert small.generate([], [], settings={}) == []


def test_half_precision_keeps_its_lanes() -> None:
    """Where a product may depend on its number of rows, every call has the same: a resumed run makes the same."""
    half = _small(torch.bfloat16, lanes=5)
    together = half.generate(["кот"] * 5, range(5), settings={})
    calls: list[tuple[int, int | None]] = []
    rest = half.generate(["кот"] * 2, [3, 4], settings={}, progress=lambda _, done, total: calls.append((done, total)))
    assert [image.tokens for image in rest] == [image.tokens for image in together[3:]]
    assert calls[-1] == (2 * 36, 2 * 36)
    assert half.spec.settings["lanes"] == 5
    assert _small(lanes=5).spec.settings["lanes"] == 1


def test_a_long_prompt_is_cut_and_says_where(small: RudalleGenerator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        images = small.generate(["большой рыжий кот"] * 2, [1, 2], settings={})
        small.generate(["большой рыжий кот"], [3], settings={})
    assert len(caplog.records) == 1  # however many images it makes
    assert "the prompt has 20 tokens, 12 fit: it is cut after 'большой ры'" in caplog.text
    assert images[0].measurements["prompt_used"] == "большой ры"
    assert images[0].measurements["prompt_dropped"] == "жий кот"
    (same,) = small.generate(["большой ры"], [1], settings={})
    assert same.tokens == images[0].tokens


def test_sizes_and_image_prompts(small: RudalleGenerator, tmp_path: Path) -> None:
    for size, shape in (("6x10", (24, 40, 3)), ("9×6", (36, 24, 3)), ("6x6", (24, 24, 3))):
        (image,) = small.generate(["кот"], [1], settings={"size": size})
        assert image.pixels.shape == shape
        assert len(image.tokens) == shape[0] * shape[1] // 16
    picture = tmp_path / "p.png"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    Image.fromarray(pixels).save(picture)
    codes = small.vqgan.encode(torch.tensor(pixels[:, 3:27]).permute(2, 0, 1)[None] / 255)[0]
    given = {"image_prompt": str(picture), "up": 2, "left": "1"}
    images = small.generate(["кот"] * 2, [1, 2], settings=given)
    for image in images:
        tokens = torch.tensor(image.tokens).reshape(6, 6)
        assert torch.equal(tokens[:2], codes[:2])
        assert torch.equal(tokens[:, 0], codes[:, 0])
    assert images[0].tokens != images[1].tokens


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0}, "temperature 0.0 given"),
        ({"temperature": "warm"}, "temperature 'warm' given, a number accepted"),
        ({"top_k": "1.5"}, "top_k '1.5' given, a whole number accepted"),
        ({"top_p": "nan"}, "top_p 'nan' given, a number accepted"),
        ({"crop_first": "maybe"}, "crop_first 'maybe' given, true or false accepted"),
        ({"steps": 3}, "steps 3 given, which small does not take; it takes: temperature, "),
        ({"size": "6"}, "size '6' given; write rows x columns in tokens, e.g. 6x12"),
        ({"size": "7x8"}, "size '7x8' given; this model makes images of 6 x 6 tokens"),
        ({"up": 2}, "without a picture"),
        ({"image_prompt": "no.png", "up": 2}, "image prompt no.png cannot be read"),
        ({"image_prompt": __file__, "up": 2}, "is no picture"),
        ({"image_prompt": "no.png", "up": 2, "size": "6x8"}, "image prompts are for square images"),
    ],
)
def test_wrong_settings_are_found_before_anything_is_made(
    small: RudalleGenerator, settings: dict[str, object], words: str
) -> None:
    for call in (small.check, lambda settings: small.generate(["кот"], [1], settings=settings)):
        with pytest.raises(UsageError) as caught:
            call(settings)
        assert words in str(caught.value)


def test_other_bad_calls(small: RudalleGenerator) -> None:
    with pytest.raises(UsageError, match="2 prompts and 1 seeds"):
        small.generate(["a", "b"], [1], settings={})
    with pytest.raises(UsageError, match="an empty prompt"):
        small.generate([" "], [1], settings={})
    model, tokenizer = small.model, small.tokenizer
    with pytest.raises(WeightsError, match="draws 24 image tokens, the VQGAN knows 8 codes"):
        RudalleGenerator(model, random_vqgan(replace(VQGAN, codes=8)), tokenizer, name="x")
    tiny = random_transformer(replace(CONFIG, text_vocab=60))
    with pytest.raises(WeightsError, match=r"the tokenizer has \d+ subwords, the transformer reads 48"):
        RudalleGenerator(tiny, small.vqgan, tokenizer, name="x")


def test_upscaling(small: RudalleGenerator, tmp_path: Path) -> None:
    net = ESRGAN(num_filters=8, num_blocks=1, scale=2, shuffle_factor=2, in_nc=3)
    torch.save({"params": net.state_dict()}, tmp_path / "RealESRGAN_x2.pth")
    upscaler = Upscaler(tmp_path / "RealESRGAN_x2.pth")
    large = RudalleGenerator(small.model, small.vqgan, small.tokenizer, name="small", upscaler=upscaler)
    calls: list[tuple[str, int, int | None]] = []
    images = large.generate(["кот"] * 2, [1, 2], settings={}, progress=lambda *call: calls.append(call))
    assert images[0].pixels.shape == (48, 48, 3)
    assert [call for call in calls if call[0] == "upscaling"] == [("upscaling", 1, 2), ("upscaling", 2, 2)]
    assert large.spec.settings["upscale"] == 2
    opened = create("dummy", replace(CPU, weights=tmp_path, upscale=2))
    assert list(opened.spec.weights) == ["RealESRGAN_x2.pth"]
    with pytest.raises(WeightsError, match=r"Real-ESRGAN x4: not in .*RealESRGAN_x4\.pth"):
        create("dummy", replace(CPU, weights=tmp_path, upscale=4))


# -- names and files


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a user fills it: the reference's checkpoints under their published names, small."""
    monkeypatch.setenv("FORENSICS_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return official_folder(tmp_path / "official", of_version("v3"), "pytorch_model_v3.bin")


def test_official_files_in_a_folder_golden(official: Path) -> None:
    """What a published name makes of the reference's checkpoint is the reference's network."""
    generator = create("malevich", replace(CPU, weights=official))
    golden = of_version("v3")
    expected = tensors(golden, "expected.safetensors")
    assert isinstance(generator, RudalleGenerator)
    assert far(generator.model(expected["input_ids"]), expected["logits"]) < TOLERANCE
    assert set(generator.spec.weights) == {"pytorch_model_v3.bin", "vqgan.gumbelf8-sber.model.ckpt", "bpe.model"}
    assert all(len(digest) == 64 for digest in generator.spec.weights.values())
    assert "huggingface.co/sberbank-ai/rudalle-Malevich" in generator.spec.licence
    (image,) = generator.generate(["кот"], [3], settings={})
    assert len(image.tokens) == META[golden]["image_tokens_per_dim"] ** 2
    one = create("Malevich", replace(CPU, weights=official / "pytorch_model_v3.bin"))
    assert one.generate(["кот"], [3], settings={})[0].tokens == image.tokens
    assert create(str(official), CPU).generate(["кот"], [3], settings={})[0].tokens == image.tokens


def test_version_2_by_its_published_name_golden(tmp_path: Path) -> None:
    golden = of_version("v2")
    folder = official_folder(tmp_path / "v2", golden, "pytorch_model.bin")
    generator = create("emojich", replace(CPU, weights=folder))
    expected = tensors(golden, "expected.safetensors")
    assert isinstance(generator, RudalleGenerator)
    assert far(generator.model(expected["input_ids"]), expected["logits"]) < TOLERANCE


def test_a_model_converted_once_is_the_same(official: Path, tmp_path: Path) -> None:
    options = replace(CPU, weights=official)
    raw = create("malevich", options).generate(["кот"], [3], settings={})
    home = tmp_path / "cache" / "rudalle" / "malevich"
    bundle = convert_model("malevich", options=options)
    assert bundle.folder == home
    source = bundle.manifests["transformer"]["source"]
    assert source["file"] == "pytorch_model_v3.bin"
    assert source["origin"] == "https://huggingface.co/sberbank-ai/rudalle-Malevich"
    stamps = [path.stat().st_mtime_ns for path in sorted(home.rglob("*"))]
    again = convert_model("malevich", options=options)
    assert json.dumps(again.manifests) == json.dumps(bundle.manifests)
    assert [path.stat().st_mtime_ns for path in sorted(home.rglob("*"))] == stamps  # nothing was done twice
    # found by the name alone, and as a folder that stands for itself
    for name in ("malevich", str(home)):
        found = create(name, CPU)
        assert set(found.spec.weights) == {
            "transformer/weights.safetensors", "vqgan/weights.safetensors", "bpe.model",
        }  # fmt: skip
        (image,) = found.generate(["кот"], [3], settings={})
        assert image.tokens == raw[0].tokens
        assert np.array_equal(image.pixels, raw[0].pixels)
    half = convert_model("malevich", dtype="float16", out=tmp_path / "half", options=options)
    assert half.manifests["transformer"]["dtype"] == "float16"
    assert half.manifests["vqgan"]["dtype"] == "float32"
    assert create(str(half.folder), CPU).spec.settings["dtype"] == "float32"
    assert create(str(half.folder), replace(CPU, dtype="float16")).spec.settings["dtype"] == "float16"
    with pytest.raises(UsageError, match="is converted already, as float32"):
        convert_model("malevich", dtype="float16", options=CPU)


def test_a_changed_conversion_is_found(official: Path) -> None:
    folder = convert_model("malevich", options=replace(CPU, weights=official)).folder
    weights = folder / "transformer" / WEIGHTS
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(IntegrityError, match="recorded is"):
        create("malevich", CPU)
    (folder / "transformer" / MANIFEST).write_text((folder / "vqgan" / MANIFEST).read_text())
    with pytest.raises(WeightsError, match=r"bytes, .* recorded"):
        create("malevich", CPU)


def test_missing_files_say_where_and_how(official: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        create("malevich", CPU)
    for word in (str(tmp_path / "cache" / "rudalle" / "malevich"), "pytorch_model_v3.bin", "--weights",
                 "https://huggingface.co/sberbank-ai/rudalle-Malevich", "no connection allowed"):  # fmt: skip
        assert word in str(caught.value)
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is not in .*official; fetch it from https"):
        create("kandinsky", replace(CPU, weights=official))
    with pytest.raises(UsageError, match="which does not exist"):
        create("malevich", replace(CPU, weights=tmp_path / "nowhere"))
    (official / "bpe.model").unlink()
    with pytest.raises(WeightsError, match=r"the tokenizer of malevich: not in .*bpe\.model"):
        create("malevich", replace(CPU, weights=official))
    with pytest.raises(WeightsError, match=r"holds no bpe\.model"):
        create(str(official), CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"holds no transformer.*--model malevich"):
        create(str(tmp_path / "empty"), CPU)


def test_damaged_files_are_named(official: Path) -> None:
    checkpoint = official / "pytorch_model_v3.bin"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"pytorch_model_v3\.bin is cut off"):
        create("malevich", replace(CPU, weights=official))
    checkpoint.write_bytes(whole)
    (official / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"pytorch_model_v3\.bin is another architecture than .* 24 layers"):
        create("malevich", replace(CPU, weights=official))
    (official / "config.json").write_text('{"transformer": {}}')
    with pytest.raises(UsageError, match="configuration without hf_version"):
        create("malevich", replace(CPU, weights=official))
    (official / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json cannot be read"):
        create("malevich", replace(CPU, weights=official))


def test_the_embedded_model(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "home", lambda name: tmp_path / "shipped")
    with pytest.raises(WeightsError, match=r"the embedded model kvadrat is not in .*shipped; .*dummy"):
        create("kvadrat", CPU)
    convert_model("malevich", dtype="float16", out=tmp_path / "shipped", options=replace(CPU, weights=official))
    generator = create("kvadrat", CPU)
    assert generator.spec.name == "kvadrat"
    assert len(generator.generate(["кот"], [1], settings={})) == 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(official: Path) -> None:
    """Half precision and several devices: the same images for the same batch, whatever else is in the call."""
    for options in ({"dtype": "float16"}, {"dtype": "bfloat16"}, {"dtype": "float16", "offload": True}):
        generator = create("malevich", GeneratorOptions(weights=official, device="cuda", batch=5, **options))
        together = generator.generate(["кот"] * 5, range(5), settings={})
        (apart,) = generator.generate(["кот"], [3], settings={})
        assert apart.tokens == together[3].tokens
        assert generator.spec.settings["device"] == "cuda"


def test_names() -> None:
    for name in (*MODELS, *DUMMIES, "kvadrat"):
        assert name in GENERATORS.targets()
    with pytest.raises(UsageError, match="unknown model 'nothing'; choose one of: malevich, malevich-v2, "):
        create("nothing", CPU)
    for name in ("diffusers:somewhere", "module:attribute"):
        with pytest.raises(UsageError, match="upscale and dwt given, which ruDALL-E's models take"):
            create(name, replace(CPU, upscale=2, dwt=True))
    dummy = create("dummy", CPU)
    images = dummy.generate(["Кот №1 (cat)"], [1], settings={"top_k": 4})
    assert images[0].pixels.shape == (128, 128, 3)
    assert images[0].pixels.std() > 10  # noise, but a picture
    assert create("dummy", replace(CPU, dwt=True)).generate(["кот"], [1], settings={})[0].pixels.shape[0] == 256
    assert DUMMIES["dummy-malevich"].transformer == MODELS["malevich"].config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "int8"}, "type 'int8' given; choose one of: auto, float32, float16, bfloat16"),
        ({"device": "tpu"}, "device 'tpu' given; choose one of: auto, cpu, cuda, cuda:N"),
        ({"device": "cuda:x"}, "device 'cuda:x' given"),
        ({"batch": 0}, "batch 0 given"),
        ({"upscale": 3}, "upscaling by 3 given; choose one of: 1, 2, 4, 8"),
    ],
)
def test_wrong_options(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        GeneratorOptions(**options)  # type: ignore[arg-type]
    assert words in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_no_gpu_is_said(official: Path) -> None:
    with pytest.raises(UsageError, match="--offload given, but the model runs on the CPU"):
        create("malevich", GeneratorOptions(weights=official, offload=True))
    with pytest.raises(UsageError, match="--offload given, which models with weights in files take"):
        create("dummy", GeneratorOptions(offload=True))
    with pytest.raises(UsageError, match="device cuda given, but torch sees no CUDA device"):
        create("dummy", GeneratorOptions(device="cuda"))
    assert create("dummy").spec.settings["device"] == "cpu"


def test_a_file_of_another_architecture_is_not_taken_for_the_model_named(tmp_path: Path) -> None:
    from forensics.generate.rudalle.models import EMBEDDED, home

    with pytest.raises(WeightsError, match=r"is another architecture than malevich: v3, 8 layers, 256 wide given"):
        create("malevich", GeneratorOptions(weights=home(EMBEDDED), offline=True))


def test_broken_numbers_are_an_error_and_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = create("dummy", GeneratorOptions())
    weights = next(generator.model.parameters())
    weights.data.fill_(float("nan"))
    with pytest.raises(ForensicsError, match="numbers beyond float32"):
        generator.generate(["кот"], [1], settings={})
