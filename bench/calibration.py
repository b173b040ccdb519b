"""Stated against observed: do as many unrelated images pass a calibrated threshold as it says?

    python bench/calibration.py REFERENCES --held-out FOLDER [--background FOLDER] --out DIR [--queries 300]

REFERENCES are indexed in ``DIR/index`` and calibrated: with its own pictures, each left out in turn, and with
``--background``, if one is given. Then images that show nothing of the index (``--held-out``, up to ``--images`` of
them) are made to look like generated ones and audited, and for each stated rate the share that passes the calibrated
threshold is set against it: observed share with its exact 95 % interval, stated rate with the calibration's interval.
Two tests are printed: whether the observed share lies in the stated interval, and whether the stated rate lies in the
interval of what was observed.

Held-out images that are near-duplicates of a reference are no unrelated images: they are left out by the rule of
``forensics index duplicates`` and counted. A rerun goes on where it was; ``--json`` prints everything.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.calibration import Calibration, from_logit
from forensics.flows.calibrate import CalibrationOptions, calibrate
from forensics.flows.index import build_index
from forensics.metrics import clopper_pearson

RATES = (0.2, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One stated rate and what was observed of it."""

    rate: float
    belief: float
    stated: tuple[float, float]
    passed: int
    images: int

    @property
    def observed(self) -> tuple[float, float, float]:
        """The share that passed, and its exact 95 % interval."""
        return (self.passed / self.images, *clopper_pearson(self.passed, self.images))

    @property
    def holds(self) -> bool:
        """Whether the observed share lies in the stated interval."""
        return self.stated[0] <= self.observed[0] <= self.stated[1]

    @property
    def consistent(self) -> bool:
        """Whether the stated rate lies in the exact 95 % interval of what was observed."""
        return self.observed[1] <= self.rate <= self.observed[2]


def lines(calibration: Calibration, scores: np.ndarray) -> list[Line]:
    """Return one line a rate that the calibration supports; ``scores`` are the held-out images' logits."""
    made = []
    for rate in RATES:
        if rate * len(calibration) < 1:
            continue
        belief = calibration.belief_at(rate)
        chance = calibration.chance(belief)
        passed = int((scores >= np.log(belief / (1 - belief))).sum())
        made.append(Line(rate=rate, belief=belief, stated=(chance.low, chance.high), passed=passed, images=len(scores)))
    return made


def shown(name: str, made: list[Line]) -> None:
    """Print a table."""
    print(name)
    for line in made:
        share, low, high = line.observed
        print(
            f"  stated {line.rate:<5g} ({line.stated[0]:.4f} to {line.stated[1]:.4f})  belief {line.belief:.4f}  "
            f"observed {share:.4f} ({low:.4f} to {high:.4f}), {line.passed} of {line.images}  "
            f"{'in' if line.holds else 'NOT in'} the stated interval; "
            f"stated rate {'in' if line.consistent else 'NOT in'} the observed one"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("references", type=Path, help="folder or list of references")
    parser.add_argument("--held-out", type=Path, required=True, help="images that show nothing of them")
    parser.add_argument("--background", type=Path, help="other such images, for the calibration")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--queries", type=int, default=300, help="unrelated queries of the calibration (300)")
    parser.add_argument("--images", type=int, default=500, help="held-out images at most (500)")
    parser.add_argument("--effort", default="standard", help="of calibration and audit (standard)")
    parser.add_argument("--workers", type=int, help="worker processes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    index = given.out / "index"
    build_index(given.references, index, workers=given.workers)
    common: dict[str, Any] = {"effort": given.effort, "workers": given.workers}
    # the held-out images' scores come by the very same path, so that they are drawn and audited in the same way
    observed = calibrate(index, CalibrationOptions(background=given.held_out, queries=given.images, **common))
    populations = {"leave one out": CalibrationOptions(queries=given.queries, **common)}
    if given.background:
        populations["background"] = replace(populations["leave one out"], background=given.background)
    result: dict[str, Any] = {
        "held_out": len(observed.calibration), "near_duplicates": len(observed.left_out), "calibrations": {},
    }  # fmt: skip
    for name, options in populations.items():
        found = calibrate(index, options)
        made = lines(found.calibration, observed.calibration.scores)
        result["calibrations"][name] = {
            "queries": len(found.calibration),
            "highest_unrelated": round(from_logit(float(found.calibration.scores[0])), 6),
            "lines": [
                {
                    "rate": m.rate,
                    "belief": m.belief,
                    "stated": m.stated,
                    "observed": m.observed,
                    "holds": m.holds,
                    "consistent": m.consistent,
                }
                for m in made
            ],
        }
        if not given.json:
            shown(f"{name}: {len(found.calibration)} queries, {len(observed.calibration)} held-out images", made)
    if given.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
