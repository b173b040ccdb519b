"""Puts every file of a corpus of hostile images through the worker pool and the decoder, and counts how each ended.

    python bench/badimages.py [FOLDER] [--workers 2] [--timeout 30] [--show error]

Without FOLDER, unpacks corpora/badimages.tar.xz of $FORENSICS_SHARED (default ../shared beside the checkout) to a
temporary folder. Exits 1 if a file got no state, or if a worker died or hung.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from forensics.errors import SourceError
from forensics.images import decode
from forensics.sources import open_source, read_bytes
from forensics.workers import Failure, WorkerPool


class Outcome(NamedTuple):
    """How one file ended."""

    state: str
    reason: str
    format: str
    seconds: float


def one(root: Path, uri: str) -> Outcome:
    """Read and decode one file (in a worker)."""
    start = time.perf_counter()
    try:
        result = decode(read_bytes(uri, root))
    except SourceError as error:
        return Outcome("error", str(error), "", time.perf_counter() - start)
    return Outcome(result.state, result.reason, result.format, time.perf_counter() - start)


def run(folder: Path, workers: int, timeout: float, show: str) -> int:
    source = open_source(folder, kind="folder")
    records = list(source.records())
    start = time.perf_counter()
    outcomes: dict[str, Outcome] = {}
    lost = []
    with WorkerPool("badimages:one", init=source.root, workers=workers, timeout=timeout) as pool:
        for record, result in zip(records, pool.imap((r.uri for r in records), window=4 * workers + 8), strict=True):
            if isinstance(result, Failure):
                lost.append((record.id, result.reason))
            else:
                outcomes[record.id] = result.value
    seconds = time.perf_counter() - start
    print(f"{len(records)} files in {seconds:.1f} s, {workers} workers")
    for state, count in sorted(Counter(outcome.state for outcome in outcomes.values()).items()):
        print(f"  {state:10} {count}")
    print(f"  {'died/hung':10} {len(lost)}")
    kinds = Counter((o.state, o.format, re.sub(r"\d+", "N", o.reason)[:90]) for o in outcomes.values() if o.reason)
    print("most frequent reasons:")
    for (state, name, reason), count in kinds.most_common(25):
        print(f"  {count:5} {state:9} {name:5} {reason}")
    print("slowest:")
    for name, outcome in sorted(outcomes.items(), key=lambda pair: -pair[1].seconds)[:8]:
        print(f"  {outcome.seconds:6.2f} s {outcome.state:9} {name}")
    for name, reason in lost:
        print(f"LOST {name}: {reason}")
    if show:
        for name, outcome in outcomes.items():
            if outcome.state == show:
                print(f"{name}: {outcome.reason}")
    return 1 if lost or len(outcomes) + len(lost) != len(records) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=30.0)
    parser.add_argument("--show", default="", help="list the files that ended in this state")
    options = parser.parse_args()
    if options.folder:
        return run(options.folder, options.workers, options.timeout, options.show)
    beside = Path(__file__).resolve().parents[2] / "shared"
    archive = Path(os.environ.get("FORENSICS_SHARED", beside)) / "corpora" / "badimages.tar.xz"
    if not archive.is_file():
        print(f"skipped: no {archive}; set FORENSICS_SHARED or give a folder")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        return run(Path(folder), options.workers, options.timeout, options.show)


if __name__ == "__main__":
    sys.exit(main())
