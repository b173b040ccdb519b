"""The suspects of `edits/`: what is made of which picture, and the prompt that stands beside it.

The prompts are written as a user of ruDALL-E types them. None of these pictures was generated: they are edits of known
pictures, so that what the audit should find is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forensics.render import layouts, marks, redraw, spatial, text, tones
from forensics.render.edited import Edited, chain

UInt8Array: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What an edit may draw on: other pictures by key, and chance."""

    pixels: Mapping[str, UInt8Array]
    rng: np.random.Generator


class EditOf(Protocol):
    """One edit of a suspect."""

    def __call__(self, image: UInt8Array, s: Sources) -> Edited:
        """Edit ``image``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One suspect, made of the picture with key ``source``; the edit also shows those with the keys ``others``."""

    source: str
    prompt: str
    label: str
    edit: EditOf
    others: tuple[str, ...] = ()


def _crop(share: float) -> EditOf:
    return lambda image, s: spatial.crop(image, share=share, rng=s.rng, stretch=1.2)


def _box(x0: float, y0: float, x1: float, y1: float) -> EditOf:
    """Crop to a box given as shares of width and height."""

    def edit(image: UInt8Array, s: Sources) -> Edited:
        height, width = image.shape[:2]
        box = (round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height))
        return spatial.crop_box(image, box=box)

    return edit


def _redraw(strength: float) -> EditOf:
    def edit(image: UInt8Array, s: Sources) -> Edited:
        steps = [
            lambda image: spatial.scale_to(image, long_side=512),
            lambda image: redraw.redraw(image, strength=strength, rng=s.rng),
        ]
        return chain(image, steps)

    return edit


def _paste(key: str, share: float) -> EditOf:
    def edit(image: UInt8Array, s: Sources) -> Edited:
        ground = layouts.fit_inside(s.pixels[key], width=800, height=600)
        return layouts.paste(image, ground, share=share, rng=s.rng)

    return edit


def _collage(*keys: str) -> EditOf:
    return lambda image, s: layouts.collage([image, *(s.pixels[k] for k in keys)], rng=s.rng, cell=256)[0]


def _jpeg(quality: int) -> EditOf:
    return lambda image, s: tones.jpeg(image, quality=quality)


def _mirror(image: UInt8Array, s: Sources) -> Edited:
    return spatial.mirror(image)


def _grey(image: UInt8Array, s: Sources) -> Edited:
    return tones.grayscale(image)


def _small(image: UInt8Array, s: Sources) -> Edited:
    return spatial.scale_to(image, long_side=160)


def _colour(brightness: float, contrast: float, saturation: float, hue: float) -> EditOf:
    return lambda image, s: tones.jitter(
        image, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue
    )


def _noise(sigma: float) -> EditOf:
    return lambda image, s: tones.noise(image, sigma=sigma, rng=s.rng)


def _caption(words: str) -> EditOf:
    return lambda image, s: text.caption_bar(image, text=words)


def _meme(top: str, bottom: str) -> EditOf:
    return lambda image, s: text.meme_text(image, top=top, bottom=bottom)


def _over(words: str) -> EditOf:
    return lambda image, s: text.overlay_text(image, text=words, rng=s.rng, scale=0.11)


def _mark(degrees: float) -> EditOf:
    return lambda image, s: marks.stock_mark(image, degrees=degrees, opacity=0.45)


def _shot(name: str, dark: bool) -> EditOf:
    return lambda image, s: layouts.screenshot(image, rng=s.rng, text=name, dark=dark)


def _turn(degrees: float) -> EditOf:
    return lambda image, s: spatial.rotate(image, degrees=degrees, expand=True)


def _tilt(image: UInt8Array, s: Sources) -> Edited:
    return spatial.tilt(image, strength=0.16, rng=s.rng)


def _blend(key: str) -> EditOf:
    return lambda image, s: layouts.blend(image, s.pixels[key], opacity=0.25)


def _stripes(image: UInt8Array, s: Sources) -> Edited:
    return layouts.stripes(image, count=9, share=0.18, rng=s.rng)


def _then(*edits: EditOf) -> EditOf:
    def edit(image: UInt8Array, s: Sources) -> Edited:
        return chain(image, [partial(one, s=s) for one in edits])

    return edit


def _as_is(image: UInt8Array, s: Sources) -> Edited:
    return chain(image, [])


def _recipe(source: str, prompt: str, label: str, *edits: EditOf, others: tuple[str, ...] = ()) -> Recipe:
    return Recipe(source=source, prompt=prompt, label=label, edit=_then(*edits), others=others)


AITZGORRI = "aitzgorri-by-aitzol-berasategi"
SUNSET = "sunset-by-aitzol-berasategi"

RECIPES: tuple[Recipe, ...] = (
    # copies of references
    _recipe("tiger-graig-ryan-smith-01", "голова тигра, рисунок", "crop", _box(0.08, 0.05, 0.86, 0.72)),
    _recipe("astronaut", "портрет женщины-космонавта", "caption", _caption("Когда наконец взяли на работу")),
    _recipe(
        "christmas-tree-01", "новогодняя ёлка с игрушками", "mirror, colours", _mirror, _colour(1.05, 1.1, 1.3, 0.03)
    ),
    _recipe("chelsea", "рыжий кот смотрит в камеру", "redraw", _redraw(0.6)),
    _recipe("fall-scene-in-a-circle-a-01", "осенний пейзаж в круге", "watermark", _mark(30.0)),
    _recipe(
        "picnic-01", "корзина для пикника в горах", "paste", _paste(AITZGORRI, 0.2), _jpeg(70), others=(AITZGORRI,)
    ),
    _recipe(
        "xylophone-ganson",
        "детские игрушки, коллаж",
        "collage",
        _collage("teddybear-jarno-vasamaa", "flower-01", "pink-cake-gabrielle-now-r"),
        others=("teddybear-jarno-vasamaa", "flower-01", "pink-cake-gabrielle-now-r"),
    ),
    _recipe("coffee", "чашка кофе на деревянном столе", "crop to a quarter", _box(0.32, 0.1, 0.82, 0.6)),
    _recipe(
        "rocket",
        "ракета на старте ночью",
        "small, JPEG, meme text",
        _small,
        _jpeg(30),
        _meme("Поехали", "в пятницу вечером"),
    ),
    _recipe(
        "footprints-in-sand-ganson",
        "следы на песке у моря",
        "colours, noise",
        _colour(0.85, 1.3, 0.6, -0.05),
        _noise(14.0),
    ),
    _recipe("seeding-by-clements-engelhardt", "одуванчики на закате", "redraw", _redraw(0.8)),
    _recipe(
        "fifties-jukebox-gerald-g-01", "музыкальный автомат пятидесятых", "screenshot", _shot("ретро_магазин", True)
    ),
    _recipe("canada-new-brunswick", "флаг с кораблём и львом", "rotate", _turn(12.0)),
    _recipe("bulldog-puppy-ganson", "щенок бульдога", "grey, caption", _grey, _caption("Мой понедельник")),
    _recipe(
        "friends-by-aitzol-berasategi",
        "собаки выглядывают из окна, закат",
        "paste",
        _paste(SUNSET, 0.22),
        others=(SUNSET,),
    ),
    _recipe("sun-flower-ganson", "подсолнух на фоне неба", "redraw", _redraw(0.45)),
    _recipe("cigno-di-notte-nella-pa-01", "лебедь ночью на болоте", "mirror, crop", _mirror, _crop(0.6)),
    _recipe("europe-01", "цветная карта европы", "overlaid text", _over("Карта дня")),
    _recipe("picture-1a-by-freespace", "яркие кисти художника", "watermark, crop", _mark(-20.0), _crop(0.65)),
    _recipe("casa-dei-sogni-architett-01", "сказочный кривой домик", "tilt", _tilt),
    _recipe("browser", "парусный корабль, мультяшный стиль", "redraw", _redraw(0.7)),
    _recipe("camera", "фотограф с камерой на штативе, чёрно-белое фото", "blend", _blend(SUNSET), others=(SUNSET,)),
    _recipe("horse-1-konstantin-r-01", "розовая лошадь на фоне солнца", "stripes", _stripes),
    _recipe("life-by-aitzol-berasategi", "ручей в лесу среди камней", "JPEG", _small, _jpeg(45)),
    # not copies: pictures of the same kinds that are not among the references, edited alike
    _recipe("tigre03-architetto-franc-01", "тигр крадётся, рисунок", "none", _as_is),
    _recipe("leone-02-architetto-fran-01", "лев лежит", "redraw", _redraw(0.5)),
    _recipe("orso-architetto-francesc-03", "бурый медведь", "caption", _caption("Никто не ждал")),
    _recipe("ladybug-01", "божья коровка", "watermark", _mark(30.0)),
    _recipe("rana03-architetto-france-01", "зелёная лягушка", "mirror", _mirror),
    _recipe("home4", "японский домик", "crop", _crop(0.7)),
    _recipe("strawberry-01", "спелая клубника", "colours", _colour(1.1, 1.2, 1.3, 0.02)),
    _recipe("xmas", "наряженная ёлка", "redraw", _redraw(0.55)),
    _recipe("bus2-jarno-vasamaa-01", "туристический автобус", "screenshot", _shot("автопарк", False)),
    _recipe("truck-jarno-vasamaa", "красный грузовик", "rotate", _turn(-10.0)),
    _recipe("ambulanza", "машина скорой помощи", "meme text", _meme("Уже едем", "")),
    _recipe("rose", "букет розовых роз", "crop", _crop(0.55)),
    _recipe("head13", "девушка в профиль, комикс", "grey", _grey),
    _recipe(
        "spain-spanish-royal-navy-historic",
        "старинный флаг со львами",
        "paste",
        _paste("grass", 0.3),
        others=("grass",),
    ),
    _recipe(AITZGORRI, "горы осенью, зелёный луг", "redraw", _redraw(0.4)),
    _recipe(SUNSET, "закат в горах", "overlaid text", _over("Доброе утро")),
)
