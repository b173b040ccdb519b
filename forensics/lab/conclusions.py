"""What may be concluded from the laboratory's numbers, in sentences that keep their limits. Pure."""

from __future__ import annotations

from forensics.lab.blind import BlindControl
from forensics.lab.dataset import DatasetInference
from forensics.lab.intervals import Interval
from forensics.lab.membership import STATISTICS
from forensics.lab.roc import FALSE_POSITIVE_RATES, Separation, least_nonmembers

__all__ = ["LIMITS", "about_collection", "about_images", "percent", "spread"]

LIMITS = (
    "A high likelihood is not a proof of membership. A generator likes its own output best: never call an image a "
    "member because its likelihood is high if it may have been generated, by this model or one trained on its outputs.",
    "Everything rests on the non-members: they must be images of the same source as the others, drawn at random, that "
    "the model cannot have seen. Images that are newer, smaller, simpler or captioned in another style make any score "
    "separate the two sides. The blind control finds such a bias only where it shows in colours, texture, layout, "
    "files or words.",
    "Near copies count: a model that saw another version of an image (another size, another crop, a repost) finds this "
    "one likely too.",
    "No separation does not mean not trained on. An image that was seen once among millions need leave no trace in "
    "these statistics.",
    "The number of images above a threshold is no number of members: at a false-positive rate of 1 % one in a hundred "
    "non-members is above it as well.",
)
"""What a reader must know beside every result."""

_SIGNIFICANT = 0.01


def about_images(separation: Separation, statistic: str, blind: BlindControl) -> list[str]:
    """Return sentences about single images."""
    if blind.verdict.state == "biased":
        return [blind.verdict.sentence]
    auc = separation.auc
    what = f"{statistic} ({STATISTICS[statistic]})" if statistic in STATISTICS else statistic
    if auc.low > 0.5:
        found = (
            f"The model finds the images likelier than the non-members by {what}: AUC {spread(auc)}, "
            f"{separation.members} images against {separation.nonmembers} non-members."
        )
    elif auc.high < 0.5:
        found = (
            f"The model finds the images less likely than the non-members by {what}: AUC {spread(auc)}. The two sides "
            "differ, but not as images that were trained on differ from others: look at how they were chosen."
        )
    else:
        found = (
            f"By {what} the images cannot be told from the non-members: AUC {spread(auc)}, {separation.members} images "
            f"against {separation.nonmembers} non-members. That does not show that they were not trained on."
        )
    sentences = [found, *[_at(separation, rate) for rate in FALSE_POSITIVE_RATES if rate in separation.at]]
    return [*sentences, blind.verdict.sentence]


def about_collection(found: DatasetInference, blind: BlindControl) -> list[str]:
    """Return sentences about the collection as a whole."""
    if blind.verdict.state == "biased":
        return [blind.verdict.sentence]
    welch = "" if found.welch_p is None else f", Welch's {_p(found.welch_p)}"
    figures = (
        f"permutation test {_p(found.permutation_p)}{welch}; {found.suspects} images, {found.nonmembers} non-members"
    )
    if found.permutation_p >= _SIGNIFICANT:
        return [
            f"As a collection the images do not score higher than the non-members beyond chance ({figures}). That does "
            "not show that they were not trained on."
        ]
    sentences = [
        f"As a collection the images score higher than the non-members, more than chance explains ({figures}). If the "
        "non-members are of the same source, this is what training on the collection, or on near copies of it, looks "
        "like. It says nothing about any one of the images."
    ]
    if found.enough is not None:
        sentences.append(
            f"Draws of {found.enough} images suffice: from there on at least 95 % of them reach p < {found.level:g}."
        )
    return sentences


def spread(interval: Interval) -> str:
    """Return a value with its interval."""
    return f"{interval.value:.3f} (95 %: {interval.low:.3f} to {interval.high:.3f})"


def percent(rate: float) -> str:
    """Return a rate as ``1 %``."""
    return f"{100 * rate:g} %"


def _at(separation: Separation, rate: float) -> str:
    found = separation.at[rate]
    if found is None:
        return (
            f"A false-positive rate of {percent(rate)} cannot be stated with {separation.nonmembers} non-members; it "
            f"takes {least_nonmembers(rate):,}."
        )
    return f"At a false-positive rate of {percent(rate)} the share of images above the threshold is {spread(found)}."


def _p(value: float) -> str:
    return f"p = {value:.4f}" if value >= 1e-4 else f"p = {value:.0e}"
