"""Helpers for the tests of this program and of plug-ins for it."""

from __future__ import annotations

from forensics.testing.autoregressive import check_autoregressive
from forensics.testing.generators import check_generator

__all__ = ["check_autoregressive", "check_generator"]
