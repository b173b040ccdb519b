"""Pictures to compose training samples over: read once, kept small in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import SourceError
from forensics.images import decode
from forensics.render.stock_names import is_held_out

if TYPE_CHECKING:
    from forensics.types import Progress, UInt8Array

__all__ = ["Backgrounds", "find_pictures", "read_backgrounds"]

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_LARGE, _KEPT = 1400, 560
"""Longer side in pixels from which details are kept too, and of what is kept."""
_CUTS = 5
_QUALITY = 95
_LEAST_SIDE = 64
_NOTHING = "no picture to compose with; give folders of PNG, JPEG or WebP files"


class Backgrounds:
    """Pictures in memory as JPEG, by the folder they came from; each folder is drawn from equally often."""

    def __init__(self, folders: Sequence[Sequence[bytes]]) -> None:
        self._folders = [list(folder) for folder in folders if folder]
        if not self._folders:
            raise SourceError(_NOTHING)

    def __len__(self) -> int:
        return sum(map(len, self._folders))

    def draw(self, rng: np.random.Generator) -> UInt8Array:
        """Return one picture, (H, W, 3) uint8 RGB."""
        import simplejpeg

        folder = self._folders[int(rng.integers(len(self._folders)))]
        return np.asarray(simplejpeg.decode_jpeg(folder[int(rng.integers(len(folder)))]))


def read_backgrounds(
    folders: Sequence[Path],
    *,
    held_out: bool,
    most: int,
    without: Collection[str] = (),
    progress: Progress | None = None,
) -> Backgrounds:
    """Read pictures, at most ``most`` a folder, in the order of a hash of their names.

    Large ones are kept as several cuts. Which are held out is decided by the file's name. Files that cannot be decoded
    are passed over, and those whose names are in ``without``: pictures that bear marks themselves, say.

    Raises
    ------
    SourceError
        If a folder is missing or none has a picture.
    """
    kept = []
    for place, paths in enumerate(find_pictures(folders, held_out=held_out, without=without)):
        pictures: list[bytes] = []
        for path in paths[:most]:
            decoded = decode(path.read_bytes())
            if decoded.pixels is not None and min(decoded.pixels.shape[:2]) >= _LEAST_SIDE:
                pictures.extend(_cuts(decoded.pixels, path.name))
        kept.append(pictures)
        if progress is not None:
            progress("reading pictures", place + 1, len(folders))
    return Backgrounds(kept)


def find_pictures(folders: Sequence[Path], *, held_out: bool, without: Collection[str] = ()) -> list[list[Path]]:
    """Return the files of pictures that are, or are not, held out, by folder, in the order of a hash of their names.

    Raises
    ------
    SourceError
        As :func:`read_backgrounds`, but that the files are not opened.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise SourceError(f"{folder} is no folder; give one with pictures to compose with")
        paths = [path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()]
        paths = [path for path in paths if is_held_out(path.stem) == held_out and path.name not in without]
        found.append(sorted(paths, key=lambda path: hashlib.sha256(path.name.encode()).digest()))
    if not any(found):
        if held_out and any(find_pictures(folders, held_out=False, without=without)):
            raise SourceError("none of the pictures is held out, which a fifth is by their names; give more pictures")
        raise SourceError(_NOTHING)
    return found


def _cuts(pixels: UInt8Array, name: str) -> list[bytes]:
    """Return a picture, and a large one's details too, as JPEG of at most 560 px."""
    import cv2
    import simplejpeg

    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    height, width = pixels.shape[:2]
    parts = [pixels]
    if max(height, width) > _LARGE:
        for _ in range(_CUTS):
            share = rng.uniform(0.25, 0.6)
            h, w = round(height * share), round(width * share)
            y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            parts.append(pixels[y : y + h, x : x + w])
    made = []
    for part in parts:
        scale = min(1.0, _KEPT / max(part.shape[:2]))
        size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
        small = cv2.resize(part, size, interpolation=cv2.INTER_AREA) if scale < 1 else part
        made.append(bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(small), quality=_QUALITY)))
    return made
