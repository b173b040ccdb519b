"""Finds, fetches, imports, checks and describes model weights.

Nothing here touches the network except :func:`fetch`, which only ``forensics weights fetch`` (and set-up) calls.
"""

from __future__ import annotations

from forensics.weights.fetch import fetch
from forensics.weights.store import (
    Found,
    Status,
    cache_dir,
    find,
    import_file,
    missing_sentence,
    remember,
    remembered,
    require,
    sha256_of,
    status,
)
from forensics.weights.table import CLIP_DEFAULT, MODELS, Model, WeightFile, model

__all__ = [
    "CLIP_DEFAULT",
    "MODELS",
    "Found",
    "Model",
    "Status",
    "WeightFile",
    "cache_dir",
    "fetch",
    "find",
    "import_file",
    "missing_sentence",
    "model",
    "remember",
    "remembered",
    "require",
    "sha256_of",
    "status",
]
