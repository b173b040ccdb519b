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

_OPERATOR = "set by the operator"
_SHARES = frozenset(
    {"watermark", "watermark_named", "shared_mark_share", "meme", "image_macro", "cover", "cover_unmarked"}
)
_POSITIVE = frozenset({"shared_mark", "moving_mark"})

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
        "blind_auc": Threshold(
            value=0.6,
            unit="area under the ROC of a classifier that does not ask the model, from which a split is called biased",
            source="choice: what the embedded world's random split stays below; see docs/method.md",
        ),
        "duplicate_sscd": Threshold(
            value=0.8,
            unit="SSCD cosine from which two references are near-duplicates",
            source="the embedded corpus: by their titles 46 of 46 pairs above it are variants of one drawing; see "
            "docs/method.md",
        ),
        "duplicate_pdq": Threshold(
            value=0.878,
            unit="share of equal PDQ bits from which two references are near-duplicates, both detailed enough",
            source="PDQ's authors: a distance of at most 31 of 256 bits",
        ),
        "duplicate_phash": Threshold(
            value=0.93,
            unit="share of equal pHash bits from which two references are near-duplicates, where there is no better",
            source="choice: at most 4 of 64 bits differ",
        ),
        "repeated_images": Threshold(
            value=3.0,
            unit="samples of one prompt that show the same, from which they are taken for a memory",
            source="choice: two of 16 may meet by chance",
        ),
        "watermark": Threshold(
            value=0.9,
            unit="the network's probability of a stock mark, at least",
            source="3 of 801 unmarked held-out composites and pictures reach it; photographs: bench/marks.py",
        ),
        "watermark_named": Threshold(
            value=0.5,
            unit="the same where what is read there is a known agency's name",
            source="choice: even odds, as the name is the better evidence; bench/marks.py",
        ),
        "shared_mark": Threshold(
            value=5.0,
            unit="standard deviations by which a mark that images share must be in an image, at one place",
            source="choice: in 375 unmarked images of a trial none exceeded 3.5",
        ),
        "moving_mark": Threshold(
            value=7.0,
            unit="standard deviations by which a mark that images share must be in an image, at any place",
            source="choice: twice what moving a mark over an image gives by chance",
        ),
        "shared_mark_share": Threshold(
            value=0.25,
            unit="opacity of a shared mark in an image as a share of the mark's average, at least",
            source="choice: letters a pixel off count half, so a quarter is half of the average mark",
        ),
        "meme": Threshold(
            value=0.3,
            unit="belief that the picture shows the template, 0 to 1, at least; more where unrelated pictures "
            "come near",
            source="bench/fit_memes.py on edits of redistributable pictures; error rates in docs/memes.md",
        ),
        "meme_margin": Threshold(
            value=0.05,
            unit="belief by which a template's threshold lies above the nearest unrelated picture",
            source="choice: the unrelated pictures are compared without alignment, which they would not survive",
        ),
        "image_macro": Threshold(
            value=0.7,
            unit="probability by the captions' places and outlines that the picture is an image macro, at least",
            source="choice, of the probability by bench/fit_captions.py: fewer false ones than at 0.5, "
            "see docs/memes.md",
        ),
        "template_references": Threshold(
            value=3.0,
            unit="different references that share a layout, at least",
            source="choice: two pictures can share an element, three show a design",
        ),
        "template_cells": Threshold(
            value=12.0,
            unit="textured cells of 256 that the references show alike, at least",
            source="choice: less than a line of a title is no layout",
        ),
        "template_agreement": Threshold(
            value=0.75,
            unit="share of these cells in which the query agrees",
            source="as in the rule that grades the demo: three quarters show the same",
        ),
        "template_own": Threshold(
            value=0.5,
            unit="share of a reference's own cells that the query shows, below which its picture was not copied",
            source="as in the rule that grades the demo: half of the cells; other pictures in one design reach 0.36",
        ),
        "cover": Threshold(
            value=0.777,
            unit="chance that the image is a cover or mock-up, 0 to 1, at least",
            source="forensics train cover: at most 1 % of held-out renderings that are none; see docs/covers.md",
        ),
        "cover_unmarked": Threshold(
            value=0.6,
            unit="score of a claimed cover with the stock mark on it filled in, at least",
            source="choice, after renderings under drawn marks and ruDALL-E's samples with iStock's tile: "
            "see docs/covers.md",
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
        If a name is not in the table, or a value is none that the name can have.

    Notes
    -----
    A mark is claimed from ``watermark`` on whatever it says, so ``watermark_named`` is never above it: an operator who
    asks for less than ``watermark_named`` lowers both.
    """
    table = dict(THRESHOLDS)
    for name, value in overrides.items():
        if name not in table:
            raise UsageError(f"unknown threshold {name!r}; choose one of: {', '.join(table)}")
        if name in _SHARES and not 0 < value < 1:
            raise UsageError(f"threshold {name} = {value} given; a score between 0 and 1 accepted")
        if name in _POSITIVE and not value > 0:
            raise UsageError(f"threshold {name} = {value} given; more than 0 accepted")
        table[name] = Threshold(value=value, unit=table[name].unit, source=_OPERATOR)
    any_mark, named = table["watermark"].value, table["watermark_named"].value
    if any_mark < named:
        if "watermark_named" in overrides:
            raise UsageError(
                f"threshold watermark_named = {named} given; at most watermark = {any_mark} accepted, from which on a "
                "mark is claimed whatever it says"
            )
        unit = table["watermark_named"].unit
        table["watermark_named"] = Threshold(value=any_mark, unit=unit, source=_OPERATOR)
    return table
