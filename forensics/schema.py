"""Tables on disk: their columns, types, meanings and versions. Standard library only.

Two families live here. *The run folder* is what an audit writes (``docs/formats.md``, section of that name); *the
index* is what references are searched in. A version is raised by one with every change that an older reader would
misread, and the change is described beside the number.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from forensics.types import Region

# ---------------------------------------------------------------------------------------------------------------------
# Shared words


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name : str
        As it stands in the file.
    dtype : str
        Arrow's name of the type: ``string``, ``int64``, ``double``, ``bool``, …
    doc : str
        One sentence for ``docs/formats.md``.
    """

    name: str
    dtype: str
    doc: str


# ---------------------------------------------------------------------------------------------------------------------
# The run folder

RUN_SCHEMA_VERSION: Final = 1
"""Of ``case.json``, ``run.json``, ``evidence.json``, ``images.parquet`` and ``leads.csv``. 1: first."""

FINDINGS_SCHEMA_VERSION: Final = 1
"""Of ``findings.jsonl``, ``findings.csv`` and ``findings.parquet``. 1: first."""

COPY_KINDS: Final = ("near_copy", "partial_copy")
"""Kinds of findings that claim a copy of an image, and so count in the headline rate."""

REVIEW_STATUSES: Final = ("unreviewed", "confirmed", "rejected", "unclear")

IMAGES: Final = (
    Column("id", "string", "The record's id, unique in its source."),
    Column("uri", "string", "Where the bytes were read, relative to the source's root: `file:` or `tar:`."),
    Column("sha256", "string", "SHA-256 (hex) of the file's bytes; empty where they could not be read."),
    Column("width", "int64", "Full size in pixels, upright; 0 where unknown."),
    Column("height", "int64", "Full size in pixels, upright; 0 where unknown."),
    Column("state", "string", "`ok`, `degraded`, `rejected` or `error`; the first two were searched."),
    Column("reason", "string", "Why the state is not `ok`."),
    Column("prompt", "string", "The prompt that made the image, where the source gave it."),
    Column("caption", "string", "The caption, where the source gave it."),
    Column("extra", "string", "Every further column of the source, as one JSON object."),
)
"""``images.parquet``: one row an input, in the source's order."""

CANDIDATES: Final = (
    Column("query", "string", "Id of the audited image."),
    Column("reference", "string", "Id of the reference image."),
    Column("score", "double", "The program's final belief that the pair is a copy; higher is more alike."),
)
"""``candidates.csv``: these columns first, then one a measurement, in alphabetical order of no matter what."""

FINDINGS: Final = (
    Column("schema_version", "int64", "Version of this row's layout."),
    Column("finding_id", "string", "Stable across reruns: a hash of what is claimed about which bytes."),
    Column(
        "kind",
        "string",
        "`near_copy` (whole image), `partial_copy` (a region), `template` (a layout that references share), "
        "`watermark`, `meme`, `cover`.",
    ),
    Column("query", "json", "The audited image: `id`, `uri`, `sha256`, and `metadata` as the source gave it."),
    Column(
        "reference",
        "json",
        "The same of the reference image, of a meme that of its template, or null where a finding has none.",
    ),
    Column("label", "string", "What was recognised, where the kind names something; otherwise empty."),
    Column("score", "double", "Strength of the claim; higher is stronger."),
    Column("threshold", "double", "The score from which on the claim is made."),
    Column("threshold_source", "string", "Where that threshold comes from."),
    Column("measurements", "json", "Name to number, word, true/false or null: what was measured on the pair."),
    Column(
        "regions",
        "json",
        "List of {`query_box`, `reference_box`, `polygons`: {`query`, `reference`}} in pixels of the full-size upright "
        "images; boxes are x0, y0, x1, y1 with exclusive upper bounds.",
    ),
    Column(
        "alignment",
        "json",
        "{`transform`: nine numbers, row by row, that map query pixels to reference pixels; `mirrored`}, or null.",
    ),
    Column("reasons", "json", "Sentences that say why the claim is made."),
    Column("review_status", "string", "`unreviewed`, `confirmed`, `rejected` or `unclear`: filled by a person."),
    Column("reviewer", "string", "Who reviewed the finding."),
    Column("note", "string", "The reviewer's words."),
)
"""``findings.jsonl``: one object a line. In ``.csv`` and ``.parquet`` the ``json`` columns hold JSON text."""

LEADS: Final = (
    Column("kind", "string", "Always `similar`."),
    Column("query", "string", "Id of the audited image."),
    Column("query_uri", "string", "Where it was read."),
    Column("query_sha256", "string", "SHA-256 of its bytes."),
    Column("reference", "string", "Id of the reference image."),
    Column("reference_uri", "string", "Where it was read."),
    Column("reference_sha256", "string", "SHA-256 of its bytes."),
    Column("score", "double", "The program's belief that the pair is a copy: below the threshold of a finding."),
    Column("measurements", "json", "As in a finding."),
    Column("reasons", "json", "Sentences."),
    Column("reference_metadata", "json", "What the reference's source gave beside the pixels."),
)
"""``leads.csv``: pairs that are alike and are not claimed to be copies."""

ROOTS: Final = (
    Column("query", "string", "Id of the audited image."),
    Column("query_sha256", "string", "SHA-256 of its bytes."),
    Column("crop", "string", "`whole`, `top-left`, `top-right`, `bottom-left`, `bottom-right` or `centre`."),
    Column("file", "string", "The crop's file beside the sheet."),
    Column("address", "string", "Filled by hand: where the picture was found."),
    Column("date", "string", "Filled by hand: since when it is there, or when it was seen."),
    Column("note", "string", "Filled by hand."),
)
"""The sheet of a reverse image search by hand; read back, its filled rows are the run's ``roots.csv``."""


def finding_id(
    *, query_sha256: str, reference_sha256: str | None, kind: str, label: str = "", region: Region | None = None
) -> str:
    """Return the id of a claim: the same bytes, kind, label and region give the same id in every rerun.

    Parameters
    ----------
    query_sha256 : str
        Of the audited image's bytes.
    reference_sha256 : str or None
        Of the reference image's bytes; None for findings without a reference.
    kind, label : str
        As in :class:`~forensics.types.Finding`.
    region : Region or None
        The matched region. Its boxes enter the id, its polygons do not.

    Returns
    -------
    str
        ``f-`` and 20 hexadecimal digits.

    Notes
    -----
    Two records with the same bytes get the same id for the same claim: whoever reviews one has reviewed both.
    """
    boxes = None if region is None else [region.query_box, region.reference_box]
    claim = json.dumps([query_sha256, reference_sha256, kind, label, boxes], ensure_ascii=False, separators=(",", ":"))
    return "f-" + hashlib.sha256(claim.encode("utf-8", "surrogatepass")).hexdigest()[:20]


# ---------------------------------------------------------------------------------------------------------------------
# The index

INDEX_FORMAT: Final = "forensics-index"
"""What ``manifest.json`` of an index calls itself."""

INDEX_SCHEMA_VERSION: Final = 1
"""Of an index folder as a whole. 1: first."""

METADATA_COLUMNS: Final = (
    Column("caption", "string", "The caption, where the source gave it."),
    Column("prompt", "string", "The prompt that made the image, where the source gave it."),
    Column("source_url", "string", "The address the image came from."),
    Column("domain", "string", "The address's domain."),
    Column("dataset", "string", "The data set the image belongs to."),
    Column("licence", "string", "The image's licence."),
    Column("rights_holder", "string", "Who holds the rights."),
)
"""What a source may say beside the pixels and every table knows by name."""

INDEX_IMAGES: Final = (
    Column("id", "string", "The record's id, unique in the index; ids of sources added later begin with `label/`."),
    Column("uri", "string", "Where the bytes are, relative to the root of its source: `file:` or `tar:`."),
    Column("source", "int32", "Position in the manifest's list of sources."),
    Column("sha256", "string", "SHA-256 (hex) of the file's bytes; empty where they could not be read."),
    Column("width", "int32", "Full size in pixels, upright; 0 where unknown."),
    Column("height", "int32", "Full size in pixels, upright; 0 where unknown."),
    Column("state", "string", "`ok`, `degraded`, `rejected` or `error`; the first two have descriptors."),
    Column("reason", "string", "Why the state is not `ok`."),
    Column("format", "string", "`JPEG`, `PNG`, …; empty where unknown."),
    *METADATA_COLUMNS,
    Column("extra", "string", "Every further column of the source, as one JSON object; null where there is none."),
)
"""``images/part-*.parquet``: one row an input file, unreadable ones included, in the order of the source."""

INDEX_ROWS: Final = (
    Column("image", "int32", "Position of the image in its part."),
    Column("view", "string", "Name of the view: `whole`, `tile2-0-1`, …"),
    Column("x0", "int32", "Left edge of the view in the full-size upright image, in pixels."),
    Column("y0", "int32", "Upper edge."),
    Column("x1", "int32", "Right edge, exclusive."),
    Column("y1", "int32", "Lower edge, exclusive."),
    Column("orientation", "int8", "0 to 7: quarter turns counter-clockwise, after a left-right mirror from 4 on."),
    Column("quality", "int16", "0 to 100 where the embedder measures it, otherwise -1."),
)
"""``rows/<embedder>/part-*.parquet``: row i says what row i of the part's vectors or hashes stands for."""
