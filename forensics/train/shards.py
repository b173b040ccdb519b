"""Training samples on disk, made as they are needed: an interrupted run makes none twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.train.composites import Composite
    from forensics.types import UInt8Array

__all__ = ["SHARD", "Shards"]

SHARD = 128
"""Samples a file."""


class Shards:
    """Composites on disk, 128 a file, made where they are missing: an interrupted run makes none twice."""

    def __init__(self, folder: Path, make: Callable[[int], Composite]) -> None:
        self.folder, self._make = folder, make
        self._open: dict[int, tuple[UInt8Array, UInt8Array, NDArray[np.int64]]] = {}

    def path(self, shard: int) -> Path:
        """Where a shard's images lie; its truth lies beside them and is written first."""
        return self.folder / f"shard-{shard:05d}.images.npy"

    def write(self, shard: int) -> None:
        """Make a shard, whole or not at all; nothing where it is there."""
        if self.path(shard).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        made = [self._make(shard * SHARD + number) for number in range(SHARD)]
        arrays: dict[str, NDArray[Any]] = {
            "masks": np.stack([np.stack((item.mask, item.lines)) for item in made]),
            "labels": np.array([(item.presence, item.brand) for item in made], np.int64),
            "images": np.stack([item.image for item in made]),
        }
        for name, array in arrays.items():
            path = self.path(shard).with_name(f"shard-{shard:05d}.{name}.npy")
            part = path.with_name(f"{path.name}.{os.getpid()}.part")
            with open(part, "wb") as file:
                np.save(file, array)
            os.replace(part, path)  # noqa: PTH105  atomic

    def row(self, number: int) -> tuple[UInt8Array, UInt8Array, int, int]:
        """Return image (256, 256, 3), mask and lines (2, 64, 64), presence and brand of a composite."""
        shard, place = divmod(number, SHARD)
        if shard not in self._open:
            self.write(shard)
            path = self.path(shard)
            images, masks, labels = (
                np.load(path.with_name(f"shard-{shard:05d}.{name}.npy"), mmap_mode="r")
                for name in ("images", "masks", "labels")
            )
            self._open[shard] = (images, masks, labels)
        images, masks, labels = self._open[shard]
        return images[place], masks[place], int(labels[place, 0]), int(labels[place, 1])
