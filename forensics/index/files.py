"""Reading the files of an index, each opened only while it is needed or kept by a bounded cache."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IndexFiles"]

_TABLES_KEPT = 64
_ARRAYS_KEPT = 1024


class IndexFiles:
    """Tables and arrays of one index, by their names relative to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.table = lru_cache(maxsize=_TABLES_KEPT)(self.read_table)
        """As :meth:`read_table`, kept."""
        self.array = lru_cache(maxsize=_ARRAYS_KEPT)(self._map_array)
        """Return a ``.npy`` file, memory-mapped, kept."""

    def read_table(self, name: str, columns: tuple[str, ...] | None = None) -> Any:
        """Return a parquet file, or some of its columns, as an Arrow table."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._directory / name) as file:
                # In this thread: the files are small, and a pool of threads costs more than it gains.
                return file.read(columns=None if columns is None else list(columns), use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._broken(name, error) from error

    def _map_array(self, name: str) -> NDArray[Any]:
        try:
            array: NDArray[Any] = np.load(self._directory / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self._broken(name, error) from error
        return array

    def _broken(self, name: str, error: Exception) -> IntegrityError:
        return IntegrityError(
            f"{self._directory / name} cannot be read ({error}); see: forensics index verify {self._directory}"
        )
