"""The watermark report: stock marks image by image, and the marks that images of the batch share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.detect import ocr
from forensics.errors import UsageError
from forensics.flows.detect import DetectOptions, DetectResult, detect_source
from forensics.flows.detectors import SHARED_THRESHOLDS, WATERMARK_THRESHOLDS, choose_detectors, refuse_idle

if TYPE_CHECKING:
    from forensics.types import Progress

__all__ = ["watermarks"]

_THRESHOLDS = (*WATERMARK_THRESHOLDS, *SHARED_THRESHOLDS)


def watermarks(
    source: str | Path,
    *,
    out: str | Path,
    network: bool = True,
    discover: bool = True,
    thresholds: Mapping[str, float] | None = None,
    options: DetectOptions | None = None,
    progress: Progress | None = None,
) -> DetectResult:
    """Find marks of picture agencies in every image of ``source`` and write a run folder to ``out``.

    Parameters
    ----------
    source : path
        A folder, a CSV or parquet list, a tar, a folder of tars, an img2dataset output.
    out : path
        Run folder, as of an audit.
    network : bool
        Look at every image with the watermark network.
    discover : bool
        Look for marks that many images share, whoever's they are.
    thresholds : mapping of str to float, optional
        Other values for ``watermark``, ``watermark_named``, ``shared_mark``, ``moving_mark``, ``shared_mark_share``.
    options : DetectOptions, optional
    progress : Progress, optional

    Raises
    ------
    UsageError
        If neither is to be done, or a threshold is given that would decide nothing.
    SourceError, WeightsError
        As :func:`~forensics.flows.detect.detect_source`.
    """
    if unknown := sorted(set(thresholds or {}) - set(_THRESHOLDS)):
        raise UsageError(f"threshold {unknown[0]} given; this command knows: {', '.join(_THRESHOLDS)}")
    if not network and not discover:
        raise UsageError("neither the network nor the search for shared marks is to run; leave out one of the two")
    names = ["watermark"] if network else []
    refuse_idle(thresholds or {}, names, templates=False, discover=discover)
    options = options or DetectOptions()
    notes = list(options.notes)
    if not network:
        notes.append("The watermark network did not run, so marks that only single images bear were not looked for.")
    elif ocr.missing():
        notes.append("Marks were looked for but not read, so none is named: pip install 'forensics[ocr]'")
    chosen = choose_detectors(names, thresholds=thresholds)
    return detect_source(
        source,
        detectors=chosen.specs,
        out=out,
        options=replace(options, discover=discover, thresholds=thresholds or {}, notes=tuple(notes)),
        progress=progress,
    )
