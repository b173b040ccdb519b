"""Ids of findings; tables and their documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics import schema
from forensics.types import Region

FORMATS = Path(__file__).parent.parent / "docs" / "formats.md"
CLAIM = {"query_sha256": "a" * 64, "reference_sha256": "b" * 64, "kind": "near_copy"}


def test_finding_id_is_pinned() -> None:
    """A changed id would part every finding from its review."""
    region = Region(query_box=(0, 0, 10, 20), reference_box=(1, 2, 3, 4), query_polygon=((0.0, 0.5),))
    assert schema.finding_id(**CLAIM, region=region) == "f-ec52fcaece024a38db96"
    assert (
        schema.finding_id(query_sha256="a" * 64, reference_sha256=None, kind="watermark", label="x")
        == "f-5cb8ea2a5bbc56b86a22"
    )


def test_finding_id_ignores_polygons_and_nothing_else() -> None:
    region = Region(query_box=(0, 0, 10, 20), reference_box=(1, 2, 3, 4))
    first = schema.finding_id(**CLAIM, region=region)
    finer = Region(query_box=(0, 0, 10, 20), reference_box=(1, 2, 3, 4), query_polygon=((0.1, 0.2),))
    assert schema.finding_id(**CLAIM, region=finer) == first
    others = [
        schema.finding_id(**CLAIM),
        schema.finding_id(**CLAIM, region=Region(query_box=(0, 0, 10, 21), reference_box=(1, 2, 3, 4))),
        schema.finding_id(**CLAIM, label="x", region=region),
        schema.finding_id(**{**CLAIM, "kind": "partial_copy"}, region=region),
        schema.finding_id(**{**CLAIM, "reference_sha256": None}, region=region),
        schema.finding_id(**{**CLAIM, "query_sha256": "c" * 64}, region=region),
    ]
    assert len({first, *others}) == 7


@pytest.mark.parametrize("table", ["IMAGES", "CANDIDATES", "FINDINGS", "LEADS", "ROOTS"])
def test_every_column_of_the_run_folder_is_documented(table: str) -> None:
    text = FORMATS.read_text("utf-8")
    for column in getattr(schema, table):
        assert f"| `{column.name}` | {column.dtype} | {column.doc} |" in text
