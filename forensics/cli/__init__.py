"""Commands. Each module here has ``register(app)``, which adds its commands to the Typer app."""

from __future__ import annotations

from collections.abc import Callable

import typer

from forensics.cli import audit, demo, doctor, index, report, search, weights

__all__ = ["COMMANDS"]

COMMANDS: tuple[Callable[[typer.Typer], None], ...] = (
    audit.register,
    search.register,
    index.register,
    report.register,
    weights.register,
    doctor.register,
    demo.register,
)
