"""The grade of a run: what it flagged against what is known to be a copy. Only a world whose truth is known has one.

``grading.json`` holds one entry an image (:class:`Graded`) and the rule that says what a copy is; counts and intervals
are made from them, here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forensics.metrics import wilson
from forensics.report.evidence import check_sums
from forensics.report.files import write_json
from forensics.report.run import GRADING
from forensics.schema import RUN_SCHEMA_VERSION

__all__ = ["Grade", "Graded", "Level", "Share", "add_grading", "grade", "view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One generated image.

    Attributes
    ----------
    id : str
        As in ``images.parquet``.
    level : str
        What was planned with its prompt: ``64x`` … ``1x``, ``held-out``, ``none``.
    copies : sequence of str
        Ids of the training images that it truly is a copy of.
    nearest : str
        Id of the training image that it is most like.
    equal, near : float
        Shares of the counted cells, see :mod:`forensics.truth`.
    counted : int
    flagged : sequence of str
        Ids of the references of its copy findings.
    mark, marks : str, sequence of str
        The agency's mark that the pictures of its prompt bear, and those found on it.
    """

    id: str
    level: str
    copies: Sequence[str] = ()
    nearest: str = ""
    equal: float = 0.0
    near: float = 0.0
    counted: int = 0
    flagged: Sequence[str] = ()
    mark: str = ""
    marks: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """``count`` of ``total``, with Wilson's 95 % interval; ``total`` 0 says nothing."""

    count: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the share, in [0, 1]."""
        return wilson(self.count, self.total) if self.total else (0.0, 1.0)

    @property
    def text(self) -> str:
        """E.g. ``9 of 10 (60 to 98 %)``."""
        if not self.total:
            return "–"
        low, high = self.interval
        return f"{self.count} of {self.total} ({100 * low:.0f} to {100 * high:.0f} %)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The images of one planted level, or all: see :class:`Grade`."""

    name: str
    images: int
    copies: Share
    found: Share
    named: Share
    wrong: Share
    misnamed: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """How a run did.

    Attributes
    ----------
    total, levels : Level, tuple of Level
        ``copies``: images that truly are copies. ``found``: those of them that were flagged. ``named``: those found
        for which a reference was named that they are a copy of. ``wrong``: flagged images that are no copies, of all
        flagged ones. ``misnamed``: copy findings that name a reference of which the image is no copy, of all.
    marks : Share
        Images of watermarked prompts on which that agency's mark was found.
    other_marks : Share
        Images of other prompts on which any mark was found.
    """

    total: Level
    levels: tuple[Level, ...]
    marks: Share
    other_marks: Share


def grade(images: Sequence[Graded]) -> Grade:
    """Count."""
    names = dict.fromkeys(image.level for image in images)
    marked = [image for image in images if image.mark]
    others = [image for image in images if not image.mark]
    return Grade(
        total=_level("all", images),
        levels=tuple(_level(name, [image for image in images if image.level == name]) for name in names),
        marks=Share(count=sum(image.mark in image.marks for image in marked), total=len(marked)),
        other_marks=Share(count=sum(bool(image.marks) for image in others), total=len(others)),
    )


def _level(name: str, images: Sequence[Graded]) -> Level:
    copies = [image for image in images if image.copies]
    flagged = [image for image in images if image.flagged]
    found = [image for image in copies if image.flagged]
    named = [image for image in found if set(image.flagged) & set(image.copies)]
    return Level(
        name=name,
        images=len(images),
        copies=Share(count=len(copies), total=len(images)),
        found=Share(count=len(found), total=len(copies)),
        named=Share(count=len(named), total=len(found)),
        wrong=Share(count=len(flagged) - len(found), total=len(flagged)),
        misnamed=Share(
            count=sum(len(set(image.flagged) - set(image.copies)) for image in flagged),
            total=sum(len(set(image.flagged)) for image in flagged),
        ),
    )


def add_grading(run_dir: Path, images: Sequence[Graded], *, rule: Mapping[str, Any]) -> Grade:
    """Write ``grading.json`` into a finished run, render its report again and seal it anew.

    Raises
    ------
    IntegrityError
        If the run was changed since it was sealed.
    """
    check_sums(run_dir, ignore={"report.html", GRADING})
    content = {
        "schema_version": RUN_SCHEMA_VERSION,
        "rule": dict(rule),
        "images": [asdict(image) for image in images],
    }
    from forensics.report.html import render  # which renders this module's view

    write_json(run_dir / GRADING, content)
    render(run_dir, changed={GRADING})
    return grade(images)


def view(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows of ``grading.json``: the grade, its images and the rule."""
    images = [Graded(**entry) for entry in content["images"]]
    return {"grade": grade(images), "images": images, "rule": content["rule"]}
