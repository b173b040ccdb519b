"""Geometric verification of one pair of images: :func:`extract` features of each, then :func:`verify_pair`."""

from __future__ import annotations

from forensics.verify.features import Features, extract
from forensics.verify.pair import Hint, aligned_parts, verify_pair

__all__ = ["Features", "Hint", "aligned_parts", "extract", "verify_pair"]
