"""The reverse image search: one image against an index."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote_from_bytes

from forensics.embed import comparison
from forensics.errors import SourceError, UsageError
from forensics.findings import decide
from forensics.flows.build import build
from forensics.flows.embedders import embedders_of
from forensics.flows.index import open_index
from forensics.flows.measure import measured_pairs
from forensics.flows.pairs import PairsInit, PicturesTask, picture
from forensics.flows.results import SearchResult
from forensics.flows.views import Effort, query_views
from forensics.report.search_page import SearchMatch, render_search
from forensics.scoring import load_model
from forensics.thresholds import THRESHOLDS
from forensics.types import Record, Scalar

__all__ = ["search"]


class _OneFile:
    """A single file as a source."""

    kind = "file"

    def __init__(self, path: Path) -> None:
        self.root = path.absolute().parent
        self._record = Record(
            id=path.name, uri="file:" + quote_from_bytes(path.name.encode("utf-8", "surrogateescape"))
        )

    def records(self) -> Iterator[Record]:
        """Yield the one record."""
        yield self._record

    def count(self) -> int | None:
        """Return 1."""
        return 1


def search(
    image: str | Path,
    *,
    index: str | Path,
    top: int = 10,
    effort: Effort = "standard",
    exact: bool = False,
    source_roots: Mapping[str, str] | None = None,
    html: str | Path | None = None,
) -> SearchResult:
    """Find the references most like one image, each compared in detail.

    Parameters
    ----------
    image : path
    index : path
        A reference index.
    top : int
        Matches to return, at least 1.
    effort : {"fast", "standard", "thorough"}
        How many views of the image are searched.
    exact : bool
        Search every row even where the index has FAISS files (see ``forensics index optimize``).
    source_roots : mapping of str to str, optional
        Old to new folder, for references that moved.
    html : path, optional
        Also write the matches as one self-contained page.

    Raises
    ------
    SourceError
        If the image is missing or cannot be decoded.
    """
    path = Path(image)
    if not path.is_file():
        raise SourceError(f"no such image file: {path}")
    if top < 1:
        raise UsageError(f"the {top} best matches asked for, 1 or more accepted")
    references = open_index(index, source_roots=source_roots)
    embedders = embedders_of(references)
    model = load_model(embedders.copy_descriptor)
    with tempfile.TemporaryDirectory(prefix="forensics-") as folder:
        work = Path(folder)
        plan = {e.spec.name: query_views(e.spec, effort) for e in embedders.usable}
        build(_OneFile(path), work / "queries", embedders.usable, plan, path=path, workers=0)
        queries = open_index(work / "queries")
        seen = queries.image(0)
        if seen.state not in ("ok", "degraded"):
            raise SourceError(f"{path} cannot be searched: {seen.state}, {seen.reason}")
        init = PairsInit(
            queries=str(work / "queries"), references=str(references.directory), source_roots=dict(source_roots or {})
        )
        parts = measured_pairs(
            queries,
            references,
            init,
            top=top,
            approximate=not exact,
            compare={e.spec.name: own for e in embedders.usable if (own := comparison(e)) is not None},
            copy_descriptor=embedders.copy_descriptor,
            cache=work / "verified",
            workers=0,
            progress=lambda stage, done, total: None,
        )
        judged = [
            (decide(row.measurements, model=model, thresholds=THRESHOLDS, unverified=row.verification.reason), row)
            for rows in parts
            for row in rows
        ]
        judged.sort(key=lambda pair: -pair[0].belief)
        matches: list[dict[str, Scalar | tuple[str, ...]]] = []
        shown: list[SearchMatch] = []
        for verdict, row in judged[:top]:
            reference = references.image(row.reference)
            match: dict[str, Scalar | tuple[str, ...]] = {
                "reference": reference.ref.id,
                "score": round(verdict.belief, 5),
                "verdict": verdict.kind,
                "uri": reference.ref.uri,
                "sha256": reference.ref.sha256,
                **row.measurements,
                "reasons": verdict.reasons,
            }
            matches.append(match)
            if html is not None:
                task = PicturesTask(queries=False, image=row.reference)
                shown.append(SearchMatch(fields=match, metadata=reference.metadata, picture=picture(init, task)))
        if html is not None:
            query_picture = picture(init, PicturesTask(queries=True, image=0))
            render_search(Path(html), query=seen.ref, picture=query_picture, matches=shown, notes=embedders.notes)
    return SearchResult(query=str(path), matches=tuple(matches), notes=embedders.notes)
