"""The page of a membership run: ROC, blind control, the collection's p-values, and what may be concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.lab.conclusions import LIMITS, percent, spread
from forensics.lab.membership import STATISTICS
from forensics.lab.roc import FALSE_POSITIVE_RATES
from forensics.report.files import write_bytes
from forensics.report.html import template

if TYPE_CHECKING:
    from forensics.lab.blind import BlindControl
    from forensics.lab.dataset import DatasetInference
    from forensics.lab.roc import Separation

__all__ = ["SHOWN", "render_membership", "roc_path"]

SHOWN = 200
"""Images whose rows are on the page; all are in ``membership.csv``."""

_STYLE = Path(__file__).parent / "templates" / "report.css"
_SIDE = 300
_WIDE, _HIGH = 520, 240
_POINTS = 400


def render_membership(
    path: Path,
    *,
    facts: Mapping[str, Any],
    separations: Mapping[str, Separation],
    statistic: str,
    blind: BlindControl,
    dataset: DatasetInference | None,
    ranked: Sequence[tuple[str, float, float, str]],
    left_out: Sequence[tuple[str, str, str]],
) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
        The HTML file.
    facts : mapping
        What ``membership.json`` holds.
    separations : mapping of str to Separation
        For each statistic.
    statistic : str
        Whose ROC is drawn, and by which single images are ranked.
    blind : BlindControl
    dataset : DatasetInference or None
    ranked : sequence of (str, float, float, str)
        Id, score, p-value and SHA-256 of the images, least p first.
    left_out : sequence of (str, str, str)
        Id, side and reason of what could not be used.
    """
    chosen = separations[statistic]
    page = template("lab_membership.html.j2").render(
        facts=facts,
        conclusions=facts["conclusions"],
        notes=facts["notes"],
        rows=[_row(name, found) for name, found in separations.items()],
        rates=[percent(rate) for rate in FALSE_POSITIVE_RATES],
        statistic=statistic,
        meaning=STATISTICS.get(statistic, ""),
        roc=roc_path(chosen.false_positive, chosen.true_positive, _SIDE),
        side=_SIDE,
        auc=spread(chosen.auc),
        blind=blind,
        blind_auc="" if blind.auc is None else spread(blind.auc),
        dataset=dataset,
        chart=None if dataset is None else _chart(dataset),
        wide=_WIDE,
        high=_HIGH,
        ranked=[
            {"id": name, "score": f"{score:.4g}", "p": f"{p:.4f}", "sha256": digest}
            for name, score, p, digest in ranked[:SHOWN]
        ],
        total=len(ranked),
        below=sum(p <= 0.01 for _, _, p, _ in ranked),
        left_out=left_out,
        limits=LIMITS,
        style=_STYLE.read_text("utf-8"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, page.encode("utf-8", "replace"))


def roc_path(false: Sequence[float], true: Sequence[float], side: int) -> str:
    """Return the SVG path of a curve in a square of ``side`` units, of at most 400 points."""
    step = max(1, len(false) // _POINTS)
    places = sorted({*range(0, len(false), step), len(false) - 1})
    return "M" + "L".join(f"{false[place] * side:.1f} {(1 - true[place]) * side:.1f}" for place in places)


def _row(name: str, found: Separation) -> dict[str, str]:
    at = [found.at.get(rate) for rate in FALSE_POSITIVE_RATES]
    return {
        "name": name,
        "meaning": STATISTICS.get(name, ""),
        "auc": spread(found.auc),
        "first": "–" if at[0] is None else spread(at[0]),
        "second": "–" if at[1] is None else spread(at[1]),
    }


def _chart(found: DatasetInference) -> dict[str, Any]:
    """Return the polylines of the share of draws that are found, by their number of images, on a logarithmic scale."""
    import math

    if len(found.power) < 2:
        return {"lines": [], "ticks": []}
    first, last = (math.log(point.images) for point in (found.power[0], found.power[-1]))

    def across(images: int) -> float:
        return (math.log(images) - first) / (last - first) * _WIDE

    lines = [("value", [(across(point.images), (1 - point.found) * _HIGH) for point in found.power])]
    false = [(across(point.images), (1 - point.false) * _HIGH) for point in found.power if point.false is not None]
    lines.append(("false", false))
    return {
        "lines": [(kind, " ".join(f"{x:.1f},{y:.1f}" for x, y in points)) for kind, points in lines if points],
        "ticks": [(f"{across(point.images):.1f}", point.images) for point in found.power],
    }
