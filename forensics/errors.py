"""Errors and exit codes.

::

    ForensicsError                exit 1
    ├── UsageError                exit 2   a wrong argument, option or input path
    ├── SourceError               exit 2   a source that cannot be read as images
    ├── MissingExtraError         exit 1   an optional package is not installed
    ├── WeightsError              exit 1   weights that are missing or are not what they claim
    ├── IndexFormatError          exit 1   an index that cannot be used (not one, other version, being written)
    │   └── SpecMismatchError     exit 1   vectors of another embedder than the index was built with
    ├── VectorError               exit 1   NaN, zero or wrongly shaped vectors
    └── IntegrityError            exit 20  bytes that differ from their recorded SHA-256

Every message says what was given, what is accepted, and what to do. Where several exit codes hold,
20 > 1 > 10 > 11.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "ExitCode",
    "ForensicsError",
    "IndexFormatError",
    "IntegrityError",
    "MissingExtraError",
    "SourceError",
    "SpecMismatchError",
    "UsageError",
    "VectorError",
    "WeightsError",
]


class ExitCode(IntEnum):
    """The process exit codes of every command."""

    CLEAN = 0
    FAILURE = 1
    USAGE = 2
    FINDINGS = 10
    UNREADABLE = 11
    INTEGRITY = 20


class ForensicsError(Exception):
    """Base of all errors that the program raises on purpose."""

    exit_code: ExitCode = ExitCode.FAILURE


class UsageError(ForensicsError, ValueError):
    """An argument, option or path that cannot be used."""

    exit_code = ExitCode.USAGE


class SourceError(UsageError):
    """A source of images that is missing, empty or of an unknown shape."""


class MissingExtraError(ForensicsError, ImportError):
    """An optional package is not installed; the message names its ``pip install`` line."""


class WeightsError(ForensicsError):
    """Model weights that are missing or do not match; the message names the command that brings them."""


class IndexFormatError(ForensicsError):
    """A folder that is not a usable index."""


class SpecMismatchError(IndexFormatError):
    """Vectors or embedders other than those the index was built with."""


class VectorError(ForensicsError, ValueError):
    """Vectors with NaN, infinite or zero rows, or of the wrong shape."""


class IntegrityError(ForensicsError):
    """Bytes that differ from what was recorded about them."""

    exit_code = ExitCode.INTEGRITY
