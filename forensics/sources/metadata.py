"""What a source says beside the pixels → plain, clean scalars under well-known names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from forensics.types import Scalar

__all__ = ["clean", "from_json"]

_WELL_KNOWN = {
    "caption": ("caption", "text", "alt", "alt_text"),
    "prompt": ("prompt",),
    "source_url": ("source_url", "url", "image_url"),
    "domain": ("domain",),
    "dataset": ("dataset",),
    "licence": ("licence", "license"),
    "rights_holder": ("rights_holder", "rightsholder", "copyright", "author", "creator", "artist", "photographer"),
}
_BY_ALIAS = {alias: name for name, aliases in _WELL_KNOWN.items() for alias in aliases}
_INT64 = 1 << 63


def clean(fields: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return fields as scalars that any table format can hold, the well-known ones under their own names.

    The first column that means ``caption``, ``source_url``, … (whatever its case) takes that name; every further column
    keeps its own. ``domain`` is taken from ``source_url`` where it is not given. Empty values and raw bytes are left
    out; lists and mappings become JSON text; text loses NULs and unpaired surrogates.
    """
    result: dict[str, Scalar] = {}
    others: dict[str, Scalar] = {}
    for key, value in fields.items():
        scalar = _scalar(value)
        if scalar is None or scalar == "":
            continue
        known = _BY_ALIAS.get(str(key).strip().lower())
        if known is not None and known not in result:
            result[known] = scalar
        else:
            others[_text(str(key))] = scalar
    if "domain" not in result and isinstance(result.get("source_url"), str):
        domain = _domain(str(result["source_url"]))
        if domain:
            result["domain"] = domain
    return result | {key: value for key, value in others.items() if key not in result}


def from_json(data: bytes) -> dict[str, Any]:
    """Parse a JSON sidecar; anything but an object, or anything malformed, says nothing."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _domain(url: str) -> str:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return host.removeprefix("www.")


def _scalar(value: Any) -> Scalar:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):  # bool included
        return value if -_INT64 <= value < _INT64 else str(value)
    if value is None or isinstance(value, (bytes, bytearray, memoryview)):
        return None
    if isinstance(value, (list, tuple, dict)):
        return _text(json.dumps(value, ensure_ascii=False, default=str)) if value else None
    return _text(value.isoformat() if isinstance(value, (datetime, date, time)) else str(value))


def _text(value: str) -> str:
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
