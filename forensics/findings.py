"""Measurements to verdicts. Pure: no files, no networks, no arrays.

A pair is one of four things. ``near_copy``: the whole image. ``partial_copy``: a region. ``similar``: the same subject
or place, or too little evidence; kept as a lead, never counted. ``none``: nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from forensics.scoring import ScoreModel
from forensics.thresholds import Threshold
from forensics.types import Box, Scalar

__all__ = ["Verdict", "VerdictKind", "decide", "outdone"]

VerdictKind: TypeAlias = Literal["near_copy", "partial_copy", "similar", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a pair is held to be.

    Attributes
    ----------
    kind : str
        See the module's first lines.
    belief : float
        The model's belief in [0, 1] that the pair is a copy: the candidates table's ``score``.
    reasons : tuple of str
        Sentences that a person without the program's vocabulary can follow.
    """

    kind: VerdictKind
    belief: float
    reasons: tuple[str, ...]


def decide(
    measurements: Mapping[str, Scalar],
    *,
    model: ScoreModel,
    thresholds: Mapping[str, Threshold],
    unverified: str = "",
) -> Verdict:
    """Decide what one pair is.

    Parameters
    ----------
    measurements : mapping
        Columns of the candidates table: ``sscd``, ``sscd_whole``, ``clip``, ``phash``, ``pdq``, ``pdq_quality``,
        ``inliers``, ``log10_nfa``, ``similarity``, ``query_area``, ``reference_area``, ``mirrored``. A missing one
        counts as not measured.
    model : ScoreModel
        For the descriptors that ran.
    thresholds : mapping of str to Threshold
        :data:`forensics.thresholds.THRESHOLDS`, or the operator's.
    unverified : str
        Why the pair could not be compared geometrically; empty where it was.
    """
    belief = model.belief(measurements)
    matched = number(measurements, "log10_nfa") <= thresholds["geometry_log10_nfa"].value
    placed = not matched and number(measurements, "correlation") >= thresholds["placing_correlation"].value
    reasons = [_geometry_sentence(measurements, matched=matched, placed=placed, unverified=unverified)]
    reasons += _descriptor_sentences(measurements)
    quality = measurements.get("pdq_quality")
    plain = quality is not None and number(measurements, "pdq_quality") < thresholds["quality_pdq"].value
    if belief >= thresholds["belief"].value:
        if plain and not matched:
            reasons.append(
                "The image has too little detail (PDQ quality "
                f"{number(measurements, 'pdq_quality'):.0f}, {thresholds['quality_pdq'].value:.0f} is needed) "
                "to show a copy without details that match: kept as a lead."
            )
            return Verdict(kind="similar", belief=belief, reasons=tuple(reasons))
        if _is_whole(measurements, thresholds, located=matched or placed):
            return Verdict(kind="near_copy", belief=belief, reasons=tuple(reasons))
        return Verdict(kind="partial_copy", belief=belief, reasons=tuple(reasons))
    lead = (
        belief >= thresholds["lead"].value
        or number(measurements, "sscd") >= thresholds["lead_sscd"].value
        or number(measurements, "clip") >= thresholds["lead_clip"].value
    )
    return Verdict(kind="similar" if lead else "none", belief=belief, reasons=tuple(reasons))


def outdone(claims: Sequence[tuple[float, Box | None]], *, gap: float) -> list[int | None]:
    """Return, for each claim about one query, the claim that explains the same region better, or None.

    References of one design (covers with the same board and title, pictures under the same mark) match a query that
    copies one of them by what they share. The one that was copied agrees everywhere in the region; the others do not.
    True duplicates agree alike, so all of them stay.

    Parameters
    ----------
    claims : sequence of (similarity, query box or None)
        Structural agreement in [-1, 1], and the matched region in the query; None where nothing was located.
    gap : float
        How much better the other must agree.
    """
    better: list[int | None] = []
    for similarity, box in claims:
        rivals = [
            (other, place)
            for place, (other, place_box) in enumerate(claims)
            if box is not None
            and place_box is not None
            and other - similarity >= gap
            and _overlap(box, place_box) >= 0.5
        ]
        better.append(max(rivals)[1] if rivals else None)
    return better


def _overlap(one: Box, two: Box) -> float:
    """Return the share of box ``one`` that box ``two`` covers."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    area = (one[2] - one[0]) * (one[3] - one[1])
    return max(width, 0) * max(height, 0) / area if area else 0.0


def number(measurements: Mapping[str, Scalar], name: str) -> float:
    """Return a measurement as a float, 0 where it was not made."""
    value = measurements.get(name)
    if value is None or isinstance(value, str) or math.isnan(value):
        return 0.0
    return float(value)


def _is_whole(measurements: Mapping[str, Scalar], thresholds: Mapping[str, Threshold], *, located: bool) -> bool:
    if located:
        share = min(number(measurements, "query_area"), number(measurements, "reference_area"))
        return share >= thresholds["whole"].value
    return number(measurements, "sscd_whole") >= thresholds["whole_sscd"].value or measurements.get("sscd") is None


def _geometry_sentence(measurements: Mapping[str, Scalar], *, matched: bool, placed: bool, unverified: str) -> str:
    if unverified:
        return f"The pair could not be compared pixel by pixel: {unverified}."
    region = (
        f"The matched region covers {number(measurements, 'query_area'):.0%} of the generated image and "
        f"{number(measurements, 'reference_area'):.0%} of the reference; there the aligned structure agrees to "
        f"{number(measurements, 'similarity'):.2f} (1 is identical, 0 unrelated)."
    )
    if placed:
        return (
            "Too few details match to fix a position, but laid over the other in its best place the one image "
            f"correlates with it to {number(measurements, 'correlation'):.2f}. {region}"
        )
    if not matched:
        return "No region of the one could be laid over the other by matching details."
    mirrored = " in mirror image" if measurements.get("mirrored") else ""
    exponent = number(measurements, "log10_nfa")
    chance = f"fewer than 1 in 10^{min(300, int(-exponent))}" if exponent <= -1 else f"{10**exponent:.2f}"
    return (
        f"{number(measurements, 'inliers'):.0f} of {number(measurements, 'matches'):.0f} matched details agree on one "
        f"position{mirrored}; by chance alone {chance} such agreements would be expected. {region}"
    )


def _descriptor_sentences(measurements: Mapping[str, Scalar]) -> list[str]:
    sentences = []
    if measurements.get("sscd") is not None:
        whole, best = number(measurements, "sscd_whole"), number(measurements, "sscd")
        part = f", and {best:.2f} for the part of it that is most alike" if best - whole > 0.02 else ""
        sentences.append(f"The copy descriptor SSCD gives the whole image {whole:.2f}{part} (1 is identical).")
    if number(measurements, "phash") >= 0.9 or number(measurements, "pdq") >= 0.9:
        sentences.append("The perceptual hashes of the two images are nearly equal.")
    return sentences
