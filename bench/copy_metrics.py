"""Figures of a copy-detection bench: one ranked list over all queries, as in ISC21 / DISC21, with intervals.

Scores of pairs in, uAP (micro average precision) and recall at a precision out. Ties count against the method. The
intervals are percentile bootstraps over source images: all queries made of one reference are drawn together, because
they are not independent; a distractor is a source of its own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Figures", "Truth", "figures", "read_ignored", "read_truth"]

LEVELS = {"R@P90": 0.9, "R@P99.9": 0.999}
DRAWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What each query is: the reference's file name (empty for a distractor), the severity, and the CSV's row."""

    reference: Mapping[str, str]
    severity: Mapping[str, str]
    rows: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Values of one method, each with its 95 % interval where ``draws`` were made."""

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


def read_truth(path: Path) -> Truth:
    """Read ``truth.csv``: ``query``, ``reference``, ``severity`` and any further columns."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["query"]: row for row in csv.DictReader(file)}
    return Truth(
        reference={query: row["reference"] for query, row in rows.items()},
        severity={query: row["severity"] for query, row in rows.items()},
        rows=rows,
    )


def read_ignored(path: Path | None) -> frozenset[tuple[str, str]]:
    """Read pairs of ``query`` and ``reference`` that truth calls unrelated and that, seen by eye, share a picture."""
    if path is None:
        return frozenset()
    with path.open(encoding="utf-8", newline="") as file:
        return frozenset((row["query"], row["reference"]) for row in csv.DictReader(file))


def figures(truth: Truth, queries: Sequence[str], references: Sequence[str], score: Any, *, draws: int = 0) -> Figures:
    """Return uAP, recalls, recall by severity and the false pairs at the score where 80 % of the copies are found.

    Parameters
    ----------
    truth : Truth
    queries, references : sequence of str
        (n,) file names of the scored pairs; one entry a pair.
    score : ndarray
        (n,) higher is more alike.
    draws : int
        Bootstrap samples; 0 for no intervals.
    """
    score = np.asarray(score, np.float64)
    hit = np.array([truth.reference[query] == reference for query, reference in zip(queries, references, strict=True)])
    order = np.lexsort((hit, -score))
    hit = hit[order]
    names = sorted(truth.reference)
    place = {query: at for at, query in enumerate(names)}
    owner = np.array([place[queries[at]] for at in order], np.int64)
    copy = np.array([bool(truth.reference[query]) for query in names])
    severity = np.array([truth.severity[query] if truth.reference[query] else "" for query in names])
    sources, source = np.unique([truth.reference[query] or query for query in names], return_inverse=True)
    values = _values(hit, owner, copy, severity, np.ones(len(names)))
    found: dict[str, list[float]] = {name: [] for name in values}
    rng = np.random.default_rng(0)
    for _ in range(draws):
        weight = np.bincount(rng.integers(0, len(sources), len(sources)), minlength=len(sources))[source]
        for name, value in _values(hit, owner, copy, severity, weight.astype(float)).items():
            found[name].append(value)
    intervals = {
        name: (float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975)))
        for name, drawn in found.items()
        if drawn
    }
    return Figures(values=values, intervals=intervals)


def _values(hit: Any, owner: Any, copy: Any, severity: Any, weight: Any) -> dict[str, float]:
    """Return the figures where query i counts ``weight[i]`` times."""
    pairs = weight[owner]
    true, every = np.cumsum(pairs * hit), np.maximum(np.cumsum(pairs), 1e-12)
    copies = max(float(weight[copy].sum()), 1e-12)
    precision = true / every
    out = {"uAP": float((precision * pairs * hit).sum() / copies)}
    last = {}
    for name, level in LEVELS.items():
        good = np.flatnonzero((precision >= level) & (pairs > 0))
        last[name] = int(good[-1]) if len(good) else -1
        out[name] = float(true[last[name]] / copies) if len(good) else 0.0
    for kind in sorted(set(severity) - {""}):
        among = severity[owner] == kind
        total = max(float(weight[severity == kind].sum()), 1e-12)
        cut = last["R@P90"] + 1
        out[f"R@P90 {kind}"] = float((pairs * hit * among)[:cut].sum() / total)
    enough = np.flatnonzero(true >= 0.8 * copies)
    out["FP@R80"] = float((pairs * ~hit)[: enough[0] + 1].sum()) if len(enough) else float("nan")
    return out
