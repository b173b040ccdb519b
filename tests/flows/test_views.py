"""Which parts of an image are described."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from forensics.flows.views import EFFORTS, WHOLE, expanded, query_views, reference_views
from forensics.types import EmbedderSpec


def spec(name: str, kind: str = "vector") -> EmbedderSpec:
    return EmbedderSpec(name=name, kind=kind, dim=8, preprocessing="", weights_sha256="", weights_licence="")


@pytest.mark.parametrize(("effort", "passes"), list(zip(EFFORTS, (1, 12, 20), strict=True)))
def test_an_effort_costs_at_most_so_many_passes(effort: str, passes: int) -> None:
    picture = np.tile(data.coffee()[:384, :512], (2, 2, 1))
    picture[382:386] = 255
    picture[:, 510:514] = 255
    views = expanded(query_views(spec("sscd-int8"), effort), picture)
    assert len(views) == passes
    assert views[0] == WHOLE  # the score of a pair counts on it
    assert all(0 <= low < high <= 1 for view in views for low, high in (view.box[::2], view.box[1::2]))
    assert len({view.name for view in views}) == passes


def test_a_picture_without_insets_costs_less() -> None:
    assert len(expanded(query_views(spec("sscd-int8"), "standard"), np.full((64, 64, 3), 9, np.uint8))) == 10


def test_hashes_see_orientations_and_clip_the_whole() -> None:
    assert len(query_views(spec("phash", "bits"), "standard")) == 8
    assert query_views(spec("clip"), "thorough") == (WHOLE,)


def test_references() -> None:
    assert reference_views(spec("sscd-int8"), parts=False) == (WHOLE,)
    assert len(reference_views(spec("sscd-int8"), parts=True)) == 10
    assert reference_views(spec("phash", "bits"), parts=True) == (WHOLE,)
