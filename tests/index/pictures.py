"""Small pictures and indexes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from forensics.flows.build import build
from forensics.flows.index import open_index
from forensics.index import Index
from forensics.testing.demo_embedder import DemoEmbedder
from forensics.types import Record


def blocky(seed: int, size: int = 64) -> np.ndarray:
    """Return (size, size, 3) uint8: a 4 x 4 chequer of random colours."""
    cells = np.random.default_rng(seed).integers(1, 256, (4, 4, 3), np.uint8)
    return cells.repeat(size // 4, axis=0).repeat(size // 4, axis=1)


def write_pictures(folder: Path, count: int, *, first: int = 0) -> Path:
    """Write 000.png, 001.png …, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.fromarray(blocky(number)).save(folder / f"{number:03d}.png")
    return folder


@dataclass
class ListedSource:
    """Files of a folder, listed once and for all; counts how often it was asked."""

    root: Path
    names: list[str]
    kind: str = "folder"
    metadata: dict = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, **metadata: object) -> ListedSource:
        return cls(folder, sorted(path.name for path in folder.iterdir()), metadata=metadata)

    def records(self) -> Iterator[Record]:
        for name in self.names:
            yield Record(id=name, uri=f"file:{name}", metadata=self.metadata)

    def count(self) -> int:
        return len(self.names)


def tree(folder: Path) -> dict[str, str]:
    """Return every file below a folder with the SHA-256 of its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def small_index(
    tmp_path: Path, count: int = 10, *, part_size: int = 4, keep_pixels: int = 0, **metadata: object
) -> Index:
    """Build an index of ``count`` pictures with the demo embedder and pHash."""
    from forensics.embed import create

    source = ListedSource.of(write_pictures(tmp_path / "pictures", count), **metadata)
    embedders = [DemoEmbedder(), create("phash")]
    build(source, tmp_path / "index", embedders, part_size=part_size, keep_pixels=keep_pixels, workers=0)
    return open_index(tmp_path / "index")
