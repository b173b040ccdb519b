from __future__ import annotations

import math

import pytest

from forensics.scoring import FEATURES, features, load_model


@pytest.mark.parametrize("descriptor", ["sscd-int8", "sscd-disc-mixup", None])
def test_shipped_models_are_monotone_and_name_their_source(descriptor):
    model = load_model(descriptor)
    assert set(model.weights) <= set(FEATURES)
    assert all(weight >= 0 for weight in model.weights.values())
    assert model.source
    assert model.belief({}) < 0.1


def test_a_descriptor_without_a_fit_says_so():
    assert "taken over unmeasured" in load_model("sscd-disc-mixup").source
    assert "taken over" not in load_model("sscd-int8").source


def test_without_sscd_its_features_have_no_weight():
    assert not {"sscd", "sscd_aligned"} & set(load_model(None).weights)


def test_features_follow_the_table():
    found = features(
        {
            "sscd": 0.5,
            "sscd_unrelated": 0.125,
            "sscd_aligned": 0.25,
            "sscd_aligned_unrelated": 0.5,
            "log10_nfa": -9.0,
            "similarity": 0.5,
            "phash": 0.5,
            "pdq": 0.875,
        }
    )
    assert found == {
        "sscd": 0.375,
        "sscd_aligned": 0.0,
        "geometry": pytest.approx(math.log(10)),
        "aligned": pytest.approx(0.5 * math.log(10)),
        "placed": 0.0,
        "hash": pytest.approx(0.5),
    }


def test_a_build_without_a_background_is_taken_down_by_what_is_typical():
    assert 0.3 < features({"sscd": 0.5})["sscd"] < 0.4


@pytest.mark.parametrize("missing", [{}, {"sscd": None}, {"sscd": math.nan, "log10_nfa": math.nan}])
def test_what_was_not_measured_counts_as_nothing(missing):
    assert set(features(missing).values()) == {0.0}
