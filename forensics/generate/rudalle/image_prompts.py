"""Image prompts: the borders of a picture as tokens that are given, the rest of the image is drawn around them.

Means what the published ``rudalle.image_prompts`` means. Tokens are drawn row by row, so what is drawn follows from the
upper border and from the left and right ones above it; a lower border is kept, but nothing leads up to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from forensics.errors import UsageError
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.vqgan import Vqgan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["known_tokens"]


def known_tokens(
    vqgan: Vqgan,
    image: NDArray[np.uint8],
    config: TransformerConfig,
    *,
    up: int = 0,
    down: int = 0,
    left: int = 0,
    right: int = 0,
    crop_first: bool = False,
) -> Tensor:
    """Return a picture's borders as the ``known`` of :func:`sampling.generate_tokens`.

    Parameters
    ----------
    vqgan : Vqgan
        Its codes are the transformer's image tokens.
    image : ndarray
        (H, W, 3) uint8 RGB. A picture of another size than the model's D·f x D·f pixels (f: the VQGAN's factor) is
        resized to it whole, bicubic; cut it square beforehand where its shape matters.
    config : TransformerConfig
        Says D, the side in tokens.
    up, down, left, right : int
        Width of each border in tokens, 0 to D; 0 leaves it to be drawn.
    crop_first : bool
        Cut each border out and encode it by itself, so that its tokens know nothing of the rest of the picture. Where
        two borders cross, the corner's tokens are those of the upper one, else of the left, the right, the lower one.
        By default the whole picture is encoded once, and what lies beside a border shows in its tokens.

    Returns
    -------
    Tensor
        (D²,) int64 on the CPU, row by row: codes, and -1 where a token is to be drawn.

    Raises
    ------
    UsageError
        If there is no border, one is out of range, nothing would be left to draw, or picture or VQGAN do not fit.
    """
    side, factor = config.image_side, vqgan.config.factor
    borders = {"up": up, "down": down, "left": left, "right": right}
    if bad := [f"{name} {width}" for name, width in borders.items() if not 0 <= width <= side]:
        raise UsageError(f"image prompt border {', '.join(bad)} given, 0 to {side} tokens accepted")
    if not any(borders.values()):
        raise UsageError(f"an image prompt without borders given; set up, down, left or right to 1 to {side} tokens")
    if up + down >= side or left + right >= side:
        raise UsageError(
            f"image prompt borders up {up}, down {down}, left {left}, right {right} given; they cover all of "
            f"{side} x {side} tokens, nothing would be drawn"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(f"an image prompt of shape {image.shape} {image.dtype} given, (H, W, 3) uint8 RGB accepted")
    if vqgan.config.codes > config.image_vocab:
        raise UsageError(
            f"a VQGAN of {vqgan.config.codes} codes given, the transformer knows {config.image_vocab} image tokens"
        )
    pixels = _pixels(image, side * factor)
    tokens = torch.full((side, side), -1)
    whole = None if crop_first else vqgan.encode(pixels)[0].cpu()
    # the reference's order, in which a later border overwrites the corners of an earlier one
    for name in ("down", "right", "left", "up"):
        if borders[name]:
            cells = _strip(name, borders[name])
            if whole is None:
                strip = pixels[(..., *_strip(name, borders[name] * factor))]
                tokens[cells] = vqgan.encode(strip)[0].cpu()
            else:
                tokens[cells] = whole[cells]
    return tokens.flatten()


def _strip(name: str, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of one border of a square."""
    everything, first, last = slice(None), slice(None, width), slice(-width, None)
    return {
        "up": (first, everything),
        "down": (last, everything),
        "left": (everything, first),
        "right": (everything, last),
    }[name]


def _pixels(image: NDArray[np.uint8], side: int) -> Tensor:
    """Return (1, 3, side, side) float32 RGB in [0, 1]."""
    if image.shape[:2] != (side, side):
        image = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    return torch.tensor(image).permute(2, 0, 1)[None].float() / 255
