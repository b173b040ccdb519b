r"""Makes the background of descriptors that scores are normalised with: ``forensics/coefficients/background_*.npz``.

    python bench/make_background.py /usr/share/openclipart/png=420 /usr/share/tuxpaint/stamps=140 \
        /usr/share/scratch/Media/Backgrounds=70 --parts GCOMPRIS=120 \
        --exclude index_data/pictures.csv:file --exclude index_data/corpus.csv:file --apart-from index_data/demo/index

Debian's openclipart-png (public domain), tuxpaint-stamps-default (GPL-2), scratch (CC BY-SA 3.0), and the photographs
and paintings in the resource files of gcompris-qt-data (GPL-3), unpacked. Descriptors are stored, never pixels.

Pictures are drawn by the SHA-256 of their file names, so that no picture's choice depends on another's; those that a
list names (``--exclude CSV:COLUMN``: what the demo, the edits and any bench were made of) are left out by file name.
Folders after ``--parts`` give five rows a picture, itself and its four overlapping quarters, for parts of queries are
normalised too. Plain pictures stay in: a query as plain as they are must find them. Of pictures nearer than ``--same``
one is kept, and none that is nearer than ``--near`` to a picture of an index after ``--apart-from`` (clip art comes in
families).
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bench.pairs import SUFFIXES, folder_count
from forensics.embed import create
from forensics.flows.views import TILES, WHOLE
from forensics.images import decode, view_pixels
from forensics.index import Index

TARGET = Path(__file__).resolve().parent.parent / "forensics" / "coefficients"
SMALLEST_SIDE = 96


def named(lists: list[str]) -> frozenset[str]:
    """Return the lower-case file names that CSV:COLUMN lists hold."""
    names: set[str] = set()
    for entry in lists:
        path, _, column = entry.rpartition(":")
        with Path(path).open(newline="", encoding="utf-8") as file:
            names |= {Path(row[column]).name.lower() for row in csv.DictReader(file)}
    return frozenset(names)


def drawn(folder: Path, excluded: frozenset[str]) -> Iterator[Path]:
    """Yield the folder's pictures in the order of their names' SHA-256, each name once."""
    seen: set[str] = set()
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    for path in sorted(paths, key=lambda p: (hashlib.sha256(p.name.encode()).hexdigest(), p)):
        if path.name not in seen and path.name.lower() not in excluded:
            seen.add(path.name)
            yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER=COUNT", help="pictures, and how many of them")
    parser.add_argument("--parts", action="append", default=[], metavar="FOLDER=COUNT", help="five rows a picture")
    parser.add_argument("--exclude", action="append", default=[], metavar="CSV:COLUMN", help="file names to leave out")
    parser.add_argument("--embedder", default="sscd-int8")
    parser.add_argument("--same", type=float, default=0.6, help="cosine from which one of two pictures is left out")
    parser.add_argument("--apart-from", action="append", default=[], type=Path, metavar="INDEX")
    parser.add_argument("--near", type=float, default=0.5, help="cosine from which a row is too near to such an index")
    parser.add_argument("--out", type=Path, default=TARGET)
    given = parser.parse_args()
    excluded = named(given.exclude)
    embedder = create(given.embedder)
    vectors = np.empty((0, embedder.spec.dim), np.float32)
    wholes = vectors
    names: list[str] = []
    for text in [*given.folders, *given.parts]:
        folder, count = folder_count(text)
        taken, rows = 0, len(vectors)
        for path in drawn(folder, excluded):
            if taken == count:
                break
            pixels = decode(path.read_bytes()).pixels
            if pixels is None or min(pixels.shape[:2]) < SMALLEST_SIDE:
                continue
            whole = embedder.embed([embedder.prepare(view_pixels(pixels, WHOLE))])
            if len(wholes) and float((wholes @ whole[0]).max()) > given.same:
                continue
            views = TILES[:4] if text in given.parts else ()
            parts = [embedder.prepare(view_pixels(pixels, view)) for view in views]
            found = np.concatenate([whole, embedder.embed(parts)]) if parts else whole
            vectors, wholes = np.concatenate([vectors, found]), np.concatenate([wholes, whole])
            names += [path.name, *(f"{path.name}#{view.name}" for view in views)]
            taken += 1
        print(f"{folder}: {taken} pictures, {len(vectors) - rows} rows")
    for directory in given.apart_from:
        index = Index.open(directory)
        for part in range(len(index.parts)):
            stored = index.part_data(given.embedder, part).astype(np.float32)
            apart = (vectors @ stored.T).max(axis=1, initial=-1.0) < given.near
            vectors, names = vectors[apart], [name for name, keep in zip(names, apart, strict=True) if keep]
        print(f"{directory}: {len(vectors)} rows are apart from it")
    target = given.out / f"background_{given.embedder}.npz"
    np.savez_compressed(
        target,
        vectors=vectors.astype(np.float16),
        pictures=np.array(names),
        fingerprint=np.array(embedder.spec.fingerprint),
    )
    print(f"wrote {target}: {vectors.shape[0]} rows, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
