from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from forensics import embed, weights
from forensics.embed.rows import unit_rows
from forensics.embed.runtime import device, threads
from forensics.errors import UsageError, VectorError, WeightsError


@pytest.fixture(autouse=True)
def _own_weights(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv("FORENSICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_unknown_names_list_the_choices():
    with pytest.raises(UsageError, match=r"crop-resistant.*phash"):
        embed.create("no-such")
    with pytest.raises(UsageError, match="clip:ARCH/TAG"):
        embed.create("clip:ViT-B-32")


def test_default_embedders_are_those_with_weights_and_say_what_is_missing():
    found = embed.default_embedders()
    assert found.names[:2] == ("phash", "pdq")
    assert {"sscd-disc-mixup", "clip"} <= set(found.missing)
    assert ("sscd-int8" in found.names) == (weights.find("sscd-int8") is not None)
    assert ("sscd-int8" in found.missing) == (weights.find("sscd-int8") is None)
    for name, sentence in found.missing.items():
        assert f"forensics weights fetch {name}" in sentence
        assert "\n" not in sentence


@pytest.mark.parametrize("name", ["clip", "sscd-disc-mixup", "clip:ViT-B-16/laion2b_s34b_b88k", "clip-hf:some/model"])
def test_missing_weights_are_one_sentence_with_the_command(name):
    with pytest.raises(WeightsError, match=f"forensics weights fetch {name}$") as caught:
        embed.create(name)
    assert "\n" not in str(caught.value)


def test_importing_embedders_and_asking_for_defaults_loads_no_model_library():
    code = (
        "import sys; from forensics import embed; embed.default_embedders(); embed.create('phash'); "
        "print([name for name in ('torch', 'onnxruntime', 'open_clip', 'transformers', 'cv2', 'pandas') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_rows_that_nothing_can_find_are_refused(bad):
    rows = np.ones((3, 4), np.float32)
    rows[1] = bad
    with pytest.raises(VectorError, match=r"1 of 3 .* row 1"):
        unit_rows(rows, "some")
    assert np.allclose(np.linalg.norm(unit_rows(np.full((2, 4), 7.0), "some"), axis=1), 1)


def test_threads_and_device_are_settings(monkeypatch):
    monkeypatch.setenv("FORENSICS_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("FORENSICS_THREADS", "many")
    with pytest.raises(UsageError, match="FORENSICS_THREADS=many"):
        threads()
    monkeypatch.setenv("FORENSICS_DEVICE", "cpu")
    assert device() == "cpu"
    monkeypatch.setenv("FORENSICS_DEVICE", "tpu")
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        device()
