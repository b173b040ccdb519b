"""Images with too little detail: searched like all others, but findings only through details that match."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forensics.index import Index

__all__ = ["plain_note"]


def plain_note(queries: Index, least: float) -> tuple[str, ...]:
    """Return one sentence on the queries whose PDQ quality is below ``least``; none where there are none."""
    if "pdq" not in queries.specs:
        return ()
    plain = 0
    for part in range(len(queries.parts)):
        frame = queries.rows_frame("pdq", part)
        plain += int((frame.loc[frame["view"] == "whole", "quality"] < least).sum())
    if not plain:
        return ()
    verb = "has" if plain == 1 else "have"
    return (
        f"{plain} of the images searched {verb} too little detail to show a copy by likeness (PDQ quality below "
        f"{least:.0f}: flat pictures resemble everything). They can be findings only through details that match; what "
        "else resembles them is kept as a lead.",
    )
