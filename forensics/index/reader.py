"""An index as it is read: images, rows, vectors, searches. Nothing here writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import ForensicsError, IndexFormatError, UsageError
from forensics.index import exact, hamming
from forensics.index.exact import Hits
from forensics.index.images import IndexedImage, Pixels, image_of_row
from forensics.index.manifest import Manifest, PartEntry, read_manifest, read_parts
from forensics.index.part import check_rows
from forensics.index.rows import RowViews, StoredRows
from forensics.index.tombstones import Tombstone, read_tombstones
from forensics.schema import INDEX_IMAGES
from forensics.types import EmbedderSpec

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]

__all__ = ["Index", "RowViews"]


class Index(StoredRows):
    """An index opened for reading.

    Use :meth:`open`. Images are numbered 0 to ``len(index) - 1`` in the order in which they were added; rows of an
    embedder likewise. Removed images keep their numbers and are never returned by a search.
    """

    def __init__(
        self,
        directory: Path,
        manifest: Manifest,
        parts: Sequence[PartEntry],
        tombstones: Sequence[Tombstone],
        source_roots: Mapping[str, str],
        read_bytes: Callable[[str, Path], bytes] | None,
    ) -> None:
        super().__init__(directory, manifest, parts)
        self.tombstones = tuple(tombstones)
        self._source_roots = dict(source_roots)
        self._read_bytes = read_bytes
        self._first_image = np.array([part.first for part in parts] + [len(self)], np.int64)
        for tombstone in tombstones:
            if not 0 <= tombstone.image < len(self):
                raise IndexFormatError(f"{directory}: the removed image {tombstone.image} does not exist")
            self.removed[tombstone.image] = True
        self.opened_faiss: dict[str, Any] = {}
        self._by_sha256: dict[bytes, list[int]] | None = None

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        source_roots: Mapping[str, str] | None = None,
        read_bytes: Callable[[str, Path], bytes] | None = None,
        unfinished: bool = False,
    ) -> Index:
        """Open an index.

        Parameters
        ----------
        directory : path
        source_roots : mapping
            Old root (or the beginning of one) to where it lies now, for references that moved.
        read_bytes : callable
            :func:`forensics.sources.read_bytes`; without it, :meth:`pixels` has only previews.
        unfinished : bool
            Open an index whose build was interrupted, too, as far as it got.

        Raises
        ------
        IndexFormatError
            If the folder is not an index, has another version, or is unfinished.
        IntegrityError
            If the list of parts or of removed images was changed.
        """
        directory = Path(directory)
        manifest = read_manifest(directory)
        if not manifest.complete and not unfinished:
            raise IndexFormatError(
                f"the index {directory} is unfinished (its build is running or was interrupted); give the same "
                "`forensics index` command again to finish it"
            )
        parts, _ = read_parts(directory, manifest)
        if any(part.source >= len(manifest.sources) for part in parts):
            raise IndexFormatError(f"{directory}: a part belongs to a source that the manifest does not have")
        return cls(directory, manifest, parts, read_tombstones(directory, manifest), source_roots or {}, read_bytes)

    @property
    def specs(self) -> dict[str, EmbedderSpec]:
        """Embedder name to spec."""
        return self.manifest.specs

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over everything a search can return: specs, parts, removed images. Not over where files lie."""
        removed = self.manifest.tombstones.sha256 if self.manifest.tombstones else ""
        specs = [spec.fingerprint for spec in self.specs.values()]
        return hashlib.sha256(json.dumps([specs, self.manifest.parts_sha256, removed]).encode()).hexdigest()

    # -- images

    def image(self, number: int) -> IndexedImage:
        """Return one image."""
        if not 0 <= number < len(self):
            raise UsageError(f"image {number} asked for; the index {self.directory} has {len(self)}")
        part = self.part_of(number)
        table = self._files.table(f"images/part-{part:05d}.parquet")
        row = table.slice(number - self.parts[part].first, 1).to_pylist()[0]
        return image_of_row(row, number, removed=bool(self.removed[number]))

    def images_frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all images as a table whose index is the image number.

        Parameters
        ----------
        columns : sequence of str or None
            Of ``forensics.schema.INDEX_IMAGES``; None takes all. A column ``removed`` (bool) is always added.
        """
        import pyarrow as pa

        names = [column.name for column in INDEX_IMAGES] if columns is None else list(columns)
        tables = [self._files.read_table(f"images/part-{part.part:05d}.parquet", tuple(names)) for part in self.parts]
        frame: pd.DataFrame = (
            pa.concat_tables(tables).to_pandas() if tables else pa.table({name: [] for name in names}).to_pandas()
        )
        frame.index.name = "image"
        return frame.assign(removed=self.removed)

    def ids(self, part: int) -> list[str]:
        """Return the ids of one part's images, in order."""
        found: list[str] = self._files.table(f"images/part-{part:05d}.parquet", ("id",))["id"].to_pylist()
        return found

    def uris(self, part: int) -> list[str]:
        """Return the uris of one part's images, in order."""
        found: list[str] = self._files.table(f"images/part-{part:05d}.parquet", ("uri",))["uri"].to_pylist()
        return found

    def uri(self, number: int) -> str:
        """Return the uri of one image."""
        part = self.part_of(number)
        table = self._files.table(f"images/part-{part:05d}.parquet", ("uri",))
        return str(table["uri"][number - self.parts[part].first].as_py())

    def part_of(self, number: int) -> int:
        """Return the part that holds an image."""
        return int(np.searchsorted(self._first_image, number, "right")) - 1

    def with_sha256(self, sha256: str) -> list[int]:
        """Return the numbers of the images, removed ones left out, whose files have these bytes."""
        if self._by_sha256 is None:
            found: dict[bytes, list[int]] = {}
            for number, digest in enumerate(self.images_frame(["sha256"])["sha256"]):
                if digest and not self.removed[number]:
                    found.setdefault(bytes.fromhex(digest), []).append(number)
            self._by_sha256 = found
        return list(self._by_sha256.get(bytes.fromhex(sha256), [])) if sha256 else []

    def duplicates(self, number: int) -> list[int]:
        """Return the other images whose files have the same bytes as this one."""
        return [other for other in self.with_sha256(self.image(number).ref.sha256) if other != number]

    def root(self, source: int) -> Path:
        """Return where a source's files lie now, ``source_roots`` applied."""
        root = self.manifest.sources[source].root
        for old, new in self._source_roots.items():
            bare = old.rstrip("/")
            if root == bare or root.startswith(bare + "/"):
                return Path(new + root[len(bare) :])
        return Path(root)

    def pixels(self, number: int) -> Pixels:
        """Return the original file of an image if its bytes are still those that were indexed, else its preview."""
        image = self.image(number)
        reason = "missing: no reader of original files was given"
        if self._read_bytes is not None:
            try:
                data = self._read_bytes(image.ref.uri, self.root(image.source))
            except (OSError, ForensicsError) as error:
                text = getattr(error, "strerror", None) or str(error)
                reason = f"missing: {text} ({image.ref.uri} under {self.root(image.source)})"
            else:
                if hashlib.sha256(data).hexdigest() == image.ref.sha256:
                    return Pixels(data=data, kind="original")
                reason = f"changed: {image.ref.uri} no longer has the SHA-256 that was indexed"
        preview = self.preview(number)
        return Pixels(data=preview, kind="preview" if preview else "none", reason=reason)

    def preview(self, number: int) -> bytes | None:
        """Return the JPEG preview of an image, None where the index keeps none."""
        part = self.part_of(number)
        name = f"previews/part-{part:05d}"
        if f"{name}.bin" not in self.parts[part].files:
            return None
        offsets = self._files.array(f"{name}.npy")
        start, stop = (int(offset) for offset in offsets[number - self.parts[part].first :][:2])
        with (self.directory / f"{name}.bin").open("rb") as file:
            file.seek(start)
            return file.read(stop - start) or None

    # -- rows

    def view_boxes(self, embedder: str, rows: NDArray[Any]) -> list[tuple[float, float, float, float]]:
        """Return what part of its image each row describes: x0, y0, x1, y1 as fractions of width and height."""
        wanted = np.asarray(rows, np.int64)
        starts, entry = self._starts(embedder), self.manifest.embedder(embedder)
        boxes = np.zeros((len(wanted), 4))
        owner = np.searchsorted(starts, wanted, "right") - 1
        for part in np.unique(owner):
            mask = owner == part
            table = self._files.table(f"rows/{entry.folder}/part-{int(part):05d}.parquet")
            found = table.select(["x0", "y0", "x1", "y1"]).take(wanted[mask] - starts[part])
            boxes[mask] = np.stack([found.column(name).to_numpy() for name in ("x0", "y0", "x1", "y1")], axis=1)
        sizes = [self.image(int(number)) for number in self.row_to_image(embedder, wanted)]
        sides = np.array([[image.width, image.height] * 2 for image in sizes], float).reshape(-1, 4)
        return [tuple(box) for box in (boxes / np.maximum(sides, 1)).tolist()]

    # -- search

    def search(
        self,
        embedder: str,
        queries: NDArray[Any],
        k: int,
        *,
        approximate: bool = False,
        compare: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float32]] | None = None,
        views: RowViews = "all",
    ) -> Hits:
        """Return the k most alike rows of every query, exactly.

        Parameters
        ----------
        embedder : str
            Whose rows.
        queries : (m, dim) float or (m, dim / 8) uint8
            Vectors need not be normalised.
        k : int
            At least 1.
        approximate : bool
            Let a stored FAISS index propose; its proposals are rescored from the stored vectors.
        compare : callable or None
            :func:`forensics.embed.comparison` of the embedder, where it has a score of its own.
        views : {"all", "whole", "parts"}
            Which rows: those of whole images, those of parts of images, or both.

        Returns
        -------
        Hits
            Scores are cosines, 1 - distance / bits, or what ``compare`` returns; equals in ascending order of rows.

        Raises
        ------
        VectorError
            On NaN, infinite or zero queries, or a wrong shape.
        SpecMismatchError
            If the index has no such embedder.
        """
        spec = self.manifest.embedder(embedder).spec
        if k < 1:
            raise UsageError(f"the {k} best rows asked for, 1 or more accepted")
        checked = check_rows(spec, queries, what="queries")
        chosen = self.rows_of_views(embedder, views)
        if chosen is not None and not chosen.any():
            return Hits(
                scores=np.full((len(checked), k), -np.inf, np.float32), rows=np.full((len(checked), k), -1, np.int64)
            )
        if compare is not None:
            return exact.search_compared(self.blocks(embedder, 1024, chosen), compare, checked, k)
        if approximate and embedder in self.manifest.faiss:
            from forensics.index.faiss_backend import search_faiss

            # the stored index holds all views: ask for so many more that enough of the wanted ones are among them
            depth = 1 if chosen is None else max(1, len(self.manifest.embedder(embedder).views))
            return _only(search_faiss(self, embedder, checked, k * depth), chosen, k)
        if spec.kind == "bits":
            return hamming.search_bits(self.blocks(embedder, hamming.BLOCK_ROWS, chosen), checked, k)
        return exact.search_vectors(
            self.float_blocks(embedder, spec.dim, views, chosen), lambda rows: self.vectors(embedder, rows), checked, k
        )


def _only(hits: Hits, chosen: NDArray[np.bool_] | None, k: int) -> Hits:
    """Keep the hits on chosen rows, (rows,) bool, and of these the first k."""
    if chosen is None:
        return hits
    keep = (hits.rows >= 0) & chosen[hits.rows]
    order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    keep = np.take_along_axis(keep, order, axis=1)
    return Hits(
        scores=np.where(keep, np.take_along_axis(hits.scores, order, axis=1), -np.inf).astype(np.float32),
        rows=np.where(keep, np.take_along_axis(hits.rows, order, axis=1), -1),
    )
