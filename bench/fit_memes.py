"""Fits the model of ``forensics.detect.meme_match`` and prints what it is worth.

    python bench/memes_bench.py PICTURES --out BENCH
    python bench/fit_memes.py BENCH --work FOLDER --write

A logistic model with non-negative weights on the descriptors' features of the three most likely templates of each
query. The two weights of geometry are those of ``coefficients/pair.json``, fitted on many more aligned pairs: unrelated
pictures have none of it, so it only ever adds. The quality is printed by two-fold cross-validation over templates
(other pictures fall into a fold by their name), without geometry. ``--write`` replaces
``forensics/coefficients/meme.json`` with a fit on everything; the model without a copy descriptor is fitted on the same
candidates, its SSCD features left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fit_score import fit
from marks_memes import FALSE_ALARMS, known_templates, read_bench, stored

from forensics.detect.meme_match import FEATURES
from forensics.flows.index import open_index
from forensics.flows.meme_index import limits_of, open_detector
from forensics.flows.memes import add_templates
from forensics.images import decode

TARGET = Path(__file__).resolve().parent.parent / "forensics" / "coefficients" / "meme.json"
DESCRIPTORS = ("sscd", "layout", "fine", "hash")
WITHOUT_SSCD = ("layout", "fine", "hash")
GEOMETRY = ("geometry", "aligned")


def collect(bench: Path, work: Path, every: int) -> list[dict[str, Any]]:
    """Return one entry a query: its row of truth, and name and features of its candidates."""
    work.mkdir(parents=True, exist_ok=True)
    add_templates(known_templates(bench, work), work / "templates", calibrate=False, workers=0)
    index = open_index(work / "templates")
    limits = replace(limits_of({}), align_from=2.0)
    detector = open_detector(index, captions=False, limits=limits)
    log = work / "evidence.jsonl"
    known = stored(log)
    entries = []
    with log.open("a", encoding="utf-8") as file:
        for row in read_bench(bench, every=every):
            if row["query"] not in known:
                pixels = decode((bench / "queries" / row["query"]).read_bytes()).pixels
                if pixels is None:
                    raise SystemExit(f"{row['query']} cannot be read")
                found = [
                    {"id": detector.templates[one.template].name, **one.features} for one in detector.evidence(pixels)
                ]
                known[row["query"]] = {"query": row["query"], "candidates": found}
                file.write(json.dumps(known[row["query"]]) + "\n")
                file.flush()
            entries.append({**row, **known[row["query"]]})
    return entries


def matrix(entries: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Return features (n, f), labels, query numbers, folds."""
    x, y, query, fold = [], [], [], []
    for number, entry in enumerate(entries):
        for candidate in entry["candidates"]:
            x.append([candidate[feature] for feature in FEATURES])
            y.append(entry["kind"] == "known" and candidate["id"] == entry["template"])
            query.append(number)
            name = entry["template"] or entry["query"]
            fold.append(int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2)
    return np.array(x), np.array(y), np.array(query), np.array(fold)


def quality(score: Any, y: Any, query: Any, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the share named rightly at 1 % false alarms, by kind, and false names above some beliefs."""
    kinds: dict[str, list[bool]] = {}
    top, right = np.zeros(len(entries)), np.zeros(len(entries), bool)
    for number in range(len(entries)):
        mine = np.flatnonzero(query == number)
        if len(mine):
            best = mine[score[mine].argmax()]
            top[number], right[number] = score[best], y[best]
    known = np.array([entry["kind"] == "known" for entry in entries])
    others = np.sort(top[~known])[::-1]
    limit = others[int(FALSE_ALARMS * len(others))]
    for number in np.flatnonzero(known):
        kinds.setdefault(entries[number]["edits"], []).append(bool(right[number] and top[number] > limit))
    return {
        "limit": round(float(limit), 4),
        **{kind: f"{np.mean(hits):.3f} of {len(hits)}" for kind, hits in sorted(kinds.items())},
        **{f"false>{level}": int((others >= level).sum()) for level in (0.1, 0.3, 0.5, 0.7, 0.9)},
        **{f"right>{level}": round(float((right & (top >= level))[known].mean()), 3) for level in (0.3, 0.5, 0.9)},
        **{f"wrong>{level}": int((~right & (top >= level))[known].sum()) for level in (0.3, 0.5, 0.9)},
        "others": len(others),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="every so manieth query of a kind")
    parser.add_argument("--descriptor", default="sscd-int8", help="which SSCD this machine has")
    parser.add_argument("--so-far", action="store_true", help="only queries that an interrupted run has in --work")
    parser.add_argument(
        "--ignore", nargs="*", default=[], help="queries that, seen by eye, share a picture with another template"
    )
    parser.add_argument("--write", action="store_true", help=f"replace {TARGET.name}")
    arguments = parser.parse_args()
    if arguments.so_far:
        known = stored(arguments.work / "evidence.jsonl")
        entries = [{**row, **known[row["query"]]} for row in read_bench(arguments.bench) if row["query"] in known]
    else:
        entries = collect(arguments.bench, arguments.work, arguments.every)
    entries = [entry for entry in entries if entry["query"] not in arguments.ignore]
    x, y, query, fold = matrix(entries)
    weight = 1.0 / np.bincount(query, minlength=len(entries))[query]
    models = {}
    pairs = json.loads((TARGET.parent / "pair.json").read_text(encoding="utf-8"))["models"]
    for name, used in ((arguments.descriptor, DESCRIPTORS), ("no-sscd", WITHOUT_SSCD)):
        columns = [FEATURES.index(feature) for feature in used]
        held_out = np.zeros(len(y))
        for left_out in (0, 1):
            seen = fold != left_out
            intercept, weights = fit(x[seen][:, columns], y[seen], weight[seen])
            held_out[~seen] = 1 / (1 + np.exp(-(intercept + x[~seen][:, columns] @ weights)))
        intercept, weights = fit(x[:, columns], y, weight)
        models[name] = {
            "intercept": round(intercept, 4),
            "weights": {feature: round(float(w), 4) for feature, w in zip(used, weights, strict=True)}
            | {feature: pairs[name]["weights"][feature] for feature in GEOMETRY},
        }
        print(name, json.dumps(models[name]))
        print("  held out:", json.dumps(quality(held_out, y, query, entries), indent=1))
    for feature in DESCRIPTORS:
        print("  alone:", feature, json.dumps(quality(x[:, FEATURES.index(feature)], y, query, entries)))
    if arguments.write:
        known = sum(entry["kind"] == "known" for entry in entries)
        source = (
            f"Logistic fit on {len(entries)} queries ({known} of them edits of a template) made of redistributable "
            "pictures: clip art, photographs and wallpapers; the weights of geometry are those of pair.json."
        )
        TARGET.write_text(json.dumps({"source": source, "models": models}, indent=1) + "\n", encoding="utf-8")
        print("wrote", TARGET)


if __name__ == "__main__":
    main()
