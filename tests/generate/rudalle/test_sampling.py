"""Tokens depend on prompt, seed and settings, on nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from forensics.errors import UsageError
from forensics.generate.rudalle.sampling import (
    Sampling,
    draw,
    filtered,
    generate_tokens,
    perplexity,
    probabilities,
    uniforms,
)
from forensics.generate.rudalle.transformer import Rudalle
from tests.generate.rudalle.golden import far
from tests.generate.rudalle.models import SMALL, token_ids, transformer

CONFIG = replace(SMALL, image_side=6, layers=5)
SEEDS = [7, 1, 4, 2**40, 0, 7]
UNIFORMS_42 = [0.8201981478608876, 0.18924562408645496, 0.8676608148821462]
SAMPLING = Sampling(temperature=0.9, top_k=40, top_p=0.95)


@pytest.fixture(scope="module", params=["v3", "v2"])
def model(request: pytest.FixtureRequest) -> Rudalle:
    with torch.no_grad():
        return transformer(replace(CONFIG, version=request.param))


@pytest.fixture(scope="module")
def text() -> torch.Tensor:
    return token_ids(CONFIG, 1)[0, : CONFIG.text_length]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_batch_size_and_order_do_not_matter(model: Rudalle, text: torch.Tensor, guidance: float) -> None:
    sampling = replace(SAMPLING, guidance=guidance)
    alone = generate_tokens(model, text, SEEDS, sampling=sampling, batch=1)
    for batch in (2, 4, 6):
        assert torch.equal(generate_tokens(model, text, SEEDS, sampling=sampling, batch=batch).tokens, alone.tokens)
    backwards = generate_tokens(model, text, SEEDS[::-1], sampling=sampling, batch=4)
    assert torch.equal(backwards.tokens.flip(0), alone.tokens)
    later = generate_tokens(model, text, SEEDS[3:], sampling=sampling)
    assert torch.equal(later.tokens, alone.tokens[3:])
    assert torch.equal(alone.tokens[0], alone.tokens[5])
    assert len({tuple(row) for row in alone.tokens.tolist()}) == len(set(SEEDS))


def test_neighbours_with_other_prompts_do_not_matter(model: Rudalle) -> None:
    texts = token_ids(CONFIG, 6)[:, : CONFIG.text_length]
    together = generate_tokens(model, texts, SEEDS, batch=6)
    alone = [generate_tokens(model, row, [seed]).tokens for row, seed in zip(texts, SEEDS, strict=True)]
    assert torch.equal(together.tokens, torch.cat(alone))


@pytest.mark.parametrize("guidance", [1.0, 0.0, 3.0])
def test_the_loop_does_what_drawing_from_full_forwards_does(
    model: Rudalle, text: torch.Tensor, guidance: float
) -> None:
    """The slow way: a whole pass over the sequence so far, and one for the empty prompt, for every token."""
    sampling = replace(SAMPLING, guidance=guidance)
    found = generate_tokens(model, text, [11, 12], sampling=sampling)
    empty = torch.zeros_like(text)
    empty[0], empty[1] = 2, 3
    for seed, tokens in zip([11, 12], found.tokens, strict=True):
        points = uniforms(seed, 36)
        so_far = torch.empty(0, dtype=torch.int64)
        for cell in range(36):
            rows = torch.stack([torch.cat((start, so_far)) for start in (text, empty)])
            plain, bare = model(rows)[:, -1, CONFIG.text_vocab :]
            chances = probabilities((bare + guidance * (plain - bare))[None], sampling)
            so_far = torch.cat((so_far, draw(chances, points[cell : cell + 1])))
        assert torch.equal(so_far, tokens)


def test_log_probabilities_are_the_model_s_own(model: Rudalle, text: torch.Tensor) -> None:
    found = generate_tokens(model, text, SEEDS, sampling=replace(SAMPLING, guidance=1.5))
    whole = torch.cat((text.expand(len(SEEDS), -1), found.tokens), 1)
    assert far(found.log_probs, model.token_log_probs(whole).image) < 1e-4
    assert torch.equal(found.perplexity, perplexity(found.log_probs))


@pytest.mark.parametrize("given", [range(14), range(2, 36, 3), range(30, 36), range(36)])
def test_image_prompts_stay_and_steer(model: Rudalle, text: torch.Tensor, given: range) -> None:
    free = generate_tokens(model, text, SEEDS[:3], sampling=SAMPLING)
    known = torch.full((36,), -1)
    known[list(given)] = free.tokens[1, list(given)]
    found = generate_tokens(model, text, SEEDS[:3], sampling=SAMPLING, known=known, batch=2)
    assert (found.tokens[:, list(given)] == known[list(given)]).all()
    assert torch.equal(found.tokens[1], free.tokens[1])  # its own tokens, given: the others are drawn as before
    whole = torch.cat((text.expand(3, -1), found.tokens), 1)
    assert far(found.log_probs, model.token_log_probs(whole).image) < 1e-4


def test_progress_and_no_seeds(model: Rudalle, text: torch.Tensor) -> None:
    calls: list[tuple[int, int | None]] = []
    generate_tokens(model, text, [1, 2, 3], batch=2, progress=lambda _, done, total: calls.append((done, total)))
    assert calls[0] == (2, 108)
    assert calls[-1] == (108, 108)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert generate_tokens(model, text, []).tokens.shape == (0, 36)


def test_filters() -> None:
    logits = torch.tensor([[3.0, 1.0, 3.0, 2.0, -1.0]])
    assert filtered(logits, top_k=1).isfinite().tolist() == [[True, False, True, False, False]]  # ties stay
    assert filtered(logits, top_k=9).isfinite().all()
    assert filtered(logits, top_p=1e-9).isfinite().sum() == 1
    assert filtered(logits, top_p=0.5).isfinite().tolist() == [[True, False, True, False, False]]
    cold = probabilities(logits, Sampling(temperature=1e-4, top_p=1.0, top_k=0))
    assert cold.tolist() == [[0.5, 0.0, 0.5, 0.0, 0.0]]


@pytest.mark.parametrize("spread", [0.01, 1.0, 8.0])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (50, 1.0), (0, 0.9), (50, 0.9), (300, 1e-9), (299, 0.9999999)])
def test_filtering_by_value_is_filtering_by_rank(spread: float, top_k: int, top_p: float) -> None:
    logits = torch.randn((40, 300), generator=torch.Generator().manual_seed(3)) * spread
    logits[20:] = logits[20:].mul(8).round().div(8)  # ties everywhere
    least = logits.topk(top_k or 300).values[:, -1:]
    kept = logits.masked_fill(logits < least, float("-inf"))
    for row, found in zip(kept, filtered(logits, top_k=top_k, top_p=top_p), strict=True):
        ranks = row.sort(descending=True, stable=True)
        mass, nucleus = ranks.values.softmax(0).cumsum(0).tolist(), []
        for place, token in enumerate(ranks.indices.tolist()):
            if place and mass[place - 1] > top_p:
                break
            nucleus.append(token)
        wanted = (
            row
            if top_p == 1
            else torch.full_like(row, float("-inf")).index_copy(0, torch.tensor(nucleus), row[nucleus])
        )
        assert torch.equal(found, wanted)


def test_drawing_follows_the_probabilities() -> None:
    chances = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    even = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    counts = draw(chances.expand(1000, 6), even).bincount(minlength=6)
    assert counts.tolist() == [0, 250, 0, 500, 250, 0]
    edges = torch.tensor([0.0, 0.25, 1 - 2**-53], dtype=torch.float64)
    assert draw(chances.expand(3, 6), edges).tolist() == [1, 3, 4]


def test_uniforms_stay_what_they_are() -> None:
    """An image must be the same with the next version of every library."""
    assert uniforms(42, 3).tolist() == UNIFORMS_42
    assert not torch.equal(uniforms(0, 3), uniforms(2**32, 3))
    many = uniforms(1, 100_000)
    assert 0 <= many.min() < many.max() < 1
    assert many.mean().item() == pytest.approx(0.5, abs=0.005)


def test_perplexity_is_the_mean_inverse_probability_after_the_first_token() -> None:
    chances = torch.tensor([[0.01, 0.5, 0.25, 1.0], [0.9, 1.0, 1.0, 1.0]])
    assert perplexity(chances.log()).tolist() == pytest.approx([3.0, 0.0])


def test_bad_settings(model: Rudalle, text: torch.Tensor) -> None:
    for wrong in ({"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"guidance": -1.0}):
        with pytest.raises(UsageError, match="accepted"):
            Sampling(**wrong)
    with pytest.raises(UsageError, match="seed -1 given"):
        generate_tokens(model, text, [-1])
    with pytest.raises(UsageError, match="batch 0 given"):
        generate_tokens(model, text, [1], batch=0)
    with pytest.raises(UsageError, match=r"text ids of shape \(9,\) given"):
        generate_tokens(model, text[:9], [1])
    with pytest.raises(UsageError, match="image prompts from 0 to 70 given, -1 to 69 accepted"):
        generate_tokens(model, text, [1], known=torch.tensor([70] + [0] * 35))
