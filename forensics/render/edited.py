"""An edited image together with the true geometry of what it shows.

Coordinates are continuous: ``(0, 0)`` is the upper left corner of the first pixel and ``(W, H)`` the lower right
corner of the last one, so that a box ``(x0, y0, x1, y1)`` with exclusive upper bounds is also a rectangle. Every edit
returns an :class:`Edited`; edits are joined with :func:`chain`, which composes their geometry, so that the region that
a copy really shares with its source is known and the program's claim can be measured against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forensics.errors import UsageError

if TYPE_CHECKING:
    from forensics.types import Box, Point

__all__ = [
    "IDENTITY",
    "Edit",
    "Edited",
    "box_of",
    "chain",
    "check_image",
    "check_range",
    "clip_polygon",
    "compose",
    "original",
    "polygon_area",
    "rectangle",
    "retouched",
    "warp_points",
]

UInt8Array: TypeAlias = NDArray[np.uint8]
Matrix: TypeAlias = NDArray[np.float64]
Transform: TypeAlias = tuple[float, ...]

IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """What an edit made of a picture.

    Attributes
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    transform : tuple of 9 floats
        Row-major 3x3 homography from this image's to the source picture's coordinates. Edits that move pixels locally
        (redraw, pixel shuffle) give the transform around which they move them.
    query_polygon : tuple of (x, y)
        Convex outline, in this image, of the copied content.
    reference_box : (x0, y0, x1, y1)
        The part of the source picture that is shown: the box around the outline's image under ``transform``.
    source_size : (width, height)
        Of the source picture in pixels.
    steps : tuple of str
        What was done, in order, e.g. ``("crop:0.25", "jpeg:40")``.
    """

    image: UInt8Array
    transform: Transform
    query_polygon: tuple[Point, ...]
    reference_box: Box
    source_size: tuple[int, int]
    steps: tuple[str, ...] = ()

    @property
    def query_box(self) -> Box:
        """The box around the copied content in this image."""
        height, width = self.image.shape[:2]
        return box_of(self.query_polygon, width, height)

    @property
    def query_share(self) -> float:
        """Share of this image's area that shows the copied content, in [0, 1]."""
        height, width = self.image.shape[:2]
        return polygon_area(self.query_polygon) / float(height * width)

    @property
    def reference_share(self) -> float:
        """Share of the source picture's area that is shown, in [0, 1]."""
        width, height = self.source_size
        return polygon_area(warp_points(self.transform, self.query_polygon)) / (height * width)


Edit: TypeAlias = Callable[[UInt8Array], Edited]


def check_image(image: UInt8Array, what: str = "image") -> None:
    """Raise :class:`UsageError` unless ``image`` is (H, W, 3) uint8 with at least one pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise UsageError(f"{what} has shape {image.shape} and dtype {image.dtype}; give (H, W, 3) uint8 RGB")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise :class:`UsageError` unless ``value`` lies in [low, high]."""
    if not low <= value <= high:
        raise UsageError(f"{name} is {value:g}; give a number from {low:g} to {high:g}")


def rectangle(width: float, height: float, x: float = 0.0, y: float = 0.0) -> tuple[Point, ...]:
    """Return the corners of a box, clockwise on the screen, beginning at the upper left."""
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def box_of(points: Sequence[Point], width: int, height: int) -> Box:
    """Return the whole-pixel box around ``points``, cut to a ``width`` x ``height`` image; empty for no points."""
    if not points:
        return (0, 0, 0, 0)
    xy = np.asarray(points, dtype=np.float64)
    # Rounding first keeps 64.0000001 from costing a pixel.
    low = np.floor(xy.min(axis=0).round(3)).astype(int)
    high = np.ceil(xy.max(axis=0).round(3)).astype(int)
    x0, y0 = (max(0, int(v)) for v in low)
    return (x0, y0, max(x0, min(width, int(high[0]))), max(y0, min(height, int(high[1]))))


def warp_points(transform: Transform, points: Sequence[Point]) -> tuple[Point, ...]:
    """Apply a row-major homography to points."""
    if not points:
        return ()
    xy = np.asarray(points, dtype=np.float64)
    warped = np.column_stack([xy, np.ones(len(xy))]) @ np.reshape(np.asarray(transform, dtype=np.float64), (3, 3)).T
    warped = warped[:, :2] / warped[:, 2:]
    return tuple((float(x), float(y)) for x, y in warped)


def polygon_area(points: Sequence[Point]) -> float:
    """Return the area inside a simple polygon in square pixels (shoelace formula)."""
    if len(points) < 3:
        return 0.0
    x, y = np.asarray(points, dtype=np.float64).T
    doubled = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return abs(doubled) / 2.0


def clip_polygon(subject: Sequence[Point], window: Sequence[Point]) -> tuple[Point, ...]:
    """Return the intersection of two convex polygons (Sutherland and Hodgman 1974); empty where they do not meet."""
    if len(subject) < 3 or len(window) < 3:
        return ()
    corners = np.asarray(window, dtype=np.float64)
    x, y = corners.T
    if np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)) < 0:
        corners = corners[::-1]
    output = [np.asarray(point, dtype=np.float64) for point in subject]
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        edge = end - start
        # >= 0 is inside for a window whose corners run clockwise on the screen (y down).
        side = [float(edge[0] * (p[1] - start[1]) - edge[1] * (p[0] - start[0])) for p in output]
        kept: list[NDArray[np.float64]] = []
        for i, point in enumerate(output):
            j = (i + 1) % len(output)
            if side[i] >= 0:
                kept.append(point)
            if (side[i] >= 0) != (side[j] >= 0):
                kept.append(point + (output[j] - point) * (side[i] / (side[i] - side[j])))
        output = kept
        if not output:
            return ()
    clipped = tuple((float(p[0]), float(p[1])) for p in output)
    # Polygons that only touch share a point or a line.
    return clipped if polygon_area(clipped) > 1e-6 else ()


def make(
    image: UInt8Array,
    transform: Matrix | Transform,
    source: UInt8Array,
    step: str,
    outline: Sequence[Point] | None = None,
) -> Edited:
    """Build the result of one edit of ``source``.

    ``transform`` maps the coordinates of ``image`` to those of ``source``. Where ``outline`` is not given, the copied
    content is all of the source that falls inside the image.
    """
    height, width = image.shape[:2]
    source_height, source_width = source.shape[:2]
    matrix = np.asarray(transform, dtype=np.float64).reshape(3, 3)
    matrix = matrix / matrix[2, 2]
    flat: Transform = tuple(float(v) for v in matrix.ravel())
    if outline is None:
        back = np.linalg.inv(matrix)
        outline = warp_points(tuple(back.ravel()), rectangle(source_width, source_height))
    polygon = clip_polygon(outline, rectangle(width, height))
    return Edited(
        image=np.ascontiguousarray(image, dtype=np.uint8),
        transform=flat,
        query_polygon=polygon,
        reference_box=box_of(warp_points(flat, polygon), source_width, source_height),
        source_size=(source_width, source_height),
        steps=(step,),
    )


def original(image: UInt8Array) -> Edited:
    """Return the picture itself as an edit that does nothing."""
    check_image(image)
    height, width = image.shape[:2]
    return Edited(
        image=image,
        transform=IDENTITY,
        query_polygon=rectangle(width, height),
        reference_box=(0, 0, width, height),
        source_size=(width, height),
    )


def retouched(image: UInt8Array, source: UInt8Array, step: str) -> Edited:
    """Return ``image`` as an edit of ``source`` that left every pixel at its place."""
    return make(image, IDENTITY, source, step)


def compose(first: Edited, second: Edited) -> Edited:
    """Return ``second``, an edit of ``first.image``, as an edit of ``first``'s source."""
    matrix = np.reshape(first.transform, (3, 3)) @ np.reshape(second.transform, (3, 3))
    matrix = matrix / matrix[2, 2]
    flat: Transform = tuple(float(v) for v in matrix.ravel())
    back = tuple(np.linalg.inv(np.reshape(second.transform, (3, 3))).ravel())
    polygon = clip_polygon(second.query_polygon, warp_points(back, first.query_polygon))
    return Edited(
        image=second.image,
        transform=flat,
        query_polygon=polygon,
        reference_box=box_of(warp_points(flat, polygon), *first.source_size),
        source_size=first.source_size,
        steps=first.steps + second.steps,
    )


def chain(image: UInt8Array, edits: Iterable[Edit]) -> Edited:
    """Apply ``edits`` one after the other and return the result with the geometry of all of them.

    Examples
    --------
    >>> import numpy as np
    >>> from forensics.render import spatial, tones
    >>> picture = np.zeros((40, 60, 3), np.uint8)
    >>> made = chain(picture, [spatial.mirror, lambda image: tones.jpeg(image, quality=50)])
    >>> made.steps, made.reference_box
    (('mirror', 'jpeg:50'), (0, 0, 60, 40))
    """
    result = original(image)
    for edit in edits:
        result = compose(result, edit(result.image))
    return result
