"""What an index holds of each embedder: rows, which images they are of, and their vectors. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from forensics.errors import IntegrityError
from forensics.index import exact
from forensics.index.exact import Block
from forensics.index.files import IndexFiles
from forensics.index.manifest import Manifest, PartEntry
from forensics.index.part import data_folder

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]

__all__ = ["RowViews", "StoredRows"]

RowViews: TypeAlias = Literal["all", "whole", "parts"]
"""Which rows of an embedder: those of whole images, those of parts of images, or both."""

FLOAT_CACHE_BYTES = 256 << 20
"""Up to this size the vectors of an embedder are kept as float32 after the first search."""


class StoredRows:
    """The rows of an index's embedders, numbered in the order in which their images were added.

    Parameters
    ----------
    directory : Path
    manifest : Manifest
    parts : sequence of PartEntry
    """

    def __init__(self, directory: Path, manifest: Manifest, parts: Sequence[PartEntry]) -> None:
        self.directory = directory
        self.manifest = manifest
        self.parts = tuple(parts)
        self.removed: NDArray[np.bool_] = np.zeros(len(self), np.bool_)
        self._files = IndexFiles(directory)
        self._first_row: dict[str, IntArray] = {}
        self._row_image: dict[str, IntArray] = {}
        self._float_cache: dict[tuple[str, str], list[Block]] = {}
        self._whole_rows: dict[str, NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        """Images, the removed ones included."""
        return self.parts[-1].first + self.parts[-1].images if self.parts else 0

    def row_count(self, embedder: str) -> int:
        """Return the number of rows of an embedder, those of removed images included."""
        return int(self._starts(embedder)[-1])

    def row_to_image(self, embedder: str, rows: NDArray[Any]) -> IntArray:
        """Return the image number of each row; -1 stays -1. Any shape."""
        self._images_of_rows(embedder)
        found: IntArray = self._row_image[embedder][np.asarray(rows, np.int64)]
        return found

    def rows_of_images(self, embedder: str, images: NDArray[Any]) -> tuple[IntArray, IntArray]:
        """Return the first row of each image and the row after its last; both equal where it has none."""
        owners = self._images_of_rows(embedder)
        wanted = np.asarray(images, np.int64)
        return np.searchsorted(owners, wanted, "left"), np.searchsorted(owners, wanted, "right")

    def rows_frame(self, embedder: str, part: int) -> pd.DataFrame:
        """Return what the rows of one part stand for; its index is the row's number in the whole index.

        Columns as in ``forensics.schema.INDEX_ROWS``, but ``image`` is the number in the whole index.
        """
        entry = self.manifest.embedder(embedder)
        frame: pd.DataFrame = self._files.table(f"rows/{entry.folder}/part-{part:05d}.parquet").to_pandas()
        first = int(self._starts(embedder)[part])
        frame.index = frame.index + first
        frame.index.name = "row"
        return frame.assign(image=frame["image"].astype("int64") + self.parts[part].first)

    def vectors(self, embedder: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Return stored rows, (n, dim) float16 or (n, dim / 8) uint8, in the order asked for."""
        spec = self.manifest.embedder(embedder).spec
        wanted = np.asarray(rows, np.int64)
        width, dtype = (spec.dim, np.float16) if spec.kind == "vector" else (spec.dim // 8, np.uint8)
        out = np.empty((len(wanted), width), dtype)
        starts = self._starts(embedder)
        owner = np.searchsorted(starts, wanted, "right") - 1
        for part in np.unique(owner):
            mask = owner == part
            out[mask] = self.part_data(embedder, int(part))[wanted[mask] - starts[part]]
        return out

    def part_data(self, embedder: str, part: int) -> NDArray[Any]:
        """Return the rows of one part, memory-mapped: (n, dim) float16 or (n, dim / 8) uint8."""
        entry = self.manifest.embedder(embedder)
        name = f"{data_folder(entry)}/part-{part:05d}.npy"
        array = self._files.array(name)
        vector = entry.spec.kind == "vector"
        shape = (self.parts[part].rows[embedder], entry.spec.dim if vector else entry.spec.dim // 8)
        if array.shape != shape or array.dtype != (np.float16 if vector else np.uint8):
            raise IntegrityError(
                f"{self.directory / name} has shape {array.shape} and type {array.dtype}, {shape} was recorded; "
                f"see: forensics index verify {self.directory}"
            )
        return array

    def live_rows(self, embedder: str) -> NDArray[np.bool_]:
        """Return (rows,) bool: False for rows of removed images."""
        live: NDArray[np.bool_] = ~self.removed[self._images_of_rows(embedder)]
        return live

    def blocks(self, embedder: str, size: int, chosen: NDArray[np.bool_] | None = None) -> Iterator[Block]:
        """Yield the rows that are not removed in blocks of at most ``size``, vectors as stored (float16).

        ``chosen``, (rows,) bool, leaves out those where it is False.
        """
        starts = self._starts(embedder)
        live = self.live_rows(embedder) if self.removed.any() else None
        if chosen is not None:
            live = chosen if live is None else live & chosen
        pieces: list[NDArray[Any]] = []
        numbers: list[IntArray] = []
        held = 0
        for part in self.parts:
            first, stop = int(starts[part.part]), int(starts[part.part + 1])
            if first == stop:
                continue
            rows = np.arange(first, stop)
            data = self.part_data(embedder, part.part)
            if live is not None and not live[first:stop].all():
                data, rows = data[live[first:stop]], rows[live[first:stop]]
            while len(rows):
                room = size - held
                pieces.append(data[:room])
                numbers.append(rows[:room])
                held += len(rows[:room])
                data, rows = data[room:], rows[room:]
                if held == size:
                    yield Block(rows=np.concatenate(numbers), data=np.concatenate(pieces))
                    pieces, numbers, held = [], [], 0
        if held:
            yield Block(rows=np.concatenate(numbers), data=np.concatenate(pieces))

    def rows_of_views(self, embedder: str, views: RowViews) -> NDArray[np.bool_] | None:
        """Return (rows,) bool, True for the rows of the views asked for; None where these are all rows."""
        entry = self.manifest.embedder(embedder)
        whole = [view.name == "whole" for view in entry.views]
        if views == "all" or (views == "whole" and all(whole)):
            return None
        if embedder not in self._whole_rows:
            import pyarrow.compute as pc

            found = [np.zeros(0, np.bool_)]
            for part in self.parts:
                table = self._files.table(f"rows/{entry.folder}/part-{part.part:05d}.parquet")
                found.append(pc.equal(table.column("view"), "whole").to_numpy(zero_copy_only=False).astype(np.bool_))
            self._whole_rows[embedder] = np.concatenate(found)
        mask = self._whole_rows[embedder]
        return mask if views == "whole" else ~mask

    def float_blocks(
        self, embedder: str, dim: int, views: RowViews, chosen: NDArray[np.bool_] | None
    ) -> Iterator[Block]:
        """Yield the rows of the views asked for as float32; those of a small index are kept for the next search."""
        key = (embedder, "all" if chosen is None else views)
        if key in self._float_cache:
            yield from self._float_cache[key]
            return
        count = self.row_count(embedder) if chosen is None else int(chosen.sum())
        small = count * dim * 4 <= FLOAT_CACHE_BYTES
        kept: list[Block] = []
        for stored in self.blocks(embedder, exact.BLOCK_ROWS, chosen):
            block = Block(rows=stored.rows, data=stored.data.astype(np.float32))
            if small:
                kept.append(block)
            yield block
        if small:
            self._float_cache[key] = kept

    def _starts(self, embedder: str) -> IntArray:
        if embedder not in self._first_row:
            self.manifest.embedder(embedder)
            counts = [part.rows[embedder] for part in self.parts]
            self._first_row[embedder] = np.cumsum([0, *counts], dtype=np.int64)
        return self._first_row[embedder]

    def _images_of_rows(self, embedder: str) -> IntArray:
        if embedder not in self._row_image:
            entry = self.manifest.embedder(embedder)
            pieces = [np.empty(0, np.int64)]
            for part in self.parts:
                table = self._files.read_table(f"rows/{entry.folder}/part-{part.part:05d}.parquet", ("image",))
                pieces.append(table["image"].to_numpy().astype(np.int64) + part.first)
                if len(pieces[-1]) != part.rows[embedder]:
                    raise IntegrityError(f"{self.directory}: part {part.part} of {embedder} has a wrong number of rows")
            self._row_image[embedder] = np.concatenate([*pieces, [-1]])  # the last entry, so that row -1 gives -1
        return self._row_image[embedder][:-1]
