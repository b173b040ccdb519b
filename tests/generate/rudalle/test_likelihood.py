"""ruDALL-E asked for likelihoods: the reference's own forward pass, and what the contract promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from forensics.errors import UsageError
from forensics.generate import GeneratorOptions
from forensics.generate.likelihood import open_likelihood
from forensics.generate.rudalle.checkpoints import load_transformer, random_transformer
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.dummy import character_tokenizer, random_vqgan
from forensics.generate.rudalle.generator import RudalleGenerator
from forensics.generate.rudalle.likelihood import RudalleLikelihood, empty_ids, image_likelihoods
from forensics.generate.rudalle.transformer import Rudalle
from forensics.testing import check_autoregressive
from forensics.types import AutoregressiveModel, Decoder
from tests.generate.rudalle.golden import META, TOLERANCE, far, file, names, tensors
from tests.generate.rudalle.models import VQGAN, spread

TINY = TransformerConfig(layers=4, hidden=48, heads=4, text_length=12, image_side=4, text_vocab=130, image_vocab=24)


def asked(model: Rudalle, **more: int) -> RudalleLikelihood:
    codes = max(model.config.image_vocab, 24)
    vqgan = random_vqgan(replace(VQGAN, codes=codes, resolution=4 * model.config.image_side, attention=()))
    return RudalleLikelihood(RudalleGenerator(model, vqgan, character_tokenizer(), name="tiny"), **more)


@pytest.fixture(scope="module")
def tiny() -> RudalleLikelihood:
    return asked(spread(random_transformer(TINY)), batch=3)


def tokens(count: int, length: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, TINY.image_vocab, (count, length))


@pytest.mark.parametrize("name", names("num_layers"))
def test_golden_forward_pass(name: str) -> None:
    config = TransformerConfig.from_meta(META[name])
    model = load_transformer(file(name, "pytorch_model.bin"), config)
    expected = tensors(name, "expected.safetensors")
    ids = expected["input_ids"]
    text, image = ids[:, : config.text_length], ids[:, config.text_length :]
    found = torch.from_numpy(image_likelihoods(model, text, image))
    scores = expected["image_step_logits"].log_softmax(-1)
    chances = scores.exp()
    mean = (chances * scores).sum(-1)
    assert far(found[0], scores.gather(2, image[..., None])[..., 0]) < TOLERANCE
    assert far(found[1], mean) < TOLERANCE
    assert far(found[2], ((chances * scores.square()).sum(-1) - mean.square()).clamp(min=0).sqrt()) < TOLERANCE


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_it_is_the_transformers_own_log_probability(version: str) -> None:
    model = spread(random_transformer(replace(TINY, version=version)))  # type: ignore[arg-type]
    likelihood = asked(model)
    given, words = tokens(3), ["кот", "", "a blue chair"]
    rows = [empty_ids(12) if not text else character_tokenizer().encode_prompt(text, 12).ids for text in words]
    wanted = model.token_log_probs(torch.cat((torch.tensor(rows), torch.from_numpy(given)), 1)).image
    found = likelihood.log_probabilities(given, words)
    assert np.abs(found.log_probability - wanted.detach().numpy()).max() < 1e-5
    assert likelihood.spec.settings["first_evidence"] == (version == "v3")


def test_contract(tiny: RudalleLikelihood) -> None:
    assert isinstance(tiny, AutoregressiveModel)
    assert isinstance(tiny, Decoder)
    check_autoregressive(tiny, tokens(4), captions=["кот", "", "собака", "кот"])


def test_images_of_any_size_are_encoded(tiny: RudalleLikelihood) -> None:
    rng = np.random.default_rng(0)
    exact = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    wide = np.concatenate((np.zeros((16, 5, 3), np.uint8), exact, np.full((16, 6, 3), 255, np.uint8)), 1)
    found = tiny.encode([exact, wide, rng.integers(0, 256, (1, 1, 3), dtype=np.uint8)])
    assert found.shape == (3, 16)
    assert (found[0] == found[1]).all()  # the centred square, as it is
    assert tiny.encode([]).shape == (0, 16)
    assert [image.shape for image in tiny.decode(found)] == [(16, 16, 3)] * 3
    with pytest.raises(UsageError, match="RGB accepted"):
        tiny.encode([np.zeros((8, 8), np.uint8)])
    with pytest.raises(UsageError, match="0 x 8"):
        tiny.encode([np.zeros((8, 0, 3), np.uint8)])


def test_greedy_is_the_likeliest_token_at_every_place(tiny: RudalleLikelihood) -> None:
    found = tiny.complete(tokens(2, 5), ["кот", ""], [7, 8], greedy=True)
    assert (found == tiny.complete(tokens(2, 5), ["кот", ""], [1, 2], greedy=True)).all()
    for place in range(5, 16):
        best = []
        for token in range(TINY.image_vocab):
            other = found.copy()
            other[:, place] = token
            best.append(tiny.log_probabilities(other, ["кот", ""]).log_probability[:, place])
        assert (np.argmax(best, 0) == found[:, place]).all()


def test_longer_prefixes_keep_the_stream(tiny: RudalleLikelihood) -> None:
    """What was drawn, given as the prefix, goes on as it did."""
    whole = tiny.complete(tokens(2, 0), ["кот", "дом"], [5, 6])
    for length in (1, 7, 15, 16):
        assert (tiny.complete(whole[:, :length], ["кот", "дом"], [5, 6]) == whole).all()


def test_what_cannot_be_asked(tiny: RudalleLikelihood) -> None:
    with pytest.raises(UsageError, match=r"\(n, 16\) whole numbers"):
        tiny.log_probabilities(tokens(2, 15), ["", ""])
    with pytest.raises(UsageError, match="from 0 to 24 given, 0 to 23"):
        tiny.log_probabilities(np.array([[24] + [0] * 15]), [""])
    with pytest.raises(UsageError, match="2 items and 1 captions"):
        tiny.log_probabilities(tokens(2), [""])
    with pytest.raises(UsageError, match="one seed a prefix"):
        tiny.complete(tokens(2, 4), ["", ""], [1])
    with pytest.raises(UsageError, match="17 tokens given, 0 to 16"):
        tiny.complete(tokens(1, 17), [""], [1])


def test_broken_numbers_are_no_answer() -> None:
    model = spread(random_transformer(TINY))
    with torch.no_grad():
        model.to_logits[1].bias[-1] = float("nan")
    with pytest.raises(Exception, match="beyond float32"):
        asked(model).log_probabilities(tokens(1), [""])


def test_memory_grows_with_the_batch() -> None:
    model = random_transformer(TINY)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    one, eight = asked(model, batch=1), asked(model, batch=8)
    assert weights < one.memory < eight.memory


def test_models_that_have_no_likelihoods() -> None:
    with pytest.raises(UsageError, match="a diffusion pipeline has neither likelihoods of tokens nor prefixes"):
        open_likelihood("diffusers:some/model")
    with pytest.raises(UsageError, match="models of text take"):
        open_likelihood("dummy", length=5)
    with pytest.raises(UsageError, match="is no autoregressive model"):
        open_likelihood("json:dumps.__name__")
    with pytest.raises(UsageError, match="cannot be called with nothing"):
        open_likelihood("json:dumps")


def test_names_of_models() -> None:
    found = open_likelihood("dummy", GeneratorOptions(device="cpu", batch=2))
    assert (found.spec.length, found.spec.row, found.spec.vocabulary, found.spec.captions) == (256, 16, 256, True)
    assert found.spec.settings["pixels"] == 128
    own = open_likelihood("tests.generate.rudalle.test_likelihood:of_python")
    assert own.spec.name == "bigram"


def of_python() -> AutoregressiveModel:
    from forensics.testing.bigram import BigramModel

    return BigramModel([[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.cuda
def test_half_precision_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = spread(random_transformer(TINY))
    exact = asked(model).log_probabilities(tokens(5), ["кот"] * 5).log_probability
    half = asked(model.half().cuda(), batch=2)
    assert np.abs(half.log_probabilities(tokens(5), ["кот"] * 5).log_probability - exact).max() < 0.1
    drawn = half.complete(tokens(5, 4), ["кот"] * 5, [1, 2, 3, 4, 5])
    assert (half.complete(tokens(5, 4), ["кот"] * 5, [1, 2, 3, 4, 5]) == drawn).all()
