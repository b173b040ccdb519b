from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch

from forensics import embed, weights
from forensics.embed.sscd import DIM, OnnxSscd
from forensics.embed.sscd_torch import SscdNet
from forensics.errors import VectorError, WeightsError
from tests.embed.pictures import picture

needs_package = pytest.mark.skipif(
    weights.find("sscd-int8") is None, reason=f"no sscd-int8: {weights.model('sscd-int8').command}"
)


@needs_package
@pytest.mark.parametrize("name", ["sscd-int8", "sscd-distilled"])
def test_rows_are_unit_norm_and_do_not_depend_on_the_batch(name):
    embedder = embed.create(name)
    prepared = [embedder.prepare(picture(seed)) for seed in range(11)]
    rows = embedder.embed(prepared)
    assert (rows.shape, rows.dtype) == ((11, DIM), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([embedder.embed([one]) for one in prepared]), rows)
    np.testing.assert_array_equal(embedder.embed(prepared[::-1])[::-1], rows)
    assert embedder.embed([]).shape == (0, DIM)


@needs_package
def test_rows_are_those_of_a_bare_session():
    import onnxruntime

    found = weights.require("sscd-int8")
    session = onnxruntime.InferenceSession(str(found.path), providers=["CPUExecutionProvider"])
    embedder = embed.create("sscd-int8")
    prepared = [embedder.prepare(picture(seed)) for seed in range(3)]
    np.testing.assert_allclose(embedder.embed(prepared), session.run(None, {"image": np.stack(prepared)})[0], atol=1e-6)


@needs_package
def test_a_copy_scores_higher_than_another_image():
    embedder = embed.create("sscd-int8")
    image = picture(1, 400, 300)
    rows = embedder.embed([embedder.prepare(one) for one in (image, image[20:280, 30:380], picture(2, 400, 300))])
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.1


@needs_package
def test_the_spec_names_the_weights_and_a_pickled_copy_is_light():
    embedder = embed.create("sscd-int8")
    embedder.embed([embedder.prepare(picture(1))])
    packed = pickle.dumps(embedder)
    assert len(packed) < 2000
    assert pickle.loads(packed).spec == embedder.spec  # noqa: S301  our own object
    assert embedder.spec.weights_sha256 == weights.model("sscd-int8").files[0].sha256
    assert "proprietary" in embedder.spec.weights_licence


@needs_package
def test_images_that_were_not_prepared_are_refused():
    with pytest.raises(VectorError, match=r"\(320, 320, 3\) uint8 accepted"):
        embed.create("sscd-int8").embed([picture(1)])


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(WeightsError, match="cannot be opened"):
        OnnxSscd("sscd-int8", path, sha256="", licence="").embed([np.zeros((320, 320, 3), np.uint8)])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(7)
    network = SscdNet().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(
                module, torch.nn.BatchNorm2d
            ):  # random weights in other layers hardly see the image otherwise
                module.running_mean.normal_(0, 0.1)
                module.weight.uniform_(0.3, 0.9)
    return network


def _embed_with(folder, monkeypatch, images):
    monkeypatch.setenv("FORENSICS_WEIGHTS", str(folder))
    monkeypatch.setenv("FORENSICS_DEVICE", "cpu")
    embedder = embed.create("sscd-disc-mixup")
    return embedder, embedder.embed([embedder.prepare(image) for image in images])


def test_both_formats_of_metas_weights_give_the_same_vectors(network, tmp_path, monkeypatch):
    state, script = tmp_path / "state", tmp_path / "script"
    state.mkdir()
    script.mkdir()
    torch.save(network.state_dict(), state / "sscd_disc_mixup.torchvision.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the format that Meta publishes
        traced = torch.jit.trace(network, torch.zeros(1, 3, 64, 64))
        traced.save(script / "sscd_disc_mixup.torchscript.pt")
    images = [picture(seed) for seed in range(3)]
    plain, rows = _embed_with(state, monkeypatch, images)
    scripted, same = _embed_with(script, monkeypatch, images)
    np.testing.assert_allclose(rows, same, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert plain.spec.weights_licence == "MIT"
    assert plain.spec.preprocessing == scripted.spec.preprocessing
    assert len(pickle.dumps(plain)) < 2000
    pixels = np.stack([plain.prepare(image) for image in images]).astype(np.float64) / 255
    inputs = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.inference_mode():
        expected = network(torch.from_numpy(inputs).permute(0, 3, 1, 2).float()).numpy()
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_the_state_has_the_published_names(network):
    names = set(network.state_dict())
    assert {"backbone.conv1.weight", "backbone.layer4.2.bn3.running_var", "backbone.fc.bias"} <= names
    assert all(name.startswith("backbone.") for name in names)


def test_gem_pooling_is_the_cube_root_of_the_mean_cube(network):
    features = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(1)) * 50
    expected = np.cbrt((features.numpy().astype(np.float64) ** 3).mean(axis=(2, 3)))
    np.testing.assert_allclose(network.backbone.avgpool(features).numpy(), expected, rtol=1e-5)


def test_a_state_of_another_network_is_refused(tmp_path, monkeypatch):
    torch.save({"some": torch.zeros(3)}, tmp_path / "sscd_disc_mixup.torchvision.pt")
    with pytest.raises(WeightsError, match="cannot be loaded as SSCD"):
        _embed_with(tmp_path, monkeypatch, [picture(1)])
