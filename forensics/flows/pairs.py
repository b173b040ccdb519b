"""Geometric verification of candidate pairs, in worker processes: pixels in, one result a pair out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.images import decode, encode_preview
from forensics.index import Index, Pixels
from forensics.sources import read_bytes
from forensics.types import Verification
from forensics.verify import Features, Hint, aligned_parts, extract, verify_pair

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["Compared", "PairsInit", "PairsTask", "PicturesTask", "picture", "verify_pairs"]

PICTURE_SIDE = 512
"""Longer side in pixels of the pictures that a run folder keeps as evidence."""

# A decode of twice the common frame loses nothing that the frame shows.
_NEED = 512
_CACHE_BYTES = 192 << 20

# From here on a pair is a copy whatever else is compared; the candidates that only parts of references proposed can
# then be spared.
_PLAIN_LOG10_NFA = -8.0
_PLAIN_SIMILARITY = 0.4
_ALIGNED = 3
"""Pairs a query whose aligned parts are described: two passes of the copy descriptor each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsInit:
    """What every worker opens once.

    Attributes
    ----------
    queries, references : str
        Index folders.
    source_roots : mapping of str to str
        For references that moved.
    """

    queries: str
    references: str
    source_roots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsTask:
    """One query and the references to compare it with, as numbers of images in their indexes.

    Attributes
    ----------
    query : int
    references : tuple of int
        Best first; those from ``late`` on are compared only where none of the first is plainly a copy.
    placing : tuple of bool
        Whether the slower comparison is worth its time where features find nothing.
    hints : tuple of Hint or None
        Where the descriptor saw the pair alike, where that is a part and worth a look of its own.
    late : int
    aligned_side : int
        Side in pixels of the aligned parts that are wanted back; 0 for none.
    """

    query: int
    references: tuple[int, ...]
    placing: tuple[bool, ...]
    hints: tuple[Hint | None, ...]
    late: int
    aligned_side: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What the comparison of one pair gave.

    Attributes
    ----------
    verification : Verification
    aligned : tuple of two (side, side, 3) uint8 RGB, or None
        The same place in both images; see :func:`forensics.verify.aligned_parts`.
    """

    verification: Verification
    aligned: tuple[UInt8Array, UInt8Array] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesTask:
    """One image of which a picture is wanted. ``queries`` tells from which index."""

    queries: bool
    image: int


def verify_pairs(init: PairsInit, task: PairsTask) -> tuple[Compared | None, ...]:
    """Compare one query with its candidates; one result a reference, in order, None where it was not needed."""
    queries, references = _opened(init)
    query = _features(queries, task.query)
    if isinstance(query, str):
        reason = f"the generated image is {query}"
        return tuple(Compared(verification=Verification(status="unverified", reason=reason)) for _ in task.references)
    found: list[Compared | None] = []
    for at, (number, placing, hint) in enumerate(zip(task.references, task.placing, task.hints, strict=True)):
        if at == task.late and any(one and _plain(one.verification) for one in found):
            found += [None] * (len(task.references) - at)
            break
        found.append(_verify(query, references, number, placing=placing, hint=hint))
    if task.aligned_side:
        _add_aligned(found, query, references, task)
    return tuple(found)


def _plain(verification: Verification) -> bool:
    return verification.log10_nfa <= _PLAIN_LOG10_NFA and verification.similarity >= _PLAIN_SIMILARITY


def _add_aligned(found: list[Compared | None], query: Features, references: Index, task: PairsTask) -> None:
    """Add the aligned parts of the best placed pairs."""
    placed = [
        (one.verification.log10_nfa, -one.verification.correlation, at)
        for at, one in enumerate(found)
        if one is not None and one.verification.region is not None
    ]
    for _, _, at in sorted(placed)[:_ALIGNED]:
        one, reference = found[at], _reference(references, task.references[at])
        if one is not None and isinstance(reference, Features):
            parts = aligned_parts(query, reference, one.verification, side=task.aligned_side)
            found[at] = replace(one, aligned=parts)


def picture(init: PairsInit, task: PicturesTask) -> bytes | None:
    """Return a JPEG of at most :data:`PICTURE_SIDE` pixels; None where the pixels are gone."""
    index = _opened(init)[0 if task.queries else 1]
    found = index.pixels(task.image)
    if found.data is None:
        return None
    pixels = decode(found.data, need=PICTURE_SIDE).pixels
    return None if pixels is None else encode_preview(pixels, long_side=PICTURE_SIDE)


@lru_cache(maxsize=1)
def _cache() -> OrderedDict[int, Features | str]:
    return OrderedDict()


def _verify(query: Features, references: Index, number: int, *, placing: bool, hint: Hint | None) -> Compared:
    reference = _reference(references, number)
    if isinstance(reference, str):
        return Compared(verification=Verification(status="unverified", reason=f"the reference is {reference}"))
    hints = () if hint is None else (hint,)
    return Compared(verification=verify_pair(query, reference, placing=placing, hints=hints))


def _reference(references: Index, number: int) -> Features | str:
    cache = _cache()
    reference = cache.pop(number, None) or _features(references, number)
    cache[number] = reference
    while len(cache) > 1 and sum(_bytes(entry) for entry in cache.values()) > _CACHE_BYTES:
        cache.popitem(last=False)
    return reference


def _features(index: Index, number: int) -> Features | str:
    """Features of one image, or why there are none."""
    image = index.image(number)
    found: Pixels = index.pixels(number)
    if found.data is None:
        return found.reason
    decoded = decode(found.data, need=_NEED)
    if decoded.pixels is None:
        return f"{decoded.state}: {decoded.reason}"
    return extract(decoded.pixels, width=image.width, height=image.height)


def _bytes(entry: Features | str) -> int:
    return 0 if isinstance(entry, str) else entry.descriptors.nbytes + entry.frame.nbytes


_INDEXES: dict[tuple[str, str], tuple[Index, Index]] = {}


def _opened(init: PairsInit) -> tuple[Index, Index]:
    key = (init.queries, init.references)
    if key not in _INDEXES:
        _INDEXES.clear()
        _cache().clear()
        _INDEXES[key] = (
            Index.open(Path(init.queries), read_bytes=read_bytes),
            Index.open(Path(init.references), read_bytes=read_bytes, source_roots=init.source_roots),
        )
    return _INDEXES[key]
