"""Every threshold of the program, in one table, each with where it comes from. No literal stands twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from forensics.errors import UsageError

__all__ = ["THRESHOLDS", "Threshold", "with_overrides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A value that decides something.

    Attributes
    ----------
    value : float
    unit : str
        What the value counts.
    source : str
        Where it comes from.
    """

    value: float
    unit: str
    source: str


_FIT = "bench/fit_score.py on edits of redistributable pictures; error rates in docs/method.md"
_CHOICE = "choice: a lead is never counted and never a finding"

THRESHOLDS: Mapping[str, Threshold] = MappingProxyType(
    {
        "belief": Threshold(value=0.9, unit="belief that the pair is a copy, 0 to 1", source=_FIT),
        "lead": Threshold(value=0.05, unit="belief from which a pair is kept as a lead", source=_CHOICE),
        "lead_sscd": Threshold(value=0.30, unit="SSCD cosine from which a pair is kept as a lead", source=_CHOICE),
        "lead_clip": Threshold(
            value=0.90,
            unit="CLIP cosine from which a pair is kept as a lead",
            source=_CHOICE,
        ),
        "whole": Threshold(
            value=0.6,
            unit="share of both images inside the matched region from which a copy is of the whole image",
            source="definition",
        ),
        "whole_sscd": Threshold(
            value=0.5,
            unit="SSCD cosine of the whole images from which a copy without a located region is of the whole image",
            source="choice: it names the kind of a finding and does not make one",
        ),
        "geometry_log10_nfa": Threshold(
            value=-2.0,
            unit="log10 of the expected number of chance alignments, at most",
            source="a contrario: fewer than one chance alignment in 100 pairs",
        ),
        "outdone": Threshold(
            value=0.15,
            unit="structural agreement by which another reference must agree better in the same region to explain it",
            source="choice: in the embedded world covers of one design stay 0.25 behind the copied one",
        ),
        "placing_correlation": Threshold(
            value=0.9,
            unit="correlation of the one image with the part of the other that it covers, from which it is located",
            source="the strongest of 150 unrelated pairs that SSCD proposed reached 0.80; see docs/method.md",
        ),
        "known_mark": Threshold(
            value=1.3,
            unit="correlation with a known mark over the largest of unmarked pictures, at least",
            source="bench/known_marks.py: no false alarm among the 1,768 unmarked pictures that it was set on",
        ),
        "quality_pdq": Threshold(
            value=50.0, unit="PDQ quality, at least", source="PDQ's authors call 49 and less unusable"
        ),
    }
)


def with_overrides(overrides: Mapping[str, float]) -> dict[str, Threshold]:
    """Return the table with the operator's own values, marked as such.

    Raises
    ------
    UsageError
        If a name is not in the table.
    """
    table = dict(THRESHOLDS)
    for name, value in overrides.items():
        if name not in table:
            raise UsageError(f"unknown threshold {name!r}; choose one of: {', '.join(table)}")
        table[name] = Threshold(value=value, unit=table[name].unit, source="set by the operator")
    return table
