"""Web pages as a designer's mock-up shows them: browser frame, navigation, hero, cards, columns of text, footer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from forensics.render.fronts import palette
from forensics.render.layouts import fit_inside
from forensics.render.lettering import Colour, Lettering, Script, fit_text, invented

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = ["web_page"]

_WHITE: Colour = (255, 255, 255)
_DOTS: tuple[Colour, ...] = ((236, 96, 86), (245, 190, 60), (98, 197, 84))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """A page being drawn; everything is in pixels of ``canvas``."""

    canvas: Image.Image
    pictures: Sequence[UInt8Array]
    rng: np.random.Generator
    face: Path
    script: Script
    paper: Colour
    ink: Colour
    soft: Colour
    accent: Colour
    top: int = 0

    @property
    def draw(self) -> ImageDraw.ImageDraw:
        return ImageDraw.Draw(self.canvas)

    def write(self, box: Sequence[float], words: int, size: float, colour: Colour, *, middle: bool = False) -> None:
        text = invented(self.rng, self.script, words=words)
        anchor = "middle" if middle else "left"
        fit_text(self.draw, box, text, self.face, colour, largest=size, anchor=anchor)  # type: ignore[arg-type]

    def show(self, number: int, x0: float, y0: float, x1: float, y1: float) -> None:
        width, height = max(1, round(x1 - x0)), max(1, round(y1 - y0))
        picture = fit_inside(self.pictures[number % len(self.pictures)], width=width, height=height)
        self.canvas.paste(Image.fromarray(picture), (round(x0), round(y0)))

    def lines(self, x0: float, y0: float, x1: float, count: int, step: float) -> None:
        """Draw lines of text too small to read, the last one shorter."""
        for line in range(count):
            share = float(self.rng.uniform(0.85, 1.0)) if line < count - 1 else float(self.rng.uniform(0.3, 0.7))
            if step >= 8:
                box = (x0, y0 + line * step, x0 + (x1 - x0) * share, y0 + (line + 1) * step)
                self.write(box, max(1, round((x1 - x0) / (step * 3))), step * 0.75, self.soft)
            else:
                place = (x0, y0 + line * step, x0 + (x1 - x0) * share, y0 + line * step + max(1, step * 0.4))
                self.draw.rectangle(place, fill=self.soft)

    def button(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.draw.rounded_rectangle(
            (x0, y0, x1, y1), radius=(y1 - y0) / float(self.rng.choice([2, 5])), fill=self.accent
        )
        inset = (y1 - y0) * 0.22
        self.write((x0 + inset, y0 + inset, x1 - inset, y1), 1, (y1 - y0) * 0.55, _WHITE, middle=True)


def web_page(
    pictures: Sequence[UInt8Array],
    *,
    rng: np.random.Generator,
    letters: Lettering,
    side: int,
    unseen: bool = False,
) -> UInt8Array:
    """Return a (side, side, 3) uint8 mock-up of a web page; see :func:`forensics.render.mockups.mockup`."""
    dark = bool(rng.random() < 0.25)
    ground, _, accent = palette(rng)
    paper: Colour = (24, 25, 30) if dark else (int(rng.integers(244, 256)),) * 3
    page = _Page(
        canvas=Image.new("RGB", (side, side), paper),
        pictures=pictures,
        rng=rng,
        face=letters.face(rng),
        script=letters.script(rng),
        paper=paper,
        ink=(235, 235, 238) if dark else (28, 28, 34),
        soft=(120, 122, 130) if dark else (150, 152, 158),
        accent=accent,
    )
    if unseen or rng.random() < 0.75:
        page = _browser(page)
    if unseen:
        _panel_page(page)
        return np.asarray(page.canvas)
    page = _navigation(page, ground)
    _BODIES[int(rng.integers(len(_BODIES)))](page)
    if rng.random() < 0.3:
        return _on_screen(np.asarray(page.canvas), rng, side)
    return np.asarray(page.canvas)


def _browser(page: _Page) -> _Page:
    """Draw a title bar with three dots or tabs, and an address field."""
    side, rng, draw = page.canvas.width, page.rng, page.draw
    high = max(8, round(side * float(rng.uniform(0.05, 0.09))))
    grey = int(rng.integers(200, 238)) if rng.random() < 0.75 else int(rng.integers(45, 80))
    draw.rectangle((0, 0, side, high), fill=(grey,) * 3)
    reach, y = high * 0.16, high / 2
    for number, colour in enumerate(_DOTS):
        x = high * (0.5 + 0.55 * number)
        shown = colour if rng.random() < 0.85 else (grey - 40,) * 3
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=shown)
    left = high * 2.4
    field = (left, high * 0.22, side * float(rng.uniform(0.7, 0.95)), high * 0.78)
    draw.rounded_rectangle(field, radius=high * 0.25, fill=(min(255, grey + 40),) * 3)
    page.write((left + high * 0.4, high * 0.3, field[2], high * 0.8), 1, high * 0.4, (120, 120, 124))
    return replace(page, top=high)


def _navigation(page: _Page, ground: Colour) -> _Page:
    """Draw a bar with a logo at the left and links at the right."""
    side, rng = page.canvas.width, page.rng
    high = round(side * float(rng.uniform(0.06, 0.11)))
    coloured = rng.random() < 0.5
    if coloured:
        page.draw.rectangle((0, page.top, side, page.top + high), fill=ground)
    ink = _WHITE if coloured and sum(ground) < 400 else page.ink if not coloured else (20, 20, 24)
    y = page.top + high * 0.28
    page.draw.ellipse((side * 0.03, y, side * 0.03 + high * 0.44, y + high * 0.44), fill=page.accent)
    page.write((side * 0.05 + high * 0.44, y, side * 0.35, page.top + high), 1, high * 0.42, ink)
    links = int(rng.integers(3, 6))
    for number in range(links):
        x = side * (0.97 - 0.115 * (links - number))
        page.write((x, y + high * 0.05, x + side * 0.1, page.top + high), 1, high * 0.3, ink)
    return replace(page, top=page.top + high)


def _hero(page: _Page) -> None:
    """Draw a wide picture with a heading and a button on it, a row of cards below."""
    side, top = page.canvas.width, page.top
    cut = top + (side - top) * float(page.rng.uniform(0.45, 0.7))
    page.show(0, 0, top, side, cut)
    middle = bool(page.rng.random() < 0.5)
    x0, x1 = (side * 0.15, side * 0.85) if middle else (side * 0.06, side * 0.6)
    step = (cut - top) / 10
    page.draw.rectangle((x0 - step / 2, top + step * 2, x1, top + step * 8.6), fill=(12, 12, 18))
    page.write((x0, top + step * 2.4, x1, top + step * 5), 3, step * 2, _WHITE, middle=middle)
    page.lines(x0, top + step * 5.3, x1 - step, 2, step * 0.6)
    page.button(x0, top + step * 6.9, x0 + side * 0.2, top + step * 8.2)
    _cards(page, cut + side * 0.03, int(page.rng.integers(3, 5)))


def _cards(page: _Page, top: float, columns: int) -> None:
    """Draw a grid of cards to the foot of the page: a picture, a heading and lines of text each."""
    side = page.canvas.width
    gap = side * 0.03
    wide = (side - gap * (columns + 1)) / columns
    high = wide * float(page.rng.uniform(1.0, 1.4))
    number = 1
    while top < side - gap:
        for column in range(columns):
            x = gap + column * (wide + gap)
            page.draw.rectangle((x - 1, top - 1, x + wide + 1, top + high + 1), outline=page.soft)
            page.show(number, x, top, x + wide, top + high * 0.55)
            page.write((x + 3, top + high * 0.58, x + wide - 3, top + high * 0.72), 2, high * 0.1, page.ink)
            page.lines(x + 3, top + high * 0.74, x + wide - 3, 3, high * 0.08)
            number += 1
        top += high + gap


def _gallery(page: _Page) -> None:
    """Draw a heading, then nothing but cards."""
    side = page.canvas.width
    page.write(
        (side * 0.1, page.top + side * 0.03, side * 0.9, page.top + side * 0.12), 2, side * 0.07, page.ink, middle=True
    )
    _cards(page, page.top + side * 0.15, int(page.rng.integers(2, 4)))


def _article(page: _Page) -> None:
    """Draw a column of text with a picture, a narrower column of links beside it."""
    side, top = page.canvas.width, page.top
    cut = side * float(page.rng.uniform(0.62, 0.72))
    step = max(3.0, side / 34)
    page.write((side * 0.05, top + step, cut, top + step * 3.6), 4, step * 2, page.ink)
    y = top + step * 4.2
    page.show(0, side * 0.05, y, cut, y + side * 0.26)
    page.lines(side * 0.05, y + side * 0.29, cut, 14, step)
    for block in range(3):
        x, y = cut + side * 0.05, top + step + block * side * 0.28
        page.show(block + 1, x, y, side * 0.95, y + side * 0.13)
        page.lines(x, y + side * 0.15, side * 0.95, 4, step * 0.8)


def _split(page: _Page) -> None:
    """Heading, text and button at one side, a picture at the other; a strip of features and a dark footer."""
    side, top = page.canvas.width, page.top
    cut = top + (side - top) * 0.58
    left = bool(page.rng.random() < 0.5)
    x0, x1 = (side * 0.05, side * 0.48) if left else (side * 0.52, side * 0.95)
    page.show(0, side * 0.52 if left else side * 0.04, top + side * 0.05, side * 0.96 if left else side * 0.48, cut)
    page.write((x0, top + side * 0.07, x1, top + side * 0.25), 4, side * 0.075, page.ink)
    page.lines(x0, top + side * 0.27, x1, 4, side / 34)
    page.button(x0, cut - side * 0.09, x0 + side * 0.18, cut - side * 0.03)
    for column in range(3):
        x = side * (0.07 + 0.31 * column)
        page.draw.ellipse((x, cut + side * 0.04, x + side * 0.06, cut + side * 0.1), fill=page.accent)
        page.lines(x, cut + side * 0.12, x + side * 0.24, 3, side / 40)
    page.draw.rectangle((0, side * 0.93, side, side), fill=(34, 36, 44))
    for column in range(4):
        page.lines(side * (0.05 + 0.24 * column), side * 0.95, side * (0.2 + 0.24 * column), 2, side / 50)


def _panel_page(page: _Page) -> None:
    """Draw a side panel with entries, figures in tiles, a chart and a table: an application's page."""
    side, top, rng = page.canvas.width, page.top, page.rng
    cut = side * float(rng.uniform(0.18, 0.26))
    page.draw.rectangle((0, top, cut, side), fill=(38, 42, 56))
    for entry in range(8):
        y = top + side * (0.06 + 0.09 * entry)
        page.draw.rectangle((side * 0.02, y, side * 0.045, y + side * 0.025), fill=page.accent)
        page.write((side * 0.06, y, cut - 2, y + side * 0.05), 1, side * 0.026, (200, 204, 214))
    wide = (side - cut - side * 0.08) / 3
    for tile in range(3):
        x = cut + side * 0.02 + tile * (wide + side * 0.02)
        page.draw.rectangle((x, top + side * 0.05, x + wide, top + side * 0.2), outline=page.soft)
        page.write((x + 3, top + side * 0.06, x + wide, top + side * 0.13), 1, side * 0.05, page.ink)
        page.lines(x + 3, top + side * 0.15, x + wide * 0.8, 1, side / 40)
    page.show(0, cut + side * 0.02, top + side * 0.24, side * 0.62, top + side * 0.52)
    for bar in range(6):
        x, high = side * (0.66 + 0.05 * bar), side * float(rng.uniform(0.05, 0.26))
        page.draw.rectangle((x, top + side * 0.52 - high, x + side * 0.03, top + side * 0.52), fill=page.accent)
    for row in range(7):
        y = top + side * (0.57 + 0.055 * row)
        page.draw.line((cut + side * 0.02, y, side * 0.97, y), fill=page.soft)
        for column in range(4):
            x = cut + side * (0.03 + 0.18 * column)
            page.write((x, y + 2, x + side * 0.16, y + side * 0.05), 1, side * 0.025, page.ink)


def _on_screen(page: UInt8Array, rng: np.random.Generator, side: int) -> UInt8Array:
    """Show the page on a monitor with a dark bezel and a foot, before a plain wall."""
    wall = palette(rng)[0]
    canvas = Image.new("RGB", (side, side), wall)
    draw = ImageDraw.Draw(canvas)
    edge, wide = side * 0.05, side * 0.9
    high = side * float(rng.uniform(0.58, 0.7))
    draw.rounded_rectangle((edge, edge, edge + wide, edge + high), radius=side / 50, fill=(26, 26, 30))
    inner = (round(edge * 1.4), round(edge * 1.4), round(edge * 0.6 + wide), round(edge * 0.6 + high))
    shown = Image.fromarray(page[: round(len(page) * (inner[3] - inner[1]) / (inner[2] - inner[0]))])
    canvas.paste(shown.resize((inner[2] - inner[0], inner[3] - inner[1]), Image.Resampling.LANCZOS), inner[:2])
    draw.polygon(
        [(side * v, edge + high) for v in (0.45, 0.55)] + [(side * v, side * 0.86) for v in (0.6, 0.4)],
        fill=(120, 122, 128),
    )
    draw.rectangle((side * 0.32, side * 0.86, side * 0.68, side * 0.88), fill=(140, 142, 148))
    return np.asarray(canvas)


_Body: TypeAlias = Callable[[_Page], None]
_BODIES: tuple[_Body, ...] = (_hero, _gallery, _article, _split)
