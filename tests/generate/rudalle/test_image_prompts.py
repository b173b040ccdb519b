"""Borders of a picture as given tokens, compared with the published code's way to make them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from forensics.errors import UsageError
from forensics.generate.rudalle.image_prompts import known_tokens
from forensics.generate.rudalle.sampling import generate_tokens
from forensics.generate.rudalle.vqgan import Vqgan
from tests.generate.rudalle.models import SMALL, VQGAN, token_ids, transformer

SIDE, FACTOR = 8, VQGAN.factor
CONFIG = replace(SMALL, image_side=SIDE, image_vocab=VQGAN.codes, layers=2)
NOTHING = {"up": 0, "down": 0, "left": 0, "right": 0}
BORDERS = [{"up": 3}, {"down": 2}, {"left": 4}, {"right": 1}, {"up": 2, "down": 1, "left": 3, "right": 2}, {"up": 7}]


@pytest.fixture(scope="module")
def vqgan() -> Vqgan:
    torch.manual_seed(3)
    made = Vqgan(VQGAN).eval()
    with torch.no_grad():
        # codes that depend on the pixels around a cell, not on a bias
        made.quantize.proj.weight.mul_(50)
    return made


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (SIDE * FACTOR, SIDE * FACTOR, 3), np.uint8)


def _published(vqgan: Vqgan, image: NDArray[np.uint8], borders: dict[str, int], *, crop_first: bool) -> Tensor:
    """As rudalle.image_prompts.ImagePrompts does it; -1 for what is not in its ``image_prompts_idx``."""
    img = torch.tensor(image.transpose(2, 0, 1))[None] / 255.0
    borders = NOTHING | borders
    if crop_first:
        codes = torch.zeros((SIDE, SIDE), dtype=torch.int64)
        if borders["down"] != 0:
            codes[-borders["down"] :, :] = vqgan.encode(img[:, :, -borders["down"] * FACTOR :, :])[0]
        if borders["right"] != 0:
            codes[:, -borders["right"] :] = vqgan.encode(img[:, :, :, -borders["right"] * FACTOR :])[0]
        if borders["left"] != 0:
            codes[:, : borders["left"]] = vqgan.encode(img[:, :, :, : borders["left"] * FACTOR])[0]
        if borders["up"] != 0:
            codes[: borders["up"], :] = vqgan.encode(img[:, :, : borders["up"] * FACTOR, :])[0]
    else:
        codes = vqgan.encode(img)[0]
    mask = torch.zeros(SIDE, SIDE)
    if borders["up"] != 0:
        mask[: borders["up"], :] = 1.0
    if borders["down"] != 0:
        mask[-borders["down"] :, :] = 1.0
    if borders["right"] != 0:
        mask[:, -borders["right"] :] = 1.0
    if borders["left"] != 0:
        mask[:, : borders["left"]] = 1.0
    return torch.where(mask.bool(), codes, -1).flatten()


@pytest.mark.parametrize("borders", BORDERS)
@pytest.mark.parametrize("crop_first", [False, True])
def test_borders_are_those_of_the_published_code(
    vqgan: Vqgan, picture: NDArray[np.uint8], borders: dict[str, int], crop_first: bool
) -> None:
    found = known_tokens(vqgan, picture, CONFIG, crop_first=crop_first, **borders)
    assert found.dtype == torch.int64
    assert torch.equal(found, _published(vqgan, picture, borders, crop_first=crop_first))


def test_only_a_border_that_is_cut_out_first_knows_nothing_of_the_rest(
    vqgan: Vqgan, picture: NDArray[np.uint8]
) -> None:
    other = picture.copy()
    other[3 * FACTOR :] = 255 - other[3 * FACTOR :]
    cut = [known_tokens(vqgan, image, CONFIG, up=3, crop_first=True) for image in (picture, other)]
    whole = [known_tokens(vqgan, image, CONFIG, up=3) for image in (picture, other)]
    assert torch.equal(*cut)
    assert not torch.equal(*whole)


def test_a_picture_of_another_size_is_resized_whole(vqgan: Vqgan) -> None:
    large = np.random.default_rng(2).integers(0, 256, (90, 41, 3), np.uint8)
    side = SIDE * FACTOR
    small = np.asarray(Image.fromarray(large).resize((side, side), Image.Resampling.BICUBIC))
    assert torch.equal(known_tokens(vqgan, large, CONFIG, left=5), known_tokens(vqgan, small, CONFIG, left=5))


def test_what_is_drawn_keeps_the_borders(vqgan: Vqgan, picture: NDArray[np.uint8]) -> None:
    known = known_tokens(vqgan, picture, CONFIG, up=2, right=3)
    text = token_ids(CONFIG, 1)[0, : CONFIG.text_length]
    tokens = generate_tokens(transformer(CONFIG), text, [1, 2], known=known).tokens
    assert (tokens[:, known >= 0] == known[known >= 0]).all()
    assert not torch.equal(tokens[0], tokens[1])


def test_bad_borders_and_pictures(vqgan: Vqgan, picture: NDArray[np.uint8]) -> None:
    for wrong, message in (
        ({"up": -1}, "border up -1 given, 0 to 8 tokens"),
        ({"left": 9, "down": 10}, "border down 10, left 9 given"),
        ({}, "without borders given"),
        ({"up": 8}, "cover all of 8 x 8 tokens"),
        ({"left": 5, "right": 3}, "cover all of 8 x 8 tokens"),
    ):
        with pytest.raises(UsageError, match=message):
            known_tokens(vqgan, picture, CONFIG, **wrong)
    for image in (picture[..., 0], picture.astype(np.float32), picture[:0], np.dstack((picture, picture))):
        with pytest.raises(UsageError, match=r"\(H, W, 3\) uint8 RGB accepted"):
            known_tokens(vqgan, image, CONFIG, up=1)
    with pytest.raises(UsageError, match="VQGAN of 24 codes given, the transformer knows 20"):
        known_tokens(vqgan, picture, replace(CONFIG, image_vocab=20), up=1)
