"""Options that several commands read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from forensics.errors import UsageError

__all__ = ["parse_pairs", "parse_thresholds"]


def parse_pairs(values: Sequence[str] | None, option: str, *, form: str = "OLD=NEW") -> dict[str, str]:
    """Return ``OLD=NEW`` values as a mapping; ``form`` is what a wrong one is told."""
    pairs = {}
    for value in values or ():
        old, separator, new = value.partition("=")
        if not separator or not old:
            raise UsageError(f"{option} {value!r} given; write it as {form}")
        pairs[old] = new
    return pairs


def parse_thresholds(values: Sequence[str] | None) -> dict[str, float]:
    """Return ``NAME=VALUE`` values as numbers."""
    thresholds = {}
    for name, text in parse_pairs(values, "--threshold", form="NAME=VALUE").items():
        try:
            thresholds[name] = float(text)
        except ValueError:
            thresholds[name] = math.nan
        if not math.isfinite(thresholds[name]):
            raise UsageError(f"--threshold {name}={text} given; the value must be a number, e.g. 0.9")
    return thresholds
