"""View models of findings and leads: everything the templates show, decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forensics.report.findings_files import Row
from forensics.report.pictures import Gallery, laid_over
from forensics.report.run import Run
from forensics.report.words import KINDS, STRENGTH, figure, measure

__all__ = ["Card", "Comparer", "Lead", "Line", "Picture", "Root", "cards", "glossary", "leads", "thresholds"]

_SIDE_LARGE, _SIDE_SMALL, _SIDE_THUMB = 448, 320, 200
_LARGE = 60  # findings shown with the larger pictures; the file of a long report stays below some 30 MB
_LEADS = 60
_NAMED_KINDS = ("watermark", "meme", "cover")
"""Kinds whose label stands beside the kind in a card's head."""
_ORIGIN = ("caption", "source_url", "domain", "dataset", "rights_holder", "licence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One side of a pair. ``name`` is empty where no picture can be shown; ``why`` then says so."""

    id: str
    uri: str
    sha256: str
    name: str
    why: str
    width: int
    height: int
    shapes: tuple[str, ...]
    metadata: tuple[tuple[str, str], ...]
    mask: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table of measurements."""

    label: str
    value: str
    threshold: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """The aligned pair: two pictures in the frame of the generated image."""

    width: int
    height: int
    below: str
    above: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One finding."""

    rank: int
    finding_id: str
    kind: str
    kind_text: str
    label: str
    score: str
    threshold: str
    query: Picture
    reference: Picture | None
    comparer: Comparer | None
    lines: tuple[Line, ...]
    reasons: tuple[str, ...]
    mirrored: bool
    review_status: str
    reviewer: str
    note: str
    roots: tuple[Root, ...]
    brand: str = ""
    beside: str = "Reference image"
    """What the picture beside the image is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """Where a person found a picture by a reverse image search."""

    crop: str
    address: str
    link: str
    date: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """A generated image with the references it resembles, best first, and what was found by hand."""

    query: Picture
    references: tuple[tuple[Picture, str], ...]
    more: int
    reasons: tuple[str, ...]
    roots: tuple[Root, ...]


def cards(run: Run, gallery: Gallery, *, pictures: int) -> tuple[list[Card], list[Row]]:
    """Return the strongest ``pictures`` findings as cards and the rest as plain rows."""
    limits = thresholds(run.run)
    roots = _roots(run)
    shown = [
        _card(row, rank, run=run, gallery=gallery, limits=limits, roots=roots.get(row["query"]["sha256"], ()))
        for rank, row in enumerate(run.findings[:pictures], 1)
    ]
    rest = [{**row, "rank": rank, "kind_text": _kind(row)} for rank, row in enumerate(run.findings, 1)]
    return shown, rest[pictures:]


def glossary(run: Run) -> list[tuple[str, str]]:
    """Explain every measurement that the findings carry, in the order in which they carry them."""
    names = dict.fromkeys(name for row in run.findings for name, v in row["measurements"].items() if v is not None)
    shown = [STRENGTH, *(measure(name) for name in names)] if names else []
    return [(entry.label, entry.doc) for entry in shown if entry.doc]


def thresholds(run: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the table of thresholds of ``run.json``: name to ``value``, ``unit``, ``source``."""
    table = run.get("thresholds")
    entries = table.items() if isinstance(table, Mapping) else ()
    return {name: entry for name, entry in entries if isinstance(entry, Mapping) and "value" in entry}


def leads(run: Run, gallery: Gallery) -> tuple[list[Lead], int]:
    """Return the best leads grouped by generated image, and how many further generated images have any."""
    roots = _roots(run)
    groups: dict[str, list[Row]] = {}
    for row in run.leads:
        groups.setdefault(row["query"], []).append(row)
    ranked = sorted(groups.values(), key=lambda rows: -max(row["score"] for row in rows))
    made = []
    for rows in ranked[:_LEADS]:
        best = rows[0]
        query = {"id": best["query"], "uri": best["query_uri"], "sha256": best["query_sha256"]}
        references = []
        for row in rows[:4]:
            image = {
                "id": row["reference"],
                "uri": row["reference_uri"],
                "sha256": row["reference_sha256"],
                "metadata": row["reference_metadata"],
            }
            references.append((_picture(image, run, gallery, side=_SIDE_THUMB), _likeness(row)))
        made.append(
            Lead(
                query=_picture(query, run, gallery, side=_SIDE_THUMB),
                references=tuple(references),
                more=max(0, len(rows) - 4),
                reasons=tuple(map(str, best["reasons"])),
                roots=roots.get(best["query_sha256"], ()),
            )
        )
    return made, max(0, len(ranked) - _LEADS)


def _card(
    row: Row,
    rank: int,
    *,
    run: Run,
    gallery: Gallery,
    limits: Mapping[str, Mapping[str, Any]],
    roots: Sequence[Root],
) -> Card:
    side = _SIDE_LARGE if rank <= _LARGE else _SIDE_SMALL
    reference = row["reference"]
    query_picture = _picture(row["query"], run, gallery, side=side, shapes=_shapes(row, "query"))
    if query_picture.name and row["finding_id"] in run.masks:
        size = (query_picture.width, query_picture.height)
        mask = gallery.mask(run.masks[row["finding_id"]], size, side=side)
        query_picture = replace(query_picture, mask=mask or "", shapes=() if mask else query_picture.shapes)
    reference_picture = (
        _picture(reference, run, gallery, side=side, shapes=_shapes(row, "reference")) if reference else None
    )
    return Card(
        rank=rank,
        finding_id=row["finding_id"],
        kind=row["kind"],
        kind_text=_kind(row),
        label=row["label"],
        score=figure(row["score"]),
        threshold=figure(row["threshold"]),
        query=query_picture,
        reference=reference_picture,
        comparer=_comparer(row, gallery, query_picture, reference_picture, side),
        lines=_lines(row, limits),
        reasons=tuple(map(str, row["reasons"])),
        mirrored=bool(row["alignment"] and row["alignment"]["mirrored"]),
        review_status=row["review_status"],
        reviewer=row["reviewer"],
        note=row["note"],
        roots=tuple(roots),
        brand=str(row["label"]) if row["kind"] in _NAMED_KINDS else "",
        # a copied reference that is a meme is found by comparing, a template by the detector of memes
        beside="Template" if row["measurements"].get("detector") == "memes" else "Reference image",
    )


def _likeness(row: Row) -> str:
    """Say how alike a lead is: descriptors tell more than the belief that it is a copy, which is near 0 for leads."""
    known = [(name, row["measurements"].get(name)) for name in ("sscd", "clip")]
    parts = [f"{measure(name).label.split(',')[0]} {figure(value)}" for name, value in known if value is not None]
    return " · ".join([f"belief {figure(row['score'])}", *parts])


def _kind(row: Row) -> str:
    return KINDS.get(row["kind"], str(row["kind"]).replace("_", " "))


def _lines(row: Row, limits: Mapping[str, Mapping[str, Any]]) -> tuple[Line, ...]:
    lines = [
        Line(
            label=STRENGTH.label,
            value=figure(row["score"]),
            threshold=f"≥ {figure(row['threshold'])}",
            source=row["threshold_source"],
        )
    ]
    for name, value in row["measurements"].items():
        if value is None:  # not measured
            continue
        shown = measure(name)
        limit = limits.get(shown.threshold)
        lines.append(
            Line(
                label=shown.label,
                value=figure(value, shown.form),
                threshold=f"{shown.bound} {figure(limit['value'], shown.form)}" if limit else "",
                source=str(limit.get("source", "")) if limit else "",
            )
        )
    return tuple(lines)


def _picture(image: Mapping[str, Any], run: Run, gallery: Gallery, *, side: int, shapes: Sequence[str] = ()) -> Picture:
    name = gallery.show(image["sha256"], side=side)
    size = gallery.size(image["sha256"])
    why = "Left out on request: known by its SHA-256 alone" if "pixels" in run.redacted else "No picture was stored"
    metadata = image.get("metadata") or {}
    facts = [(key, metadata[key]) for key in ("prompt", *_ORIGIN) if metadata.get(key) not in (None, "")]
    return Picture(
        id=image["id"],
        uri=image["uri"],
        sha256=image["sha256"],
        name=name or "",
        why="" if name else why,
        width=size[0] if size else 4,
        height=size[1] if size else 3,
        shapes=tuple(shapes) if name else (),
        metadata=tuple((key.replace("_", " "), str(value)) for key, value in facts),
    )


def _shapes(row: Row, side: str) -> list[str]:
    """SVG point lists of the matched regions on one side: the polygon, or the box where there is none."""
    shapes = []
    for region in row["regions"]:
        polygon = region["polygons"][side]
        box = region[f"{side}_box"]
        if not polygon and box:
            x0, y0, x1, y1 = box
            polygon = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        if polygon:
            shapes.append(" ".join(f"{float(x):.1f},{float(y):.1f}" for x, y in polygon))
    return shapes


def _comparer(row: Row, gallery: Gallery, query: Picture, reference: Picture | None, side: int) -> Comparer | None:
    if not (row["alignment"] and reference and query.name and reference.name):
        return None
    pixels = gallery.pixels(reference.sha256)
    if pixels is None:
        return None
    size = (query.width, query.height)
    warped = laid_over(
        pixels,
        reference_size=(reference.width, reference.height),
        query_size=size,
        transform=row["alignment"]["transform"],
        side=side,
    )
    if warped is None:
        return None
    return Comparer(width=size[0], height=size[1], below=query.name, above=gallery.overlay(warped, size))


def _roots(run: Run) -> dict[str, tuple[Root, ...]]:
    found: dict[str, list[Root]] = {}
    for row in run.roots:
        address = row["address"].strip()
        if address or row["note"].strip():
            # only addresses of the web become links: javascript: and file: stay text
            link = address if address.lower().startswith(("https://", "http://")) else ""
            root = Root(
                crop=row["crop"], address=address, link=link, date=row["date"].strip(), note=row["note"].strip()
            )
            found.setdefault(row["query_sha256"], []).append(root)
    return {key: tuple(value) for key, value in found.items()}
