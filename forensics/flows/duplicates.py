"""Near-duplicates in a reference set: found, counted, listed, and kept in the index for the audits that follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.errors import UsageError
from forensics.index import Index
from forensics.index.duplicates import find_duplicates
from forensics.index.groups import DUPLICATES_FOLDER, DuplicateRule, Duplicates, encode_duplicates
from forensics.index.writer import open_writer
from forensics.report.files import write_csv, write_json
from forensics.thresholds import with_overrides

if TYPE_CHECKING:
    from forensics.types import Progress

__all__ = ["COLUMNS", "DuplicatesResult", "duplicate_rule", "duplicates", "write_listing"]

COLUMNS = ("group", "size", "centre", "id", "uri", "sha256", "score", "found_by")
"""Of the listing: one row an image of a group; ``score`` and ``found_by`` are empty for the centre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatesResult:
    """What was found.

    Attributes
    ----------
    index : Index
    found : Duplicates
    file : Path
        Where the index keeps it.
    """

    index: Index
    found: Duplicates
    file: Path

    @property
    def sizes(self) -> dict[int, int]:
        """Number of groups by the number of their images, the smallest first."""
        return dict(sorted(Counter(len(group.images) for group in self.found.groups).items()))

    @property
    def distinct(self) -> int:
        """How many pictures there are, near-duplicates counted once."""
        return self.found.compared - self.found.images + len(self.found.groups)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield one row of :data:`COLUMNS` for each image of each group, the largest groups first."""
        for number, group in enumerate(self.found.groups, 1):
            facts = [("", ""), *zip(group.scores, group.found_by, strict=True)]
            for image, (score, found_by) in zip(group.images, facts, strict=True):
                ref = self.index.image(image).ref
                yield {
                    "group": number,
                    "size": len(group.images),
                    "centre": "yes" if image == group.centre else "no",
                    "id": ref.id,
                    "uri": ref.uri,
                    "sha256": ref.sha256,
                    "score": score,
                    "found_by": found_by,
                }


def duplicate_rule(index: Index, thresholds: Mapping[str, float] | None = None) -> DuplicateRule:
    """Return when two images of an index are near-duplicates, by the descriptors that it has.

    Parameters
    ----------
    index : Index
    thresholds : mapping of str to float, optional
        Other values for names of :data:`forensics.thresholds.THRESHOLDS`.
    """
    table = with_overrides(thresholds or {})
    at_least = {name: table["duplicate_sscd"].value for name in index.specs if name.startswith("sscd")}
    at_least |= {name: table["duplicate_pdq"].value for name in ("pdq",) if name in index.specs}
    # pHash has no quality measure: plain images agree in it by chance, so it speaks only where nothing better is there
    at_least = at_least or {name: table["duplicate_phash"].value for name in ("phash",) if name in index.specs}
    return DuplicateRule(at_least=at_least, quality=table["quality_pdq"].value)


def duplicates(
    directory: Path | str,
    *,
    thresholds: Mapping[str, float] | None = None,
    approximate: bool = False,
    progress: Progress | None = None,
) -> DuplicatesResult:
    """Group the near-duplicates of an index and keep the groups in it; an earlier result is replaced.

    Parameters
    ----------
    directory : path
        A finished index.
    thresholds : mapping of str to float, optional
        Other values for ``duplicate_sscd``, ``duplicate_pdq`` and ``duplicate_phash``.
    approximate : bool
        Let the index's FAISS files propose pairs; scores are exact all the same.
    progress : Progress, optional

    Raises
    ------
    UsageError
        If the index has no image with a descriptor, or was changed while it was searched.
    SpecMismatchError
        If it has neither SSCD nor PDQ nor pHash.
    """
    index = Index.open(directory)
    found = find_duplicates(index, duplicate_rule(index, thresholds), approximate=approximate, progress=progress)
    if not found.compared:
        raise UsageError(f"no image of the index {directory} can be compared; see: forensics index info {directory}")
    with open_writer(Path(directory)) as writer:
        if Index.open(directory).fingerprint != found.fingerprint:
            raise UsageError(f"the index {directory} was changed while it was searched; run the command again")
        file = writer.seal(DUPLICATES_FOLDER, "groups", ".jsonl", encode_duplicates(found))
    return DuplicatesResult(index=Index.open(directory), found=found, file=file)


def write_listing(result: DuplicatesResult, path: Path) -> int:
    """Write the listing as CSV, or as JSON where the name ends so, whole or not at all; return the number of rows.

    Raises
    ------
    UsageError
        If the name ends in neither, or cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json"):
        raise UsageError(f"{path} given; a name that ends in .csv or .json is accepted")
    rows = list(result.rows())
    try:
        if suffix == ".json":
            write_json(path, rows)
        else:
            write_csv(path, COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    return len(rows)
