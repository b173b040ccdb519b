"""Threads and devices, as the user set them.

``FORENSICS_THREADS``: threads of one model on the CPU; empty or 0 takes one a core. ``FORENSICS_DEVICE``: ``auto``
(CUDA where torch sees a device), ``cpu`` or ``cuda``.
"""

from __future__ import annotations

import os
from typing import Literal

from forensics.errors import UsageError

__all__ = ["device", "threads"]


def threads() -> int:
    """Return how many CPU threads a model uses: ``$FORENSICS_THREADS``, else the cores this process may run on."""
    text = os.environ.get("FORENSICS_THREADS", "").strip() or "0"
    if not text.isdecimal():
        raise UsageError(f"FORENSICS_THREADS={text} given, a whole number from 0 (one thread a core) accepted")
    if int(text):
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device() -> Literal["cpu", "cuda"]:
    """Return where torch models run: ``$FORENSICS_DEVICE``, by default CUDA where torch sees a device."""
    choice = os.environ.get("FORENSICS_DEVICE", "").strip().lower() or "auto"
    if choice not in ("auto", "cpu", "cuda"):
        raise UsageError(f"FORENSICS_DEVICE={choice} given, one of auto, cpu, cuda accepted")
    if choice == "cpu":
        return "cpu"
    import torch

    present = torch.cuda.is_available()
    if choice == "cuda" and not present:
        raise UsageError("FORENSICS_DEVICE=cuda given, but torch sees no CUDA device; run `forensics doctor`")
    return "cuda" if present else "cpu"
