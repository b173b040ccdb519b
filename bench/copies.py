"""What each step of the copy search is worth, on any folder of a bench's layout.

    python bench/pairs.py bench FOLDER ... --out BENCH       # or any folder with references/, queries/ and truth.csv
    python bench/copies.py BENCH --work WORK [--effort standard] [--json FILE] [--draws 200] [--no-peers]

One line a method: perceptual hashes (packages imagehash and pdqhash as they are, then the project's eight
orientations), CLIP where the index has it, SSCD of whole images, then with views, with background normalisation, and
with geometric verification and the score model: what an audit reports. Peers that are installed (imagededup) stand
beside them. Where ``truth.csv`` has the true geometry, the located region of the reference is compared with it on
crops and pastes. The time is CPU time of all processes, in passes of the SSCD build in use at batch 8, measured in the
same run.

WORK keeps the descriptors and comparisons, so that a run goes on where it was.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bench.copy_metrics import Figures, Truth, figures, read_ignored, read_truth
from forensics import build_index
from forensics.embed import comparison
from forensics.embed import create as create_embedder
from forensics.flows.build import build
from forensics.flows.embedders import embedders_of
from forensics.flows.index import open_index
from forensics.flows.measure import measured_pairs
from forensics.flows.pairs import PairsInit
from forensics.flows.views import EFFORTS, query_views
from forensics.images import decode
from forensics.normalisation import background_similarity, load_background
from forensics.scoring import load_model
from forensics.sources import open_source

KEPT = 20  # references a query that enter a ranked list
SHOWN = ("uAP", "R@P90", "R@P99.9", "R@P90 easy", "R@P90 medium", "R@P90 hard", "R@P90 redraw", "FP@R80")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A method's scores of pairs, by file name; each (n,)."""

    query: list[str]
    reference: list[str]
    score: Any


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def best(matrix: Any, queries: list[str], references: list[str]) -> Scores:
    """Return the best pairs of each query from a (q, r) matrix of scores."""
    kept = min(KEPT, matrix.shape[1])
    columns = np.argpartition(-matrix, kept - 1, axis=1)[:, :kept]
    return Scores(
        query=[name for name in queries for _ in range(kept)],
        reference=[references[column] for row in columns for column in row],
        score=np.take_along_axis(matrix, columns, axis=1).ravel(),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Peers: packages as they are


def peers(folder: Path) -> Iterator[tuple[str, Scores]]:
    """Yield the scores of hash packages, and of imagededup where it is installed."""
    files = {name: sorted((folder / name).iterdir()) for name in ("queries", "references")}
    names = {name: [path.name for path in paths] for name, paths in files.items()}

    def compare(function: Callable[[Any], Any]) -> Scores:
        bits = {
            name: np.array([function(decode(path.read_bytes()).pixels) for path in paths], np.float32)
            for name, paths in files.items()
        }
        ours, theirs = (2 * bits[name].reshape(len(bits[name]), -1) - 1 for name in ("queries", "references"))
        return best(ours @ theirs.T / ours.shape[1], names["queries"], names["references"])

    import imagehash
    import pdqhash
    from PIL import Image

    yield "imagehash pHash", compare(lambda pixels: imagehash.phash(Image.fromarray(pixels)).hash)
    yield "imagehash dHash", compare(lambda pixels: imagehash.dhash(Image.fromarray(pixels)).hash)
    yield "pdqhash", compare(lambda pixels: pdqhash.compute(pixels)[0])
    if importlib.util.find_spec("imagededup"):
        from imagededup.methods import PHash

        method = PHash(verbose=False)
        yield (
            "imagededup pHash",
            compare(lambda pixels: [int(bit) for digit in method.encode_image(image_array=pixels) for bit in
                                    f"{int(digit, 16):04b}"]),
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The project's steps


class Steps:
    """The descriptors of a bench, and the scores of each step.

    Parameters
    ----------
    folder, work : Path
    effort : str
    workers : int
    """

    def __init__(self, folder: Path, work: Path, effort: str, workers: int) -> None:
        self.work, self.workers = work, workers
        say("references …")
        build_index(folder / "references", work / "references", workers=workers)
        self.references = open_index(work / "references")
        self.embedders = embedders_of(self.references)
        self.copy = self.embedders.copy_descriptor
        say("queries …")
        started = cpu_seconds()
        built = build(
            open_source(folder / "queries"),
            work / f"queries-{effort}",
            self.embedders.usable,
            {e.spec.name: query_views(e.spec, effort) for e in self.embedders.usable},
            part_size=256,
            workers=workers,
            progress=lambda _, done, total: say(f"{done} of {total}") if done % 200 == 0 else None,
        )
        self.describe_seconds = 0.0 if built.already_complete or built.resumed else cpu_seconds() - started
        self.queries_folder = work / f"queries-{effort}"
        self.queries = open_index(self.queries_folder)
        self.names = [self.queries.image(n).ref.id for n in range(len(self.queries))]
        self.reference_names = [self.references.image(n).ref.id for n in range(len(self.references))]

    def _matrix(self, name: str, *, whole: bool, compare: Callable[[Any, Any], Any], correct: Any = None) -> Any:
        """Return (q, r) the best score over the views; ``correct`` gives what is taken off each query row."""
        frame = [self.references.rows_frame(name, part.part) for part in self.references.parts]
        theirs = np.concatenate([self.references.part_data(name, part.part) for part in self.references.parts])
        owner = np.concatenate([one["image"].to_numpy() for one in frame])
        is_whole = np.concatenate([(one["view"] == "whole").to_numpy() for one in frame])
        out = np.full((len(self.names), len(self.reference_names)), -np.inf, np.float32)
        for part in self.queries.parts:
            rows = self.queries.rows_frame(name, part.part)
            ours = np.asarray(self.queries.part_data(name, part.part))
            first = (rows["view"] == "whole").to_numpy()
            for chosen, against in [(first, is_whole)] if whole else [(~first | first, is_whole), (first, ~is_whole)]:
                if not chosen.any() or not against.any():
                    continue
                score = compare(ours[chosen], theirs[against])
                if correct is not None:
                    score = score - correct(ours[chosen])[:, None]
                at = rows["image"].to_numpy()[chosen]
                by_image = np.full((len(score), out.shape[1]), -np.inf, np.float32)
                np.maximum.at(by_image.T, owner[against], score.T)
                np.maximum.at(out, at, by_image)
        return out

    def lines(self) -> Iterator[tuple[str, Scores]]:
        """Yield the steps before verification."""
        for name in ("phash", "pdq"):
            if name in self.references.specs:
                yield f"{name}, 8 orientations", self._scores(self._matrix(name, whole=False, compare=hamming))
        for name in self.references.specs:
            if name.startswith("clip"):
                yield name, self._scores(self._matrix(name, whole=True, compare=cosine))
        if self.copy:
            yield f"{self.copy}, whole images", self._scores(self._matrix(self.copy, whole=True, compare=cosine))
            yield "+ views", self._scores(self._matrix(self.copy, whole=False, compare=cosine))
            background = load_background(self.copy, self.references.specs[self.copy].fingerprint)
            if background is not None:
                yield (
                    "+ normalisation",
                    self._scores(
                        self._matrix(
                            self.copy,
                            whole=False,
                            compare=cosine,
                            correct=lambda rows: background_similarity(rows, background),
                        )
                    ),
                )

    def _scores(self, matrix: Any) -> Scores:
        return best(matrix, self.names, self.reference_names)

    def verified(self, top: int) -> tuple[list[Any], float]:
        """Return the measured pairs of all queries, and the CPU seconds that they took."""
        init = PairsInit(queries=str(self.queries_folder), references=str(self.references.directory))
        own = {e.spec.name: comparison(e) for e in self.embedders.usable}
        started = cpu_seconds()
        rows = [
            row
            for part in measured_pairs(
                self.queries,
                self.references,
                init,
                top=top,
                approximate=False,
                compare={name: score for name, score in own.items() if score is not None},
                copy_descriptor=self.copy,
                cache=self.queries_folder.with_suffix(".verified"),
                workers=self.workers,
                progress=lambda _, done, total: say(f"{done} of {total}") if done % 100 == 0 else None,
            )
            for row in part
        ]
        return rows, cpu_seconds() - started


def cosine(ours: Any, theirs: Any) -> Any:
    return ours.astype(np.float32) @ theirs.astype(np.float32).T


def hamming(ours: Any, theirs: Any) -> Any:
    a, b = (2.0 * np.unpackbits(rows, axis=1).astype(np.float32) - 1 for rows in (ours, theirs))
    return 0.5 + 0.5 * (a @ b.T) / a.shape[1]


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pass_seconds(name: str) -> float:
    """Return the CPU seconds of one pass of the copy descriptor: the median of 5 batches of 8."""
    embedder = create_embedder(name)
    batch = [embedder.prepare(np.random.default_rng(k).integers(0, 256, (320, 320, 3), np.uint8)) for k in range(8)]
    embedder.embed(batch)
    seconds = []
    for _ in range(5):
        started = time.process_time()
        embedder.embed(batch)
        seconds.append((time.process_time() - started) / len(batch))
    return float(np.median(seconds))


def region_overlap(truth: Truth, rows: list[Any], steps: Steps, found: Callable[[Any], bool]) -> dict[str, float]:
    """Return the mean IoU of the located reference boxes with the true ones, on crops and pastes."""
    overlap, counted, located = [], 0, 0
    by_pair = {(steps.names[row.query], steps.reference_names[row.reference]): row for row in rows}
    for query, fields in truth.rows.items():
        edits = fields.get("edits", "")
        if not fields["reference"] or not any(word in edits for word in ("crop", "paste", "collage")):
            continue
        if float(fields["reference_share"]) > 0.6 and float(fields["query_share"]) > 0.6:
            continue
        counted += 1
        row = by_pair.get((query, fields["reference"]))
        if row is None or not found(row) or row.verification.region is None:
            continue
        located += 1
        true = [float(v) for v in fields["reference_box"].split()]
        overlap.append(iou(true, row.verification.region.reference_box))
    return {
        "crops and pastes": counted,
        "located and claimed": located,
        "mean IoU of these": float(np.mean(overlap)) if overlap else float("nan"),
        "mean IoU, 0 where not": float(np.sum(overlap) / counted) if counted else float("nan"),
    }


def iou(one: Any, two: Any) -> float:
    width, height = min(one[2], two[2]) - max(one[0], two[0]), min(one[3], two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return float(width * height / (areas - width * height))


def line(name: str, made: Figures) -> str:
    """Return one line of the table."""
    cells = []
    for key in SHOWN:
        value, bounds = made.values.get(key, float("nan")), made.intervals.get(key)
        cell = f"{value:.0f}" if key == "FP@R80" else f"{value:.3f}"
        cells.append(cell if bounds is None or key not in SHOWN[:3] else f"{cell} ({bounds[0]:.3f} to {bounds[1]:.3f})")
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds references/, queries/ and truth.csv")
    parser.add_argument("--work", type=Path, required=True, help="keeps descriptors and comparisons")
    parser.add_argument("--effort", choices=EFFORTS, default="standard")
    parser.add_argument("--top", type=int, default=8, help="candidates a descriptor (8)")
    parser.add_argument("--draws", type=int, default=200, help="bootstrap samples; 0: no intervals (200)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--ignore", type=Path, help="CSV of query, reference: pairs that share a picture by eye")
    parser.add_argument("--no-peers", action="store_true", help="leave out other packages")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    truth = read_truth(arguments.folder / "truth.csv")
    ignored = read_ignored(arguments.ignore)
    table: dict[str, Figures] = {}
    print(f"| method | {' | '.join(SHOWN)} |")
    print("|---" * (len(SHOWN) + 1) + "|")

    def add(name: str, scores: Scores) -> None:
        kept = [at for at, pair in enumerate(zip(scores.query, scores.reference, strict=True)) if pair not in ignored]
        table[name] = figures(
            truth,
            [scores.query[at] for at in kept],
            [scores.reference[at] for at in kept],
            np.asarray(scores.score)[kept],
            draws=arguments.draws,
        )
        print(line(name, table[name]), flush=True)

    if not arguments.no_peers:
        for name, scores in peers(arguments.folder):
            add(name, scores)
    steps = Steps(arguments.folder, arguments.work, arguments.effort, arguments.workers)
    for name, scores in steps.lines():
        add(name, scores)
    rows, seconds = steps.verified(arguments.top)
    model = load_model(steps.copy)
    belief = {id(row): model.belief(row.measurements) for row in rows}
    add(
        f"+ verification = audit, {arguments.effort}",
        Scores(
            query=[steps.names[row.query] for row in rows],
            reference=[steps.reference_names[row.reference] for row in rows],
            score=np.array([belief[id(row)] for row in rows]),
        ),
    )
    extra: dict[str, Any] = {"queries": len(truth.rows), "references": len(steps.reference_names)}
    if "reference_box" in next(iter(truth.rows.values())):
        extra["regions"] = region_overlap(truth, rows, steps, lambda row: belief[id(row)] >= 0.5)
    if steps.copy:
        one = pass_seconds(steps.copy)
        extra["passes a query, describing"] = steps.describe_seconds / len(truth.rows) / one
        extra["passes a query, search and verification"] = seconds / len(truth.rows) / one
    for key, value in extra.items():
        print(f"{key}: {value}")
    if arguments.json:
        content = {
            "bench": arguments.folder.name, "effort": arguments.effort, **extra,
            "methods": {name: {"values": made.values, "intervals": made.intervals} for name, made in table.items()},
        }  # fmt: skip
        arguments.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
