"""Geometric verification of candidate pairs, in worker processes: pixels in, one Verification a pair out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from forensics.images import decode, encode_preview
from forensics.index import Index, Pixels
from forensics.sources import read_bytes
from forensics.types import Verification
from forensics.verify import Features, extract, verify_pair

__all__ = ["PairsInit", "PairsTask", "PicturesTask", "picture", "verify_pairs"]

PICTURE_SIDE = 512
"""Longer side in pixels of the pictures that a run folder keeps as evidence."""

# A decode of twice the common frame loses nothing that the frame shows.
_NEED = 512
_CACHE_BYTES = 192 << 20


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

    ``placing`` tells for each reference whether the slower comparison is worth its time where features find nothing.
    """

    query: int
    references: tuple[int, ...]
    placing: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesTask:
    """One image of which a picture is wanted. ``queries`` tells from which index."""

    queries: bool
    image: int


def verify_pairs(init: PairsInit, task: PairsTask) -> tuple[Verification, ...]:
    """Compare one query with its candidates; one Verification a reference, in order."""
    queries, references = _opened(init)
    query = _features(queries, task.query)
    if isinstance(query, str):
        reason = f"the generated image is {query}"
        return tuple(Verification(status="unverified", reason=reason) for _ in task.references)
    return tuple(
        _verify(query, references, number, placing=placing)
        for number, placing in zip(task.references, task.placing, strict=True)
    )


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


def _verify(query: Features, references: Index, number: int, *, placing: bool) -> Verification:
    cache = _cache()
    reference = cache.pop(number, None) or _features(references, number)
    cache[number] = reference
    while len(cache) > 1 and sum(_bytes(entry) for entry in cache.values()) > _CACHE_BYTES:
        cache.popitem(last=False)
    if isinstance(reference, str):
        return Verification(status="unverified", reason=f"the reference is {reference}")
    return verify_pair(query, reference, placing=placing)


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
