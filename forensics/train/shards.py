"""Training samples on disk, made as they are needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.train.composites import Composite
    from forensics.types import UInt8Array

__all__ = ["SHARD", "Sample", "Shards"]

SHARD = 128
"""Samples a file."""
_NAMES = ("images", "twins", "masks", "labels")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """What is kept of a composite for training.

    Attributes
    ----------
    image : ndarray
        (256, 256, 3) uint8 RGB.
    twin : ndarray, optional
        (256, 256, 3) uint8 RGB, the same without its mark; None where it has none.
    mask : ndarray
        (2, 64, 64) uint8: the mark, and lines that are neither mark nor ground.
    inside : tuple of int
    presence, brand : int
        As of :class:`~forensics.train.composites.Composite`.
    """

    image: UInt8Array
    twin: UInt8Array | None
    mask: UInt8Array
    inside: tuple[int, int]
    presence: int
    brand: int


class Shards:
    """Composites on disk, 128 a file, made where they are missing.

    Parameters
    ----------
    folder : Path
    make : callable
        Makes composite number n.
    ahead : callable, optional
        Sees to it that a shard is there, by its number, instead of :meth:`write`: worker processes, say, that have
        begun with the next ones. It is called once for each shard that is read.
    once : bool
        Delete a shard when a later one is read. Its 128 samples take about 40 MB.
    """

    def __init__(
        self,
        folder: Path,
        make: Callable[[int], Composite],
        *,
        ahead: Callable[[int], object] | None = None,
        once: bool = False,
    ) -> None:
        self.folder, self._make = folder, make
        self._provide = ahead or self.write
        self._once = once
        self._open: dict[int, tuple[UInt8Array, UInt8Array, UInt8Array, NDArray[np.int64]]] = {}

    def path(self, shard: int) -> Path:
        """Where a shard's images lie; its truth lies beside them and is written first."""
        return self.folder / f"shard-{shard:05d}.images.npy"

    def write(self, shard: int) -> None:
        """Make a shard, whole or not at all; nothing where it is there."""
        if self.path(shard).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        made = [self._make(shard * SHARD + number) for number in range(SHARD)]
        twins = [item.twin for item in made if item.twin is not None]
        places = np.cumsum([item.twin is not None for item in made]) - 1
        arrays: dict[str, NDArray[Any]] = {
            "masks": np.stack([np.stack((item.mask, item.lines)) for item in made]),
            "labels": np.array(
                [
                    (item.presence, item.brand, place if item.twin is not None else -1, *item.inside)
                    for item, place in zip(made, places.tolist(), strict=True)
                ],
                np.int64,
            ),
            "twins": np.stack(twins) if twins else np.zeros((0, *made[0].image.shape), np.uint8),
            "images": np.stack([item.image for item in made]),
        }
        for name, array in arrays.items():
            path = self.path(shard).with_name(f"shard-{shard:05d}.{name}.npy")
            part = path.with_name(f"{path.name}.{os.getpid()}.part")
            with open(part, "wb") as file:
                np.save(file, array)
            os.replace(part, path)  # noqa: PTH105  atomic

    def row(self, number: int) -> Sample:
        """Return what is kept of a composite."""
        shard, place = divmod(number, SHARD)
        if shard not in self._open:
            self._provide(shard)
            if self._once:
                self._drop_before(shard)
            path = self.path(shard)
            images, twins, masks, labels = (
                np.load(path.with_name(f"shard-{shard:05d}.{name}.npy"), mmap_mode="r") for name in _NAMES
            )
            self._open[shard] = (images, twins, masks, labels)
        images, twins, masks, labels = self._open[shard]
        presence, brand, twin, rows, columns = map(int, labels[place])
        return Sample(
            image=images[place],
            twin=twins[twin] if twin >= 0 else None,
            mask=masks[place],
            inside=(rows, columns),
            presence=presence,
            brand=brand,
        )

    def _drop_before(self, shard: int) -> None:
        """Delete earlier shards; rows that are still held stay readable."""
        self._open = {number: arrays for number, arrays in self._open.items() if number >= shard}
        # the images first: they say that a shard is whole
        for path in sorted(self.folder.glob("shard-*"), key=lambda path: ".images." not in path.name):
            if int(path.name.split(".")[0].removeprefix("shard-")) < shard:
                path.unlink()
