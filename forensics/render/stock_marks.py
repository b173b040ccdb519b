"""Marks of stock agencies over a picture, with the truth of what they cover: named agencies and invented ones.

The manner is the agencies', the letters are free typefaces; no logo is copied. A mark is drawn in four layers
(:mod:`forensics.render.stock_layouts`) and laid over the picture with one opacity; letters may be light, dark or
coloured, filled or outlined, embossed or with a rim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError
from forensics.render.edited import check_image, check_range
from forensics.render.stock_fonts import characters
from forensics.render.stock_layouts import LAYOUTS, Layers, Wording
from forensics.render.stock_names import BRANDS, UNKNOWN, garble, invented_name

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array
    from forensics.types import FloatArray

__all__ = ["LIKELY_BRAND", "Marked", "StockMark", "draw_stock_mark", "random_stock_mark"]

LIKELY_BRAND = 0.6
"""Share of marks that bear a known agency's name; the others' names are invented."""

_OWN_LAYOUT = 0.7
_SIGNS = ("disc", "square", "ring", "camera")
_SIGNED = 0.25
_PLATE_LEAST = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class StockMark:
    """What to lay over a picture.

    Attributes
    ----------
    brand : str
        A name of :data:`~forensics.render.stock_names.BRANDS`, or ``unknown agency``.
    layout : str
        A key of :data:`~forensics.render.stock_layouts.LAYOUTS`.
    wording : Wording
    opacity : float
        Of the letters, in (0, 1].
    colour, rim_colour, plate_colour : tuple of three ints
        RGB.
    rim : float
        Opacity of the rim as a share of the letters'.
    emboss : int
        Pixels by which a dark copy is shifted; 0 for none.
    plate : float
        Opacity of a bar or plate.
    lines : float
        Opacity of lines as a share of the letters'.
    """

    brand: str
    layout: str
    wording: Wording
    opacity: float
    colour: tuple[int, int, int] = (255, 255, 255)
    rim_colour: tuple[int, int, int] = (20, 20, 20)
    plate_colour: tuple[int, int, int] = (30, 30, 30)
    rim: float = 0.5
    emboss: int = 0
    plate: float = 0.6
    lines: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Marked:
    """A marked picture and where the mark is.

    Attributes
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    mask : ndarray
        (H, W) uint8, 255 where words, signs and plates are; a word is one region.
    lines : ndarray
        (H, W) uint8, 255 along lines that join or cross and belong to no word: neither mark nor ground.
    """

    image: UInt8Array
    mask: UInt8Array
    lines: UInt8Array


def random_stock_mark(
    rng: np.random.Generator,
    *,
    fonts: Sequence[Path],
    opacity: tuple[float, float] = (0.15, 0.7),
    brand: str | None = None,
    held_out_name: bool = False,
    garbled: float = 0.0,
    layout: str | None = None,
) -> StockMark:
    """Choose a mark.

    Parameters
    ----------
    rng : Generator
    fonts : sequence of Path
        Typefaces with Latin letters; one that lacks the name's letters is passed over.
    opacity : (float, float)
        Between which the letters' opacity lies.
    brand : str, optional
        An agency, or ``unknown agency``; by chance otherwise.
    held_out_name : bool
        Take an invented name that training leaves out.
    garbled : float
        Chance of each letter of the name to be another one.
    layout : str, optional
        By chance, an agency's own mostly, otherwise.
    """
    if not fonts:
        raise UsageError("no typeface given for a mark; give at least one")
    known = {entry.name: entry for entry in BRANDS}
    if brand is None:
        brand = str(rng.choice(list(known))) if rng.random() < LIKELY_BRAND else UNKNOWN
    if brand != UNKNOWN and brand not in known:
        raise UsageError(f"agency {brand!r} given; accepted: {', '.join(known)}, {UNKNOWN}")
    number = str(rng.integers(10**5, 10**9))
    if brand == UNKNOWN:
        name, tagline = invented_name(rng, held_out=held_out_name)
        layouts = list(LAYOUTS)
    else:
        entry = known[brand]
        name = str(rng.choice(entry.spellings))
        tagline = str(rng.choice(entry.taglines)) if entry.taglines and rng.random() < 0.8 else ""
        layouts = list(entry.layouts) if rng.random() < _OWN_LAYOUT else list(LAYOUTS)
    tagline = tagline.replace("#", number)
    wording = Wording(
        name=garble(name, rng, rate=garbled),
        tagline=garble(tagline, rng, rate=garbled),
        font=_font_for(name + tagline, fonts, rng),
        sign=str(rng.choice(_SIGNS)) if rng.random() < _SIGNED else "none",
        outline=bool(rng.random() < 0.12),
    )
    tone = rng.random()
    if tone < 0.65:
        colour = (int(rng.integers(225, 256)),) * 3
    elif tone < 0.8:
        colour = (int(rng.integers(0, 60)),) * 3
    else:
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))  # type: ignore[assignment]
    dark = sum(colour) < 300
    return StockMark(
        brand=brand,
        layout=layout or str(rng.choice(layouts)),
        wording=wording,
        opacity=float(rng.uniform(*opacity)),
        colour=colour,
        rim_colour=(235, 235, 235) if dark else (20, 20, 20),
        plate_colour=(int(rng.integers(0, 110)),) * 3 if not dark else (int(rng.integers(170, 256)),) * 3,
        rim=float(rng.choice([0.0, 0.0, rng.uniform(0.2, 0.9)])),
        emboss=int(rng.choice([0, 0, 0, 1, 1, 2])),
        plate=float(rng.uniform(_PLATE_LEAST, 1.0)),
        lines=float(rng.uniform(0.4, 1.0)),
    )


def draw_stock_mark(image: UInt8Array, mark: StockMark, rng: np.random.Generator) -> Marked:
    """Lay a mark over a picture of at least 16 x 16 pixels, at a place of its layout that ``rng`` chooses."""
    import cv2

    check_image(image)
    check_range("opacity", mark.opacity, 0.01, 1.0)
    height, width = image.shape[:2]
    if min(height, width) < 16:
        raise UsageError(f"a picture of {width} x {height} pixels was given to mark; give at least 16 x 16")
    # drawn at twice the size: letters a few pixels high keep their shapes when averaged down
    layers = Layers(2 * width, 2 * height)
    LAYOUTS[mark.layout](layers, mark.wording, rng)
    letters, rim, lines, plate = (
        cv2.resize(np.asarray(layer), (width, height), interpolation=cv2.INTER_AREA)
        for layer in (layers.letters, layers.rim, layers.lines, layers.plate)
    )
    canvas = image.astype(np.float32)
    if plate.any():
        _lay(canvas, plate, mark.plate_colour, mark.plate)
    # letters on a plate are read against it, not against the picture
    strength = max(mark.opacity, 0.5) if plate.any() else mark.opacity
    if mark.rim:
        _lay(canvas, rim, mark.rim_colour, strength * mark.rim)
    if mark.emboss:
        shifted = np.roll(letters, (mark.emboss, mark.emboss), (0, 1))
        _lay(canvas, shifted, mark.rim_colour, strength * 0.6)
    _lay(canvas, lines, mark.colour, mark.opacity * mark.lines)
    _lay(canvas, letters, mark.colour, strength)
    return Marked(
        image=np.clip(np.rint(canvas), 0, 255).astype(np.uint8),
        mask=_regions(letters, plate),
        lines=((lines > 25) * 255).astype(np.uint8),
    )


def _lay(canvas: FloatArray, coverage: UInt8Array, colour: tuple[int, int, int], opacity: float) -> None:
    """Blend a colour into (H, W, 3) float32 in place."""
    alpha = coverage.astype(np.float32)[..., None] * np.float32(opacity / 255)
    canvas *= 1 - alpha
    canvas += alpha * np.array(colour, np.float32)


def _regions(letters: UInt8Array, plate: UInt8Array) -> UInt8Array:
    """Return the places of words: letters grown by a little and their gaps closed, and plates."""
    import cv2

    reach = max(1, round(max(letters.shape) / 150))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    inked = ((letters > 40) * 255).astype(np.uint8)
    closed = cv2.morphologyEx(inked, cv2.MORPH_CLOSE, np.ones((4 * reach + 1, 6 * reach + 1), np.uint8))
    grown: UInt8Array = cv2.dilate(closed, kernel)
    return np.maximum(grown, ((plate > 127) * 255).astype(np.uint8))


def _font_for(text: str, fonts: Sequence[Path], rng: np.random.Generator) -> Path:
    """Return a typeface that has all letters of a text."""
    order = [int(place) for place in rng.permutation(len(fonts))]
    needed = {letter for letter in text if not letter.isspace()}
    return next((fonts[place] for place in order if needed <= characters(fonts[place])), fonts[order[0]])
