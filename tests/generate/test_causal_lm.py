"""A causal language model of transformers as a model to be asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from forensics.errors import UsageError, WeightsError
from forensics.generate import GeneratorOptions
from forensics.generate.causal_lm import CausalLm
from forensics.generate.likelihood import open_likelihood
from forensics.testing import check_autoregressive
from tests.faust import LENGTH, SEEN, UNSEEN, reciting_model

CPU = GeneratorOptions(device="cpu", batch=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reciting_model(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def model(folder: Path) -> CausalLm:
    found = open_likelihood(f"transformers:{folder}", CPU, length=LENGTH)
    assert isinstance(found, CausalLm)
    return found


def test_contract(model: CausalLm) -> None:
    check_autoregressive(model, model.encode([*SEEN[:3], *UNSEEN[:3]]))
    assert list(model.spec.weights) == ["model.safetensors"]
    assert model.memory > 0


def test_texts_go_there_and_back(model: CausalLm) -> None:
    assert model.decode(model.encode(SEEN[:2])) == [verse[:LENGTH] for verse in SEEN[:2]]


def test_likelihoods_are_the_models_loss(model: CausalLm) -> None:
    tokens = model.encode(UNSEEN[:4])
    ids = torch.nn.functional.pad(torch.from_numpy(tokens), (1, 0), value=0)
    with torch.inference_mode():
        loss = model._model(input_ids=ids, labels=ids).loss.item()
    assert -model.log_probabilities(tokens, [""] * 4).log_probability.mean() == pytest.approx(loss, abs=1e-5)


def test_drawing_without_the_cache_is_the_same(model: CausalLm) -> None:
    drawn = model.complete(model.encode(SEEN[:2])[:, :3], ["", ""], [3, 4])
    for length in (5, 11, LENGTH):
        assert (model.complete(drawn[:, :length], ["", ""], [3, 4]) == drawn).all()
    assert model.complete(np.empty((2, 0), np.int64), ["", ""], [1, 2]).shape == (2, LENGTH)


def test_without_a_begin_token_the_first_is_given(folder: Path) -> None:
    found = open_likelihood(f"transformers:{folder}", CPU, length=LENGTH)
    assert isinstance(found, CausalLm)
    tokenizer = found._tokenizer
    tokenizer.bos_token = None  # type: ignore[attr-defined]
    plain = CausalLm(found._model, tokenizer, name="plain", length=LENGTH)
    assert plain.spec.settings["first_evidence"] == 1
    answers = plain.log_probabilities(plain.encode(SEEN[:2]), ["", ""])
    assert (answers.log_probability[:, 0] == 0).all()
    assert (answers.log_probability[:, 1:] < 0).all()
    with pytest.raises(UsageError, match="no begin token"):
        plain.complete(np.empty((1, 0), np.int64), [""], [1])


def test_what_cannot_be_asked(model: CausalLm, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"text 2 \('kurz'\) has 4 tokens, 18 or more needed"):
        model.encode([SEEN[0], "kurz"])
    with pytest.raises(UsageError, match="reads text"):
        model.encode([np.zeros((4, 4, 3), np.uint8)])
    with pytest.raises(UsageError, match="reads none"):
        model.log_probabilities(model.encode(SEEN[:1]), ["caption"])
    with pytest.raises(UsageError, match="length 32 given, 2 to 31"):
        open_likelihood(f"transformers:{folder}", CPU, length=32)
    with pytest.raises(WeightsError, match="holds no"):
        open_likelihood(f"transformers:{tmp_path}", CPU)
    with pytest.raises(UsageError, match="a folder that exists or an id"):
        open_likelihood("transformers:no/such/thing/here", CPU)
    with pytest.raises(WeightsError, match="no connection allowed"):
        open_likelihood("transformers:nobody/nothing", GeneratorOptions(device="cpu", offline=True, cache=tmp_path))
