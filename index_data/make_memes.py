"""Draws the meme templates that the repository ships: ``python index_data/make_memes.py``.

Twelve drawings of our own, so that ``forensics memes`` can be tried and tested without anyone's photograph. They have
what the famous ones have: one or two figures before a plain ground, or panels that answer one another, with room for a
caption above and below. Every run draws the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

OUT = Path(__file__).resolve().parent / "memes"
SCALE = 3
"""Drawn larger by this and scaled down: smooth outlines."""
INK = (32, 28, 36)

Draw = Callable[["Pen"], None]


class Pen:
    """Draws on a canvas of ``width`` x ``height`` units."""

    def __init__(self, width: int, height: int, ground: str) -> None:
        self.picture = Image.new("RGB", (width * SCALE, height * SCALE), ground)
        self._draw = ImageDraw.Draw(self.picture)
        self.width, self.height = width, height

    def box(self, x: float, y: float, w: float, h: float, fill: object, *, radius: float = 0, line: float = 0) -> None:
        """Draw a rectangle."""
        corners = tuple(v * SCALE for v in (x, y, x + w, y + h))
        self._draw.rounded_rectangle(corners, radius * SCALE, fill, INK if line else None, round(line * SCALE))

    def oval(self, x: float, y: float, w: float, h: float, fill: object, *, line: float = 3) -> None:
        """Draw an ellipse in the box at (x, y)."""
        corners = tuple(v * SCALE for v in (x, y, x + w, y + h))
        self._draw.ellipse(corners, fill, INK if line else None, round(line * SCALE))

    def shape(self, points: list[tuple[float, float]], fill: object, *, line: float = 3) -> None:
        """Draw a polygon with round joints."""
        corners = [(x * SCALE, y * SCALE) for x, y in points]
        self._draw.polygon(corners, fill)
        if line:
            self._draw.line([*corners, corners[0], corners[1]], INK, round(line * SCALE), joint="curve")

    def line(self, points: list[tuple[float, float]], *, width: float = 3, fill: object = INK) -> None:
        """Draw a line through points."""
        self._draw.line([(x * SCALE, y * SCALE) for x, y in points], fill, round(width * SCALE), joint="curve")

    def arc(self, x: float, y: float, w: float, h: float, start: float, stop: float, *, width: float = 3) -> None:
        """Draw a part of an ellipse's outline; degrees clockwise from the right."""
        corners = tuple(v * SCALE for v in (x, y, x + w, y + h))
        self._draw.arc(corners, start, stop, INK, round(width * SCALE))

    def rays(self, x: float, y: float, colours: tuple[str, str], count: int = 18) -> None:
        """Fill the canvas with rays from (x, y)."""
        far = self.width + self.height
        for number in range(count):
            a, b = (2 * math.pi * (number + k) / count for k in (0, 1))
            corners = [(x, y), *((x + far * math.cos(t), y + far * math.sin(t)) for t in (a, b))]
            self.shape(corners, colours[number % 2], line=0)

    def eyes(self, x: float, y: float, apart: float, size: float, *, look: float = 0.0) -> None:
        """Draw two eyes whose pupils look to a side, -1 to 1."""
        for side in (-1, 1):
            cx = x + side * apart / 2
            self.oval(cx - size / 2, y - size / 2, size, size, "white", line=2)
            self.oval(cx - size / 5 + look * size / 4, y - size / 5, size / 2.5, size / 2.5, INK, line=0)


def _body(pen: Pen, x: float, colour: str) -> None:
    pen.oval(x - 80, 205, 160, 150, colour)


def _doubting_cat(pen: Pen) -> None:
    pen.box(0, 210, 400, 90, "#7a5c3e")
    pen.box(280, 30, 90, 110, "#bfe3f0", line=4)
    pen.line([(325, 30), (325, 140)])
    _body(pen, 170, "#e0913a")
    pen.shape([(105, 120), (95, 40), (150, 85)], "#e0913a")
    pen.shape([(235, 120), (245, 40), (190, 85)], "#e0913a")
    pen.oval(95, 75, 150, 140, "#e0913a")
    pen.eyes(170, 132, 62, 40, look=0.9)
    pen.line([(118, 108), (158, 118)], width=5)
    pen.shape([(162, 165), (178, 165), (170, 176)], "#d06a6a", line=2)
    pen.line([(150, 190), (190, 186)])
    for y in (168, 178):
        pen.line([(60, y - 6), (125, y)], width=2)
        pen.line([(280, y - 6), (215, y)], width=2)


def _robot_and_flower(pen: Pen) -> None:
    pen.box(0, 230, 400, 70, "#6fae58")
    pen.box(90, 130, 110, 120, "#9aa7b4", radius=10, line=4)
    pen.box(100, 45, 90, 75, "#b9c6d2", radius=14, line=4)
    pen.line([(145, 45), (145, 20)])
    pen.oval(137, 8, 16, 16, "#e04848")
    pen.eyes(145, 80, 42, 26, look=0.7)
    pen.box(120, 100, 50, 8, INK)
    pen.line([(200, 160), (260, 150), (290, 170)], width=9)
    pen.line([(310, 250), (310, 160)], width=5, fill=(40, 120, 50))
    for k in range(6):
        a = math.pi * k / 3
        pen.oval(298 + 22 * math.cos(a), 128 + 22 * math.sin(a), 26, 26, "#f0d23c", line=2)
    pen.oval(300, 130, 22, 22, "#7a4a1e", line=2)


def _triumphant_frog(pen: Pen) -> None:
    pen.rays(200, 170, ("#e86a3a", "#f4b23c"))
    pen.oval(110, 150, 180, 170, "#4f9a44")
    pen.oval(105, 80, 190, 120, "#5cb04f")
    for x in (118, 226):
        pen.oval(x, 52, 56, 56, "#5cb04f")
        pen.oval(x + 12, 64, 32, 32, "white", line=2)
        pen.oval(x + 22, 74, 14, 14, INK, line=0)
    pen.arc(135, 100, 130, 70, 10, 170, width=5)
    pen.line([(120, 220), (60, 150), (50, 90)], width=16, fill=(79, 154, 68))
    pen.oval(34, 62, 34, 34, "#5cb04f")


def _two_doors(pen: Pen) -> None:
    pen.box(0, 240, 400, 60, "#85807a")
    for x, colour in ((50, "#b23a3a"), (250, "#3a62b2")):
        pen.box(x, 60, 100, 190, colour, line=5)
        pen.box(x + 15, 75, 70, 60, colour, line=3)
        pen.oval(x + 80, 155, 12, 12, "#f0d060")
    pen.oval(178, 120, 44, 44, "#f2c9a0")
    pen.box(180, 165, 40, 70, "#4a4a5a", radius=10, line=3)
    pen.line([(190, 235), (184, 280)], width=7)
    pen.line([(210, 235), (216, 280)], width=7)
    pen.line([(180, 180), (160, 215)], width=6)
    pen.line([(220, 180), (240, 130)], width=6)


def _sad_cloud(pen: Pen) -> None:
    for x, y, s in ((80, 80, 110), (140, 50, 140), (220, 80, 110), (120, 100, 160)):
        pen.oval(x, y, s, s * 0.8, "#dfe4ea", line=0)
    pen.eyes(200, 125, 60, 30, look=-0.3)
    pen.arc(175, 150, 50, 40, 200, 340, width=4)
    for k in range(9):
        x = 70 + 32 * k
        pen.line([(x, 210 + 13 * (k % 3)), (x - 12, 250 + 13 * (k % 3))], width=5, fill=(90, 140, 220))
    pen.box(0, 285, 400, 15, "#49637a")


def _wise_owl(pen: Pen) -> None:
    for k in range(40):
        x, y = (k * 97) % 400, (k * 53) % 210
        pen.oval(x, y, 3, 3, "white", line=0)
    pen.oval(310, 20, 60, 60, "#f6eebc", line=0)
    pen.line([(0, 262), (400, 240)], width=18, fill=(92, 62, 40))
    pen.oval(130, 70, 140, 190, "#8a6440")
    pen.oval(155, 140, 90, 110, "#cba878", line=2)
    for x in (140, 202):
        pen.oval(x, 82, 58, 58, "#f4e9c8")
        pen.oval(x + 19, 101, 20, 20, INK, line=0)
    pen.shape([(193, 128), (207, 128), (200, 150)], "#e8a030", line=2)
    pen.shape([(138, 90), (132, 50), (172, 78)], "#8a6440")
    pen.shape([(262, 90), (268, 50), (228, 78)], "#8a6440")


def _running_snail(pen: Pen) -> None:
    pen.box(0, 220, 400, 80, "#d9c08a")
    for y in (110, 140, 170, 200):
        pen.line([(10, y), (80 - (y % 40), y)], width=4, fill=(255, 255, 255))
    pen.shape([(110, 225), (330, 225), (350, 200), (330, 150), (300, 160), (300, 200), (140, 205)], "#c9a66b")
    pen.oval(130, 90, 130, 125, "#9c4f7c")
    for k in range(3):
        pen.arc(150 + 14 * k, 108 + 13 * k, 90 - 28 * k, 88 - 27 * k, 0, 300, width=4)
    for x in (318, 342):
        pen.line([(325, 155), (x, 110)], width=4)
        pen.oval(x - 9, 95, 18, 18, "white", line=2)
        pen.oval(x - 1, 100, 7, 7, INK, line=0)


def _before_and_after(pen: Pen) -> None:
    for top, ground, mouth in ((0, "#f2dfa8", False), (200, "#a8d8f2", True)):
        pen.box(0, top, 300, 200, ground)
        pen.oval(90, top + 35, 120, 135, "#f2c39a")
        pen.box(88, top + 30, 124, 36, "#3b3b3b", radius=16)
        pen.eyes(150, top + 98, 52, 28, look=0.0 if mouth else -0.8)
        if mouth:
            pen.oval(125, top + 122, 50, 34, "#7a1e2a")
        else:
            pen.line([(128, top + 140), (172, top + 140)], width=4)
    pen.box(0, 197, 300, 6, INK)


def _four_lamps(pen: Pen) -> None:
    for number, colour in enumerate(("#4a4038", "#8a6a30", "#d8a830", "#fff06a")):
        y = 110 * number
        pen.box(0, y, 320, 110, ("#2c3440", "#3c4a60", "#5c76a0", "#94c0f0")[number])
        pen.oval(60, y + 12, 64, 64, colour)
        pen.box(78, y + 72, 28, 24, "#b0b0b8", line=3)
        for k in range(3 * number):
            a = 2 * math.pi * k / max(1, 3 * number)
            x0, y0 = 92 + 42 * math.cos(a), y + 44 + 42 * math.sin(a)
            pen.line([(x0, y0), (92 + 54 * math.cos(a), y + 44 + 54 * math.sin(a))], width=4, fill=(255, 240, 120))
        pen.box(170, y + 14, 136, 82, "#f8f8f4", line=3)
        if number:
            pen.box(0, y - 2, 320, 4, INK)


def _shouting_bear(pen: Pen) -> None:
    pen.shape([(0, 300), (90, 90), (170, 300)], "#5a7f6a", line=0)
    pen.shape([(210, 300), (330, 60), (400, 230), (400, 300)], "#486a5a", line=0)
    _body(pen, 200, "#6a4630")
    for x in (118, 232):
        pen.oval(x, 52, 50, 50, "#6a4630")
    pen.oval(115, 65, 170, 160, "#7c5238")
    pen.eyes(200, 120, 76, 26)
    pen.oval(160, 138, 80, 76, "#d0a880")
    pen.oval(187, 140, 26, 18, INK, line=0)
    pen.oval(175, 166, 50, 42, "#8a1e2a")
    pen.oval(188, 190, 24, 16, "#e07a80", line=0)


def _lonely_chess_king(pen: Pen) -> None:
    for row in range(5):
        for column in range(8):
            fill = "#e8d8b8" if (row + column) % 2 else "#6a4a34"
            pen.box(50 * column, 170 + 26 * row, 50, 26, fill)
    pen.shape([(160, 270), (240, 270), (225, 190), (235, 120), (165, 120), (175, 190)], "#f4f0e4", line=4)
    pen.box(150, 262, 100, 22, "#f4f0e4", radius=8, line=4)
    pen.shape([(160, 120), (150, 70), (180, 95), (200, 60), (220, 95), (250, 70), (240, 120)], "#e8c040", line=4)
    pen.eyes(200, 150, 34, 18, look=-0.8)
    pen.arc(186, 172, 28, 18, 200, 340)
    for x in (330, 365):
        pen.shape([(x - 14, 205), (x + 14, 205), (x + 6, 160), (x - 6, 160)], "#26222a", line=2)
        pen.oval(x - 10, 138, 20, 22, "#26222a", line=2)


def _pointing_professor(pen: Pen) -> None:
    pen.box(20, 20, 240, 170, "#2c5a44", line=6)
    for k in range(4):
        pen.line([(40, 55 + 32 * k), (70 + 37 * ((k * 7) % 5), 55 + 32 * k)], width=4, fill=(230, 236, 230))
    pen.box(270, 190, 110, 120, "#3a4a7a", radius=20, line=4)
    pen.oval(280, 80, 92, 110, "#f0c8a0")
    pen.shape([(272, 110), (262, 80), (290, 70)], "#d8d8d8", line=2)
    pen.shape([(380, 110), (390, 80), (362, 70)], "#d8d8d8", line=2)
    for x in (290, 332):
        pen.oval(x, 112, 34, 34, "#dff0f4")
        pen.oval(x + 9, 123, 10, 10, INK, line=0)
    pen.arc(302, 140, 48, 28, 20, 160, width=4)
    pen.line([(275, 215), (225, 180), (190, 120)], width=10)


TEMPLATES: tuple[tuple[str, Draw, int, int, str], ...] = (
    ("Doubting-Cat", _doubting_cat, 400, 300, "#c7b48e"),
    ("Robot-And-Flower", _robot_and_flower, 400, 300, "#a9d4e8"),
    ("Triumphant-Frog", _triumphant_frog, 400, 300, "#e86a3a"),
    ("Two-Doors", _two_doors, 400, 300, "#cfc6b4"),
    ("Sad-Cloud", _sad_cloud, 400, 300, "#8ba3b8"),
    ("Wise-Owl", _wise_owl, 400, 300, "#1e2a4a"),
    ("Running-Snail", _running_snail, 400, 300, "#8fc7d9"),
    ("Before-And-After", _before_and_after, 300, 400, "#f2dfa8"),
    ("Four-Lamps", _four_lamps, 320, 440, "#2c3440"),
    ("Shouting-Bear", _shouting_bear, 400, 300, "#b6d4dc"),
    ("Lonely-Chess-King", _lonely_chess_king, 400, 300, "#9a8fb0"),
    ("Pointing-Professor", _pointing_professor, 400, 300, "#d8cdb8"),
)


def main() -> None:
    """Draw them all."""
    OUT.mkdir(exist_ok=True)
    for name, draw, width, height, ground in TEMPLATES:
        pen = Pen(width, height, ground)
        draw(pen)
        picture = pen.picture.resize((width, height), Image.Resampling.LANCZOS)
        picture.quantize(96, dither=Image.Dither.NONE).save(OUT / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
