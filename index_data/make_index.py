"""Builds the reference index that ships with the embedded world, ``index_data/demo/index``.

::

    python index_data/make_index.py [--workers 2]

After the corpus and the model's ``clip/``: members and distractors with pHash, PDQ, SSCD (int8) and the world's own
CLIP. Some 70 seconds on two cores, which the demo saves. Machines with other descriptors build their own.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.embed import create
from forensics.flows.demo import build_references
from forensics.flows.world import embedded_corpus
from forensics.generate.rudalle.models import EMBEDDED, home

HASHES, SSCD = ("phash", "pdq"), "sscd-int8"


def main() -> None:
    """Build it anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, help="worker processes (default: the number of cores)")
    args = parser.parse_args()
    clip = home(EMBEDDED) / "clip"
    if not clip.is_dir():
        raise SystemExit(f"{clip} is missing; make it with: forensics train clip")
    corpus = embedded_corpus()
    out = corpus.folder / "index"
    shutil.rmtree(out, ignore_errors=True)
    embedders = [create(name) for name in (*HASHES, SSCD, f"clip:@{clip}")]
    build_references(corpus, out, embedders, shipped=True, workers=args.workers)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    sys.stderr.write(f"{out}: {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
