"""Geometric verification of one pair of images: :func:`extract` features of each, then :func:`verify_pair`."""

from __future__ import annotations

from forensics.verify.features import Features, extract
from forensics.verify.pair import verify_pair

__all__ = ["Features", "extract", "verify_pair"]
