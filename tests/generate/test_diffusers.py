"""A whole Stable Diffusion, only tiny: made here, saved, and loaded by the program as any other would be."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forensics.errors import MissingExtraError, UsageError, WeightsError
from forensics.generate import GeneratorOptions
from forensics.generate.diffusers import DiffusersGenerator, create
from forensics.testing import check_generator
from forensics.types import Generator
from forensics.weights import sha256_of

pytest.importorskip("diffusers")
FAST = {"num_inference_steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    path = tmp_path_factory.mktemp("pipeline")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    subwords = [*letters, *(letter + "</w>" for letter in letters), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(subwords)}))
    (path / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        tokenizer=CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt"), model_max_length=16),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(subwords), hidden_size=32, intermediate_size=37, num_hidden_layers=2,
                num_attention_heads=4, max_position_embeddings=16,
                bos_token_id=len(subwords) - 2, eos_token_id=len(subwords) - 1, pad_token_id=len(subwords) - 1,
            )
        ),
        unet=UNet2DConditionModel(
            block_out_channels=(32, 64), layers_per_block=1, sample_size=16, in_channels=4, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32, attention_head_dim=8,
        ),
        vae=AutoencoderKL(
            block_out_channels=[32, 64], in_channels=3, out_channels=3, latent_channels=4,
            down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(path / "saved")
    return path / "saved"


@pytest.fixture(scope="module")
def generator(folder: Path) -> DiffusersGenerator:
    return DiffusersGenerator(str(folder))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_it_keeps_the_contract(generator: DiffusersGenerator) -> None:
    check_generator(generator, prompts=["a red car", "a blue car", "sea"], settings=FAST)


def test_an_image_is_what_the_library_makes_of_prompt_and_seed(generator: DiffusersGenerator, folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    wanted = {"num_inference_steps": 3, "guidance_scale": 4.0, "negative_prompt": "blue", "height": 24, "width": 48}
    expected = pipe("a red car", generator=torch.Generator().manual_seed(11), **wanted).images[0]
    found = generator.generate(["a red car"], [11], settings=wanted)[0].pixels
    assert found.shape == (24, 48, 3)
    assert np.array_equal(found, np.asarray(expected))


def test_settings_matter_and_empty_ones_are_the_pipelines_own(generator: DiffusersGenerator) -> None:
    def made(**settings: Any) -> np.ndarray:
        return generator.generate(["red"], [5], settings=FAST | settings)[0].pixels

    plain = made()
    assert plain.shape == (32, 32, 3)
    assert np.array_equal(plain, made(height=0, width="", negative_prompt="", guidance_scale="7.5"))
    for other in ({"guidance_scale": 1.5}, {"negative_prompt": "a car"}, {"num_inference_steps": 3}):
        assert not np.array_equal(plain, made(**other)), other


def test_the_spec_names_every_weight_file(generator: DiffusersGenerator, folder: Path) -> None:
    spec = generator.spec
    assert isinstance(generator, Generator)
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*.safetensors")}
    assert len(files) == 3
    assert spec.weights == files
    assert (spec.name, spec.kind) == (f"diffusers:{folder}", "diffusers")
    assert spec.settings["pipeline"] == "StableDiffusionPipeline"
    assert spec.settings["scheduler"] == "DDIMScheduler"
    assert spec.defaults == {
        "num_inference_steps": 50, "guidance_scale": 7.5, "negative_prompt": "", "height": 0, "width": 0,
    }  # fmt: skip


def test_several_images_at_once_are_the_images_made_alone(generator: DiffusersGenerator, folder: Path) -> None:
    """But for rounding: products of another shape take another path."""
    prompts, seeds = ["a red car", "sea", "red", "blue sea", "car"], [1, 2, 3, 4, 5]
    wide = DiffusersGenerator(str(folder), lanes=3)
    many = wide.generate(prompts, seeds, settings=FAST)
    for alone, together in zip(generator.generate(prompts, seeds, settings=FAST), many, strict=True):
        assert np.abs(alone.pixels.astype(int) - together.pixels).max() <= 1
    again = wide.generate(prompts[2:], seeds[2:], settings=FAST)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(many[2:], again, strict=True))


def test_progress_counts_the_steps_of_wanted_images(folder: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    DiffusersGenerator(str(folder), lanes=2).generate(
        ["red"] * 3, [1, 2, 3], settings=FAST, progress=lambda *call: calls.append(call)
    )
    assert calls == [("denoising", done, 6) for done in (2, 4, 5, 6)]


def test_nothing_is_written_to_the_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    DiffusersGenerator(str(folder)).generate(["red"], [1], settings=FAST)
    assert capfd.readouterr() == ("", "")


def test_a_safety_checkers_verdict_is_a_measurement(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = DiffusersGenerator(str(folder))
    monkeypatch.setattr(
        type(generator._pipe), "run_safety_checker", lambda self, image, device, dtype: (image, [True] * len(image))
    )
    assert generator.generate(["red"], [1], settings=FAST)[0].measurements == {"withheld": True}


def test_create_takes_the_programs_options(folder: Path) -> None:
    generator = create(f"diffusers:{folder}", GeneratorOptions(device="cpu", dtype="bfloat16", batch=4))
    assert generator.spec.settings["dtype"] == "bfloat16"
    assert generator.spec.settings["lanes"] == 1
    assert generator.generate(["red"], [1], settings=FAST)[0].pixels.shape == (32, 32, 3)


def test_bad_calls(generator: DiffusersGenerator, folder: Path) -> None:
    with pytest.raises(UsageError, match="1 prompts and 2 seeds"):
        generator.generate(["red"], [1, 2], settings={})
    with pytest.raises(UsageError, match=r"seed 4294967296 given, 0 to 2\^32 - 1"):
        generator.generate(["red"], [2**32], settings={})
    with pytest.raises(UsageError, match="refuses its settings: `height` and `width` have to be divisible by 8"):
        generator.generate(["red"], [1], settings=FAST | {"height": 33, "width": 32})
    with pytest.raises(UsageError, match="height 32 and width 0 given, both or neither"):
        generator.generate(["red"], [1], settings=FAST | {"height": 32})
    with pytest.raises(UsageError, match="type 'int8' given"):
        DiffusersGenerator(str(folder), dtype="int8")
    with pytest.raises(UsageError, match="0 images at once"):
        DiffusersGenerator(str(folder), lanes=0)
    with pytest.raises(UsageError, match="a folder that exists or an id like OWNER/NAME"):
        DiffusersGenerator("/no/such/folder")


def _pickled(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, folder / "unet" / "diffusion_pytorch_model.bin")


def _lost(folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()


def _cut(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _code(folder: Path) -> None:
    (folder / "unet" / "trap.py").write_text("print('code of the model ran')")


def _own_pipeline(folder: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(index.read_text("utf-8").replace('"StableDiffusionPipeline"', '["trap", "Trap"]'))


def _no_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_pickled, r"diffusion_pytorch_model\.bin is no safetensors file"),
        (_lost, "cannot be loaded as a diffusers pipeline"),
        (_cut, "cannot be loaded as a diffusers pipeline"),
        (_code, r"brings Python code of its own \(unet/trap\.py\)"),
        (_own_pipeline, r"brings Python code of its own \(\['trap', 'Trap'\]\)"),
        (_no_index, r"model_index\.json is missing"),
    ],
)
def test_a_folder_that_cannot_be_trusted_or_read_is_one_clear_error(
    copy: Path, capfd: pytest.CaptureFixture[str], spoil: Callable[[Path], None], message: str
) -> None:
    spoil(copy)
    with pytest.raises(WeightsError, match=message):
        DiffusersGenerator(str(copy))
    assert "ran" not in capfd.readouterr().out


def test_a_pickle_beside_safetensors_is_not_opened(copy: Path) -> None:
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"no pickle at all")
    generator = DiffusersGenerator(str(copy))
    assert len(generator.spec.weights) == 3
    assert generator.generate(["red"], [1], settings=FAST)[0].pixels.std() > 0


def test_a_pipeline_that_wants_more_than_prompts_is_refused(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text("utf-8"))
    index["_class_name"] = "StableDiffusionInpaintPipeline"
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match="StableDiffusionInpaintPipeline, which does not make images from prompts"):
        DiffusersGenerator(str(copy))


def test_a_hub_id_that_is_not_here_says_how_to_bring_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"some/model is no folder here.*no connection allowed.*give the folder"):
        DiffusersGenerator("some/model", cache=tmp_path, offline=True)


def test_without_the_library_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'forensics\[diffusers\]'"):
        DiffusersGenerator(str(folder))
