"""Pictures of the report: previews embedded once, references laid over the generated image."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["Gallery", "data_uri", "laid_over", "open_grey", "open_preview"]

_QUALITY = 80
_WASH = (255, 45, 150)
"""No colour that pictures often have."""
_WASH_OPACITY = 0.62


def open_preview(run_dir: Path, picture: Mapping[str, Any]) -> UInt8Array | None:
    """Return a stored preview, (H, W, 3) uint8 RGB, or None where it is gone or damaged."""
    name = str(picture.get("file", ""))
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    try:
        with Image.open(run_dir / name, formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB"))
    except Exception:  # noqa: BLE001 Pillow raises anything on damaged bytes; the report goes on without the picture
        return None


def data_uri(pixels: UInt8Array, *, side: int, kind: str = "JPEG") -> str:
    """Return a picture, at most ``side`` pixels on its longer side, as a ``data:`` address."""
    image = Image.fromarray(pixels)
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if kind == "JPEG":
        image.save(out, "JPEG", quality=_QUALITY, optimize=True)
    else:
        image.save(out, "WEBP", quality=_QUALITY, method=2)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def laid_over(
    reference: UInt8Array,
    *,
    reference_size: tuple[int, int],
    query_size: tuple[int, int],
    transform: Sequence[float],
    side: int,
) -> UInt8Array | None:
    """Return the reference in the query's frame, (h, w, 4) uint8 RGBA, transparent where the reference ends.

    Parameters
    ----------
    reference : ndarray
        (H, W, 3) uint8 preview of the reference.
    reference_size, query_size : (int, int)
        Width and height of the full-size images, in whose pixels ``transform`` is given.
    transform : sequence of 9 floats
        Row-major homography from query to reference pixels, a mirror included.
    side : int
        Longer side of the result in pixels.

    Returns
    -------
    ndarray or None
        None where the transform is not usable (not finite, singular).
    """
    import cv2

    matrix = np.asarray(transform, np.float64).reshape(3, 3)
    if not np.isfinite(matrix).all() or min(*reference_size, *query_size) < 1:
        return None
    if abs(float(np.linalg.det(matrix))) < 1e-12:
        return None
    scale = min(1.0, side / max(query_size))
    width, height = (max(1, round(length * scale)) for length in query_size)
    h, w = reference.shape[:2]
    to_full = np.diag([query_size[0] / width, query_size[1] / height, 1.0])
    to_preview = np.diag([w / reference_size[0], h / reference_size[1], 1.0])
    inverse = to_preview @ matrix @ to_full  # result pixel -> preview pixel
    rgba = np.dstack([reference, np.full((h, w), 255, np.uint8)])
    warped = cv2.warpPerspective(
        rgba,
        inverse,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0, 0),
    )
    return np.asarray(warped, np.uint8) if warped[..., 3].any() else None


def open_grey(run_dir: Path, name: str) -> UInt8Array | None:
    """Return a stored grey PNG, (h, w) uint8, or None where it is gone or damaged."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    try:
        with Image.open(run_dir / name, formats=["PNG"]) as image:
            return np.asarray(image.convert("L"))
    except Exception:  # noqa: BLE001 as for previews
        return None


class Gallery:
    """Pictures embedded in one HTML file, each once however often it is shown.

    Parameters
    ----------
    run_dir : Path
        The run folder.
    pictures : mapping
        ``evidence.json``'s list.
    """

    def __init__(self, run_dir: Path, pictures: Mapping[str, Mapping[str, Any]]) -> None:
        self._run_dir = run_dir
        self._pictures = pictures
        self._names: dict[str, str | None] = {}
        self.embedded: list[dict[str, Any]] = []

    def size(self, sha256: str) -> tuple[int, int] | None:
        """Return the full image's width and height, or None where no picture was stored."""
        picture = self._pictures.get(sha256)
        return (int(picture["width"]), int(picture["height"])) if picture else None

    def pixels(self, sha256: str) -> UInt8Array | None:
        """Return the stored preview's pixels, or None."""
        picture = self._pictures.get(sha256)
        return open_preview(self._run_dir, picture) if picture else None

    def show(self, sha256: str, *, side: int) -> str | None:
        """Embed the preview of an image and return the id of its picture; None where there is none."""
        if sha256 not in self._names:
            pixels, size = self.pixels(sha256), self.size(sha256)
            self._names[sha256] = None
            if pixels is not None and size is not None and min(size) > 0:
                self._names[sha256] = self._add(data_uri(pixels, side=side), size)
        return self._names[sha256]

    def mask(self, name: str, size: tuple[int, int], *, side: int) -> str | None:
        """Embed a mask, ``name`` in the run folder, as a wash of colour over an image of that size; return its id."""
        grey = open_grey(self._run_dir, name)
        if grey is None or not grey.any():
            return None
        if max(grey.shape) > side:
            scale = side / max(grey.shape)
            small = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
            grey = np.asarray(Image.fromarray(grey).resize(small, Image.Resampling.BOX))
        wash = np.empty((*grey.shape, 4), np.uint8)
        wash[..., :3] = _WASH
        wash[..., 3] = np.rint(grey * _WASH_OPACITY)
        return self.overlay(wash, size)

    def plain(self, name: str, *, side: int) -> tuple[str, int, int] | None:
        """Embed a grey picture of the run folder; return its id, width and height, or None where it is gone."""
        grey = open_grey(self._run_dir, name)
        if grey is None:
            return None
        height, width = grey.shape
        pixels = np.repeat(grey[..., None], 3, 2)
        return self._add(data_uri(pixels, side=side), (width, height)), width, height

    def overlay(self, pixels: UInt8Array, size: tuple[int, int]) -> str:
        """Embed a transparent picture of the given full size and return its id."""
        return self._add(data_uri(pixels, side=max(pixels.shape[:2]), kind="WEBP"), size)

    def _add(self, uri: str, size: tuple[int, int]) -> str:
        name = f"p{len(self.embedded)}"
        self.embedded.append({"name": name, "uri": uri, "width": size[0], "height": size[1]})
        return name
