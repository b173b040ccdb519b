"""Renders ``report.html``: one file that needs nothing else. A pure function of the run folder."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.detect.watermark.discovery import LEAST_IMAGES
from forensics.errors import UsageError
from forensics.report import cards, grading, views
from forensics.report.evidence import check_sums, write_sums
from forensics.report.files import write_bytes
from forensics.report.pictures import Gallery
from forensics.report.redact import redact_run
from forensics.report.run import load
from forensics.report.shared_marks import shared_marks
from forensics.report.words import figure, number, visible

if TYPE_CHECKING:
    import jinja2

__all__ = ["PICTURES", "render", "template"]

PICTURES = 200
"""How many of the strongest findings are shown with pictures; the rest are rows of a table."""

_TEMPLATES = Path(__file__).parent / "templates"


def render(
    run_dir: Path,
    *,
    redact: Collection[str] = frozenset(),
    pictures: int = PICTURES,
    changed: Collection[str] = (),
) -> Path:
    """Write ``report.html`` and seal the run anew.

    Parameters
    ----------
    run_dir : Path
        A finished run.
    redact : collection of {"faces", "references", "pixels"}
        What to take out of the stored pictures first. It stays out: the folder keeps no unredacted copy.
    pictures : int
        How many of the strongest findings are shown with pictures.
    changed : collection of str
        Files of the run that the caller has just rewritten, so that their old checksums no longer hold.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    IntegrityError
        If a file of the run differs from its checksum: a changed run is never sealed again.
    UsageError
        If the folder is no finished run, or ``redact`` names something else.
    """
    if pictures < 0:
        raise UsageError(f"{pictures} pictures given; 0 or more are accepted")
    check_sums(run_dir, ignore={"report.html", *changed})
    redact_run(run_dir, frozenset(redact))
    run = load(run_dir)
    gallery = Gallery(run_dir, run.pictures)
    shown, rest = cards.cards(run, gallery, pictures=pictures)
    marks = shared_marks(run, gallery, cards=len(shown))
    leads, more_leads = cards.leads(run, gallery)
    script = (_TEMPLATES / "report.js").read_text("utf-8")
    html = template("report.html.j2").render(
        run=run,
        summary=views.summary(run),
        coverage=views.coverage(run),
        groups=views.groups(run),
        grading=grading.view(run.grading) if run.grading else None,
        embedders=views.embedders(run),
        thresholds=cards.thresholds(run.run),
        facts=views.facts({key: value for key, value in run.run.items() if key not in ("embedders", "thresholds")}),
        cards=shown,
        marks=marks,
        comparable=len(run.images.searched_ids) >= LEAST_IMAGES,
        least=LEAST_IMAGES,
        glossary=cards.glossary(run),
        rest=rest,
        leads=leads,
        more_leads=more_leads,
        pictures=gallery.embedded,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
        style=(_TEMPLATES / "report.css").read_text("utf-8"),
    )
    path = run_dir / "report.html"
    write_bytes(path, html.encode("utf-8", "replace"))
    write_sums(run_dir)
    return path


def template(name: str) -> jinja2.Template:
    """Return a template of this room: everything is escaped, an unknown name is an error."""
    import jinja2
    from markupsafe import Markup, escape

    def text(value: object, *, strict: bool = False, limit: int = 600) -> Markup:
        parts = [
            Markup('<span class="hidden-char">{}</span>').format(part) if odd else escape(part)
            for odd, part in visible(str(value), strict=strict, limit=limit)
        ]
        return Markup("<bdi>{}</bdi>").format(Markup("").join(parts))

    def ident(value: object) -> Markup:
        return text(value, strict=True, limit=300)

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"text": text, "ident": ident, "number": number, "figure": figure, "plain": _plain}
    environment.filters.update(filters)
    return environment.get_template(name)


def _plain(value: object, limit: int = 120) -> str:
    """Text for an attribute: nothing invisible, nothing long; escaped by the template as all else."""
    return "".join(part for _, part in visible(str(value), limit=limit))
