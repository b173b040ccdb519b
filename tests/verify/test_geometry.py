from __future__ import annotations

import math

import numpy as np
import pytest
from skimage import data

from forensics.verify.features import extract
from forensics.verify.geometry import log10_false_alarms, match


def test_mirrored_descriptors_equal_those_of_the_mirror_image():
    """The bin permutation replaces a second detection: the same places, nearly the same descriptors."""
    image = data.coffee()
    mirrored = extract(image).mirrored()
    detected = extract(np.ascontiguousarray(image[:, ::-1]))
    pairs = match(detected.descriptors, mirrored.descriptors)
    distance = np.linalg.norm(detected.points[pairs[:, 0]] - mirrored.points[pairs[:, 1]], axis=1)
    assert len(pairs) > 0.6 * len(detected.points)
    assert np.median(distance) < 1.0


def test_match_equals_a_plain_loop():
    rng = np.random.default_rng(3)
    query = rng.random((40, 128)).astype(np.float32)
    reference = np.concatenate([query[::3] + 0.05 * rng.random((14, 128)), rng.random((30, 128))]).astype(np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)

    def nearest(a, b):
        out = {}
        for i, row in enumerate(a):
            distance = np.linalg.norm(b - row, axis=1)
            first, second = np.argsort(distance)[:2]
            if distance[first] <= 0.85 * distance[second]:
                out[i] = int(first)
        return out

    forward, backward = nearest(query, reference), nearest(reference, query)
    expected = sorted((i, j) for i, j in forward.items() if backward.get(j) == i)
    assert [tuple(pair) for pair in match(query, reference)] == expected
    assert len(expected) >= 10


@pytest.mark.parametrize("rows", [0, 1])
def test_match_needs_two_rows(rows):
    assert match(np.zeros((rows, 128), np.float32), np.ones((5, 128), np.float32)).shape == (0, 2)


def test_false_alarms_bound_what_chance_does():
    """Random matches: the share of trials whose best of many random affine maps is 'meaningful' stays below 1 %."""
    rng = np.random.default_rng(0)
    probability = math.pi * 36 / (512 * 512)
    hits = 0
    for _ in range(200):
        source, target = rng.random((40, 2)) * 512, rng.random((40, 2)) * 512
        best = 0
        for _ in range(60):
            pick = rng.choice(40, 3, replace=False)
            design = np.hstack([source[pick], np.ones((3, 1))])
            solution = np.linalg.solve(design, target[pick])
            error = np.linalg.norm(np.hstack([source, np.ones((40, 1))]) @ solution - target, axis=1)
            best = max(best, int((error <= 6.0).sum()))
        hits += log10_false_alarms(40, best, probability) <= -2.0
    assert hits <= 2


def test_false_alarms_fall_with_inliers():
    values = [log10_false_alarms(50, k, 4e-4) for k in range(3, 50)]
    assert values[0] == 0.0
    assert values == sorted(values, reverse=True)
    assert values[-1] < -100
