"""View models of the report beside its findings: summary, coverage, groups, versions. Pure functions of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forensics.metrics import Rate, rate
from forensics.report.run import Run
from forensics.report.words import KINDS, STATES, number, per_thousand
from forensics.schema import COPY_KINDS

__all__ = ["Coverage", "Group", "Summary", "coverage", "embedders", "facts", "groups", "summary"]

_UNREADABLE = 100
_GROUP_ROWS = 25
_LABELS = 8
_GROUPS = (
    ("domain", "Domain of the reference"),
    ("dataset", "Dataset of the reference"),
    ("rights_holder", "Rights holder of the reference"),
    ("prompt", "Prompt"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The headline: one sentence, the rate and where the rate may lie."""

    sentence: str
    interval: str
    basis: str
    rate: Rate
    value: str
    low: str
    high: str
    kinds: tuple[tuple[str, str], ...]
    review: str
    title: str = ""
    what: str = "Generated images with a copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the input was searched, and what was not."""

    searched: int
    total: int
    states: tuple[tuple[str, str, int], ...]
    reasons: tuple[tuple[str, int], ...]
    unreadable: tuple[tuple[str, str, str], ...]
    more: int
    degraded: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Findings counted by one thing that the source said. Rows: value, images with a copy, findings."""

    title: str
    rows: tuple[tuple[str, int, int], ...]
    more: int


def summary(run: Run) -> Summary:
    """Return the headline. Findings that a reviewer rejected do not count in it, and the text says so."""
    if not run.searched_references:
        return _detections(run)
    claims = [row for row in run.findings if row["kind"] in COPY_KINDS]
    counted = [row for row in claims if row["review_status"] != "rejected"]
    whole = {row["query"]["id"] for row in counted if row["kind"] == "near_copy"}
    part = {row["query"]["id"] for row in counted} - whole
    hits = [image in whole or image in part for image in run.images.searched_ids]
    prompts = run.images.searched_prompts
    # an image whose prompt is unknown is a cluster of its own
    clusters = [prompt or ("", i) for i, prompt in enumerate(prompts)] if any(prompts) else None
    found = rate(hits, clusters)
    value, low, high = (per_thousand(share) for share in (found.value, found.low, found.high))
    n, k = number(found.total), number(found.count)
    if found.total == 0:
        sentence = "None of the images could be searched, so nothing can be said about copies."
    elif found.count == 0:
        sentence = f"In none of the {n} generated images that were searched was a copy of a reference image found."
    else:
        parts = [
            text
            for count, text in (
                (len(whole), f"{number(len(whole))} the whole of it"),
                (len(part), f"{number(len(part))} a part of it"),
            )
            if count
        ]
        verb = "reproduces" if found.count == 1 else "reproduce"
        sentence = f"{k} of the {n} generated images that were searched {verb} a reference image: {', '.join(parts)}."
    return Summary(
        sentence=sentence,
        interval=_interval(found, low, high),
        basis=_basis(found),
        rate=found,
        value=value,
        low=low,
        high=high,
        kinds=tuple(
            (KINDS.get(kind, kind), number(count)) for kind, count in Counter(r["kind"] for r in run.findings).items()
        ),
        review=_review(claims),
    )


_THINGS = {
    "watermark": ("a picture agency’s mark", "Marks"),
    "meme": ("a meme", "Memes"),
    "cover": ("a cover", "Covers"),
}


def _detections(run: Run) -> Summary:
    """Return the headline of a run that looked at single images only."""
    looked = {str(detector.get("name", "")) for detector in run.run.get("detectors") or []}
    kinds = [kind for kind in _THINGS if any(row["kind"] == kind for row in run.findings)]
    if not kinds:  # by what was looked for
        kinds = [kind for kind in _THINGS if any(kind.startswith(name.rstrip("s")[:5]) for name in looked if name)]
    kinds = kinds or ["watermark"]
    things = " or ".join(_THINGS[kind][0] for kind in kinds)
    if not looked and not run.findings:
        things = "a mark that several of them share"
    counted = {row["query"]["id"] for row in run.findings if row["review_status"] != "rejected"}
    prompts = run.images.searched_prompts
    clusters = [prompt or ("", i) for i, prompt in enumerate(prompts)] if any(prompts) else None
    found = rate([image in counted for image in run.images.searched_ids], clusters)
    value, low, high = (per_thousand(share) for share in (found.value, found.low, found.high))
    if found.total == 0:
        sentence = "None of the images could be searched, so nothing can be said about them."
    elif found.count == 0:
        sentence = f"On none of the {number(found.total)} images that were searched was {things} found."
    else:
        verb = "bears" if found.count == 1 else "bear"
        verb = verb if kinds == ["watermark"] else verb.replace("bear", "show")
        sentence = f"{number(found.count)} of the {number(found.total)} images that were searched {verb} {things}."
    labels = Counter(row["label"] for row in run.findings if row["label"])
    named = labels.most_common(_LABELS)
    if rest := labels.total() - sum(count for _, count in named):
        named.append((f"{len(labels) - len(named)} further", rest))
    return Summary(
        sentence=sentence,
        interval=_interval(found, low, high),
        basis=_basis(found),
        rate=found,
        value=value,
        low=low,
        high=high,
        kinds=tuple((label, number(count)) for label, count in named),
        review=_review(run.findings),
        title=f"{' and '.join(_THINGS[kind][1] for kind in kinds)} on images",
        what=f"Images with {things}",
    )


def _interval(found: Rate, low: str, high: str) -> str:
    level = f"{100 * found.level:.0f} %"
    if found.method == "none":
        return ""
    if found.method == "zero":
        return f"With {level} confidence the rate is below {high} in 1,000."
    if found.method == "all":
        return f"With {level} confidence the rate is above {low} in 1,000."
    return f"With {level} confidence the rate lies between {low} and {high} in 1,000."


def _basis(found: Rate) -> str:
    if found.method == "none":
        return ""
    if found.clusters:
        return (
            f"Images of one prompt are not independent: the interval is clustered by {number(found.clusters)} prompts "
            f"(it is as wide as that of about {number(max(1, round(found.effective)))} independent images)."
        )
    return "Images are taken as independent; where several come from one prompt, give the prompts and run it again."


def _review(claims: list[dict[str, Any]]) -> str:
    counts = Counter(row["review_status"] for row in claims)
    if not claims:
        return ""
    if counts["unreviewed"] == len(claims):
        return "No finding has been reviewed by a person yet."
    text = ", ".join(
        f"{number(counts[status])} {word}"
        for status, word in (
            ("confirmed", "confirmed"),
            ("rejected", "rejected (not counted above)"),
            ("unclear", "unclear"),
            ("unreviewed", "not yet reviewed"),
        )
        if counts[status]
    )
    return f"Review by a person: {text}."


def coverage(run: Run) -> Coverage:
    """Return what was searched; the list of unreadable images is cut at a length that a reader bears."""
    images = run.images
    return Coverage(
        searched=len(images.searched_ids),
        total=sum(images.states.values()),
        states=tuple((state, STATES[state], count) for state, count in images.states.items()),
        reasons=tuple(Counter(reason for _, _, reason in images.unreadable).most_common(12)),
        unreadable=tuple(images.unreadable[:_UNREADABLE]),
        more=max(0, len(images.unreadable) - _UNREADABLE),
        degraded=tuple(images.degraded[:12]),
    )


def groups(run: Run) -> list[Group]:
    """Count copies by domain, dataset, rights holder and prompt, wherever a source gave them."""
    made = []
    claims = [row for row in run.findings if row["kind"] in COPY_KINDS and row["review_status"] != "rejected"]
    for key, title in _GROUPS:
        side = "query" if key == "prompt" else "reference"
        findings: Counter[str] = Counter()
        queries: dict[str, set[str]] = {}
        for row in claims:
            value = ((row[side] or {}).get("metadata") or {}).get(key)
            if value not in (None, ""):
                findings[str(value)] += 1
                queries.setdefault(str(value), set()).add(row["query"]["id"])
        ranked = sorted(queries, key=lambda value: (-len(queries[value]), value))
        if ranked:
            rows = tuple((value, len(queries[value]), findings[value]) for value in ranked[:_GROUP_ROWS])
            made.append(Group(title=title, rows=rows, more=max(0, len(ranked) - _GROUP_ROWS)))
    return made


def embedders(run: Run) -> list[dict[str, str]]:
    """Return one row an embedder that ran: name, size, licence, fingerprint of the weights; proprietary ones named."""
    rows = []
    for spec in run.run.get("embedders") or []:
        licence = str(spec.get("weights_licence") or "")
        rows.append(
            {
                "name": str(spec.get("name", "")),
                "size": f"{spec.get('dim', '?')} {'bits' if spec.get('kind') == 'bits' else 'numbers'}",
                "licence": licence or "no weights",
                "proprietary": "yes" if "proprietary" in licence.lower() else "",
                "weights": str(spec.get("weights_sha256") or ""),
                "preprocessing": str(spec.get("preprocessing") or ""),
            }
        )
    return rows


def facts(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Flatten JSON into (name, text) pairs for the appendix; nothing of ``run.json`` is left out of the report."""
    if isinstance(value, Mapping):
        found = []
        for key, item in value.items():
            found += facts(item, f"{prefix} · {key}" if prefix else str(key))
        return found
    if isinstance(value, list):
        if all(not isinstance(item, (dict, list)) for item in value):
            return [(prefix, ", ".join(map(str, value)) or "none")]
        return [pair for i, item in enumerate(value, 1) for pair in facts(item, f"{prefix} {i}")]
    if isinstance(value, float):
        return [(prefix, f"{value:.6g}")]
    return [(prefix, "" if value is None else str(value))]
