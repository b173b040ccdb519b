"""Detectors: what is in an image that is nobody's picture, such as an agency's mark.

They take pixels, and masks or descriptors as arrays; they draw nothing and search nothing.
"""

from __future__ import annotations

from forensics.detect.known_marks import KnownMark, KnownMarkDetector, MarkDetection, known_marks, mark_scores

__all__ = ["KnownMark", "KnownMarkDetector", "MarkDetection", "known_marks", "mark_scores"]
