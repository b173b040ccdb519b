"""Prove what a text-to-image model copied.

>>> from forensics import audit, build_index, search                                    # doctest: +SKIP
>>> build_index("training-images", out="my-index")                                      # doctest: +SKIP
>>> result = audit("generated", index="my-index", out="reports/case-1")                 # doctest: +SKIP
>>> result.findings()                                                                   # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# MKL's products otherwise round differently with the number of rows and threads, and one token in some ten thousand is
# then another: an image would depend on the batch that it was drawn in. Read when MKL computes for the first time.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

if TYPE_CHECKING:
    from forensics.flows.audit import audit
    from forensics.flows.build import BuildResult
    from forensics.flows.index import build_index
    from forensics.flows.results import AuditResult, SearchResult
    from forensics.flows.search import search

__all__ = ["AuditResult", "BuildResult", "SearchResult", "__version__", "audit", "build_index", "search"]

__version__ = "0.1.0"

_LAZY = {
    "audit": "forensics.flows.audit",
    "build_index": "forensics.flows.index",
    "search": "forensics.flows.search",
    "AuditResult": "forensics.flows.results",
    "BuildResult": "forensics.flows.build",
    "SearchResult": "forensics.flows.results",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: ``import forensics`` stays light."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'forensics' has no attribute {name!r}")
