from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from forensics.report.plots import Line, Panel, draw_png, draw_svg

PANEL = Panel(
    title="Copy rate <b>&",
    axis="steps",
    lines=(
        Line(name="64x", points=((50, 0, 0, 0.2), (1500, 1, 0.8, 1))),
        Line(name="одна точка", points=((50, 0.5, 0.4, 0.6),)),
    ),
)
SVG = "{http://www.w3.org/2000/svg}"


def _drawn(*panels: Panel) -> ElementTree.Element:
    return ElementTree.fromstring(draw_svg(panels))  # noqa: S314  our own picture


def test_svg_is_xml_with_nothing_but_shapes_and_text() -> None:
    root = _drawn(PANEL, PANEL)
    assert {element.tag for element in root.iter()} <= {SVG + n for n in ("svg", "rect", "polyline", "circle", "text")}
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert words.count("Copy rate <b>&") == 2
    assert {"64x", "одна точка", "50", "1,500", "steps"} <= set(words)


def test_a_higher_value_stands_higher() -> None:
    root = _drawn(PANEL)
    low, high = list(root.iter(f"{SVG}circle"))[:2]
    assert float(high.get("cy", "")) < float(low.get("cy", ""))
    assert float(high.get("cx", "")) > float(low.get("cx", ""))


@pytest.mark.parametrize("panels", [[], [PANEL], [Panel(title="", axis="", lines=())]])
def test_png_of_none_one_and_an_empty_one(panels: list[Panel]) -> None:
    image = Image.open(io.BytesIO(draw_png(panels)))
    assert image.size[0] == 1120
    if panels and panels[0].lines:
        assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 10


def test_values_beyond_the_axis_stay_inside() -> None:
    wild = Panel(title="t", axis="a", lines=(Line(name="n", points=((1, 7, -3, 9),)),))
    root = _drawn(wild)
    assert 40 <= float(next(root.iter(f"{SVG}circle")).get("cy", "")) <= 254
