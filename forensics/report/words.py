"""Plain words for what the report shows: kinds, states, measurements, figures. One place, so that no name has two."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import Literal

from forensics.calibration import one_in
from forensics.types import Scalar

__all__ = [
    "KINDS",
    "MEASUREMENTS",
    "STATES",
    "STRENGTH",
    "Measure",
    "figure",
    "measure",
    "number",
    "per_thousand",
    "visible",
]

KINDS = {
    "near_copy": "Copy of the whole image",
    "partial_copy": "Copy of a part",
    "template": "Layout that references share",
    "watermark": "Mark of a picture agency",
    "meme": "Meme template",
    "cover": "Cover",
}

STATES = {
    "ok": "read and searched",
    "degraded": "searched, read with a loss",
    "rejected": "not searched: not a usable image",
    "error": "not searched: could not be read",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """How a measurement is named and shown.

    Attributes
    ----------
    label, doc : str
        A few words, and one phrase that explains them.
    form : {"number", "share", "count", "power", "chance"}
        How its values are written.
    threshold : str
        The entry of the table of thresholds that judges it; empty where none does.
    bound : str
        On which side of the threshold a copy lies.
    """

    label: str
    doc: str
    form: Literal["share", "count", "power", "number", "chance"] = "number"
    threshold: str = ""
    bound: Literal["≥", "≤"] = "≥"


STRENGTH = Measure(
    "Strength of the finding",
    "of a copy or a known meme the belief that it is one, from all measurements together; of anything else how sure "
    "its detector is; 0 to 1",
)
MEASUREMENTS = {
    "inliers": Measure("Matching points", "small details found at corresponding places in both images", "count"),
    "matches": Measure("Points compared", "details that look alike, before their places are compared", "count"),
    "query_area": Measure(
        "Share of the generated image",
        "part of it inside the match; from the threshold on, in both images, the copy is of the whole image",
        "share",
        "whole",
    ),
    "reference_area": Measure("Share of the reference", "part of it inside the match", "share", "whole"),
    "similarity": Measure("Agreement of the structure", "both laid over one another: 1 is equal, 0 is unrelated"),
    "colour": Measure("Agreement of the colours", "inside the match: 1 is equal, 0 is unrelated"),
    "log10_nfa": Measure(
        "Chance matches, power of ten",
        "so many such matches are expected by accident in one pair: −6 means one in a million",
        "power",
        "geometry_log10_nfa",
        "≤",
    ),
    "expected_false": Measure("False findings expected", "at this threshold, in a search of this size"),
    "expected_false_high": Measure("False findings expected, at most", "upper end of the 95 % interval"),
    "p_unrelated": Measure(
        "An unrelated picture scores as high", "against this index: estimate from its calibration", "chance"
    ),
    "p_unrelated_low": Measure("An unrelated picture scores as high, at least", "lower end of the interval", "chance"),
    "p_unrelated_high": Measure("An unrelated picture scores as high, at most", "upper end of the interval", "chance"),
    "likelihood_ratio": Measure(
        "Likelihood ratio", "how many times likelier a copy reaches this score than an unrelated picture"
    ),
    "reference_group": Measure(
        "Near-duplicates of the reference", "references that show the same picture, itself counted", "count"
    ),
    "mirrored": Measure("Mirrored", "the match is with the mirror image"),
    "correlation": Measure(
        "Correlation in the best place",
        "one image laid over the other where too few details match: 1 is equal, 0 is unrelated",
        threshold="placing_correlation",
    ),
    "verified": Measure("Compared in detail", "both images' pixels could be had and were compared"),
    "view": Measure("Part most alike", "which view of the generated image is nearest to the reference"),
    "sscd": Measure("Copy descriptor SSCD, best part", "likeness of the part that is most alike: 1 is equal"),
    "sscd_unrelated": Measure(
        "SSCD of that part and unrelated pictures", "what the part gives its nearest pictures of a background set"
    ),
    "sscd_aligned": Measure(
        "SSCD of the two parts laid over one another", "likeness of what both images show at the same place: 1 is equal"
    ),
    "sscd_aligned_unrelated": Measure(
        "SSCD of that place and unrelated pictures", "what the place gives its nearest pictures of a background set"
    ),
    "sscd_whole": Measure(
        "Copy descriptor SSCD, whole image",
        "likeness of the whole images; where no region was located, it tells whole copies from partial ones",
        "number",
        "whole_sscd",
    ),
    "clip": Measure("CLIP", "likeness of what is shown, not evidence of a copy"),
    "pdq": Measure("Picture fingerprint PDQ", "share of equal bits; unrelated images have about half"),
    "pdq_quality": Measure(
        "Detail of the generated image",
        "PDQ's quality, 0 to 100: plain images match everything",
        "count",
        "quality_pdq",
    ),
    "template_references": Measure(
        "References with this layout", "near-duplicates counted once", "count", "template_references"
    ),
    "template_cells": Measure(
        "Cells of the layout",
        "of 256: those that the references show alike and that have texture",
        "count",
        "template_cells",
    ),
    "template_agreement": Measure(
        "Agreement with the layout", "share of its cells that the generated image shows", "share", "template_agreement"
    ),
    "template_own": Measure(
        "Agreement with a reference's own picture",
        "largest share of what only one reference shows that the generated image shows too; a copy has half or more",
        "share",
    ),
    "known_mark": Measure(
        "Agreement with the mark",
        "so many times the strongest agreement that a picture without the mark was seen to have",
        threshold="known_mark",
    ),
    "mark_correlation": Measure(
        "Correlation with the mark",
        "the image's fine structure against what the mark would add to it: 1 is equal, 0 is unrelated",
    ),
    "mark_legibility": Measure("Legibility of the mark", "readable, garbled, or a trace that says no name"),
    "mark_text": Measure("Read of the mark", "as far as letters could be made out"),
    "mark_text_distance": Measure(
        "Distance of what was read to the name", "0 is equal; letters that look alike cost less than others"
    ),
    "mark_period": Measure("The mark repeats after, in pixels", "estimated, never an agency's constant", "count"),
    "mark_presence": Measure("The network's surety of a mark", "probability as the pictures of its training had them"),
    "mark_share": Measure("Share of the image under the mark", "where its place is more likely than not", "share"),
    "network_agency": Measure("Agency that it looks like to the network", "one opinion; it names nobody alone"),
    "network_agency_probability": Measure("Surety of that opinion", "probability"),
    "batch_share": Measure("Share of the batch with this mark", "of all images that could be searched", "share"),
    "shared_mark": Measure("Mark shared by the batch", "its entry in marks.json"),
    "shared_mark_share": Measure("Opacity against the average mark", "1 is as opaque as the mark averaged over images"),
    "shared_mark_z": Measure("Surety of the shared mark", "standard deviations above places without the mark"),
    "detector": Measure("Found by", "which detector"),
    "layout": Measure("Likeness of the rough layout", "of grey in coarse cells, over what chance gives: 1 is equal"),
    "fine": Measure("Likeness of the fine layout", "the same in finer cells"),
    "hash": Measure("Likeness of picture fingerprints", "equal bits over what chance gives: 1 is equal"),
    "geometry": Measure("Evidence of the alignment", "logarithm of the power of ten; 0 where it was not aligned"),
    "aligned": Measure("Likeness once laid over one another", "times that evidence; 0 where it was not aligned"),
    "macro": Measure("Surety of an image macro", "by where the lines of letters stand, how they look, and bars"),
    "cyrillic": Measure("Share of Cyrillic letters", "of those that were read", "share"),
    "subtype": Measure("Kind of cover", "the likeliest: book, disc, website or poster"),
    "cover_score": Measure("Surety of a cover", "one minus the chance that it is none"),
    "cover_score_unmarked": Measure("Surety of a cover without the mark", "the stock mark filled in from around it"),
    "cover_book": Measure("Chance of a book cover", "", "share"),
    "cover_disc": Measure("Chance of a record's cover or disc", "", "share"),
    "cover_website": Measure("Chance of a web page", "", "share"),
    "cover_poster": Measure("Chance of a poster", "", "share"),
    "text_boxes": Measure("Lines of letters", "that a text detector finds in the image", "count"),
    "clip_subtype": Measure("Kind of cover by CLIP", "asked in words; it decides nothing"),
    "clip_cover": Measure("Chance of a cover by CLIP", "asked in words; it decides nothing", "share"),
    "phash": Measure("Picture fingerprint pHash", "share of equal bits; unrelated images have about half"),
}


_LAYOUT = {
    "text_share": "area under lines of letters",
    "text_lines": "lines of letters, 20 and more being all",
    "text_top": "upper third under lines of letters",
    "text_middle": "middle third under lines of letters",
    "text_foot": "lower third under lines of letters",
    "title_height": "height of the largest line of letters",
    "title_width": "width of the widest line of letters",
    "title_place": "place of the largest line, from the top",
    "centred": "lines about a common middle",
    "ranged": "lines from a common left edge",
    "row_top": "longest level edge in the upper fifth",
    "row_middle": "longest level edge in the middle",
    "row_foot": "longest level edge in the lower fifth",
    "column_left": "longest upright edge in the left fifth",
    "column_middle": "longest upright edge in the middle",
    "column_right": "longest upright edge in the right fifth",
    "spine": "upright edge between two colours at the left",
    "frame_bar": "plain bar along the upper edge",
    "controls": "round spots side by side in that bar",
    "ring": "circle about the middle that is an edge",
    "hole": "small circle about the middle that is an edge",
    "rim_plain": "rim near its commonest colour",
    "plain": "area without structure",
    "colours": "area in the four commonest colours",
    "blocks": "strong edges that are long and straight",
}


def measure(name: str) -> Measure:
    """Return how a measurement is shown; an unknown one shows its own name."""
    if name in MEASUREMENTS:
        return MEASUREMENTS[name]
    if name.startswith("layout_") and (said := _LAYOUT.get(name.removeprefix("layout_"))):
        return Measure(f"Layout: {said}", "", "share")
    if name.startswith(("sscd", "clip")):
        return Measure(f"Likeness by {name}", "likeness of the learned descriptors: 1 is equal")
    return Measure(name.replace("_", " "), "")


def figure(value: Scalar, form: str = "number") -> str:
    """Return a measured value as it stands in a table."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if form in ("share", "chance"):
        return f"{100 * value:.0f} %" if form == "share" else one_in(value)
    if form == "count" or isinstance(value, int):
        return number(round(value))
    digits = 1 if form == "power" else 3 if abs(value) < 100 else 0
    return f"{value:.{digits}f}".replace("-", "−")


def number(value: int) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def per_thousand(share: float) -> str:
    """Return a share as images in 1,000, with as many digits as it bears."""
    value = 1000 * share
    if value == 0 or value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def visible(text: str, *, strict: bool = True, limit: int = 2000) -> list[tuple[bool, str]]:
    """Split text into what may be shown as it is and names of characters that would deceive the reader.

    Parameters
    ----------
    text : str
        From outside.
    strict : bool
        For ids and addresses: every control, format or unassigned character is named. Otherwise the joiners that
        emoji, Persian and Indic scripts need are kept, and line breaks become spaces.
    limit : int
        Characters shown; the rest is counted.

    Returns
    -------
    list of (bool, str)
        True marks a name such as ``U+202E``.
    """
    parts: list[tuple[bool, str]] = []
    plain: list[str] = []
    for character in text[:limit]:
        hidden = unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")
        if hidden and not strict:
            if character in "\n\r\t\u2028\u2029":
                plain.append(" ")
                continue
            hidden = character not in "\u200c\u200d"
        if not hidden:
            plain.append(character)
            continue
        if plain:
            parts.append((False, "".join(plain)))
            plain = []
        parts.append((True, f"U+{ord(character):04X}"))
    if plain:
        parts.append((False, "".join(plain)))
    if len(text) > limit:
        parts.append((True, f"… {number(len(text) - limit)} characters more"))
    return parts
