"""Fits the score model and prints what it is worth.

    python bench/pairs.py bench FOLDERS --out BENCH
    forensics index build BENCH/references --out BENCH/index
    forensics audit BENCH/queries --index BENCH/index --out BENCH/run
    python bench/fit_score.py BENCH/run/candidates.csv BENCH/truth.csv --write

A logistic model with non-negative weights on the features of ``forensics.scoring``, every query weighing the same, fit
by L-BFGS-B. The quality is printed by two-fold cross-validation over references (all queries of one picture fall into
one fold, a distractor by its own name), so no picture is judged by a model that saw it. Clip art shares drawings: look
at the false pairs at the top (``--falses 30`` lists them) and name those that are one picture with ``--ignore``.
``--write`` replaces ``forensics/coefficients/pair.json`` with a fit on everything.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.scoring import FEATURES, features

TARGET = Path(__file__).resolve().parent.parent / "forensics" / "coefficients" / "pair.json"
RIDGE = 1e-3
WITHOUT_SSCD = ("geometry", "aligned", "placed", "hash")


def load(candidates: Path, truth: Path, ignore: set[tuple[str, str]]) -> tuple[Any, ...]:
    """Return features (n, f), labels, query numbers, folds (n,), pairs of names, numbers of copies and of queries."""
    known = {row["query"]: row for row in csv.DictReader(truth.open(encoding="utf-8"))}
    x, y, query, fold, pairs = [], [], [], [], []
    numbers: dict[str, int] = {}
    for row in csv.DictReader(candidates.open(encoding="utf-8")):
        name = Path(row["query"]).name
        if name not in known or (name, Path(row["reference"]).name) in ignore:
            continue
        true = known[name]["reference"]
        measured = {key: number(value) for key, value in row.items()}
        pairs.append((name, Path(row["reference"]).name))
        x.append([features(measured)[feature] for feature in FEATURES])
        y.append(bool(true) and Path(row["reference"]).name == true)
        query.append(numbers.setdefault(name, len(numbers)))
        fold.append(int(hashlib.sha256((true or name).encode()).hexdigest(), 16) % 2)
    copies = sum(bool(row["reference"]) for row in known.values())
    return np.array(x), np.array(y), np.array(query), np.array(fold), pairs, copies, len(known)


def number(text: str) -> float | None:
    """Read a measurement; what is no number counts as not measured."""
    try:
        return float(text)
    except ValueError:
        return None


def fit(x: Any, y: Any, weight: Any) -> tuple[float, Any]:
    """Return intercept and non-negative weights."""
    sign = np.where(y, 1.0, -1.0)

    def loss(theta: Any) -> tuple[float, Any]:
        margin = sign * (theta[0] + x @ theta[1:])
        value = float(weight @ np.logaddexp(0, -margin)) + RIDGE * float(theta[1:] @ theta[1:])
        slope = -weight * sign / (1 + np.exp(np.clip(margin, -50, 50)))
        return value, np.r_[slope.sum(), x.T @ slope + 2 * RIDGE * theta[1:]]

    bounds = [(None, None)] + [(0, None)] * x.shape[1]
    found = minimize(loss, np.r_[-3.0, np.ones(x.shape[1])], jac=True, bounds=bounds, method="L-BFGS-B")
    return float(found.x[0]), found.x[1:]


def weights_of(y: Any, query: Any) -> Any:
    """Weigh every query the same, whatever its number of candidates; mean 1 a query."""
    count = np.bincount(query)
    return 1.0 / count[query] * (1 + 0 * y)


def quality(score: Any, y: Any, query: Any, copies: int) -> dict[str, float]:
    """Return uAP, recall at precision 0.9 and 0.999, and false pairs above 0.5, 0.9, 0.99; ties count against us."""
    order = np.lexsort((y, -score))
    hit = y[order]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    recall = np.cumsum(hit) / copies
    out = {"uAP": float((precision * hit).sum() / copies)}
    for name, level in (("R@P90", 0.9), ("R@P99.9", 0.999)):
        good = np.flatnonzero(precision >= level)
        out[name] = float(recall[good[-1]]) if len(good) else 0.0
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        above = score >= level
        out[f"recall>{level}"] = float((above & y).sum() / copies)
        out[f"false>{level}"] = int((above & ~y).sum())
        out[f"queries with false>{level}"] = len(np.unique(query[above & ~y]))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candidates", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--descriptor", default="sscd-int8", help="which SSCD made the candidates")
    parser.add_argument(
        "--ignore",
        type=Path,
        help="CSV of query, reference: pairs that truth calls unrelated and that, seen by eye, share a picture",
    )
    parser.add_argument("--falses", type=int, default=0, help="list so many of the strongest false pairs")
    parser.add_argument("--write", action="store_true", help=f"replace {TARGET.name}")
    arguments = parser.parse_args()
    ignore: set[tuple[str, str]] = set()
    if arguments.ignore:
        with arguments.ignore.open(encoding="utf-8") as file:
            ignore = {(row["query"], row["reference"]) for row in csv.DictReader(file)}
    x, y, query, fold, pairs, copies, queries = load(arguments.candidates, arguments.truth, ignore)
    models = {}
    for name, used in ((arguments.descriptor, FEATURES), ("no-sscd", WITHOUT_SSCD)):
        columns = [FEATURES.index(feature) for feature in used]
        held_out = np.zeros(len(y))
        for left_out in (0, 1):
            seen = fold != left_out
            intercept, weights = fit(x[seen][:, columns], y[seen], weights_of(y[seen], query[seen]))
            held_out[~seen] = 1 / (1 + np.exp(-(intercept + x[~seen][:, columns] @ weights)))
        intercept, weights = fit(x[:, columns], y, weights_of(y, query))
        models[name] = {
            "intercept": round(intercept, 4),
            "weights": {feature: round(float(w), 4) for feature, w in zip(used, weights, strict=True)},
        }
        print(name, json.dumps(models[name]))
        print("  held out:", json.dumps({key: round(v, 4) for key, v in quality(held_out, y, query, copies).items()}))
        if name == arguments.descriptor and arguments.falses:
            for at in [k for k in np.argsort(-held_out) if not y[k]][: arguments.falses]:
                print(f"  false {held_out[at]:.3f} {pairs[at][0]} {pairs[at][1]}")
    for feature in FEATURES:
        print("  alone:", feature, json.dumps(
            {k: round(v, 4) for k, v in quality(x[:, FEATURES.index(feature)], y, query, copies).items() if "P" in k}
        ))  # fmt: skip
    if arguments.write:
        source = (
            f"Logistic fit on {queries} queries ({copies} of them edited copies) made of redistributable pictures: "
            f"clip art, photographs and wallpapers; {len(ignore)} pairs that share a picture by eye were left out."
        )
        TARGET.write_text(json.dumps({"source": source, "models": models}, indent=1) + "\n", encoding="utf-8")
        print("wrote", TARGET)


if __name__ == "__main__":
    main()
