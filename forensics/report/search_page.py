"""The page of a reverse image search: the image above, its matches below. Self-contained, no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forensics.report.files import write_bytes
from forensics.report.html import template
from forensics.report.words import figure, measure
from forensics.types import ImageRef, Scalar

__all__ = ["SearchMatch", "render_search"]

_SHOWN = ("sscd", "sscd_whole", "clip", "phash", "pdq", "inliers", "log10_nfa", "similarity", "correlation",
          "query_area", "reference_area")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchMatch:
    """One match: its fields as in the JSON output, what its source said, and a JPEG where pixels could be had."""

    fields: Mapping[str, Any]
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    picture: bytes | None = None


def render_search(
    path: Path, *, query: ImageRef, picture: bytes | None, matches: Sequence[SearchMatch], notes: Sequence[str]
) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
        The HTML file; its folder is made where it is missing.
    query : ImageRef
    picture : bytes or None
        JPEG of the query.
    matches : sequence of SearchMatch
        Best first.
    notes : sequence of str
    """
    rows = [
        {
            "uri": _data_uri(match.picture),
            "reference": match.fields["reference"],
            "score": match.fields["score"],
            "verdict": str(match.fields["verdict"]).replace("_", " "),
            "reasons": match.fields["reasons"],
            "metadata": [(key, value) for key, value in match.metadata.items() if value not in (None, "")],
            "measurements": [
                (measure(name).label, figure(match.fields[name], measure(name).form))
                for name in _SHOWN
                if match.fields.get(name) is not None
            ],
        }
        for match in matches
    ]
    page = template("search.html.j2").render(query=query, picture=_data_uri(picture), matches=rows, notes=notes)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, page.encode("utf-8", "replace"))


def _data_uri(jpeg: bytes | None) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii") if jpeg else ""
