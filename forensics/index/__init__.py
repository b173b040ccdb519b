"""The reference index: its format, its writer, its reader and the searches over it.

``manifest.json`` and ``parts.jsonl`` say what there is; vectors and hashes are the truth, FAISS files a cache of them.
See ``docs/formats.md``.
"""

from __future__ import annotations

from forensics.index.exact import Hits
from forensics.index.images import IndexedImage, Pixels
from forensics.index.reader import Index

__all__ = ["Hits", "Index", "IndexedImage", "Pixels"]
