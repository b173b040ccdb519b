"""What the mark detector is trained on: pictures, half of them marked, half as a generator would have drawn them.

A composite is a function of the seed and its number alone: a background is cut and scaled, may get what looks like a
mark and is none, may get a mark, may be spoilt as a generator spoils (its own codes, a warp on the latents' grid, mixed
patches, a low-pass, other letters), is compressed, and is scaled as the detector scales. What is spoilt, compressed and
scaled is so whether marked or not: none of it may tell the two apart. A marked one comes with its twin, the same
picture by the same chances without the mark: side by side they show a network what a faint mark changes, and what not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.watermark.feeding import feed
from forensics.render.distractors import add_distractor
from forensics.render.generator_look import latent_warp, low_pass, patch_mix
from forensics.render.stock_marks import Marked, StockMark, draw_stock_mark, random_stock_mark
from forensics.render.stock_names import BRANDS, UNKNOWN
from forensics.train.backgrounds import Backgrounds

if TYPE_CHECKING:
    from pathlib import Path

    from forensics.types import UInt8Array

__all__ = ["BRAND_NAMES", "VISIBLE_CONTRAST", "WINDOW", "Composite", "Recipe", "compose"]

BRAND_NAMES = (*(brand.name for brand in BRANDS), UNKNOWN)
"""The network's brands, in the order of its outputs."""

WINDOW = 256
"""Side in pixels of what is kept of a composite."""
_STRIDE = 4
_NONE = -1
# less of a mark than this in the window is neither a mark nor none
_TRACE = 0.004
_COMPOSITE = 5
_VISIBLE = 12
"""Grey levels that a fifth of a mark's place must change by."""
VISIBLE_CONTRAST = 0.5
"""Local standard deviations of the ground (and six grey levels) by which a mark's fifth that shows most must differ."""
_FLOOR = 6.0
_WINDOWS = 32
_SMALL_SIDE = 128

Codec = Callable[["UInt8Array"], "UInt8Array"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How composites are made.

    Attributes
    ----------
    seed : int
    marked : float
        Share that bears a mark.
    spoilt : float
        Share that looks as if generated, of marked and unmarked alike.
    codes : float
        Share of the spoilt that go through a generator's codes, where there are any; the others are warped.
    sides : tuple of int
        Sides in pixels, multiples of 16, at which pictures of more than about 128 px are spoilt, one by chance; the
        smaller ones are at 128.
    small : float
        Share whose pictures are about 128 px.
    faint : float
        Share of marks with opacity 0.15 to 0.3; the others have 0.3 to 0.7.
    distractors : float
        Chance of something that looks like a mark, for an unmarked picture; half of it for a marked one.
    held_out : bool
        Use the names, typefaces and backgrounds that training leaves out.
    """

    seed: int = 0
    marked: float = 0.5
    spoilt: float = 0.5
    codes: float = 0.45
    sides: tuple[int, ...] = (128, 128, 160, 192, 224, 256)
    small: float = 0.34
    faint: float = 0.4
    distractors: float = 0.5
    held_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Composite:
    """One picture for the network, and the truth about it.

    Attributes
    ----------
    image : ndarray
        (256, 256, 3) uint8 RGB: a window of the picture as the detector scales it.
    twin : ndarray, optional
        As ``image``, without the mark: what would have become of the picture by the same chances. None where
        ``presence`` is not 1.
    mask, lines : ndarray
        (64, 64) uint8, how much of each place the mark covers, and where lines make that undecided.
    inside : tuple of int
        Rows and columns of ``mask`` up to which the window holds the picture; beyond, its edge is continued.
    presence : int
        1, 0, or -1 where only a trace of a mark reaches into the window, or none can be seen any more.
    brand : int
        Index into :data:`BRAND_NAMES`; -1 where there is no mark.
    whole : ndarray
        (H, W, 3) uint8 RGB: the picture before it was scaled.
    whole_mask, whole_lines : ndarray
        (H, W) uint8.
    mark : str
        Whose mark the whole picture bears, ``unknown agency`` for an invented one; empty for none.
    opacity : float
        0 where there is no mark.
    contrast : float
        How far the mark still stands out after all, see :data:`VISIBLE_CONTRAST`; 0 where there is no mark.
    layout, look : str
        The mark's layout, and what was done to the picture as a generator would: ``plain``, ``codes``, ``warp``.
    small : bool
        Whether the picture was about 128 px.
    """

    image: UInt8Array
    twin: UInt8Array | None
    mask: UInt8Array
    lines: UInt8Array
    inside: tuple[int, int]
    presence: int
    brand: int
    whole: UInt8Array
    whole_mask: UInt8Array
    whole_lines: UInt8Array
    mark: str
    opacity: float
    contrast: float
    layout: str
    look: str
    small: bool


def compose(
    number: int, recipe: Recipe, *, backgrounds: Backgrounds, fonts: Sequence[Path], codec: Codec | None
) -> Composite:
    """Make one composite.

    Parameters
    ----------
    number : int
        Nothing but it and the recipe decides, given the same backgrounds, typefaces and codec.
    recipe : Recipe
    backgrounds : Backgrounds
    fonts : sequence of Path
    codec : callable, optional
        A generator's codes and back: (S, S, 3) uint8 in and out, S a multiple of 16. A warp takes its place where
        there is none.
    """
    rng = np.random.default_rng((recipe.seed, _COMPOSITE, number))
    small = bool(rng.random() < recipe.small)
    picture = _cut(backgrounds.draw(rng), rng, small=small)
    marked = bool(rng.random() < recipe.marked)
    spoilt = bool(rng.random() < recipe.spoilt)
    look = ("codes" if codec is not None and rng.random() < recipe.codes else "warp") if spoilt else "plain"
    if rng.random() < recipe.distractors * (0.5 if marked else 1.0):
        for _ in range(1 + int(rng.random() < 0.25)):
            picture = add_distractor(picture, rng, fonts=fonts)
    bare = picture
    mask, lines = (np.zeros(picture.shape[:2], np.uint8) for _ in range(2))
    owner, opacity, layout = "", 0.0, ""
    if marked:
        faint = rng.random() < recipe.faint
        mark = random_stock_mark(
            rng,
            fonts=fonts,
            opacity=(0.15, 0.3) if faint else (0.3, 0.7),
            held_out_name=recipe.held_out,
            garbled=float(rng.uniform(0.0, 0.4)) if spoilt and rng.random() < 0.7 else 0.0,
        )
        made = _visibly(picture, mark, rng)
        picture, mask, lines = made.image, made.mask, made.lines
        owner, opacity, layout = mark.brand, mark.opacity, mark.layout
    side = 0
    if spoilt:
        side = int(rng.choice(recipe.sides)) if not small else _SMALL_SIDE
    used = codec if look == "codes" else None
    twin = _twin(bare, rng, used, side=side) if marked else picture
    if spoilt:
        picture, mask, lines = _spoil(picture, mask, lines, rng, used, side=side)
    picture = _wear(picture, rng)
    contrast = _contrast(picture, twin, mask) if marked else 0.0
    (image, fed_twin, fed_mask, fed_lines), inside = _window(picture, twin, mask, lines, rng)
    share = float((fed_mask > 127).mean())
    decided = share == 0 or (share >= _TRACE and contrast >= VISIBLE_CONTRAST)
    presence = int(share > 0) if decided else _NONE
    return Composite(
        image=image,
        twin=fed_twin if presence == 1 else None,
        mask=_coarse(fed_mask),
        lines=_coarse(fed_lines),
        inside=inside,
        presence=presence,
        brand=BRAND_NAMES.index(owner) if presence == 1 else _NONE,
        whole=picture,
        whole_mask=mask,
        whole_lines=lines,
        mark=owner,
        opacity=opacity,
        contrast=contrast,
        layout=layout,
        look=look,
        small=small,
    )


def _cut(picture: UInt8Array, rng: np.random.Generator, *, small: bool) -> UInt8Array:
    """Return a part of a picture at the size of a thumbnail, of a generated image, or of a web photograph."""
    import cv2

    height, width = picture.shape[:2]
    if small:
        longer = float(rng.uniform(112, 150))
    else:
        longer = float(rng.uniform(180, 300)) if rng.random() < 0.45 else float(rng.uniform(320, 512))
    shape = 1.0 if rng.random() < 0.5 else float(np.exp(rng.uniform(-0.45, 0.45)))
    share = float(rng.uniform(0.5, 1.0))
    w = min(width, height * shape) * share
    h = min(height, w / shape)
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    part = picture[int(y) : int(y) + max(8, int(h)), int(x) : int(x) + max(8, int(w))]
    scale = longer / max(part.shape[:2])
    size = (max(32, round(part.shape[1] * scale)), max(32, round(part.shape[0] * scale)))
    made = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        made = made[:, ::-1]
    gain = rng.uniform(0.75, 1.25, 3) if rng.random() < 0.25 else rng.uniform(0.8, 1.2)
    return np.ascontiguousarray(np.clip(made * gain + rng.uniform(-15, 15), 0, 255).astype(np.uint8))


def _twin(bare: UInt8Array, rng: np.random.Generator, codec: Codec | None, *, side: int) -> UInt8Array:
    """Return what would have become of the picture without its mark, by the same chances; ``rng`` stays as it is."""
    again = copy.deepcopy(rng)
    if side:
        nothing = np.zeros(bare.shape[:2], np.uint8)
        bare, _, _ = _spoil(bare, nothing, nothing, again, codec, side=side)
    return _wear(bare, again)


def _contrast(picture: UInt8Array, twin: UInt8Array, mask: UInt8Array) -> float:
    """Return by how many local standard deviations of its ground the fifth of the mark that shows most differs."""
    import cv2

    inside = mask > 127
    if not inside.any():
        return 0.0
    grey = cv2.cvtColor(twin, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sigma = max(grey.shape) / _WINDOWS
    mean, square = (cv2.GaussianBlur(layer, (0, 0), sigma) for layer in (grey, grey * grey))
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    change = np.abs(picture.astype(np.float32) - twin).max(2)
    return float(np.percentile((change / (spread + _FLOOR))[inside], 80))


def _visibly(picture: UInt8Array, mark: StockMark, rng: np.random.Generator) -> Marked:
    """Draw a mark, in the opposite tone where the chosen one cannot be seen on this picture."""
    made = draw_stock_mark(picture, mark, rng)
    for tone in (20, 245):
        inside = made.mask > 127
        change = np.abs(made.image.astype(np.int16) - picture).max(2)[inside]
        if not len(change) or np.percentile(change, 80) >= _VISIBLE:
            break
        made = draw_stock_mark(picture, replace(mark, colour=(tone,) * 3, rim_colour=(255 - tone,) * 3), rng)
    return made


def _spoil(
    picture: UInt8Array,
    mask: UInt8Array,
    lines: UInt8Array,
    rng: np.random.Generator,
    codec: Codec | None,
    *,
    side: int,
) -> tuple[UInt8Array, UInt8Array, UInt8Array]:
    """Spoil a picture as a generator does, at a generator's size."""
    import cv2

    height, width = picture.shape[:2]
    if codec is not None or max(height, width) > side:
        size = (side, side) if codec is not None else _scaled(width, height, side)
        picture, mask, lines = (
            cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in (picture, mask, lines)
        )
    if codec is None or rng.random() < 0.4:
        cell = int(rng.choice([4, 8, 8, 16]))
        strength = float(rng.uniform(0.03, 0.22 if codec is None else 0.12))
        picture, mask, lines = latent_warp((picture, mask, lines), rng, cell=cell, strength=strength)
    if codec is not None:
        picture = codec(picture)
    elif rng.random() < 0.4:
        picture = patch_mix(picture, rng, cell=int(rng.choice([4, 8])), share=float(rng.uniform(0.05, 0.3)))
    if codec is None and rng.random() < 0.7:
        picture = low_pass(picture, sigma=float(rng.uniform(0.4, 1.3)))
    if codec is not None and (height, width) != (side, side):
        size = _scaled(width, height, side)
        picture, mask, lines = (
            cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in (picture, mask, lines)
        )
    return picture, mask, lines


def _scaled(width: int, height: int, longer: int) -> tuple[int, int]:
    scale = longer / max(width, height)
    return max(16, round(width * scale)), max(16, round(height * scale))


def _wear(picture: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Compress, blur, brighten: what happens to any picture on its way."""
    import cv2

    if rng.random() < 0.12:
        picture = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if rng.random() < 0.3:
        shifted = picture * rng.uniform(0.75, 1.2) + rng.uniform(-20, 20)
        picture = np.clip(shifted, 0, 255).astype(np.uint8)
    if rng.random() < 0.12:
        picture = low_pass(picture, sigma=float(rng.uniform(0.3, 0.9)))
    if rng.random() < 0.15:
        noise = rng.normal(0, rng.uniform(1, 8), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.65:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))])
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return picture


def _window(
    picture: UInt8Array, twin: UInt8Array, mask: UInt8Array, lines: UInt8Array, rng: np.random.Generator
) -> tuple[list[UInt8Array], tuple[int, int]]:
    """Scale as the detector does and cut a window; what is narrower is continued by its last row or column."""
    import cv2

    fed = feed(picture)
    height, width = fed.shape[:2]
    truth = (cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR) for layer in (mask, lines))
    layers = [fed, feed(twin), *truth]
    down, right = max(0, WINDOW - height), max(0, WINDOW - width)
    if down or right:
        edges = (cv2.BORDER_REPLICATE, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT, cv2.BORDER_CONSTANT)
        layers = [cv2.copyMakeBorder(layer, 0, down, 0, right, edge) for layer, edge in zip(layers, edges, strict=True)]
    y = int(rng.integers(max(1, layers[0].shape[0] - WINDOW + 1)))
    x = int(rng.integers(max(1, layers[0].shape[1] - WINDOW + 1)))
    cut = [np.ascontiguousarray(layer[y : y + WINDOW, x : x + WINDOW]) for layer in layers]
    return cut, (min(height, WINDOW) // _STRIDE, min(width, WINDOW) // _STRIDE)


def _coarse(mask: UInt8Array) -> UInt8Array:
    import cv2

    side = WINDOW // _STRIDE
    return np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA))
