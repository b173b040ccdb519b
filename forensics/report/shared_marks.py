"""View models of the marks that images of a run share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forensics.report.pictures import Gallery
from forensics.report.run import Run
from forensics.report.words import figure, number

__all__ = ["Bearer", "SharedMarkView", "shared_marks"]

_SIDE = 384
_THUMB = 160
_THUMBS = 12
_NAMED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """An image with the mark; ``name`` is empty where no picture can be shown, ``rank`` is that of its finding."""

    id: str
    name: str
    width: int
    height: int
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMarkView:
    """One mark: its averaged picture, what is known of it, and the images with it."""

    mark_id: str
    label: str
    picture: str
    width: int
    height: int
    sentence: str
    facts: tuple[tuple[str, str], ...]
    thumbs: tuple[Bearer, ...]
    others: tuple[Bearer, ...]
    more: int


def shared_marks(run: Run, gallery: Gallery, *, cards: int) -> list[SharedMarkView]:
    """Return the shared marks, the most frequent first; ``cards`` is how many findings have a card to lead to."""
    bearers: dict[str, dict[str, Bearer]] = {}
    for rank, row in enumerate(run.findings, 1):
        mark = row["measurements"].get("shared_mark")
        if mark:
            bearers.setdefault(str(mark), {}).setdefault(row["query"]["id"], _bearer(row, rank if rank <= cards else 0))
    return [_view(mark, list(bearers.get(mark["mark_id"], {}).values()), run, gallery) for mark in run.marks or ()]


def _view(mark: Mapping[str, Any], bearers: Sequence[Bearer], run: Run, gallery: Gallery) -> SharedMarkView:
    shown = gallery.plain(str(mark["picture"]), side=_SIDE)
    thumbs = [_with_picture(one, run, gallery) for one in bearers[:_THUMBS]]
    others = bearers[_THUMBS:_NAMED]
    images, searched = int(mark["images"]), int(mark["searched"])
    facts = [
        ("Images with it", f"{number(images)} of {number(searched)} ({100 * mark['share']:.1f} %)"),
        ("Where", "the same place in all of them" if mark["path"] == "fixed" else "another place in each of them"),
        ("Chance that images without a mark agree as much", f"≤ {figure(float(mark['p_value']))}"),
    ]
    if mark["period"]:
        across, down = mark["period"]
        parts = [f"{100 * share:.0f} % of the {side}" for share, side in ((across, "width"), (down, "height")) if share]
        if parts:
            facts.insert(2, ("It repeats after", " and ".join(parts)))
    return SharedMarkView(
        mark_id=str(mark["mark_id"]),
        label=str(mark["label"]),
        picture=shown[0] if shown else "",
        width=shown[1] if shown else 4,
        height=shown[2] if shown else 3,
        sentence=(
            f"{number(images)} of the {number(searched)} images bear this mark. It was averaged from them; no detector "
            "was told what it looks like."
        ),
        facts=tuple(facts),
        thumbs=tuple(thumbs),
        others=tuple(others),
        more=max(0, len(bearers) - _NAMED),
    )


def _bearer(row: Mapping[str, Any], rank: int) -> Bearer:
    # the hash stands in for the picture until it is known whether it is shown
    return Bearer(id=row["query"]["id"], name=row["query"]["sha256"], width=4, height=3, rank=rank)


def _with_picture(bearer: Bearer, run: Run, gallery: Gallery) -> Bearer:
    size = gallery.size(bearer.name)
    shown = gallery.show(bearer.name, side=_THUMB)
    return Bearer(
        id=bearer.id,
        name=shown or "",
        width=size[0] if size else 4,
        height=size[1] if size else 3,
        rank=bearer.rank,
    )
