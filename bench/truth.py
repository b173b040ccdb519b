"""The rule by which generated images are graded, on pairs of different pictures: how far is chance from a copy?

    python bench/truth.py --vqgan index_data/kvadrat/vqgan [--json] [--pairs 8]

Run it before a generated image is looked at. Two sets of pairs, none of the same group of pictures: every two members,
and every held-out picture with every member. Printed: how many pairs the rule would call a copy, quantiles and the
largest of the strength (1 is the bound), the strongest pairs, and how many members have too few cells to be graded.
Marks, memes and covers that both pictures of a pair carry are named: they are what the rule must not fall for.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from forensics.flows.world import World, embedded_corpus, groups
from forensics.generate.rudalle.converted import load_converted
from forensics.generate.rudalle.vqgan import Vqgan
from forensics.train.corpus import CorpusPicture, read_corpus
from forensics.truth import RULE, unrelated

_QUANTILES = (0.5, 0.99, 0.999, 0.9999, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqgan", type=Path, required=True, help="a converted VQGAN")
    parser.add_argument("--data", type=Path, help="a corpus; the embedded one by default")
    parser.add_argument("--pairs", type=int, default=8, help="strongest pairs to name (default 8)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    vqgan = load_converted(given.vqgan)
    if not isinstance(vqgan, Vqgan):
        raise SystemExit(f"{given.vqgan} holds no VQGAN")
    world = World(read_corpus(given.data) if given.data else embedded_corpus(), vqgan)
    members, held_out = world.members, world.corpus.of(("held-out",))
    among = world.compared(world.training)
    outside = world.compared(world.encoded(held_out))
    pairs = {
        "member and member": (among, members, unrelated(groups(members))),
        "held-out and member": (outside, held_out, unrelated(groups(held_out), groups(members))),
    }
    result: dict[str, object] = {"rule": {name: getattr(RULE, name) for name in RULE.__slots__}}
    for name, (found, left, valid) in pairs.items():
        strength = np.where(valid, found.strength, 0)
        order = np.argsort(-strength, axis=None)[: given.pairs]
        result[name] = {
            "pairs": int(valid.sum()),
            "called copies": int((found.copies & valid).sum()),
            "strength": quantiles(strength[valid]),
            "strongest": [
                {
                    "pair": [left[i].path.stem, members[j].path.stem],
                    "kind": [kind(left[i]), kind(members[j])],
                    "equal": round(float(found.equal[i, j]), 3),
                    "near": round(float(found.near[i, j]), 3),
                    "counted": int(found.counted[i, j]),
                }
                for i, j in zip(*np.unravel_index(order, strength.shape), strict=True)
            ],
        }
    own, counted = np.diag(among.copies), np.diag(among.counted)
    result["members"] = {
        "with themselves a copy": int(own.sum()),
        "of": len(own),
        "counted cells, median": float(np.median(counted)),
        "too few cells": {
            str(times): int(sum(not ok for ok, picture in zip(own, members, strict=True) if picture.planted == times))
            for times in sorted({picture.planted for picture in members})
        },
    }
    if given.json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    for title, value in result.items():
        print(title)
        for key, entry in value.items():  # type: ignore[attr-defined]
            for line in entry if isinstance(entry, list) else [entry]:
                print(f"  {key:24} {line}")


def quantiles(strength: np.ndarray) -> dict[str, float]:
    values = np.quantile(strength, _QUANTILES)
    return {f"{q:g}": round(float(value), 3) for q, value in zip(_QUANTILES, values, strict=True)}


def kind(picture: CorpusPicture) -> str:
    """Return the mark, ``meme``, ``cover``, or nothing."""
    details = picture.details
    return details.get("watermark") or ("meme" if details.get("meme") else "cover" if details.get("cover") else "")


if __name__ == "__main__":
    main()
