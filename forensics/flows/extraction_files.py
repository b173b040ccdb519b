"""What an extraction writes: figures as JSON and CSV, the page; and the copy scores of its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.embed import create
from forensics.embed.defaults import default_embedders
from forensics.flows.completions import Drawn
from forensics.flows.extraction_results import Extraction, ItemResult, Judged
from forensics.flows.facts import case_facts
from forensics.flows.lab_items import LabItem, square
from forensics.report.files import write_csv, write_json
from forensics.report.lab_extraction import Card, Completion, render_extraction
from forensics.types import AutoregressiveModel, Decoder, Embedder, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, TokenArray, UInt8Array

__all__ = ["CopyScores", "copy_descriptor", "copy_scores", "write_extraction"]

_FORMAT = "forensics-extraction-1"
_FIGURES = ("greedy", "copies", "samples", "at_least_one_low", "at_least_one_high", "right", "best_right", "strength",
            "counted", "score_original", "score_reconstruction")  # fmt: skip
_EMBEDDED_AT_ONCE = 64
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyScores:
    """How alike the best completions of m images are to them, by a copy descriptor, prefixes cut off.

    Attributes
    ----------
    name : str
        Of the descriptor.
    original, reconstruction : tuple of float
        (m,) against the picture itself, and against what the model's codebook makes of it: the most a completion can
        reach.
    unrelated : float
        The 99th percentile of completions against other items' originals; NaN for one item.
    """

    name: str
    original: tuple[float, ...]
    reconstruction: tuple[float, ...]
    unrelated: float

    @property
    def figures(self) -> dict[str, tuple[float, ...]]:
        """As columns of an item's figures."""
        return {"score_original": self.original, "score_reconstruction": self.reconstruction}


def copy_descriptor() -> Embedder:
    """Return SSCD where its weights are here, else pHash."""
    names = default_embedders().names
    return create(next((name for name in names if name.startswith("sscd")), "phash"))


def copy_scores(
    asked: AutoregressiveModel,
    items: Sequence[LabItem],
    tokens: TokenArray,
    drawn: Drawn,
    judged: Judged,
    progress: Progress | None = None,
) -> CopyScores | None:
    """Compare each item's best completion with it; None for a model without pictures.

    What was given is cut off all three pictures, so that a prefix is no copy of itself.
    """
    if not isinstance(asked, Decoder) or any(isinstance(item.content, str) for item in items):
        return None
    embedder = copy_descriptor()
    best = drawn.both[np.arange(len(items)), judged.best]
    share = drawn.given / asked.spec.length
    rows: dict[str, list[NDArray[Any]]] = {"completion": [], "original": [], "reconstruction": []}
    for start in range(0, len(items), _EMBEDDED_AT_ONCE):
        part = slice(start, start + _EMBEDDED_AT_ONCE)
        completions = asked.decode(best[part])
        truth = asked.decode(tokens[part])
        originals = [square(np.asarray(item.content), truth[0].shape[0]) for item in items[part]]
        for name, pictures in (("completion", completions), ("original", originals), ("reconstruction", truth)):
            rows[name].append(embedder.embed([embedder.prepare(_below(picture, share)) for picture in pictures]))
        if progress is not None:
            progress("comparing completions", min(part.stop, len(items)), len(items))
    found = {name: np.concatenate(parts) for name, parts in rows.items()}
    against = _scores(found["completion"], found["original"], embedder)
    others = against[~np.eye(len(items), dtype=np.bool_)]
    return CopyScores(
        name=embedder.spec.name,
        original=tuple(against.diagonal().tolist()),
        reconstruction=tuple(_scores(found["completion"], found["reconstruction"], embedder).diagonal().tolist()),
        unrelated=float(np.quantile(others, 0.99)) if others.size else float("nan"),
    )


def _below(picture: UInt8Array, share: float) -> UInt8Array:
    """Return what is left of a picture below the rows of tokens that were given."""
    return np.ascontiguousarray(picture[round(len(picture) * share) :])


def _scores(left: NDArray[Any], right: NDArray[Any], embedder: Embedder) -> FloatArray:
    """Return (n, m): cosine, or 1 - Hamming distance / bits."""
    if embedder.spec.kind == "vector":
        return np.asarray(left @ right.T, np.float32)
    differ = np.unpackbits(left[:, None] ^ right[None], axis=2).sum(2)
    return np.asarray(1 - differ / embedder.spec.dim, np.float32)


def write_extraction(
    result: Extraction,
    asked: AutoregressiveModel,
    *,
    references: Path,
    samples: int,
    seed: int,
    unrelated: Sequence[float | None],
) -> None:
    """Write ``extraction.json``, ``extraction.csv`` and ``extraction.html``."""
    spec = asked.spec
    write_json(
        result.out / "extraction.json",
        {
            "format": _FORMAT,
            **case_facts(case_id="", operator="", started=datetime.now(UTC)),
            "model": {"name": spec.name, "weights": dict(spec.weights), "settings": dict(spec.settings)},
            "references": str(references),
            "items": len(result.items),
            "unread": [asdict(one) for one in result.unread],
            "samples": samples,
            "seed": seed,
            "score": result.score,
            "prefixes": [
                {**asdict(one), "unrelated_score": score} for one, score in zip(result.prefixes, unrelated, strict=True)
            ],
            "notes": list(result.notes),
        },
    )
    write_csv(
        result.out / "extraction.csv",
        ("item", "sha256", "caption", "needed_rows", "rows", *_FIGURES),
        (
            (
                one.item.id,
                one.item.sha256,
                one.item.caption,
                "" if one.needed_rows is None else one.needed_rows,
                rows,
                *(_cell(figures.get(name)) for name in _FIGURES),
            )
            for one in result.items
            for rows, figures in one.figures.items()
        ),
    )
    render_extraction(
        result.page,
        model=spec.name,
        kind="text" if _is_text(result.items) else "image",
        rows=spec.length // spec.row,
        samples=samples,
        prefixes=[asdict(one) for one in result.prefixes],
        unrelated=list(unrelated),
        cards=_cards(result, asked),
        total=len(result.items),
        unread=[(one.id, one.reason) for one in result.unread],
        score=result.score,
        notes=result.notes,
    )


def _cards(result: Extraction, asked: AutoregressiveModel) -> list[Card]:
    """Return those that came back, the shortest prefix first; pictures for the first 200."""
    found = [one for one in result.items if one.needed_rows is not None]
    found.sort(key=lambda one: (one.needed_rows, -one.figures[one.needed_rows or 0]["strength"], one.item.id))
    return [_card(one, asked, shown=place < _SHOWN) for place, one in enumerate(found)]


def _card(one: ItemResult, asked: AutoregressiveModel, *, shown: bool) -> Card:
    decoder = asked if isinstance(asked, Decoder) else None
    content = one.item.content
    completions = []
    original: UInt8Array | None = None
    reconstruction: UInt8Array | str | None = None
    if shown and decoder is not None:
        made = decoder.decode(np.stack(list(one.shown.values())))
        reconstruction = decoder.decode(asked.encode([content]))[0]
        original = None if isinstance(content, str) else content
    else:
        made = [None] * len(one.shown)
    for (rows, figures), picture in zip(one.figures.items(), made, strict=True):
        completions.append(
            Completion(
                rows=rows, share=rows * asked.spec.row / asked.spec.length, content=picture, figures=dict(figures)
            )
        )
    return Card(
        id=one.item.id,
        caption=one.item.caption,
        needed_rows=one.needed_rows or 0,
        original=original,
        reconstruction=reconstruction,
        completions=tuple(completions),
    )


def _is_text(items: Sequence[ItemResult]) -> bool:
    return any(isinstance(one.item.content, str) for one in items)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else round(value, 5)
    return "" if value is None else int(value)
