"""Tall and wide images: the published order of work, done the slow way here, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from forensics.errors import UsageError
from forensics.generate.rudalle.panorama import TallWindow, generate_panorama, tall_windows
from forensics.generate.rudalle.sampling import Sampling, draw, generate_tokens, perplexity, probabilities, uniforms
from forensics.generate.rudalle.transformer import Rudalle
from tests.generate.rudalle.golden import far
from tests.generate.rudalle.models import SMALL, token_ids, transformer

SIDE = 6
CONFIG = replace(SMALL, image_side=SIDE, layers=5)
SEEDS = [7, 1, 2**40]
SAMPLING = Sampling(temperature=0.9, top_k=40, top_p=0.95)


@pytest.fixture(scope="module", params=["v3", "v2"])
def model(request: pytest.FixtureRequest) -> Rudalle:
    with torch.no_grad():
        return transformer(replace(CONFIG, version=request.param))


@pytest.fixture(scope="module")
def text() -> Tensor:
    return token_ids(CONFIG, 1)[0, : CONFIG.text_length]


def _drawn(model: Rudalle, text: Tensor, context: Tensor, point: Tensor) -> tuple[int, float]:
    """One token and its log-probability, from a whole pass over text and context."""
    logits = model(torch.cat((text, context.flatten()))[None])[:, -1, CONFIG.text_vocab :]
    token = draw(probabilities(logits, SAMPLING), point[None])
    return int(token), float(logits.log_softmax(-1)[0, token])


def _published_tall(model: Rudalle, text: Tensor, seed: int, height: int) -> tuple[Tensor, Tensor]:
    """As RuDalleAspectRatio.generate_h_codebooks does it: every row anew from the last j rows, none meaning all."""
    points = uniforms(seed, height * SIDE)
    tokens, scores = torch.empty(0, dtype=torch.int64), []
    for row in range(height):
        j = SIDE * row // height
        context = tokens[-j * SIDE :]
        for _ in range(SIDE):
            token, score = _drawn(model, text, context, points[len(tokens)])
            context, tokens = (torch.cat((part, torch.tensor([token]))) for part in (context, tokens))
            scores.append(score)
    return tokens, torch.tensor(scores)


@pytest.mark.parametrize("height", [7, 9, 12, 20])
def test_a_tall_image_is_drawn_as_published(model: Rudalle, text: Tensor, height: int) -> None:
    found = generate_panorama(model, text, SEEDS[:2], height=height, width=SIDE, sampling=SAMPLING)
    for seed, tokens, scores in zip(SEEDS, found.tokens, found.log_probs, strict=False):
        expected, expected_scores = _published_tall(model, text, seed, height)
        assert torch.equal(tokens, expected)
        assert far(scores, expected_scores) < 1e-4


@pytest.mark.parametrize(("width", "stride", "lefts"), [(9, None, [0, 3]), (15, 3, [0, 3, 6, 9]), (12, 4, [0, 4, 6])])
def test_a_wide_image_is_drawn_window_by_window(
    model: Rudalle, text: Tensor, width: int, stride: int | None, lefts: list[int]
) -> None:
    """Row by row in each window, where what the window before has drawn is known."""
    found = generate_panorama(model, text, SEEDS[:1], height=SIDE, width=width, sampling=SAMPLING, stride=stride)
    points = uniforms(SEEDS[0], SIDE * width).view(SIDE, width)
    image, scores = torch.full((SIDE, width), -1), torch.zeros(SIDE, width)
    for left in lefts:
        context = torch.empty(0, dtype=torch.int64)
        for row in range(SIDE):
            for column in range(left, left + SIDE):
                if image[row, column] < 0:
                    image[row, column], scores[row, column] = _drawn(model, text, context, points[row, column])
                context = torch.cat((context, image[row, column][None]))
    assert torch.equal(found.codes[0], image)
    assert far(found.log_probs.view(SIDE, width), scores) < 1e-4


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_square_is_the_image_itself(model: Rudalle, text: Tensor, guidance: float) -> None:
    sampling = replace(SAMPLING, guidance=guidance)
    plain = generate_tokens(model, text, SEEDS, sampling=sampling)
    for stride in (None, 1, 5):
        square = generate_panorama(model, text, SEEDS, height=SIDE, width=SIDE, sampling=sampling, stride=stride)
        assert torch.equal(square.tokens, plain.tokens)
        assert torch.equal(square.log_probs, plain.log_probs)


@pytest.mark.parametrize(("height", "width"), [(11, SIDE), (SIDE, 13)])
def test_batch_neighbours_and_order_do_not_matter(model: Rudalle, height: int, width: int) -> None:
    texts = token_ids(CONFIG, 3)[:, : CONFIG.text_length]
    wanted = {"height": height, "width": width, "sampling": replace(SAMPLING, guidance=1.5)}
    together = generate_panorama(model, texts, SEEDS, **wanted)
    assert together.tokens.shape == together.log_probs.shape == (3, height * width)
    assert together.codes.shape == (3, height, width)
    assert together.tokens.min() >= 0
    assert torch.equal(together.perplexity, perplexity(together.log_probs))
    in_turn = generate_panorama(model, texts, SEEDS, batch=1, **wanted)
    assert torch.equal(in_turn.tokens, together.tokens)
    backwards = generate_panorama(model, texts.flip(0), SEEDS[::-1], batch=2, **wanted)
    assert torch.equal(backwards.tokens.flip(0), together.tokens)
    alone = generate_panorama(model, texts[1], SEEDS[1:2], **wanted)
    assert torch.equal(alone.tokens[0], together.tokens[1])


@pytest.mark.parametrize("side", [1, 2, 5, 32])
def test_every_row_is_drawn_once_inside_its_window(side: int) -> None:
    for height in {side, side + 1, side + 7, 2 * side, 3 * side + 1, side**2 + side + 3}:
        for stride in {1, max(side // 3, 1), max(side - 1, 1)}:
            windows = tall_windows(side, height, stride)
            assert [row for part in windows for row in part.rows] == list(range(height))
            assert len(windows) <= -(-(height - side) // stride) + 1
            for part in windows:
                first, last = part.rows[0] - part.origin, part.rows[-1] - part.origin
                assert 0 <= first <= last < side
                # some context, save in the first row
                assert first > 0 or part.rows[0] == 0 or side == 1


def test_windows_of_twice_the_height() -> None:
    """Rows of context, from the first row on: none, 1 (all there is), 1, 1, 2, 2, 3, 3."""
    rows = {0: range(2), 1: range(2, 3), 2: range(3, 5), 3: range(5, 7), 4: range(7, 8)}
    assert tall_windows(4, 8) == [TallWindow(origin=origin, rows=drawn) for origin, drawn in rows.items()]
    # with longer jumps a window is left when the next one has as much context, or when it is full
    rows = {0: range(4), 3: range(4, 7), 4: range(7, 8)}
    assert tall_windows(4, 8, 3) == [TallWindow(origin=origin, rows=drawn) for origin, drawn in rows.items()]


@pytest.mark.parametrize(("height", "width"), [(10, SIDE), (SIDE, 10), (SIDE, SIDE)])
def test_progress_counts_tokens_of_the_image(model: Rudalle, text: Tensor, height: int, width: int) -> None:
    calls: list[tuple[str, int, int | None]] = []
    generate_panorama(
        model, text, [1, 2], height=height, width=width, batch=1, progress=lambda *call: calls.append(call)
    )
    assert {(stage, total) for stage, _, total in calls} == {("drawing tokens", 2 * height * width)}
    done = [count for _, count, _ in calls]
    assert done == sorted(done)
    assert done[-1] == 2 * height * width


def test_bad_sizes(model: Rudalle, text: Tensor) -> None:
    for height, width in ((7, 7), (5, SIDE), (SIDE, 0), (12, 3)):
        with pytest.raises(UsageError, match=f"{height} x {width} tokens .* this model makes 6 x 6"):
            generate_panorama(model, text, [1], height=height, width=width)
    for stride in (0, SIDE):
        with pytest.raises(UsageError, match=f"stride {stride} given, 1 to 5"):
            generate_panorama(model, text, [1], height=12, width=SIDE, stride=stride)
    with pytest.raises(UsageError, match="seed -1 given"):
        generate_panorama(model, text, [-1], height=12, width=SIDE)
    assert generate_panorama(model, text, [], height=12, width=SIDE).tokens.shape == (0, 72)
    assert generate_panorama(model, text, [], height=SIDE, width=8).codes.shape == (0, SIDE, 8)
