"""The pages of the extraction laboratory: what came back, side by side; what a generator repeats. Self-contained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.report.files import write_bytes
from forensics.report.html import template
from forensics.report.pictures import data_uri

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["STYLE", "Card", "Completion", "RepeatCard", "render_extraction", "render_repeats"]

_SIDE = 256
STYLE = Path(__file__).parent / "templates" / "report.css"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """The best completion from one prefix.

    Attributes
    ----------
    rows : int
        Of the prefix.
    share : float
        Of the picture's height that was given.
    content : ndarray, str or None
        (H, W, 3) uint8, a text, or nothing to show.
    figures : mapping
        ``right``, ``best_right``, ``strength``, ``copies``, ``samples``, ``greedy``, and scores where there are any.
    """

    rows: int
    share: float
    content: UInt8Array | str | None
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Card:
    """One reference that came back."""

    id: str
    caption: str
    needed_rows: int
    original: UInt8Array | None
    reconstruction: UInt8Array | str | None
    completions: tuple[Completion, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RepeatCard:
    """One group of near-identical images.

    Attributes
    ----------
    rank : int
    prompt : str
    pictures : tuple of ndarray
        (H, W, 3) uint8, the centre first.
    files : tuple of str
        Of these pictures, relative to the page.
    found, samples : int
        Images of the group, and of the prompt.
    strength, detail : float
    clique : int
    """

    rank: int
    prompt: str
    pictures: tuple[UInt8Array, ...]
    files: tuple[str, ...]
    found: int
    samples: int
    strength: float
    detail: float
    clique: int


def render_extraction(
    path: Path,
    *,
    model: str,
    kind: str,
    rows: int,
    samples: int,
    prefixes: Sequence[Mapping[str, Any]],
    unrelated: Sequence[float | None],
    cards: Sequence[Card],
    total: int,
    unread: Sequence[tuple[str, str]],
    score: str,
    notes: Sequence[str],
) -> None:
    """Write the page of a prefix extraction.

    Parameters
    ----------
    path : Path
        The HTML file.
    model : str
    kind : {"image", "text"}
    rows : int
        Of tokens in an item.
    samples : int
        An item and prefix.
    prefixes : sequence of mapping
        One a prefix: ``rows``, the intervals ``greedy``, ``sampled``, ``any_sample``, ``any_completion``, ``right`` as
        mappings, ``chance``, ``undecided``.
    unrelated : sequence of float or None
        The copy score that unrelated pairs reach, one a prefix.
    cards : sequence of Card
        What came back, in the order to be shown.
    total : int
        References asked for.
    unread : sequence of (str, str)
        References that could not be read, and why.
    score : str
        Name of the copy descriptor.
    notes : sequence of str
    """
    page = template("lab_extraction.html.j2").render(
        model=model,
        kind=kind,
        rows=rows,
        samples=samples,
        prefixes=list(zip(prefixes, unrelated, strict=True)),
        cards=[_view(card) for card in cards],
        total=total,
        unread=unread,
        score=score,
        notes=notes,
        style=STYLE.read_text("utf-8"),
    )
    write_bytes(path, page.encode("utf-8", "replace"))


def render_repeats(
    path: Path,
    *,
    model: str,
    prompts: int,
    images: int,
    cards: Sequence[RepeatCard],
    least: int,
    notes: Sequence[str],
) -> None:
    """Write the page of what a generator repeats: groups in the order of their ranks."""
    views = [
        {
            "rank": card.rank,
            "prompt": card.prompt,
            "pictures": [
                {"uri": data_uri(picture, side=_SIDE), "file": file}
                for picture, file in zip(card.pictures, card.files, strict=True)
            ],
            "found": card.found,
            "samples": card.samples,
            "strength": card.strength,
            "detail": card.detail,
            "clique": card.clique,
        }
        for card in cards
    ]
    page = template("lab_repeats.html.j2").render(
        model=model,
        prompts=prompts,
        images=images,
        cards=views,
        least=least,
        notes=notes,
        style=STYLE.read_text("utf-8"),
    )
    write_bytes(path, page.encode("utf-8", "replace"))


def _view(card: Card) -> dict[str, Any]:
    return {
        "id": card.id,
        "caption": card.caption,
        "needed_rows": card.needed_rows,
        "original": _shown(card.original),
        "reconstruction": _shown(card.reconstruction),
        "completions": [
            {
                "rows": one.rows,
                "share": one.share,
                "picture": _shown(one.content),
                "back": bool(one.figures.get("greedy")) or int(one.figures.get("copies", 0)) > 0,
                **one.figures,
            }
            for one in card.completions
        ],
    }


def _shown(content: UInt8Array | str | None) -> dict[str, str]:
    """Return ``uri`` of a picture or ``text``, whichever it is."""
    if content is None:
        return {"uri": "", "text": ""}
    if isinstance(content, str):
        return {"uri": "", "text": content}
    return {"uri": data_uri(content, side=_SIDE), "text": ""}
