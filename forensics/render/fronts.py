"""Designs of book covers, record covers and posters, seen straight on: what stands where on the printed face.

A design takes the pictures, the size of the face in pixels and a random generator, and draws. Which designs exist is
listed in :data:`BOOK_FRONTS`, :data:`DISC_FRONTS` and :data:`POSTER_FRONTS`; the last of each list are kept for tests
of what training has not seen.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from forensics.render.layouts import fit_inside
from forensics.render.lettering import Colour, Lettering, Script, fit_text, invented

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = ["BOOK_FRONTS", "DISC_FRONTS", "POSTER_FRONTS", "Front", "Sheet", "palette"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A face being drawn.

    Attributes
    ----------
    canvas : Image
        What is drawn on.
    picture : ndarray
        (H, W, 3) uint8 RGB, shown somewhere on it.
    rng : Generator
    letters : Lettering
    face, script
        The one typeface and script of this face's title.
    ground, ink, accent : (r, g, b)
        Its colours.
    """

    canvas: Image.Image
    picture: UInt8Array
    rng: np.random.Generator
    letters: Lettering
    face: Path
    script: Script
    ground: Colour
    ink: Colour
    accent: Colour

    @classmethod
    def new(
        cls, picture: UInt8Array, rng: np.random.Generator, letters: Lettering, *, width: int, height: int
    ) -> Sheet:
        """Return an empty face with colours, typeface and script drawn at random."""
        ground, ink, accent = palette(rng)
        return cls(
            canvas=Image.new("RGB", (width, height), ground),
            picture=picture,
            rng=rng,
            letters=letters,
            face=letters.face(rng),
            script=letters.script(rng),
            ground=ground,
            ink=ink,
            accent=accent,
        )

    @property
    def draw(self) -> ImageDraw.ImageDraw:
        """Something to draw with."""
        return ImageDraw.Draw(self.canvas)

    def show(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Lay the picture into a box given in shares of width and height."""
        box = self.box(x0, y0, x1, y1)
        width, height = max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1]))
        pixels = fit_inside(self.picture, width=width, height=height)
        self.canvas.paste(Image.fromarray(pixels), (round(box[0]), round(box[1])))

    def fill(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, opacity: float = 1.0) -> None:
        """Fill a box given in shares."""
        left, top, right, bottom = (round(v) for v in self.box(x0, y0, x1, y1))
        if right > left and bottom > top:
            patch = Image.new("RGB", (right - left, bottom - top), colour)
            self.canvas.paste(patch, (left, top), Image.new("L", patch.size, round(255 * opacity)))

    def write(
        self,
        box: tuple[float, float, float, float],
        words: int,
        *,
        largest: float = 0.16,
        colour: Colour | None = None,
        anchor: str = "middle",
        outline: Colour | None = None,
        own_face: bool = True,
    ) -> None:
        """Write invented words into a box given in shares, with letters of up to ``largest`` of the height."""
        text = invented(self.rng, self.script, words=words)
        face = self.face if own_face else self.letters.face(self.rng)
        fit_text(
            self.draw,
            self.box(*box),
            text,
            face,
            colour or self.ink,
            largest=largest * self.canvas.height,
            anchor=anchor,  # type: ignore[arg-type]  # one of fit_text's
            outline=outline,
        )

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        """Return pixels of a box given in shares."""
        width, height = self.canvas.size
        return (x0 * width, y0 * height, x1 * width, y1 * height)

    def chance(self, share: float) -> bool:
        """Return true in ``share`` of all draws."""
        return bool(self.rng.random() < share)


Front: TypeAlias = Callable[[Sheet], None]


def palette(rng: np.random.Generator) -> tuple[Colour, Colour, Colour]:
    """Return a ground, an ink that is read on it, and an accent."""
    hue = float(rng.random())
    dark = bool(rng.random() < 0.6)
    ground = _hsv(hue, float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.08, 0.5) if dark else rng.uniform(0.75, 1)))
    far = (hue + float(rng.uniform(-0.1, 0.1))) % 1
    ink = _hsv(far, float(rng.uniform(0, 0.45)), float(rng.uniform(0.85, 1) if dark else rng.uniform(0.02, 0.3)))
    accent = _hsv((hue + float(rng.uniform(0.3, 0.7))) % 1, float(rng.uniform(0.5, 1)), float(rng.uniform(0.5, 1)))
    return ground, ink, accent


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(255 * red), round(255 * green), round(255 * blue))


def _book_board(sheet: Sheet) -> None:
    """Title, picture in a frame, author, on a coloured board."""
    sheet.write((0.08, 0.05, 0.92, 0.27), int(sheet.rng.integers(1, 4)))
    inset = float(sheet.rng.uniform(0.0, 0.06))
    sheet.fill(0.09 + inset, 0.29, 0.91 - inset, 0.83, sheet.ink)
    sheet.show(0.1 + inset, 0.3, 0.9 - inset, 0.82)
    sheet.write((0.15, 0.87, 0.85, 0.96), 2, largest=0.06)


def _book_full(sheet: Sheet) -> None:
    """Picture over the whole face, title on it, author at the foot."""
    sheet.show(0, 0, 1, 1)
    light = sheet.chance(0.7)
    ink: Colour = (250, 248, 240) if light else sheet.ground
    rim: Colour | None = (15, 15, 20) if light and sheet.chance(0.85) else None
    if sheet.chance(0.4):
        sheet.fill(0, 0, 1, 0.34, (10, 10, 16) if light else (250, 250, 246), 0.55)
    sheet.write((0.06, 0.05, 0.94, 0.33), int(sheet.rng.integers(1, 4)), largest=0.2, colour=ink, outline=rim)
    sheet.write((0.1, 0.87, 0.9, 0.97), 2, largest=0.07, colour=ink, outline=rim, own_face=sheet.chance(0.6))
    if sheet.chance(0.4):
        sheet.write((0.15, 0.34, 0.85, 0.4), 4, largest=0.035, colour=ink, outline=rim)


def _book_panel(sheet: Sheet) -> None:
    """Picture above, coloured panel with title and author below, or the other way round."""
    cut = float(sheet.rng.uniform(0.5, 0.68))
    if sheet.chance(0.5):
        sheet.show(0, 0, 1, cut)
        sheet.write((0.08, cut + 0.04, 0.92, 0.86), int(sheet.rng.integers(1, 5)), largest=0.13)
        sheet.write((0.08, 0.89, 0.92, 0.97), 2, largest=0.05, colour=sheet.accent)
    else:
        sheet.show(0, 1 - cut, 1, 1)
        sheet.write((0.08, 0.03, 0.92, 0.1), 2, largest=0.05, colour=sheet.accent)
        sheet.write((0.08, 0.11, 0.92, 0.97 - cut), int(sheet.rng.integers(1, 5)), largest=0.13)


def _book_label(sheet: Sheet) -> None:
    """Draw a band or plate with the title across a picture that fills the face."""
    sheet.show(0, 0, 1, 1)
    top = float(sheet.rng.uniform(0.15, 0.6))
    inset = 0.0 if sheet.chance(0.5) else 0.1
    sheet.fill(inset, top, 1 - inset, top + 0.26, sheet.ground, 0.94)
    sheet.write((inset + 0.05, top + 0.03, 0.95 - inset, top + 0.18), int(sheet.rng.integers(1, 4)), largest=0.12)
    sheet.write((inset + 0.05, top + 0.19, 0.95 - inset, top + 0.25), 2, largest=0.045, colour=sheet.accent)


def _book_plain(sheet: Sheet) -> None:
    """Large title and rules on a plain board, with a small emblem."""
    top = float(sheet.rng.uniform(0.08, 0.2))
    sheet.write((0.1, 0.04, 0.9, top), 2, largest=0.05)
    sheet.fill(0.1, top + 0.01, 0.9, top + 0.02, sheet.accent)
    sheet.write((0.08, top + 0.05, 0.92, 0.62), int(sheet.rng.integers(2, 6)), largest=0.2)
    if sheet.chance(0.7):
        sheet.show(0.36, 0.66, 0.64, 0.85)
    sheet.fill(0.1, 0.88, 0.9, 0.89, sheet.accent)
    sheet.write((0.2, 0.91, 0.8, 0.97), 2, largest=0.04)
    if sheet.chance(0.4):
        width, height = sheet.canvas.size
        edge = max(1, width // 60)
        sheet.draw.rectangle((edge, edge, width - edge - 1, height - edge - 1), outline=sheet.accent, width=edge)


def _book_round(sheet: Sheet) -> None:
    """Draw author above, picture in a circle, title below."""
    sheet.write((0.1, 0.04, 0.9, 0.12), 2, largest=0.06)
    _round_picture(sheet, 0.5, 0.42, 0.36)
    sheet.write((0.06, 0.73, 0.94, 0.95), int(sheet.rng.integers(1, 4)), largest=0.14, colour=sheet.accent)


def _book_side(sheet: Sheet) -> None:
    """Draw a coloured strip along one side with the title, the picture beside it."""
    cut = float(sheet.rng.uniform(0.3, 0.42))
    sheet.show(cut, 0, 1, 1)
    sheet.write((0.03, 0.08, cut - 0.03, 0.7), int(sheet.rng.integers(2, 5)), largest=0.09, anchor="left")
    sheet.write((0.03, 0.82, cut - 0.03, 0.95), 2, largest=0.05, anchor="left", colour=sheet.accent)


def _free(sheet: Sheet) -> None:
    """Picture over the whole face or in a part of it; one to three blocks of letters, large or small, anywhere."""
    if sheet.chance(0.65):
        sheet.show(0, 0, 1, 1)
    else:
        x, y = float(sheet.rng.uniform(0, 0.4)), float(sheet.rng.uniform(0, 0.4))
        sheet.show(x, y, x + float(sheet.rng.uniform(0.3, 1 - x)), y + float(sheet.rng.uniform(0.3, 1 - y)))
    light = sheet.chance(0.6)
    for _ in range(int(sheet.rng.integers(1, 4))):
        largest = float(np.exp(sheet.rng.uniform(np.log(0.025), np.log(0.3))))
        left, top = float(sheet.rng.uniform(0.03, 0.3)), float(sheet.rng.uniform(0.03, 0.9))
        right, foot = (
            float(sheet.rng.uniform(left + 0.3, 0.97)),
            min(0.98, top + largest * float(sheet.rng.uniform(1.3, 3))),
        )
        ink: Colour = ((250, 248, 240) if light else (16, 14, 18)) if sheet.chance(0.7) else sheet.accent
        sheet.write(
            (left, top, right, foot),
            int(sheet.rng.integers(1, 5)),
            largest=largest,
            colour=ink,
            anchor=("left", "middle", "right")[int(sheet.rng.integers(3))],
            outline=(10, 10, 14) if light and sheet.chance(0.3) else None,
            own_face=sheet.chance(0.7),
        )


def _disc_full(sheet: Sheet) -> None:
    """Picture over the whole sleeve, artist and title in a corner or along an edge."""
    sheet.show(0, 0, 1, 1)
    ink: Colour = (250, 250, 250) if sheet.chance(0.7) else sheet.accent
    rim: Colour | None = (10, 10, 14) if sheet.chance(0.85) else None
    anchor = ("left", "middle", "right")[int(sheet.rng.integers(3))]
    if sheet.chance(0.5):
        sheet.write((0.05, 0.04, 0.95, 0.22), int(sheet.rng.integers(1, 3)), colour=ink, outline=rim, anchor=anchor)
        sheet.write((0.05, 0.23, 0.95, 0.31), 2, largest=0.06, colour=ink, outline=rim, anchor=anchor)
    else:
        sheet.write((0.05, 0.76, 0.95, 0.9), int(sheet.rng.integers(1, 3)), colour=ink, outline=rim, anchor=anchor)
        sheet.write((0.05, 0.91, 0.95, 0.98), 2, largest=0.06, colour=ink, outline=rim, anchor=anchor)


def _disc_band(sheet: Sheet) -> None:
    """Draw a band with label, artist and title above the picture."""
    cut = float(sheet.rng.uniform(0.14, 0.28))
    sheet.show(0, cut, 1, 1)
    sheet.write((0.04, 0.02, 0.7, cut - 0.02), int(sheet.rng.integers(1, 4)), largest=0.14, anchor="left")
    sheet.write((0.72, 0.03, 0.97, cut - 0.02), 1, largest=0.06, anchor="right", colour=sheet.accent)


def _disc_plain(sheet: Sheet) -> None:
    """Draw a small picture and small letters on a plain sleeve."""
    side = float(sheet.rng.uniform(0.3, 0.6))
    x, y = float(sheet.rng.uniform(0.08, 0.9 - side)), float(sheet.rng.uniform(0.08, 0.7 - side * 0.9))
    sheet.show(x, y, x + side, y + side)
    sheet.write((0.08, 0.78, 0.92, 0.88), 2, largest=0.09, anchor="left")
    sheet.write((0.08, 0.89, 0.92, 0.95), 3, largest=0.05, anchor="left", colour=sheet.accent)


def _disc_shapes(sheet: Sheet) -> None:
    """Concentric rings or bars with the picture in a circle; artist above, title below."""
    width, height = sheet.canvas.size
    for number in range(5, 1, -1):
        reach = 0.09 * number * width
        colour = sheet.accent if number % 2 else sheet.ground
        sheet.draw.ellipse((width / 2 - reach, height / 2 - reach, width / 2 + reach, height / 2 + reach), fill=colour)
    _round_picture(sheet, 0.5, 0.5, 0.25)
    sheet.write((0.05, 0.01, 0.95, 0.09), 2, largest=0.08)
    sheet.write((0.05, 0.91, 0.95, 0.99), 2, largest=0.08)


def _poster_film(sheet: Sheet) -> None:
    """Picture over the whole sheet, names above, large title low, credits in thin lines at the foot."""
    sheet.show(0, 0, 1, float(sheet.rng.uniform(0.78, 1.0)))
    shade = (8, 8, 12) if sheet.chance(0.7) else sheet.ground
    for step in range(8):
        sheet.fill(0, 0.6 + step * 0.05, 1, 0.65 + step * 0.05, shade, min(1.0, 0.15 * (step + 1)))
    ink: Colour = (246, 242, 232)
    sheet.write((0.06, 0.02, 0.94, 0.07), 4, largest=0.035, colour=ink)
    title = sheet.accent if sheet.chance(0.5) else ink
    sheet.write((0.05, 0.66, 0.95, 0.84), int(sheet.rng.integers(1, 4)), largest=0.14, colour=title)
    _credits(sheet, 0.86, 0.96, ink)


def _poster_event(sheet: Sheet) -> None:
    """Heading, picture, a large date, lines of particulars."""
    sheet.write((0.06, 0.03, 0.94, 0.22), int(sheet.rng.integers(1, 4)), largest=0.14)
    sheet.show(0.06 if sheet.chance(0.5) else 0, 0.25, 0.94, 0.68)
    draw, (width, height) = sheet.draw, sheet.canvas.size
    date = (
        f"{int(sheet.rng.integers(1, 31))}.{int(sheet.rng.integers(1, 12)):02d}  {int(sheet.rng.integers(17, 23))}:00"
    )
    area = (0.06 * width, 0.71 * height, 0.94 * width, 0.82 * height)
    fit_text(draw, area, date, sheet.face, sheet.accent, largest=0.1 * height)
    for line in range(int(sheet.rng.integers(2, 4))):
        sheet.write((0.06, 0.84 + 0.05 * line, 0.94, 0.885 + 0.05 * line), int(sheet.rng.integers(3, 7)), largest=0.035)


def _poster_type(sheet: Sheet) -> None:
    """Large letters at the left, a bold shape, a few small lines; the picture small or faded behind."""
    width, height = sheet.canvas.size
    if sheet.chance(0.6):
        sheet.show(0, 0.3, 1, 1)
        sheet.fill(0, 0.3, 1, 1, sheet.ground, 0.55)
    if sheet.chance(0.6):
        reach = float(sheet.rng.uniform(0.2, 0.4)) * width
        x, y = float(sheet.rng.uniform(0.3, 0.9)) * width, float(sheet.rng.uniform(0.4, 0.8)) * height
        sheet.draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=sheet.accent)
    sheet.write((0.06, 0.05, 0.94, 0.5), int(sheet.rng.integers(2, 6)), largest=0.2, anchor="left")
    for line in range(3):
        sheet.write((0.06, 0.84 + 0.045 * line, 0.6, 0.88 + 0.045 * line), 3, largest=0.032, anchor="left")


def _poster_stars(sheet: Sheet) -> None:
    """Draw a frame around everything, heads-and-title block at the top, picture below, a tagline and credits."""
    width, height = sheet.canvas.size
    edge = max(2, width // 24)
    sheet.show(0, 0.3, 1, 0.86)
    sheet.write((0.1, 0.06, 0.9, 0.22), int(sheet.rng.integers(1, 3)), largest=0.16, colour=sheet.accent)
    sheet.write((0.1, 0.24, 0.9, 0.28), 5, largest=0.03)
    _credits(sheet, 0.88, 0.95, sheet.ink)
    sheet.draw.rectangle((0, 0, width - 1, height - 1), outline=sheet.ink, width=edge)


def _credits(sheet: Sheet, top: float, bottom: float, ink: Colour) -> None:
    """Write three or four thin lines, each as wide as the block, as the foot of a film poster has them."""
    lines = int(sheet.rng.integers(2, 5))
    step = (bottom - top) / lines
    for line in range(lines):
        margin = float(sheet.rng.uniform(0.1, 0.2))
        box = (margin, top + line * step, 1 - margin, top + (line + 0.9) * step)
        sheet.write(box, int(sheet.rng.integers(5, 9)), largest=step * 0.8, colour=ink)


def _round_picture(sheet: Sheet, x: float, y: float, radius: float) -> None:
    """Show the picture in a circle; centre in shares, radius as a share of the width."""
    width, height = sheet.canvas.size
    reach = max(2, round(radius * width))
    pixels = Image.fromarray(fit_inside(sheet.picture, width=2 * reach, height=2 * reach))
    mask = Image.new("L", pixels.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, 2 * reach - 1, 2 * reach - 1), fill=255)
    sheet.canvas.paste(pixels, (round(x * width) - reach, round(y * height) - reach), mask.filter(ImageFilter.SMOOTH))


BOOK_FRONTS: tuple[Front, ...] = (
    _free,
    _free,
    _book_board,
    _book_full,
    _book_panel,
    _book_label,
    _book_plain,
    _book_round,
    _book_side,
)
DISC_FRONTS: tuple[Front, ...] = (_free, _free, _disc_full, _disc_band, _disc_plain, _disc_shapes)
POSTER_FRONTS: tuple[Front, ...] = (_free, _poster_film, _poster_event, _poster_type, _poster_stars)
