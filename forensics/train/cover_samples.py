"""Samples for the detector of covers: renderings and what is none, half of them spoilt as a generator spoils them.

Sample ``n`` of a set is a function of the set's seed and ``n`` alone. Covers and the rest are spoilt alike and equally
often, so that it tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from forensics.detect.cover_network import CLASSES
from forensics.errors import SourceError
from forensics.images import decode
from forensics.render import tones
from forensics.render.decoys import DECOYS
from forensics.render.distractors import DISTRACTORS, add_distractor
from forensics.render.generator_look import latent_warp, low_pass, patch_mix
from forensics.render.lettering import Lettering
from forensics.render.mockups import SUBTYPES, mockup
from forensics.render.redraw import redraw
from forensics.render.stock_names import is_held_out

if TYPE_CHECKING:
    from forensics.types import Progress, UInt8Array

    Repaint: TypeAlias = Callable[[UInt8Array], UInt8Array]

__all__ = ["CoverSample", "Pool", "Recipe", "cover_sample", "read_pool"]

_KEPT = 320
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# names of clip arts that show a cover, a disc or a page: no example of what is none
_THEMSELVES = (
    "album",
    "banner",
    "book",
    "brochure",
    "browser",
    "cd",
    "comic",
    "cover",
    "disc",
    "disk",
    "dvd",
    "flyer",
    "magazine",
    "newspaper",
    "poster",
    "record",
    "screen",
    "sign",
    "vinyl",
    "web",
    "window",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is drawn how often.

    Attributes
    ----------
    covers : float
        Share of samples that are covers, the four kinds alike.
    spoilt : float
        Share that is spoilt as a generator spoils pictures.
    repainted : float
        Share of those that go through a generator's own codes, where one is given.
    smallest, largest : int
        Sides of a sample in pixels.
    """

    covers: float = 0.45
    spoilt: float = 0.55
    repainted: float = 0.15
    smallest: int = 128
    largest: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Pictures to draw on, by the folder that they are from; each folder is drawn from equally often."""

    folders: tuple[tuple[UInt8Array, ...], ...]

    def one(self, rng: np.random.Generator, *, smallest_part: float = 0.3) -> UInt8Array:
        """Return a part of a picture, mirrored at random: at least ``smallest_part`` of each side."""
        folder = self.folders[int(rng.integers(len(self.folders)))]
        picture = folder[int(rng.integers(len(folder)))]
        lengths = [max(8, round(n * float(rng.uniform(smallest_part, 1.0)))) for n in picture.shape[:2]]
        y, x = (int(rng.integers(0, n - part + 1)) for n, part in zip(picture.shape[:2], lengths, strict=True))
        cut = picture[y : y + lengths[0], x : x + lengths[1]]
        return np.ascontiguousarray(cut[:, ::-1] if rng.random() < 0.5 else cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverSample:
    """One sample.

    Attributes
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    label : int
        Into ``detect.cover_network.CLASSES``.
    what : str
        The kind of cover, or what it is instead.
    spoilt : str
        How it was spoilt; empty where it was not.
    """

    image: UInt8Array
    label: int
    what: str
    spoilt: str


def read_pool(
    folders: Sequence[Path], *, held_out: bool, most: int = 600, seed: int = 0, progress: Progress | None = None
) -> Pool:
    """Read pictures, at most 320 pixels a side.

    Parameters
    ----------
    folders : sequence of Path
        Searched to any depth for JPEG, PNG and WebP. Pictures whose name says that they show a book, a disc, a page or
        a sign are left out.
    held_out : bool
        The fifth of the pictures (by a hash of the file's name) that training leaves out, instead of the rest.
    most : int
        Pictures a folder.
    seed : int
        Of which these are.

    Raises
    ------
    SourceError
        If a folder is missing or has no picture that can be read.
    """
    made = []
    for number, folder in enumerate(folders):
        if not folder.is_dir():
            raise SourceError(f"{folder} is no folder; give one with pictures to draw covers on")
        paths = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in _SUFFIXES and is_held_out(path.name) == held_out and not _shows_one(path)
        )
        rng = np.random.default_rng((seed, number))
        chosen = [paths[place] for place in rng.permutation(len(paths))[:most].tolist()]
        pictures = []
        for place, path in enumerate(chosen):
            picture = _small(path)
            if picture is not None:
                pictures.append(picture)
            if progress is not None:
                progress("reading pictures", place + 1, len(chosen))
        if not pictures:
            kept = "held-out " if held_out else ""
            raise SourceError(f"{folder} has no {kept}picture that can be read; give one with pictures")
        made.append(tuple(pictures))
    return Pool(folders=tuple(made))


def cover_sample(
    number: int,
    pool: Pool,
    letters: Lettering,
    recipe: Recipe,
    *,
    seed: int,
    unseen: bool = False,
    repaint: Repaint | None = None,
) -> CoverSample:
    """Return a sample.

    Parameters
    ----------
    number : int
    pool : Pool
    letters : Lettering
    recipe : Recipe
    seed : int
        Of the set.
    unseen : bool
        Designs and settings that training leaves out; see :func:`forensics.render.mockups.mockup`.
    repaint : callable, optional
        A generator's codes: (H, W, 3) uint8 in and out, sides multiples of 32.
    """
    rng = np.random.default_rng((seed, number))
    side = round(float(np.exp(rng.uniform(np.log(recipe.smallest), np.log(recipe.largest)))) / 32) * 32
    if rng.random() < recipe.covers:
        label = int(rng.integers(1, len(CLASSES)))
        what = CLASSES[label]
        image = mockup(
            SUBTYPES[label - 1],
            [pool.one(rng) for _ in range(4)],
            rng=rng,
            letters=letters,
            side=side,
            unseen=unseen,
        )
    else:
        label = 0
        what, image = _nothing(pool, letters, rng, side)
    spoilt = ""
    if rng.random() < recipe.spoilt:
        spoilt, image = _spoil(image, rng, recipe, repaint)
    if rng.random() < 0.3:
        image = tones.jpeg(image, quality=int(rng.integers(45, 96))).image
    return CoverSample(image=image, label=label, what=what, spoilt=spoilt)


def _nothing(pool: Pool, letters: Lettering, rng: np.random.Generator, side: int) -> tuple[str, UInt8Array]:
    """Return a name and an image of what is no cover."""
    whole = pool.one(rng, smallest_part=0.4)
    height, width = whole.shape[:2]
    scale = side / max(height, width)
    # a generator's images are square, others mostly not
    size = (side, side) if rng.random() < 0.6 else (max(32, round(width * scale)), max(32, round(height * scale)))
    picture = np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BICUBIC))
    kind = float(rng.random())
    if kind < 0.36:
        return "picture", picture
    if kind < 0.5:
        return "marked", DECOYS["marked"](picture, rng, letters)
    if kind < 0.72:
        # a window's frame around a picture is what a page is told by
        names = [name for name in DISTRACTORS if name != "screen"]
        name = names[int(rng.integers(len(names)))]
        return name, add_distractor(picture, rng, fonts=letters.faces, kind=name)
    name = list(DECOYS)[int(rng.integers(len(DECOYS)))]
    return name, DECOYS[name](picture, rng, letters)


def _spoil(
    image: UInt8Array, rng: np.random.Generator, recipe: Recipe, repaint: Repaint | None
) -> tuple[str, UInt8Array]:
    """Return a name and the image as a generator would have drawn it."""
    if repaint is not None and rng.random() < recipe.repainted:
        shown = Image.fromarray(image).resize((128, 128), Image.Resampling.LANCZOS)
        return "codes", repaint(np.asarray(shown))
    kind = int(rng.integers(3))
    cell = max(4, max(image.shape[:2]) // int(rng.integers(12, 40)))
    if kind == 0:
        return "redraw", redraw(image, strength=float(rng.uniform(0.1, 0.8)), rng=rng).image
    (warped,) = latent_warp([image], rng, cell=cell, strength=float(rng.uniform(0.03, 0.22)))
    if kind == 1:
        return "warp", low_pass(warped, sigma=max(0.1, max(image.shape[:2]) * float(rng.uniform(0.001, 0.008))))
    return "patches", patch_mix(warped, rng, cell=min(64, max(4, cell // 2)), share=float(rng.uniform(0.02, 0.3)))


def _shows_one(path: Path) -> bool:
    words = path.stem.lower().replace("-", "_").split("_")
    return any(word.startswith(_THEMSELVES) for word in words)


def _small(path: Path) -> UInt8Array | None:
    """Return a file's picture, scaled down to 320 pixels on the longer side, or None where it cannot be read."""
    try:
        pixels = decode(path.read_bytes(), need=_KEPT).pixels
    except OSError:
        return None
    if pixels is None or min(pixels.shape[:2]) < 16:
        return None
    picture = Image.fromarray(pixels)
    picture.thumbnail((_KEPT, _KEPT), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(picture)
