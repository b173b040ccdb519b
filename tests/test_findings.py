from __future__ import annotations

import pytest

from forensics.errors import UsageError
from forensics.findings import decide, outdone
from forensics.scoring import ScoreModel
from forensics.thresholds import THRESHOLDS, with_overrides

MODEL = ScoreModel(
    name="test",
    intercept=-6.0,
    weights={"sscd": 14.0, "sscd_aligned": 4.0, "aligned": 2.0, "geometry": 1.0},
    source="test",
)
LOCATED = {"log10_nfa": -80.0, "inliers": 120, "matches": 130, "similarity": 0.8}


def _decide(**measurements):
    return decide(measurements, model=MODEL, thresholds=THRESHOLDS)


def test_a_located_whole_image_is_a_near_copy():
    verdict = _decide(sscd=0.9, sscd_whole=0.9, query_area=0.95, reference_area=0.9, **LOCATED)
    assert verdict.kind == "near_copy"
    assert "95%" in verdict.reasons[0]
    assert "90%" in verdict.reasons[0]


@pytest.mark.parametrize("areas", [(1.0, 0.25), (0.2, 1.0)])
def test_a_located_region_is_a_partial_copy(areas):
    verdict = _decide(sscd=0.6, sscd_whole=0.4, query_area=areas[0], reference_area=areas[1], **LOCATED)
    assert verdict.kind == "partial_copy"


def test_a_repainted_copy_needs_no_features():
    assert _decide(sscd=0.95, sscd_whole=0.95, log10_nfa=0.0).kind == "near_copy"


def test_the_same_subject_is_a_lead_and_never_a_finding():
    verdict = _decide(sscd=0.45, sscd_whole=0.4, log10_nfa=0.0, inliers=0, matches=9)
    assert verdict.kind == "similar"
    assert verdict.belief < THRESHOLDS["belief"].value


def test_unrelated_is_nothing():
    assert _decide(sscd=0.1, sscd_whole=0.05).kind == "none"


def test_featureless_images_need_geometry():
    flat = {"sscd": 0.97, "sscd_whole": 0.97, "pdq_quality": 3}
    verdict = _decide(**flat)
    assert verdict.kind == "similar"
    assert "too little detail" in verdict.reasons[-1]
    assert _decide(**flat, query_area=1.0, reference_area=1.0, **LOCATED).kind == "near_copy"


def test_a_placed_crop_is_a_partial_copy_and_says_how():
    placed = {"correlation": 0.99, "similarity": 0.95, "query_area": 1.0, "reference_area": 0.25}
    verdict = _decide(sscd=0.9, sscd_whole=0.9, **placed)
    assert verdict.kind == "partial_copy"
    assert "correlates" in verdict.reasons[0]
    assert _decide(sscd=0.9, sscd_whole=0.9, pdq_quality=10, **placed).kind == "similar"


def test_unverified_pairs_say_why():
    verdict = decide(
        {"sscd": 0.99, "sscd_whole": 0.99}, model=MODEL, thresholds=THRESHOLDS, unverified="missing: x.jpg"
    )
    assert "missing: x.jpg" in verdict.reasons[0]


def test_the_operators_threshold_decides_and_is_marked():
    table = with_overrides({"belief": 0.999999})
    assert table["belief"].source == "set by the operator"
    measurements = {"sscd": 0.9, "sscd_whole": 0.9, "log10_nfa": 0.0}
    assert decide(measurements, model=MODEL, thresholds=table).kind == "similar"


def test_unknown_threshold_lists_the_choices():
    with pytest.raises(ValueError, match="belief"):
        with_overrides({"nonsense": 1.0})


@pytest.mark.parametrize(("name", "value"), [("meme", 30.0), ("cover", 0.0), ("shared_mark", -5.0)])
def test_a_threshold_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"threshold {name} = .* accepted"):
        with_overrides({name: value})


def test_what_names_a_mark_is_never_stricter_than_what_claims_any() -> None:
    table = with_overrides({"watermark": 0.3})
    assert (table["watermark_named"].value, table["watermark_named"].source) == (0.3, "set by the operator")
    assert with_overrides({"watermark": 0.8})["watermark_named"] == THRESHOLDS["watermark_named"]
    most = THRESHOLDS["watermark"].value
    with pytest.raises(UsageError, match=rf"watermark_named = 0.99 given; at most watermark = {most}"):
        with_overrides({"watermark_named": 0.99})


@pytest.mark.parametrize("name", ["sscd", "sscd_aligned", "similarity"])
def test_more_alike_never_lowers_the_belief(name):
    base = {"sscd": 0.3, "sscd_aligned": 0.2, "similarity": 0.2, "log10_nfa": -5.0}
    beliefs = [MODEL.belief({**base, name: value}) for value in (0.0, 0.2, 0.5, 0.9)]
    assert beliefs == sorted(beliefs)


def test_a_claim_is_outdone_only_by_a_better_one_of_the_same_region() -> None:
    whole, corner, left = (0, 0, 100, 100), (60, 60, 100, 100), (0, 0, 45, 100)
    # the copied cover, one of the same design, a true duplicate, a copy of something else in one corner
    claims = [(0.92, whole), (0.66, whole), (0.90, whole), (0.70, None)]
    assert outdone(claims, gap=0.15) == [None, 0, None, None]
    # another region is no explanation
    assert outdone([(0.95, left), (0.60, corner)], gap=0.15) == [None, None]
    # what covers the weaker claim's region may be larger than it, not smaller
    assert outdone([(0.95, whole), (0.60, corner)], gap=0.15) == [None, 0]
    assert outdone([(0.95, corner), (0.60, whole)], gap=0.15) == [None, None]
    assert outdone([], gap=0.15) == []
