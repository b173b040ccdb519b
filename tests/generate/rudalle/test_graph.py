"""The step whose position is a tensor does what the decoder does; recorded where there is a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.decode import Decoder
from forensics.generate.rudalle.graph import ImageLoop, StaticStep, kept_loop, recordable
from forensics.generate.rudalle.sampling import Sampling, generate_tokens, uniforms
from forensics.generate.rudalle.transformer import Rudalle
from tests.generate.rudalle.golden import far
from tests.generate.rudalle.models import SMALL, token_ids, transformer

CONFIGS = [SMALL, replace(SMALL, version="v2", layers=5), replace(SMALL, sandwich=False, image_side=5, layers=5)]
SAMPLING = Sampling(temperature=0.9, top_k=40, top_p=0.95)


@pytest.mark.parametrize("config", CONFIGS, ids=["v3", "v2", "small"])
@pytest.mark.parametrize("first", [0, 7])
def test_static_steps_equal_the_decoder_s(config: TransformerConfig, first: int) -> None:
    model, ids = transformer(config), token_ids(config, 4)
    decoder, other = Decoder(model, 4), Decoder(model, 4)
    for one in (decoder, other):
        one.prefill(ids[:, : config.text_length + first])
    step = StaticStep(other)
    for cell in range(first, config.image_length - 1):
        tokens = ids[:, config.text_length + cell]
        assert far(step(tokens, torch.tensor([cell])), decoder.step(tokens)) < 1e-5


def _draw(
    model: Rudalle, loop: ImageLoop, text: torch.Tensor, seeds: list[int], known: torch.Tensor, read: int
) -> tuple[torch.Tensor, torch.Tensor]:
    points = torch.stack([uniforms(seed, loop.length) for seed in seeds])
    loop.begin(text, known, points, read)
    for cell in range(read, loop.length):
        loop.next(cell)
    return loop.result()


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("version", ["v3", "v2"])
def test_the_loop_on_the_device_draws_the_same_tokens_batch_after_batch(version: str, guidance: float) -> None:
    config = replace(SMALL, version=version, image_side=6, layers=5)  # type: ignore[arg-type]
    model, sampling = transformer(config), replace(SAMPLING, guidance=guidance)
    text = token_ids(config, 1)[:, : config.text_length]
    empty = torch.zeros_like(text)
    empty[:, 0], empty[:, 1] = 2, 3
    known = torch.full((3, 36), -1)
    known[:, [0, 1, 9]] = 5
    rows = torch.cat((text.expand(3, -1), empty.expand(3, -1))) if guidance != 1 else text.expand(3, -1)
    lanes = torch.arange(6) if guidance != 1 else torch.tensor([0, 1, 2, 0])
    loop = ImageLoop(model, lanes, images=3, length=36, sampling=sampling, record=False)
    for seeds, read in (([4, 1, 9], 2), ([3, 3, 2**40], 0), ([1, 2, 3], 2)):
        given = known if read else torch.full_like(known, -1)
        tokens, log_probs = _draw(model, loop, rows, seeds, given, read)
        wanted = generate_tokens(model, text, seeds, sampling=sampling, batch=3, known=given)
        assert torch.equal(tokens, wanted.tokens)
        assert far(log_probs, wanted.log_probs) < 1e-4


def test_nothing_in_the_step_asks_the_host() -> None:
    """A step that were to read a tensor's value could not be traced whole, and not be recorded either."""
    config = replace(SMALL, image_side=5, layers=5)
    model = transformer(config)
    loop = ImageLoop(model, torch.arange(4), images=4, length=25, sampling=SAMPLING, record=False)
    text = token_ids(config, 4)[:, : config.text_length]
    loop.begin(text, torch.full((4, 25), -1), torch.rand((4, 25), dtype=torch.float64), 0)
    loop.next(0)
    with torch.inference_mode():
        torch.compile(loop._body, backend="eager", fullgraph=True)()
    assert loop._cell.item() == 1


def test_only_whole_models_on_a_gpu_are_recorded() -> None:
    assert not recordable(transformer(replace(SMALL, layers=1)))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_recorded_steps_equal_the_decoder_s(dtype: torch.dtype) -> None:
    config = replace(SMALL, hidden=64, layers=5)
    model = transformer(config).to(dtype).cuda()
    assert recordable(model)
    text = token_ids(config, 1)[:, : config.text_length]
    for seeds in ([4, 1, 9, 2], [5, 6, 7, 8]):  # the second batch replays the first one's graph
        found = generate_tokens(model, text, seeds, sampling=SAMPLING, batch=4)
        whole = torch.cat((text.expand(4, -1), found.tokens), 1).cuda()
        assert far(found.log_probs, model.token_log_probs(whole).image.cpu()) < (
            1e-3 if dtype == torch.float32 else 0.3
        )
        lanes = torch.arange(4)
        eager = ImageLoop(model, lanes, images=4, length=config.image_length, sampling=SAMPLING, record=False)
        tokens, _ = _draw(model, eager, text.expand(4, -1), seeds, torch.full_like(found.tokens, -1), 0)
        assert torch.equal(tokens, found.tokens)
    kept = kept_loop(model, lanes, images=4, length=config.image_length, sampling=SAMPLING)
    assert kept is kept_loop(model, lanes, images=4, length=config.image_length, sampling=SAMPLING)
