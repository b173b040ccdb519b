"""Every measurement that a detector can give is told in words, not by its name in the code."""

from __future__ import annotations

import pytest

from forensics.detect.cover import COVER_KINDS
from forensics.detect.cover_layout import Layout
from forensics.detect.meme_match import FEATURES
from forensics.report.words import measure

NAMES = [
    *(f"layout_{name}" for name in Layout.names()),
    *(f"cover_{kind}" for kind in (*COVER_KINDS, "score")),
    *FEATURES,
    *("macro", "cyrillic", "subtype", "text_boxes", "clip_subtype", "clip_cover"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_measurement_has_words(name: str) -> None:
    label = measure(name).label
    assert label != name.replace("_", " ")
    assert len(label.split()) > 2
