"""Which files an index already has, so that adding a folder again adds only what is new.

A million uris as Python strings would take 100 MB; 8 bytes each do, and a match is looked up before it is believed.
"""

from __future__ import annotations

import hashlib

import numpy as np

from forensics.index.reader import Index

__all__ = ["KnownFiles"]


class KnownFiles:
    """The uris of all images, removed ones left out, whose sources have one root."""

    def __init__(self, index: Index, root: str, *, sources: int) -> None:
        """Read the uris of the first ``sources`` sources of ``index`` that lie under ``root`` exactly."""
        self._index = index
        wanted = {number for number, source in enumerate(index.manifest.sources[:sources]) if source.root == root}
        keys: list[int] = []
        numbers: list[int] = []
        for part in index.parts:
            if part.source not in wanted:
                continue
            for offset, uri in enumerate(index.uris(part.part)):
                if not index.removed[part.first + offset]:
                    keys.append(_key(uri))
                    numbers.append(part.first + offset)
        order = np.argsort(np.array(keys, np.uint64), kind="stable")
        self._keys = np.array(keys, np.uint64)[order]
        self._numbers = np.array(numbers, np.int64)[order]

    def __contains__(self, uri: str) -> bool:
        if not len(self._keys):
            return False
        key = np.uint64(_key(uri))
        for at in range(int(np.searchsorted(self._keys, key, "left")), int(np.searchsorted(self._keys, key, "right"))):
            if self._index.uri(int(self._numbers[at])) == uri:
                return True
        return False


def _key(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
