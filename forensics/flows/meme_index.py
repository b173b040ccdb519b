"""An index of meme templates as it is read: names, descriptors, thresholds, and the detector made of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.detect.meme import Limits, MemeDetector, Template
from forensics.detect.meme_match import HASH_VIEWS, LAYOUT_VIEWS, VECTOR_VIEWS, TemplateRows, load_model
from forensics.embed.layout import fine
from forensics.errors import IndexFormatError, IntegrityError, UsageError
from forensics.flows.embedders import embedders_of
from forensics.flows.index import open_index
from forensics.images import decode
from forensics.index.manifest import MANIFEST_NAME
from forensics.index.storage import sha256_file
from forensics.thresholds import with_overrides
from forensics.types import KnownPicture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.index import Index
    from forensics.types import UInt8Array, Verification
    from forensics.verify import Features

__all__ = [
    "CALIBRATION",
    "NAME_COLUMNS",
    "PREVIEW",
    "caption_reader",
    "check_templates",
    "detector",
    "limits_of",
    "open_detector",
    "open_templates",
    "stored_thresholds",
    "template_name",
    "template_rows",
    "thresholds_sha256",
]

NAME_COLUMNS = ("template", "name", "title")
"""Columns of a list that may hold a template's name; without one, the file's name is it."""

CALIBRATION = "calibration/memes.json"
PREVIEW = 512
"""Longer side in pixels of the previews that an index of templates keeps."""
_FEATURES_KEPT = 256


def open_templates(directory: Path | str) -> Index:
    """Open an index of templates.

    Raises
    ------
    UsageError
        If the folder is no index.
    IndexFormatError
        If it is one of something else.
    """
    if not (Path(directory) / MANIFEST_NAME).is_file():
        raise UsageError(
            f"{directory} is not an index of meme templates; make one with: forensics memes add FOLDER --to {directory}"
        )
    index = open_index(directory)
    check_templates(index)
    return index


def detector(*, templates: str, fingerprint: str = "", thresholds: Sequence[str] = ()) -> MemeDetector:
    """Make the detector of an index's templates; the factory that :func:`meme_detector` names.

    Parameters
    ----------
    templates : str
        Index made by :func:`add_templates`.
    fingerprint : str
        What the index is expected to be, where that is known.
    thresholds : sequence of str
        The operator's own, as ``NAME=VALUE``.

    Raises
    ------
    IntegrityError
        If the index has changed since.
    """
    index = open_templates(templates)
    if fingerprint and fingerprint != f"{index.fingerprint}{thresholds_sha256(index)}":
        raise IntegrityError(f"the templates in {templates} changed while they were in use; run the command again")
    own = {name: float(value) for name, _, value in (entry.partition("=") for entry in thresholds)}
    return open_detector(index, thresholds=own, limits=limits_of(own))


def open_detector(
    index: Index,
    *,
    calibrated: bool = True,
    captions: bool = True,
    limits: Limits | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> MemeDetector:
    """Make the detector of an open index.

    Parameters
    ----------
    index : Index
    calibrated : bool
        Otherwise every template has the program's own threshold.
    captions : bool
        Also tell image macros of no known template from other pictures.
    limits : Limits, optional
        Others than the program's.
    thresholds : mapping of str to float, optional
        The operator's own: ``meme`` then holds for every template, whatever its calibration says.
    """
    embedders = embedders_of(index)
    by_name = {embedder.spec.name: embedder for embedder in embedders.usable}
    descriptor = embedders.copy_descriptor
    numbers, rows = template_rows(index, descriptor)
    model = load_model(descriptor)
    own = thresholds or {}
    stored = stored_thresholds(index) if calibrated and "meme" not in own else {}
    belief = with_overrides(own)["meme"]
    templates = []
    for number in numbers:
        image = index.image(int(number))
        entry = stored.get(image.ref.id, {})
        raised = entry.get("threshold", belief.value) > belief.value
        templates.append(
            Template(
                name=template_name(image.ref.id, image.metadata),
                threshold=max(belief.value, entry.get("threshold", belief.value)),
                threshold_source=(
                    f"{entry['unrelated']} unrelated pictures against this template, plus a margin"
                    if raised
                    else belief.source
                ),
                picture=KnownPicture(
                    ref=image.ref, width=image.width, height=image.height, preview=index.preview(int(number)) or b""
                ),
            )
        )
    return MemeDetector(
        templates,
        rows,
        embedder=by_name.get(descriptor) if descriptor else None,
        hasher=by_name["phash"],
        model=model,
        limits=limits or limits_of({}),
        geometry=_Alignment(index, numbers),
        captions=caption_reader() if captions else None,
        facts={"fingerprint": index.fingerprint},
    )


def limits_of(thresholds: Mapping[str, float]) -> Limits:
    """Return the limits out of :data:`forensics.thresholds.THRESHOLDS` and the operator's own."""
    table = with_overrides(thresholds)
    return Limits(
        macro=table["image_macro"].value,
        macro_source=table["image_macro"].source,
        log10_nfa=table["geometry_log10_nfa"].value,
    )


class _Alignment:
    """Local features of the templates, found when first needed and kept while there is room."""

    def __init__(self, index: Index, numbers: NDArray[np.int64]) -> None:
        self._index, self._numbers = index, numbers
        self._features = functools.lru_cache(maxsize=_FEATURES_KEPT)(self._of)

    def describe(self, image: UInt8Array) -> Features:
        from forensics.verify import extract

        return extract(image)

    def compare(self, described: Features, template: int) -> Verification | None:
        from forensics.verify import verify_pair

        features = self._features(template)
        return None if features is None else verify_pair(described, features, placing=False)

    def _of(self, template: int) -> Features | None:
        data = self._index.pixels(int(self._numbers[template])).data
        pixels = None if data is None else decode(data, need=PREVIEW).pixels
        return None if pixels is None else self.describe(pixels)


def caption_reader() -> Any:
    """Return what reads captions, None where the extra for it is not installed."""
    from forensics.detect import ocr
    from forensics.detect.captions import find_captions

    if ocr.missing():
        return None
    return functools.partial(find_captions, reader=ocr.TextReader(threads=1))


def check_templates(index: Index) -> None:
    """Refuse an index of anything but templates."""
    wanted = {"layout": LAYOUT_VIEWS, "phash": HASH_VIEWS}
    for name, views in wanted.items():
        entry = next((one for one in index.manifest.embedders if one.spec.name == name), None)
        if entry is None or tuple(entry.views) != views:
            raise IndexFormatError(
                f"{index.directory} is an index, but not of meme templates; make one with: forensics memes add FOLDER "
                "--to TEMPLATES"
            )


def template_rows(index: Index, descriptor: str | None) -> tuple[NDArray[np.int64], TemplateRows]:
    """Return the numbers of the templates that can be looked for, and their descriptors."""
    states = index.images_frame(["state"])
    numbers = np.flatnonzero(states["state"].isin(["ok", "degraded"]).to_numpy() & ~states["removed"].to_numpy())

    def of(embedder: str, views: int) -> NDArray[Any]:
        starts, stops = index.rows_of_images(embedder, numbers)
        if ((stops - starts) != views).any():
            raise IntegrityError(f"{index.directory}: a template has another number of {embedder} rows than {views}")
        rows = (starts[:, None] + np.arange(views)).ravel()
        found = index.vectors(embedder, rows)
        return found.reshape(len(numbers), views, found.shape[1])

    layouts = np.asarray(of("layout", len(LAYOUT_VIEWS)), np.float32)
    vectors = None if descriptor is None else np.asarray(of(descriptor, len(VECTOR_VIEWS)), np.float32)
    hashes = np.asarray(of("phash", len(HASH_VIEWS)), np.uint8)
    return numbers, TemplateRows(vectors=vectors, layouts=layouts, fines=fine(layouts), hashes=hashes)


def template_name(identifier: str, metadata: Mapping[str, Any]) -> str:
    """Return a template's name: what its list says, else its file's name with spaces."""
    for column in NAME_COLUMNS:
        value = next((value for key, value in metadata.items() if key.strip().lower() == column), None)
        if value not in (None, ""):
            return " ".join(str(value).split())
    return " ".join(Path(identifier).stem.replace("_", " ").replace("-", " ").split()) or identifier


def thresholds_sha256(index: Index) -> str:
    """Return the SHA-256 (hex) of the stored thresholds, empty where there are none."""
    return index.manifest.calibration.get(CALIBRATION, "")


def stored_thresholds(index: Index) -> dict[str, dict[str, Any]]:
    """Return the stored thresholds by the template's id; templates of an unfinished addition have none."""
    sha256 = thresholds_sha256(index)
    if not sha256:
        return {}
    path = index.directory / CALIBRATION
    if not path.is_file() or sha256_file(path) != sha256:
        raise IntegrityError(
            f"{path} is missing or is not what was written; see: forensics index verify {index.directory}"
        )
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["templates"]
    return found
