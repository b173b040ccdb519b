"""Book covers, record covers, discs and posters as a generator paints them: flat, or as things on a ground.

:func:`mockup` draws one of :data:`SUBTYPES` over given pictures at 128 to 512 pixels. What is seen on the printed face
is a design of :mod:`forensics.render.fronts`; web pages come from :mod:`forensics.render.pages`, a fifth of the books
and discs from :mod:`forensics.render.drawn`. The last design of a list, and the last setting, are drawn only where
``unseen`` is asked for: training never does, tests always do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from forensics.errors import UsageError
from forensics.render.drawn import DRAWN_BOOKS, DRAWN_DISCS
from forensics.render.edited import check_image, check_range
from forensics.render.fronts import BOOK_FRONTS, DISC_FRONTS, POSTER_FRONTS, Front, Sheet, palette
from forensics.render.layouts import fit_inside, gradient
from forensics.render.lettering import Colour, Lettering, fit_text, invented
from forensics.render.pages import web_page

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = ["SUBTYPES", "Subtype", "mockup", "on_ground"]

Subtype = Literal["book", "disc", "website", "poster"]
SUBTYPES: tuple[Subtype, ...] = get_args(Subtype)

_DRAWN = 0.2
"""Share of books and discs that are drawn as clip art draws them."""
_Choice = TypeVar("_Choice")


def mockup(
    subtype: Subtype,
    pictures: Sequence[UInt8Array],
    *,
    rng: np.random.Generator,
    letters: Lettering | None = None,
    side: int = 256,
    unseen: bool = False,
) -> UInt8Array:
    """Draw a cover or mock-up.

    Parameters
    ----------
    subtype : {"book", "disc", "website", "poster"}
    pictures : sequence of (H, W, 3) uint8 RGB
        The first is what the cover shows; the last may lie behind it, where there are two or more. A page shows all.
    rng : Generator
        Design, setting, colours and words.
    letters : Lettering, optional
        The bundled typeface in all scripts by default.
    side : int
        Of the square result, in [64, 1024].
    unseen : bool
        Draw the designs and settings that are kept out of training instead of the others.

    Returns
    -------
    ndarray
        (side, side, 3) uint8 RGB.
    """
    if not pictures:
        raise UsageError("no picture given; a cover shows at least one")
    if subtype not in SUBTYPES:
        raise UsageError(f"a cover of kind {subtype!r} was asked for; choose one of: {', '.join(SUBTYPES)}")
    for picture in pictures:
        check_image(picture)
    check_range("cover side", side, 64, 1024)
    letters = letters or Lettering()
    if subtype == "website":
        return web_page(pictures, rng=rng, letters=letters, side=side, unseen=unseen)
    draw = {"book": _book, "disc": _disc, "poster": _poster}[subtype]
    return draw(pictures, rng, letters, side, unseen)


def on_ground(
    face: UInt8Array, ground: UInt8Array, corners: Sequence[tuple[float, float]], *, shade: float = 1.0
) -> UInt8Array:
    """Lay a face onto a ground so that its corners, clockwise from the upper left, come to ``corners`` in pixels."""
    import cv2

    height, width = face.shape[:2]
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, np.array(corners, np.float32))
    size = (ground.shape[1], ground.shape[0])
    # averaged down first: warping alone would alias thin letters
    reach = np.ptp(np.array(corners), axis=0).max()
    factor = max(width, height) / max(1.0, float(reach))
    soft = cv2.GaussianBlur(face, (0, 0), 0.4 * factor) if factor > 1.3 else face
    laid = cv2.warpPerspective(soft, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(np.full((height, width), 255, np.uint8), matrix, size, flags=cv2.INTER_LINEAR)
    alpha = mask[..., None].astype(np.float32) / 255
    mixed = ground * (1 - alpha) + np.clip(laid * shade, 0, 255) * alpha
    return np.asarray(np.rint(mixed), np.uint8)


def _book(
    pictures: Sequence[UInt8Array], rng: np.random.Generator, letters: Lettering, side: int, unseen: bool
) -> UInt8Array:
    if rng.random() < _DRAWN:
        return _of(rng, DRAWN_BOOKS, unseen, kept=1)(rng, letters, side)
    front = _of(rng, BOOK_FRONTS, unseen, kept=2)
    setting = _of(rng, (_whole, _flat_with_spine, _solid, _solid, _lying), unseen, kept=1)
    face = _face(front, pictures[0], rng, letters, side, float(rng.uniform(0.62, 0.82)))
    return setting(face, rng, letters, _ground(pictures, rng, side))


def _disc(
    pictures: Sequence[UInt8Array], rng: np.random.Generator, letters: Lettering, side: int, unseen: bool
) -> UInt8Array:
    if rng.random() < _DRAWN:
        return _of(rng, DRAWN_DISCS, unseen, kept=1)(rng, letters, side)
    front = _of(rng, DISC_FRONTS, unseen, kept=1)
    setting = _of(rng, (_whole, _with_vinyl, _jewel_case, _bare_disc, _sleeve_and_disc), unseen, kept=1)
    face = _face(front, pictures[0], rng, letters, side, 1.0)
    return setting(face, rng, letters, _ground(pictures, rng, side))


def _poster(
    pictures: Sequence[UInt8Array], rng: np.random.Generator, letters: Lettering, side: int, unseen: bool
) -> UInt8Array:
    front = _of(rng, POSTER_FRONTS, unseen, kept=1)
    setting = _of(rng, (_whole, _whole, _on_wall, _pinned), unseen, kept=1)
    face = _face(front, pictures[0], rng, letters, side, float(rng.uniform(0.64, 0.78)))
    return setting(face, rng, letters, _ground(pictures, rng, side))


def _of(rng: np.random.Generator, choices: Sequence[_Choice], unseen: bool, *, kept: int) -> _Choice:
    """Return one of the last ``kept`` choices where ``unseen``, else one of the others."""
    allowed = choices[-kept:] if unseen else choices[:-kept]
    return allowed[int(rng.integers(len(allowed)))]


def _face(
    front: Front, picture: UInt8Array, rng: np.random.Generator, letters: Lettering, side: int, aspect: float
) -> UInt8Array:
    """Return a printed face, ``side`` high and ``side * aspect`` wide."""
    sheet = Sheet.new(picture, rng, letters, width=max(32, round(side * aspect)), height=side)
    front(sheet)
    return np.asarray(sheet.canvas)


def _ground(pictures: Sequence[UInt8Array], rng: np.random.Generator, side: int) -> UInt8Array:
    """Return what lies behind: white, a colour, a gradient, or the last picture, unsharp."""
    kind = int(rng.integers(5))
    if kind == 0:
        return np.full((side, side, 3), int(rng.integers(225, 256)), np.uint8)
    if kind == 1:
        return np.broadcast_to(np.array(palette(rng)[0], np.uint8), (side, side, 3)).copy()
    if kind == 2 or len(pictures) < 2:
        return gradient(side, side, rng=rng)
    behind = Image.fromarray(fit_inside(pictures[-1], width=side, height=side))
    return np.asarray(behind.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, side / 50)))))


def _whole(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Draw the face alone: filling the square (squashed a little, cut a little), or upright between margins."""
    del letters
    side = len(ground)
    height, width = face.shape[:2]
    if rng.random() < 0.55:
        # what a square image can show of an upright face: most of its height, its edges cut
        keep = float(rng.uniform(max(0.88, width / height), 1.0))
        rows = round(height * keep)
        top = int(rng.integers(0, height - rows + 1))
        cut = round(width * float(rng.uniform(0, 0.03)))
        part = Image.fromarray(face[top : top + rows, cut : width - cut])
        return np.asarray(part.resize((side, side), Image.Resampling.BICUBIC))
    scale = float(rng.uniform(0.86, 1.0))
    high, wide = round(side * scale), round(side * scale * width / height)
    x, y = (side - wide) // 2, (side - high) // 2
    return _laid(face, ground, _rectangle(x, y, wide, high), shadow=float(rng.uniform(0, 0.5)))


def _flat_with_spine(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Seen straight on, with a darker strip along the binding and the edges of the pages at the other side."""
    del letters
    side = len(ground)
    height, width = face.shape[:2]
    bound = face.astype(np.float32)
    strip = max(2, round(width * float(rng.uniform(0.03, 0.08))))
    bound[:, :strip] *= float(rng.uniform(0.6, 0.85))
    bound[:, strip : strip + max(1, strip // 4)] *= 0.6
    high = round(side * float(rng.uniform(0.8, 0.97)))
    wide = round(high * width / height)
    x, y = (side - wide) // 2 + int(rng.integers(-side // 20, side // 20 + 1)), (side - high) // 2
    pages = max(1, side // 70)
    ground = _laid(np.full((8, 8, 3), 226, np.uint8), ground, _rectangle(x + pages, y + pages, wide, high), shadow=0.4)
    return on_ground(bound.astype(np.uint8), ground, _rectangle(x, y, wide, high))


def _solid(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Standing, turned so that the spine with its title is seen at the left."""
    side = len(ground)
    height, width = face.shape[:2]
    high = side * float(rng.uniform(0.72, 0.9))
    deep = high * float(rng.uniform(0.06, 0.2))
    wide = high * width / height * float(rng.uniform(0.75, 0.95))
    x = (side - wide - deep) / 2
    top, tilt, far = (side - high) / 2, high * float(rng.uniform(0.02, 0.08)), high * float(rng.uniform(0.01, 0.06))
    edge = x + deep
    colour = tuple(int(v) for v in np.median(face[:, : max(1, width // 20)], axis=(0, 1)))
    back = _spine(colour, rng, letters, length=height, depth=max(12, round(height * deep / high)))
    ground = _shadowed(ground, [(edge, top), (edge + wide, top + far), (edge + wide, top + high), (x, top + high)])
    left = [(x, top + tilt), (edge, top), (edge, top + high), (x, top + high - tilt)]
    ground = on_ground(back, ground, left, shade=float(rng.uniform(0.55, 0.85)))
    return on_ground(face, ground, [(edge, top), (edge + wide, top + far), (edge + wide, top + high - far), left[2]])


def _lying(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Lying on a ground, turned in its plane, the pages seen at two edges."""
    del letters
    side = len(ground)
    height, width = face.shape[:2]
    high = side * float(rng.uniform(0.65, 0.82))
    corners = _turned(high * width / height, high, float(rng.uniform(-0.3, 0.3)), side / 2, side / 2)
    thick = side * 0.025
    pages = [(x + thick, y + thick) for x, y in corners]
    ground = _laid(np.full((8, 8, 3), 232, np.uint8), ground, pages, shadow=0.5)
    return on_ground(face, ground, corners)


def _with_vinyl(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Draw a sleeve with the black disc half drawn out at the right."""
    side = len(ground)
    size = side * float(rng.uniform(0.6, 0.72))
    x, y = side * 0.05, (side - size) / 2
    disc = _round_disc(face, rng, letters, vinyl=True)
    ground = _paste_disc(ground, disc, x + size * float(rng.uniform(0.85, 1.0)), side / 2, size * 0.47)
    return _laid(face, ground, _rectangle(x, y, size, size), shadow=0.4)


def _jewel_case(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Draw a booklet behind clear plastic: a ridged strip at the left, tabs, a glint across."""
    del letters
    side = len(ground)
    high = round(side * float(rng.uniform(0.78, 0.97)))
    case = Image.new("RGB", (round(high * 1.12), high), (30, 30, 34) if rng.random() < 0.7 else (215, 218, 222))
    draw = ImageDraw.Draw(case)
    strip = case.width - high
    for ridge in range(2, strip - 1, 3):
        draw.line((ridge, high * 0.04, ridge, high * 0.96), fill=(70, 70, 76))
    booklet = Image.fromarray(face).resize((high - 4, high - 4), Image.Resampling.LANCZOS)
    case.paste(booklet, (strip + 2, 2))
    for x in (0.3, 0.7):
        for y in (0, high - max(2, high // 50)):
            draw.rectangle((strip + high * x, y, strip + high * (x + 0.08), y + high // 50), fill=(190, 192, 196))
    glint = Image.new("L", case.size, 0)
    left = case.width * float(rng.uniform(0.2, 0.7))
    ends = (left, 0, left + high * 0.22, 0, left - high * 0.2, high, left - high * 0.42, high)
    ImageDraw.Draw(glint).polygon(ends, fill=round(255 * float(rng.uniform(0.05, 0.25))))
    case.paste(Image.new("RGB", case.size, "white"), (0, 0), glint)
    wide = min(side * 0.98, case.width)
    return _laid(np.asarray(case), ground, _rectangle((side - wide) / 2, (side - high) / 2, wide, high), shadow=0.4)


def _bare_disc(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Draw the disc alone, printed or black with a label."""
    side = len(ground)
    disc = _round_disc(face, rng, letters, vinyl=bool(rng.random() < 0.4))
    return _paste_disc(ground, disc, side / 2, side / 2, side * float(rng.uniform(0.38, 0.49)))


def _sleeve_and_disc(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Draw a sleeve seen aslant with a disc lying in front of it."""
    side = len(ground)
    size = side * float(rng.uniform(0.6, 0.7))
    corners = _turned(size, size, float(rng.uniform(-0.2, 0.2)), side * 0.42, side * 0.42)
    laid = _laid(face, ground, corners, shadow=0.5)
    disc = _round_disc(face, rng, letters, vinyl=bool(rng.random() < 0.5))
    return _paste_disc(laid, disc, side * 0.68, side * 0.68, side * 0.28)


def _on_wall(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """On a wall, seen a little from the side."""
    del letters
    side = len(ground)
    height, width = face.shape[:2]
    high = side * float(rng.uniform(0.78, 0.94))
    wide = high * width / height
    x, y, lean = (side - wide) / 2, (side - high) / 2, high * float(rng.uniform(-0.05, 0.05))
    corners = [(x, y + max(0.0, lean)), (x + wide, y + max(0.0, -lean)), (x + wide, y + high - max(0.0, -lean))]
    return _laid(face, ground, [*corners, (x, y + high - max(0.0, lean))], shadow=float(rng.uniform(0, 0.4)))


def _pinned(face: UInt8Array, rng: np.random.Generator, letters: Lettering, ground: UInt8Array) -> UInt8Array:
    """Hung a little askew, with a white margin and pins."""
    del letters
    side = len(ground)
    margin = max(2, len(face) // 30)
    sheet = np.pad(face, ((margin, margin), (margin, margin), (0, 0)), constant_values=245)
    high = side * float(rng.uniform(0.78, 0.9))
    corners = _turned(high * sheet.shape[1] / len(sheet), high, float(rng.uniform(-0.12, 0.12)), side / 2, side / 2)
    laid = Image.fromarray(_laid(sheet, ground, corners, shadow=0.3))
    reach = max(2, side // 70)
    for x, y in corners[:2]:
        ImageDraw.Draw(laid).ellipse((x - reach, y + reach, x + reach, y + 3 * reach), fill=(200, 30, 30))
    return np.asarray(laid)


def _spine(
    colour: tuple[int, ...], rng: np.random.Generator, letters: Lettering, *, length: int, depth: int
) -> UInt8Array:
    """Return a book's back with the title along it, (length, depth, 3)."""
    strip = Image.new("RGB", (length, depth), colour[:3])
    ink: Colour = (245, 240, 225) if sum(colour) < 380 else (25, 20, 25)
    box = (length * 0.08, depth * 0.2, length * 0.7, depth * 0.9)
    fit_text(
        ImageDraw.Draw(strip),
        box,
        invented(rng, letters.script(rng), words=2),
        letters.face(rng),
        ink,
        largest=depth * 0.6,
    )
    return np.asarray(strip.rotate(90 if rng.random() < 0.5 else -90, expand=True))


def _round_disc(face: UInt8Array, rng: np.random.Generator, letters: Lettering, *, vinyl: bool) -> Image.Image:
    """Return a disc with transparent corners and hole: grooves and a label, or a print over the whole."""
    del letters
    side = len(face)
    middle = side / 2
    if vinyl:
        disc = Image.new("RGB", (side, side), (16, 16, 18))
        draw = ImageDraw.Draw(disc)
        for groove in range(round(side * 0.19), round(side * 0.49), max(2, side // 60)):
            grey = int(rng.integers(24, 56))
            draw.ellipse((middle - groove, middle - groove, middle + groove, middle + groove), outline=(grey,) * 3)
        label = Image.fromarray(face).resize((round(side * 0.36),) * 2, Image.Resampling.BICUBIC)
        round_label = Image.new("L", label.size, 0)
        ImageDraw.Draw(round_label).ellipse((0, 0, label.width - 1, label.height - 1), fill=255)
        disc.paste(label, (round(middle - label.width / 2),) * 2, round_label)
        hole, rim = 0.02, 0.0
    else:
        disc = Image.fromarray(face).copy()
        hole, rim = 0.075, 0.19
        draw = ImageDraw.Draw(disc)
        ring = side * rim / 2
        draw.ellipse(
            (middle - ring * 1.6, middle - ring * 1.6, middle + ring * 1.6, middle + ring * 1.6), fill=(205, 208, 214)
        )
        draw.ellipse((1, 1, side - 2, side - 2), outline=(200, 203, 210), width=max(1, side // 60))
    mask = Image.new("L", (side, side), 0)
    cut = ImageDraw.Draw(mask)
    cut.ellipse((0, 0, side - 1, side - 1), fill=255)
    reach = side * hole
    cut.ellipse((middle - reach, middle - reach, middle + reach, middle + reach), fill=0)
    disc.putalpha(mask)
    return disc


def _paste_disc(ground: UInt8Array, disc: Image.Image, x: float, y: float, radius: float) -> UInt8Array:
    size = max(8, round(2 * radius))
    small = disc.resize((size, size), Image.Resampling.LANCZOS)
    canvas = Image.fromarray(ground)
    canvas.paste(small.convert("RGB"), (round(x - size / 2), round(y - size / 2)), small.getchannel("A"))
    return np.asarray(canvas)


def _laid(face: UInt8Array, ground: UInt8Array, corners: Sequence[tuple[float, float]], *, shadow: float) -> UInt8Array:
    return on_ground(face, _shadowed(ground, corners, shadow) if shadow else ground, corners)


def _shadowed(ground: UInt8Array, corners: Sequence[tuple[float, float]], strength: float = 0.45) -> UInt8Array:
    """Darken the ground below and beside what will lie at ``corners``."""
    side = len(ground)
    mask = Image.new("L", (ground.shape[1], side), 0)
    away = side / 50
    ImageDraw.Draw(mask).polygon([(x + away, y + away) for x, y in corners], fill=round(255 * strength))
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(side / 60)), np.float32)[..., None] / 255
    return np.rint(ground * (1 - soft)).astype(np.uint8)


def _rectangle(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _turned(width: float, height: float, angle: float, x: float, y: float) -> list[tuple[float, float]]:
    """Return the corners of a rectangle around (x, y), turned by ``angle`` radians."""
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    half = ((-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2))
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in half]
