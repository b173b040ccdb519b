"""What a calibration depends on, where an index keeps it, and whether it speaks for the audit at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import forensics
from forensics.calibration import Calibration
from forensics.errors import IndexFormatError, UsageError
from forensics.flows.facts import fingerprint
from forensics.index.kept import kept_file

if TYPE_CHECKING:
    from forensics.index import Index
    from forensics.scoring import ScoreModel
    from forensics.thresholds import Threshold
    from forensics.types import Embedder

__all__ = [
    "CALIBRATION_FOLDER",
    "CALIBRATION_NAME",
    "calibration_key",
    "encode_calibration",
    "read_calibration",
    "usable_calibration",
]

CALIBRATION_FOLDER = "calibration"
CALIBRATION_NAME = "scores"
"""What the files of this kind start with; thresholds of meme templates lie in the same folder."""
_FORMAT = "forensics-calibration-1"
_GATES = ("quality_pdq", "geometry_log10_nfa")
_SAID = {
    "index": "images were added to the index or removed from it",
    "embedders": "other embedders take part",
    "score_model": "the score model is another",
    "effort": "the effort is another",
    "top": "another number of candidates is compared (--top)",
    "approximate": "FAISS files propose in one of the two only",
    "gates": "thresholds that decide which pairs may be findings are others",
    "program": "it was made by another version of the program",
}


def calibration_key(
    index: Index,
    embedders: Sequence[Embedder],
    model: ScoreModel,
    thresholds: Mapping[str, Threshold],
    *,
    effort: str,
    top: int,
    approximate: bool,
) -> dict[str, Any]:
    """Return everything that the best score of a query depends on, as plain values."""
    return {
        "index": index.fingerprint,
        "embedders": [embedder.spec.fingerprint for embedder in embedders],
        "score_model": fingerprint({"name": model.name, "intercept": model.intercept, "weights": dict(model.weights)}),
        "effort": effort,
        "top": top,
        "approximate": approximate and bool(index.manifest.faiss),
        "gates": {name: thresholds[name].value for name in _GATES},
        "program": forensics.__version__,
    }


def encode_calibration(calibration: Calibration, facts: Mapping[str, Any]) -> bytes:
    """Return the file that an index keeps; ``facts`` are further plain values for whoever checks it."""
    content = {"format": _FORMAT, **calibration.to_dict(), **facts}
    return (json.dumps(content, indent=1, ensure_ascii=True, sort_keys=True) + "\n").encode()


def read_calibration(index: Index) -> Calibration | None:
    """Return the calibration that an index keeps, whatever it was made for; None where it keeps none.

    Raises
    ------
    IntegrityError
        If the file is missing or not the one that the manifest names.
    IndexFormatError
        If it cannot be understood.
    """
    path = kept_file(index, f"{CALIBRATION_FOLDER}/{CALIBRATION_NAME}")
    if path is None:
        return None
    try:
        values = json.loads(path.read_bytes())
        if values["format"] != _FORMAT:
            raise ValueError(f"format {values['format']!r}")
        return Calibration.from_dict(values)
    except (ValueError, KeyError, TypeError, UsageError) as error:
        raise IndexFormatError(f"{path} is damaged ({error}); run: forensics index calibrate again") from error


def usable_calibration(index: Index, key: Mapping[str, Any]) -> tuple[Calibration | None, str]:
    """Return the calibration of an index for an audit with this key, or None and one sentence that says why."""
    found = read_calibration(index)
    again = f"forensics index calibrate {index.directory}"
    if found is None:
        return None, (
            "This index is not calibrated: how often an unrelated picture would score as high against it is not "
            f"known. See: {again}"
        )
    differing = [name for name in _SAID if found.key.get(name) != key.get(name)]
    if differing:
        return None, (
            f"The calibration of this index was not used: {_SAID[differing[0]]}. What it says does not hold for this "
            f"audit; make it again with: {again}"
        )
    return found, ""
