"""What a curve writes: CSV, JSON, PNG, SVG and a page that holds the SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from forensics.flows.curve import Curve, Draw
from forensics.flows.facts import case_facts
from forensics.lab.curves import AXES, MEASURES, Axis, CurvePoint, Measure, Trend, trend
from forensics.report.files import write_bytes, write_csv, write_json
from forensics.report.html import template
from forensics.report.lab_extraction import STYLE
from forensics.report.plots import Line, Panel, draw_png, draw_svg

__all__ = ["panels", "trends", "write_curve"]

_FORMAT = "forensics-curve-1"


def write_curve(result: Curve, *, model: str, draw: Draw, subjects: Mapping[str, int]) -> None:
    """Write all files of a curve.

    Parameters
    ----------
    result : Curve
    model : str
    draw : Draw
    subjects : mapping of str to int
        Level to pictures.
    """
    drawn = panels(result.points)
    found = trends(result.points)
    result.out.mkdir(parents=True, exist_ok=True)
    write_csv(
        result.table,
        ("axis", "x", "measure", "level", "value", "low", "high", "count", "method"),
        (
            (p.axis, p.x, p.measure, p.level, p.interval.value, p.interval.low, p.interval.high, p.interval.count,
             p.interval.method)
            for p in result.points
        ),
    )  # fmt: skip
    write_json(
        result.out / "curve.json",
        {
            "format": _FORMAT,
            **case_facts(case_id="", operator="", started=datetime.now(UTC)),
            "model": model,
            "checkpoints": dict(result.checkpoints),
            "draw": asdict(draw),
            "pictures": dict(subjects),
            "points": [asdict(point) for point in result.points],
            "trends": [
                {"axis": axis, "measure": measure, "level": level, "tau": one.tau, "apart": one.apart}
                for (axis, measure, level), one in found.items()
            ],
            "notes": list(result.notes),
        },
    )
    svg = draw_svg(drawn)
    write_bytes(result.drawing, svg.encode("utf-8"))
    write_bytes(result.picture, draw_png(drawn))
    page = template("lab_curve.html.j2").render(
        model=model,
        svg=svg,
        rows=[
            {"axis": AXES[p.axis], "x": p.x, "measure": MEASURES[p.measure], "level": p.level, **asdict(p.interval)}
            for p in result.points
        ],
        trends=[
            {"axis": AXES[axis], "measure": MEASURES[measure], "level": level, "tau": one.tau, "rises": one.rises}
            for (axis, measure, level), one in found.items()
        ],
        subjects=subjects,
        samples=draw.samples,
        notes=result.notes,
        style=STYLE.read_text("utf-8"),
    )
    write_bytes(result.page, page.encode("utf-8", "replace"))


def panels(points: Sequence[CurvePoint]) -> list[Panel]:
    """Return one chart an axis and measure, in the order of the tables of names."""
    found = []
    for axis, axis_words in AXES.items():
        for measure, words in MEASURES.items():
            own = [point for point in points if point.axis == axis and point.measure == measure]
            if not own:
                continue
            lines = [
                Line(
                    name=level,
                    points=tuple(
                        (p.x, p.interval.value, p.interval.low, p.interval.high)
                        for p in sorted(own, key=lambda p: p.x)
                        if p.level == level
                    ),
                )
                for level in dict.fromkeys(point.level for point in own)
            ]
            found.append(Panel(title=words[0].upper() + words[1:], axis=axis_words, lines=tuple(lines)))
    return found


def trends(points: Sequence[CurvePoint]) -> dict[tuple[Axis, Measure, str], Trend]:
    """Return whether each curve of two points or more rises, by axis, measure and level."""
    curves: dict[tuple[Axis, Measure, str], list[CurvePoint]] = {}
    for point in points:
        curves.setdefault((point.axis, point.measure, point.level), []).append(point)
    return {key: trend(own) for key, own in curves.items() if len(own) > 1}
