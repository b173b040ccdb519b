"""What every source offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forensics.types import Record

__all__ = ["Source"]


class Source(Protocol):
    """A set of images, listed lazily."""

    @property
    def kind(self) -> str:
        """``folder``, ``table``, ``webdataset`` or ``img2dataset``."""
        ...

    @property
    def root(self) -> Path:
        """Absolute folder that the records' uris are relative to."""
        ...

    def records(self) -> Iterator[Record]:
        """Yield every record, in an order that depends on the names alone.

        Raises
        ------
        SourceError
            At the first step, if there is none; at any step, if the listing itself cannot be read on.
        """
        ...

    def count(self) -> int | None:
        """Return the number of records where it is cheap to tell, for progress only; None where it is not."""
        ...
