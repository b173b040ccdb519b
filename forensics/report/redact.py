"""Takes faces, references or all pixels out of a run's stored pictures. What is taken out is gone from the folder.

Faces are found by the cascade of local binary patterns that scikit-image ships (trained for OpenCV), set to miss few
rather than to be right: it found 100 of 100 upright, frontal faces that fill the picture (LFW crops), but in 75
everyday pictures it missed about one face in four, turned away, covered, dark or small ones, and it blurs several
places a picture that are no face. Nobody should rely on it unseen. About 1 s a picture.
"""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter

from forensics.errors import MissingExtraError, UsageError
from forensics.report.evidence import SUMS, log_change, read_pictures
from forensics.report.files import read_csv, write_bytes, write_json
from forensics.report.findings_files import read_findings
from forensics.report.pictures import open_preview
from forensics.schema import LEADS

if TYPE_CHECKING:
    from forensics.types import Box, UInt8Array

__all__ = ["CHOICES", "find_faces", "parse_redactions", "redact_run"]

CHOICES = ("faces", "references", "pixels")

_MARGIN = 0.35  # of a face's size, on every side: hair and chin identify too
_logger = logging.getLogger(__name__)


def parse_redactions(text: str) -> frozenset[str]:
    """Read ``faces,references,pixels`` (any of them) from a command line."""
    return _known(frozenset(part.strip() for part in text.split(",") if part.strip()))


def redact_run(run_dir: Path, redact: frozenset[str]) -> None:
    """Redact the stored pictures of a run in place.

    Parameters
    ----------
    run_dir : Path
        A run folder whose checksums were checked. Its ``SHA256SUMS`` is taken away until the caller seals it again,
        so that an interrupted redaction does not look finished.
    redact : frozenset of str
        Of :data:`CHOICES`. What was redacted earlier stays so and is not done twice.

    Raises
    ------
    MissingExtraError
        If faces are to be blurred and no detector is installed.
    """
    evidence = read_pictures(run_dir)
    done = frozenset(evidence.get("redacted", ()))
    new = _known(redact) - done
    if not new:
        return
    pictures: dict[str, dict[str, Any]] = evidence["pictures"]
    detect = _face_detector() if "faces" in new and "pixels" not in new | done else None
    (run_dir / SUMS).unlink(missing_ok=True)
    if "pixels" in new | done:
        shutil.rmtree(run_dir / "evidence", ignore_errors=True)
        pictures = {}
        evidence.pop("masks", None)
    references = _references(run_dir) if "references" in new else frozenset()
    faces = 0
    for sha256, picture in pictures.items():
        pixels = open_preview(run_dir, picture)
        if pixels is None:
            continue
        if sha256 in references:
            pixels = _blurred(pixels)
        elif detect is not None:
            boxes = detect(pixels)
            faces += len(boxes)
            pixels = _blur_boxes(pixels, boxes)
        else:
            continue
        write_bytes(run_dir / picture["file"], _jpeg(pixels))
    write_json(run_dir / "evidence.json", {**evidence, "redacted": sorted(done | new), "pictures": pictures})
    _logger.info("redacted %s: %d pictures, %d faces", ", ".join(sorted(new)), len(pictures), faces)
    log_change(run_dir, "redact", redacted=sorted(new), faces=faces)


def find_faces(pixels: UInt8Array) -> list[Box]:
    """Return boxes around faces in an (H, W, 3) uint8 RGB image, see :data:`forensics.report.redact` for its limits."""
    return _face_detector()(pixels)


def _known(redact: frozenset[str]) -> frozenset[str]:
    unknown = sorted(redact - set(CHOICES))
    if unknown:
        raise UsageError(f"cannot redact {unknown[0]!r}; choose any of: {', '.join(CHOICES)}")
    return redact


def _references(run_dir: Path) -> frozenset[str]:
    found = {row["reference"]["sha256"] for row in read_findings(run_dir) if row["reference"]}
    found |= {row["reference_sha256"] for row in read_csv(run_dir / "leads.csv", [column.name for column in LEADS])}
    return frozenset(found)


def _face_detector() -> Callable[[UInt8Array], list[Box]]:
    """Return a detector of frontal faces: local binary pattern cascade of OpenCV, as scikit-image ships and runs it."""
    try:
        import skimage.data
        import skimage.feature
    except ImportError as error:
        raise MissingExtraError(
            "blurring faces needs a face detector, which is not installed: pip install 'forensics[faces]', or leave "
            "all pictures out with --redact pixels"
        ) from error
    data: Any = skimage.data  # ships no types
    cascade = skimage.feature.Cascade(data.lbp_frontal_face_cascade_filename())

    def detect(pixels: UInt8Array) -> list[Box]:
        height, width = pixels.shape[:2]
        boxes: list[Box] = []
        if min(height, width) < 24:
            return boxes
        found = cascade.detect_multi_scale(
            img=np.ascontiguousarray(pixels),
            scale_factor=1.1,
            step_ratio=1,
            min_size=(24, 24),
            max_size=(min(height, width),) * 2,
            min_neighbor_number=2,  # two wrong boxes blur less than one missed face shows
        )
        for face in found:
            x, y, w, h = face["c"], face["r"], face["width"], face["height"]
            boxes.append((int(x), int(y), int(x + w), int(y + h)))
        return boxes

    return detect


def _blur_boxes(pixels: UInt8Array, boxes: list[Box]) -> UInt8Array:
    image = Image.fromarray(pixels)
    for x0, y0, x1, y1 in boxes:
        mx, my = round((x1 - x0) * _MARGIN), round((y1 - y0) * _MARGIN)
        area = (max(0, x0 - mx), max(0, y0 - my), min(image.width, x1 + mx), min(image.height, y1 + my))
        part = image.crop(area)
        image.paste(Image.fromarray(_blurred(np.asarray(part), cells=5)), area)
    return np.asarray(image)


def _blurred(pixels: UInt8Array, *, cells: int = 12) -> UInt8Array:
    """Reduce a picture to ``cells`` averages across before smoothing: a plain Gaussian blur could be undone."""
    image = Image.fromarray(pixels)
    small = image.resize((cells, max(1, round(cells * image.height / image.width))), Image.Resampling.BOX)
    large = small.resize(image.size, Image.Resampling.BICUBIC)
    return np.asarray(large.filter(ImageFilter.GaussianBlur(max(image.size) / cells / 2)))


def _jpeg(pixels: UInt8Array) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=88)
    return out.getvalue()
