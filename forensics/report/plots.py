"""Plain line charts with intervals, as SVG text and as PNG: one picture, drawn twice from the same places."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Line", "Panel", "draw_png", "draw_svg"]

_PANEL = (560, 300)
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 40, 120, 46
_COLOURS = ("#8a2b1d", "#c8702a", "#b8960b", "#2e8b57", "#1f5fa8", "#8a4fa3", "#444444")
_GREY, _INK, _SOFT = "#dddddd", "#222222", "#666666"
_SIZE, _SMALL = 14, 12
_TICKS_Y = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve.

    Attributes
    ----------
    name : str
    points : tuple of (x, value, low, high)
        In ascending order of x.
    """

    name: str
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart.

    Attributes
    ----------
    title, axis : str
        What the value is, and what x is.
    lines : tuple of Line
    low, high : float
        Range of the vertical axis.
    """

    title: str
    axis: str
    lines: tuple[Line, ...]
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class _Stroke:
    points: tuple[tuple[float, float], ...]
    colour: str
    width: float


@dataclass(frozen=True, slots=True)
class _Dot:
    x: float
    y: float
    colour: str


@dataclass(frozen=True, slots=True)
class _Word:
    x: float
    y: float
    text: str
    size: int
    colour: str
    anchor: str


_Mark = _Stroke | _Dot | _Word


def draw_svg(panels: Sequence[Panel]) -> str:
    """Return an SVG document with the panels one below the other; nothing but shapes and text is in it."""
    width, height = _PANEL[0], _PANEL[1] * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, DejaVu Sans, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    anchors = {"l": "start", "m": "middle", "r": "end"}
    for mark in _marks(panels):
        if isinstance(mark, _Stroke):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in mark.points)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{mark.colour}" stroke-width="{mark.width:g}"/>'
            )
        elif isinstance(mark, _Dot):
            parts.append(f'<circle cx="{mark.x:.1f}" cy="{mark.y:.1f}" r="3" fill="{mark.colour}"/>')
        else:
            # Pillow's "m" is the middle of the line, SVG's y is the base line
            parts.append(
                f'<text x="{mark.x:.1f}" y="{mark.y + mark.size * 0.35:.1f}" font-size="{mark.size}" '
                f'fill="{mark.colour}" text-anchor="{anchors[mark.anchor]}">{escape(mark.text)}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def draw_png(panels: Sequence[Panel], *, scale: int = 2) -> bytes:
    """Return the same picture as a PNG, ``scale`` pixels a unit."""
    image = Image.new("RGB", (_PANEL[0] * scale, max(1, _PANEL[1] * len(panels)) * scale), "white")
    draw = ImageDraw.Draw(image)
    for mark in _marks(panels):
        if isinstance(mark, _Stroke):
            points = [(x * scale, y * scale) for x, y in mark.points]
            draw.line(points, fill=mark.colour, width=max(1, round(mark.width * scale)), joint="curve")
        elif isinstance(mark, _Dot):
            r = 3 * scale
            x, y = mark.x * scale, mark.y * scale
            draw.ellipse([x - r, y - r, x + r, y + r], fill=mark.colour)
        else:
            font = ImageFont.load_default(mark.size * scale)
            draw.text((mark.x * scale, mark.y * scale), mark.text, mark.colour, font, anchor=f"{mark.anchor}m")
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _marks(panels: Sequence[Panel]) -> Iterator[_Mark]:
    for number, panel in enumerate(panels):
        yield from _panel(panel, number * _PANEL[1])


def _panel(panel: Panel, top: float) -> Iterator[_Mark]:
    width, height = _PANEL[0] - _LEFT - _RIGHT, _PANEL[1] - _TOP - _BOTTOM
    places = sorted({x for line in panel.lines for x, *_ in line.points})
    first, last = (places[0], places[-1]) if places else (0.0, 1.0)
    span = (last - first) or 1.0

    def at(x: float, value: float) -> tuple[float, float]:
        inside = min(max(value, panel.low), panel.high)
        share = (inside - panel.low) / (panel.high - panel.low)
        middle = 0.5 if last == first else (x - first) / span
        return _LEFT + width * middle, top + _TOP + height * (1 - share)

    yield _Word(_LEFT, top + 18, panel.title, _SIZE, _INK, "l")
    for tick in range(_TICKS_Y):
        value = panel.low + (panel.high - panel.low) * tick / (_TICKS_Y - 1)
        _, y = at(first, value)
        yield _Stroke(((_LEFT, y), (_LEFT + width, y)), _GREY, 1)
        yield _Word(_LEFT - 8, y, f"{value:.2g}", _SMALL, _SOFT, "r")
    for x, text in _apart(places, lambda x: at(x, panel.low)[0]):
        yield _Word(at(x, panel.low)[0], top + _TOP + height + 14, text, _SMALL, _SOFT, "m")
    yield _Word(_LEFT + width / 2, top + _TOP + height + 32, panel.axis, _SMALL, _SOFT, "m")
    shift = 3.0  # so that intervals at one place stay apart
    for number, line in enumerate(panel.lines):
        colour = _COLOURS[number % len(_COLOURS)]
        aside = (number - (len(panel.lines) - 1) / 2) * shift
        spots = [(x + aside, y) for x, y in (at(x, value) for x, value, _, _ in line.points)]
        for (x, _), (at_x, _, low, high) in zip(spots, line.points, strict=True):
            yield _Stroke(((x, at(at_x, low)[1]), (x, at(at_x, high)[1])), colour, 1)
        if len(spots) > 1:
            yield _Stroke(tuple(spots), colour, 2)
        for x, y in spots:
            yield _Dot(x, y, colour)
        yield _Word(_LEFT + width + 18, top + _TOP + 8 + 18 * number, line.name, _SMALL, colour, "l")


def _apart(places: Sequence[float], at: Callable[[float], float]) -> Iterator[tuple[float, str]]:
    """Yield the ticks of the horizontal axis that do not run into one another, the last one among them."""
    kept: list[float] = []
    for x in reversed(places):
        if not kept or at(kept[-1]) - at(x) >= 34:
            kept.append(x)
    for x in reversed(kept):
        yield x, f"{x:,.0f}" if x == int(x) else f"{x:g}"
