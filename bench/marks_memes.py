"""Measures meme recognition on ``templates/``, ``queries/`` and ``truth.csv`` (see ``bench/memes_bench.py``).

    python bench/marks_memes.py BENCH --work FOLDER

Prints, for each kind of edit, how often the right template comes first with a belief above the one that 1 % of the
other pictures (unknown templates, photographs plain and captioned) reach; wrong names at the shipped threshold; image
macro or not; milliseconds an image. 95 % Wilson intervals. What was measured is kept in ``--work``, an image a line, so
that an interrupted run goes on. ``--only-names`` leaves out the captions.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.detect.meme import UNKNOWN_TEMPLATE
from forensics.flows.index import open_index
from forensics.flows.meme_index import open_detector
from forensics.flows.memes import add_templates
from forensics.images import decode
from forensics.metrics import wilson

FALSE_ALARMS = 0.01
ASKED = {
    "caption": 0.99, "bar": 0.99, "caption+crop+jpeg": 0.99, "caption+crop50+vq": 0.99, "caption+vq": 0.99,
    "caption+strongvq": 0.99, "mirror+caption+vq": 0.99, "caption+redraw": 0.93, "screenshot": 0.90,
}  # fmt: skip


def read_bench(bench: Path, *, every: int = 1) -> list[dict[str, str]]:
    """Return the rows of ``truth.csv``, or every so manieth of each kind."""
    with (bench / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counts: dict[tuple[str, str], int] = {}
    kept = []
    for row in rows:
        key = (row["kind"], row["edits"])
        counts[key] = counts.get(key, -1) + 1
        if counts[key] % every == 0:
            kept.append(row)
    # shuffled, so that what an interrupted run has is a sample of everything
    return sorted(kept, key=lambda row: hashlib.sha256(row["query"].encode()).digest())


def known_templates(bench: Path, work: Path) -> Path:
    """Write and return a list of the templates that known queries show; others in the folder are unknown ones."""
    names = sorted({row["template"] for row in read_bench(bench) if row["kind"] == "known"})
    path = work / "templates.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "template"))
        writer.writerows(((bench / "templates" / name).absolute(), name) for name in names)
    return path


def stored(path: Path) -> dict[str, dict[str, Any]]:
    """Return what an interrupted run measured, by query."""
    if not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return {line["query"]: line for line in lines}


def measured(bench: Path, work: Path, *, every: int = 1, captions: bool = True) -> Iterator[dict[str, Any]]:
    """Yield a row of truth with what the detector says, for each query."""
    templates = work / "templates"
    add_templates(known_templates(bench, work), templates, workers=0)
    index = open_index(templates)
    detector = open_detector(index, captions=captions)
    known = stored(work / "measured.jsonl")
    with (work / "measured.jsonl").open("a", encoding="utf-8") as log:
        for row in read_bench(bench, every=every):
            if row["query"] not in known:
                pixels = decode((bench / "queries" / row["query"]).read_bytes()).pixels
                if pixels is None:
                    raise SystemExit(f"{row['query']} cannot be read")
                start = time.process_time()
                best = next(iter(detector.evidence(pixels)), None)
                names = time.process_time() - start
                start = time.process_time()
                found = detector.detect([pixels])[0]
                line = {
                    "query": row["query"],
                    "first": detector.templates[best.template].name if best else "",
                    "belief": best.belief if best else 0.0,
                    "features": dict(best.features) if best else {},
                    "label": found[0].label if found else "",
                    "ms": 1000 * (time.process_time() - start),
                    "ms_names": 1000 * names,
                }
                log.write(json.dumps(line) + "\n")
                log.flush()
                known[row["query"]] = line
            yield {**row, **known[row["query"]]}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return counts: right names by kind at 1 % false alarms, wrong names at the shipped threshold, macros."""
    others = np.sort([row["belief"] for row in rows if row["kind"] != "known"])[::-1]
    allowed = int(FALSE_ALARMS * len(others))
    limit = float(others[allowed]) if len(others) else 0.0
    kinds: dict[str, list[int]] = {}
    for row in rows:
        if row["kind"] == "known":
            right = row["first"] == row["template"] and row["belief"] > limit
            kinds.setdefault(row["edits"], []).append(int(right))
    named = [row for row in rows if row["kind"] != "known" and row["label"] not in ("", UNKNOWN_TEMPLATE)]
    wrong = [
        row
        for row in rows
        if row["kind"] == "known" and row["label"] not in ("", UNKNOWN_TEMPLATE) and row["first"] != row["template"]
    ]
    positive = [row["captioned"] == "1" for row in rows]
    said = [bool(row["label"]) for row in rows]
    both = sum(a and b for a, b in zip(positive, said, strict=True))
    return {
        "limit": limit,
        "kinds": {kind: (sum(hits), len(hits)) for kind, hits in sorted(kinds.items())},
        "all": (sum(map(sum, kinds.values())), sum(map(len, kinds.values()))),
        "named_others": (len(named), len(others)),
        "wrong_names": (len(wrong), sum(row["kind"] == "known" for row in rows)),
        "macro_f1": 2 * both / max(1, sum(positive) + sum(said)),
        "ms": float(np.median([row["ms"] for row in rows])),
        "ms_names": float(np.median([row["ms_names"] for row in rows])),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"belief that {FALSE_ALARMS:.0%} of other pictures reach: {result['limit']:.4f}")
    for kind, (hits, total) in [*result["kinds"].items(), ("all", result["all"])]:
        low, high = wilson(hits, total)
        asked = f", asked {ASKED[kind]:.2f}" if kind in ASKED else ""
        print(f"  {kind:22} {hits / total:.3f}  ({hits} of {total}, {low:.2f} to {high:.2f}){asked}")
    for name, text in (("named_others", "other pictures given a name"), ("wrong_names", "known ones misnamed")):
        hits, total = result[name]
        low, high = wilson(hits, total)
        print(f"  {text}: {hits} of {total} ({low:.4f} to {high:.4f})")
    print(f"  image macro or not: F1 {result['macro_f1']:.3f}")
    print(f"  processor time an image, median: names {result['ms_names']:.0f} ms, all {result['ms']:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="every so manieth query of a kind")
    parser.add_argument("--only-names", action="store_true", help="leave out the captions")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = list(measured(arguments.bench, arguments.work, every=arguments.every, captions=not arguments.only_names))
    show(summary(rows))


if __name__ == "__main__":
    main()
