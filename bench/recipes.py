"""Random chains of edits by severity, for :mod:`bench.pairs`.

``easy`` changes look little; ``medium`` changes look or geometry a good deal but keeps most of the picture in view;
``hard`` leaves a small crop, or makes the picture a small part of another; ``redraw`` is painted again as a generator
does, alone or with a mild edit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forensics.render import layouts, marks, redraw, spatial, text, tones
from forensics.render.edited import Edit, Edited

__all__ = ["SEVERITIES", "UInt8Array", "detail", "draw_recipe"]

UInt8Array: TypeAlias = NDArray[np.uint8]
Rng: TypeAlias = np.random.Generator

CAPTIONS = (
    "Когда наконец сдал отчёт", "Мой понедельник", "ожидание и реальность", "Это я после обеда", "Никто: ... Я:",
    "when the code compiles", "me on Monday morning", "nobody expected this", "one does not simply", "Всё по плану",
    "Опять дедлайн завтра", "this is fine", "Купил и не жалею", "Не сегодня", "Фото дня", "sale 50 %",
)  # fmt: skip


def detail(pixels: UInt8Array) -> float:
    """Return the share of pixels with an edge, at 128 px: near 0 for blank and plain pictures."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((128, 128), Image.Resampling.BOX), dtype=np.float32)
    steps = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    return float((steps > 12).mean())


def _caption(rng: Rng) -> str:
    return CAPTIONS[int(rng.integers(len(CAPTIONS)))]


def _jitter(rng: Rng, reach: float) -> Edit:
    low, high = 1.0 - reach, 1.0 + reach
    values = {name: float(rng.uniform(low, high)) for name in ("brightness", "contrast", "saturation")}
    hue = float(rng.uniform(-0.12, 0.12) * reach)
    return lambda image: tones.jitter(image, hue=hue, **values)


def _shrink(image: UInt8Array, factor: float) -> Edited:
    return spatial.scale_to(image, long_side=max(48, round(max(image.shape[:2]) * factor)))


def _mild(rng: Rng) -> Edit:
    """Return one edit that hardly changes the look."""
    quality, share = int(rng.integers(45, 90)), float(rng.uniform(0.75, 0.95))
    factor, sigma = float(rng.uniform(0.3, 0.8)), float(rng.uniform(3, 9))
    margins = _margins(rng, 0.12)
    options: list[Edit] = [
        lambda image: tones.jpeg(image, quality=quality),
        lambda image: spatial.crop(image, share=share, rng=rng, stretch=1.2),
        lambda image: _shrink(image, factor),
        lambda image: tones.noise(image, sigma=sigma, rng=rng),
        lambda image: tones.blur(image, radius=max(image.shape) * float(rng.uniform(0.001, 0.004))),
        lambda image: tones.sharpen(image, percent=int(rng.integers(50, 250))),
        lambda image: spatial.pad(image, margins=margins, fill=_colour(rng)),
        spatial.mirror,
        tones.grayscale,
        _jitter(rng, 0.25),
    ]
    return options[int(rng.integers(len(options)))]


def _colour(rng: Rng) -> tuple[int, int, int]:
    if rng.random() < 0.5:
        return (255, 255, 255) if rng.random() < 0.5 else (0, 0, 0)
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return red, green, blue


def _strong(rng: Rng, others: Sequence[UInt8Array]) -> Edit:
    """Return one edit that changes the look or the geometry a good deal."""
    options: list[Edit] = [
        lambda image: spatial.crop(image, share=float(rng.uniform(0.35, 0.7)), rng=rng, stretch=1.5),
        lambda image: spatial.rotate(image, degrees=float(rng.uniform(-25, 25)), fill=_colour(rng), expand=True),
        lambda image: spatial.quarter_turn(image, turns=int(rng.integers(1, 4))),
        spatial.flip,
        lambda image: text.caption_bar(image, text=_caption(rng), at_bottom=bool(rng.integers(2))),
        lambda image: text.meme_text(image, top=_caption(rng), bottom=_caption(rng)),
        lambda image: text.overlay_text(image, text=_caption(rng), rng=rng, scale=float(rng.uniform(0.08, 0.2))),
        lambda image: marks.stock_mark(
            image,
            opacity=float(rng.uniform(0.25, 0.6)),
            period=float(rng.uniform(0.3, 0.8)),
            degrees=float(rng.uniform(-45, 45)),
            offset=(float(rng.random()), float(rng.random())),
        ),
        lambda image: layouts.blend(image, others[0], opacity=float(rng.uniform(0.15, 0.4))),
        lambda image: layouts.stripes(
            image, count=int(rng.integers(3, 20)), share=float(rng.uniform(0.1, 0.4)), rng=rng
        ),
        lambda image: tones.pixelize(image, block=max(2, round(max(image.shape) * float(rng.uniform(0.008, 0.022))))),
        lambda image: tones.shuffle_pixels(
            image, radius=max(1, round(max(image.shape) * float(rng.uniform(0.004, 0.012)))), rng=rng
        ),
        lambda image: tones.jpeg(image, quality=int(rng.integers(6, 30))),
        lambda image: tones.noise(image, sigma=float(rng.uniform(15, 45)), rng=rng),
        lambda image: tones.blur(image, radius=max(image.shape) * float(rng.uniform(0.006, 0.015))),
        lambda image: tones.tint(image, colour=_colour(rng), opacity=float(rng.uniform(0.2, 0.5))),
        lambda image: tones.posterize(image, levels=int(rng.integers(3, 7))),
        lambda image: layouts.screenshot(image, rng=rng, text=_caption(rng)),
        lambda image: spatial.tilt(image, strength=float(rng.uniform(0.05, 0.22)), rng=rng, fill=_colour(rng)),
        lambda image: spatial.squeeze(image, factor=float(np.exp(rng.uniform(-0.6, 0.6)))),
        lambda image: spatial.pad(image, margins=_margins(rng, 0.5), fill=_colour(rng)),
        _jitter(rng, 0.6),
    ]
    return options[int(rng.integers(len(options)))]


def _margins(rng: Rng, reach: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(v) for v in rng.uniform(0.0, reach, 4))
    return left, top, right, bottom


def _ground(image: UInt8Array, other: UInt8Array) -> UInt8Array:
    """Return a background with the other picture's shape, not smaller than the picture needs."""
    factor = max(image.shape[:2]) * 1.2 / max(other.shape[:2])
    width, height = round(other.shape[1] * max(1.0, factor)), round(other.shape[0] * max(1.0, factor))
    return layouts.fit_inside(other, width=width, height=height)


def _telling_crop(image: UInt8Array, *, share: float, rng: Rng) -> Edited:
    """Crop where something is to be seen: nobody can tell what an empty corner was copied from."""
    made = spatial.crop(image, share=share, rng=rng, stretch=1.5)
    for _ in range(20):
        if detail(made.image) >= 0.05:
            break
        made = spatial.crop(image, share=share, rng=rng, stretch=1.5)
    return made


def _placed(rng: Rng, others: Sequence[UInt8Array]) -> list[Edit]:
    """Return edits that leave a small part of the picture, or make it a small part of another."""
    crop = float(np.exp(rng.uniform(np.log(0.07), np.log(0.3))))
    share = float(np.exp(rng.uniform(np.log(0.07), np.log(0.4))))

    def cut(image: UInt8Array) -> Edited:
        return _telling_crop(image, share=crop, rng=rng)

    def paste(image: UInt8Array) -> Edited:
        return layouts.paste(image, _ground(image, others[0]), share=share, rng=rng)

    def half_then_paste(image: UInt8Array) -> Edited:
        return spatial.crop(image, share=float(rng.uniform(0.4, 0.7)), rng=rng, stretch=1.3)

    def collage(image: UInt8Array) -> Edited:
        return layouts.collage([image, *others], rng=rng, cell=256, gap=int(rng.integers(0, 12)))[0]

    options: list[list[Edit]] = [
        [cut], [cut], [cut, spatial.mirror], [paste], [paste], [spatial.mirror, paste],
        [half_then_paste, paste], [collage],
        [lambda image: spatial.rotate(image, degrees=float(rng.uniform(-25, 25)), expand=True), cut],
    ]  # fmt: skip
    return options[int(rng.integers(len(options)))]


def _easy(rng: Rng, others: Sequence[UInt8Array]) -> list[Edit]:
    return [_mild(rng) for _ in range(int(rng.integers(1, 3)))]


def _medium(rng: Rng, others: Sequence[UInt8Array]) -> list[Edit]:
    edits = [_strong(rng, others) for _ in range(int(rng.integers(1, 3)))]
    return [*edits, _mild(rng)] if rng.random() < 0.5 else edits


def _hard(rng: Rng, others: Sequence[UInt8Array]) -> list[Edit]:
    edits = _placed(rng, others)
    chance = rng.random()
    if chance < 0.35:
        return [*edits, _mild(rng)]
    if chance < 0.5:
        return [*edits, _strong(rng, others[1:] or others)]
    return edits


def _redraw(rng: Rng, others: Sequence[UInt8Array]) -> list[Edit]:
    strength, grid = float(rng.uniform(0.25, 1.0)), int(rng.choice([24, 32, 48]))
    # At the size at which a generator works, so that the grid means the same for all pictures.
    edits: list[Edit] = [
        lambda image: spatial.scale_to(image, long_side=512),
        lambda image: redraw.redraw(image, strength=strength, rng=rng, grid=grid),
    ]
    chance = rng.random()
    if chance < 0.3:
        edits.insert(0, lambda image: spatial.crop(image, share=float(rng.uniform(0.5, 0.9)), rng=rng, stretch=1.3))
    elif chance < 0.45:
        edits.insert(0, spatial.mirror)
    elif chance < 0.55:
        edits.append(_mild(rng))
    return edits


SEVERITIES: dict[str, Callable[[Rng, Sequence[UInt8Array]], list[Edit]]] = {
    "easy": _easy,
    "medium": _medium,
    "hard": _hard,
    "redraw": _redraw,
}


def draw_recipe(severity: str, *, others: Sequence[UInt8Array], rng: Rng) -> list[Edit]:
    """Return a random chain of edits of one severity.

    Parameters
    ----------
    severity : str
        A key of :data:`SEVERITIES`.
    others : sequence of (H, W, 3) uint8
        At least one unrelated picture, for backgrounds, collages and blends.
    """
    return SEVERITIES[severity](rng, others)
