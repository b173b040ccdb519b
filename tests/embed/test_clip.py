from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from forensics import embed, weights
from forensics.embed.clip import ClipInput
from forensics.errors import UsageError, WeightsError
from tests.embed.pictures import picture, pictures

ARCH = "tiny-test-clip"
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def _settings(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("FORENSICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("FORENSICS_DEVICE", "cpu")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a safetensors checkpoint of a tiny architecture that open_clip knows, and the same as a state dict."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    (folder / f"{ARCH}.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    open_clip.add_model_config(folder)
    torch.manual_seed(3)
    state = open_clip.create_model(ARCH).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "tiny.safetensors")
    torch.save(state, folder / "tiny.pt")
    return folder / "tiny.safetensors"


def _own_pipeline(path, images):
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(ARCH, pretrained=str(path))
    inputs = torch.stack([transform(Image.fromarray(image)) for image in images])
    with torch.inference_mode():
        return inputs.numpy(), model.eval().encode_image(inputs, normalize=True).numpy()


def test_pixels_and_vectors_equal_open_clips_own(tiny):
    images = [*pictures(), picture(1, 48, 48), picture(1, 101, 30)]
    embedder = embed.create(f"clip:{ARCH}@{tiny}")
    prepared = [embedder.prepare(image) for image in images]
    inputs, vectors = _own_pipeline(tiny, images)
    mean, std = np.array(ClipInput(side=48).mean), np.array(ClipInput(side=48).std)
    mine = (np.stack(prepared) / 255 - mean) / std
    np.testing.assert_allclose(mine.transpose(0, 3, 1, 2), inputs, atol=1e-5)
    rows = embedder.embed(prepared)
    assert (rows.shape, rows.dtype) == ((len(images), 32), np.float32)
    np.testing.assert_allclose(rows, vectors, atol=1e-5)
    assert embedder.embed([]).shape == (0, 32)


def test_a_state_dict_gives_the_vectors_of_the_safetensors(tiny):
    rows = []
    for path in (tiny, tiny.with_suffix(".pt")):
        embedder = embed.create(f"clip:{ARCH}@{path}")
        rows.append(embedder.embed([embedder.prepare(picture(1))]))
    np.testing.assert_array_equal(*rows)


def test_a_local_checkpoint_is_named_after_its_bytes(tiny, tmp_path):
    embedder = embed.create(f"clip:{ARCH}@{tiny}")
    digest = weights.sha256_of(tiny)
    assert embedder.spec.name == f"clip:{ARCH}@sha256-{digest[:16]}"
    assert embedder.spec.weights_sha256 == digest
    assert embedder.spec.weights_licence == "as given"
    assert embed.create(embedder.spec.name).spec == embedder.spec
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(tiny.read_bytes())
    assert embed.create(f"clip:{ARCH}@{moved}").spec == embedder.spec
    with pytest.raises(WeightsError, match="never used on this machine"):
        embed.create(f"clip:{ARCH}@sha256-{'0' * 16}")


def test_settings_beside_a_checkpoint_are_followed(tiny, tmp_path):
    import open_clip

    path = tmp_path / "copy.safetensors"
    path.write_bytes(tiny.read_bytes())
    settings = {"mean": 0.5, "std": [0.4, 0.5, 0.6], "resize_mode": "squash", "interpolation": "bilinear"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"preprocess_cfg": settings}), encoding="utf-8")
    image = picture(4, 120, 70)
    embedder = embed.create(f"clip:{ARCH}@{path}")
    transform = open_clip.image_transform(48, is_train=False, **settings)
    expected = transform(Image.fromarray(image)).numpy().transpose(1, 2, 0) * [0.4, 0.5, 0.6] + 0.5
    np.testing.assert_allclose(embedder.prepare(image) / 255, expected, atol=1e-6)
    assert "squashed" in embedder.spec.preprocessing


def test_a_pretrained_tag_uses_imported_weights(tiny, tmp_path):
    import open_clip

    name = "clip:ViT-B-32/laion2b_s34b_b79k"
    assert embed.default_embedders().names[-1] != name
    weights.import_file("clip", tiny)
    assert embed.default_embedders().names[-1] == name
    embedder = embed.create("clip")
    assert embedder.spec == embed.create(name).spec
    assert embedder.spec.name == name
    assert embedder.spec.dim == open_clip.get_model_config("ViT-B-32")["embed_dim"]
    assert embedder.prepare(picture(1)).shape == (224, 224, 3)


def test_weights_of_another_architecture_are_one_clear_error(tiny):
    embedder = embed.create(f"clip:ViT-S-32@{tiny}")
    with pytest.raises(WeightsError, match="cannot be loaded as a ViT-S-32"):
        embedder.embed([embedder.prepare(picture(1))])


class _Trap:
    def __reduce__(self):
        return (print, ("code of the pickle ran",))


def test_code_in_a_pickle_never_runs(tiny, tmp_path, capsys):
    path = tmp_path / "trap.pt"
    torch.save({"visual.proj": _Trap()}, path)
    embedder = embed.create(f"clip:{ARCH}@{path}")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        embedder.embed([embedder.prepare(picture(1))])
    assert "ran" not in capsys.readouterr().out


def test_an_architecture_that_needs_the_hub_fails_without_trying_it(tiny):
    embedder = embed.create(f"clip:roberta-ViT-B-32@{tiny}")
    with pytest.raises(WeightsError, match="cannot be loaded as a roberta-ViT-B-32"):
        embedder.embed([embedder.prepare(picture(1))])


def test_a_pickled_copy_is_light(tiny):
    embedder = embed.create(f"clip:{ARCH}@{tiny}")
    embedder.embed([embedder.prepare(picture(1))])
    packed = pickle.dumps(embedder)
    assert len(packed) < 3000
    np.testing.assert_array_equal(pickle.loads(packed).prepare(picture(2)), embedder.prepare(picture(2)))  # noqa: S301


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a tiny CLIPModel of transformers with its image processor."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(5)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**sizes, "vocab_size": 64, "max_position_embeddings": 8},
        vision_config={**sizes, "image_size": 48, "patch_size": 8},
        projection_dim=24,
    )
    path = tmp_path_factory.mktemp("transformers")
    CLIPModel(config).save_pretrained(path)
    CLIPImageProcessor(
        size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}, image_mean=[0.4, 0.5, 0.6]
    ).save_pretrained(path)
    return path


def test_vectors_equal_transformers_own(folder):
    from transformers import CLIPImageProcessor, CLIPModel

    images = pictures()
    embedder = embed.create(f"clip-hf:{folder}")
    assert embedder.spec.dim == 24
    prepared = [embedder.prepare(image) for image in images]
    inputs = CLIPImageProcessor.from_pretrained(folder)(
        [Image.fromarray(image) for image in images], return_tensors="pt"
    )["pixel_values"]
    mean, std = embedder._inputs.mean, embedder._inputs.std
    mine = (np.stack(prepared) / 255 - mean) / std
    assert mean == (0.4, 0.5, 0.6)
    difference = np.abs(mine.transpose(0, 3, 1, 2) - inputs.numpy()) * np.array(std)[:, None, None] * 255
    assert difference.max() <= 2  # levels: transformers resizes with torch, we with Pillow
    text = torch.zeros((1, 4), dtype=torch.long)
    with torch.inference_mode():
        pixels = torch.from_numpy(mine.transpose(0, 3, 1, 2)).float()
        expected = CLIPModel.from_pretrained(folder).eval()(input_ids=text, pixel_values=pixels).image_embeds.numpy()
    rows = embedder.embed(prepared)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert embed.create(embedder.spec.name).spec == embedder.spec


def test_a_folder_that_is_no_clip_is_one_clear_error(folder, tmp_path):
    with pytest.raises(WeightsError, match=r"no model\.safetensors"):
        embed.create(f"clip-hf:{tmp_path}")
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(WeightsError, match="'bert'"):
        embed.create(f"clip-hf:{tmp_path}")


def test_a_folder_that_lacks_tensors_is_refused_not_filled_with_random_ones(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(folder / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    embedder = embed.create(f"clip-hf:{tmp_path}")
    with pytest.raises(WeightsError, match=r"1 tensors are missing, visual_projection\.weight first"):
        embedder.embed([embedder.prepare(picture(1))])


def test_loading_writes_nothing_to_the_terminal(tiny, folder, capfd, caplog):
    for name in (f"clip:{ARCH}@{tiny}", f"clip-hf:{folder}"):
        embedder = embed.create(name)
        embedder.embed([embedder.prepare(picture(1))])
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_names_that_open_clip_does_not_know_are_usage_errors(tiny):
    with pytest.raises(UsageError, match="no architecture 'no-such'"):
        embed.create(f"clip:no-such@{tiny}")
    with pytest.raises(UsageError, match="no pretrained weights ViT-B-32/no-such"):
        embed.create("clip:ViT-B-32/no-such")
    with pytest.raises(WeightsError, match="no checkpoint"):
        embed.create(f"clip:{ARCH}@no/such/file")
