"""Commands. Each module here has ``register(app)``, which adds its commands to the Typer app."""

from __future__ import annotations

from collections.abc import Callable

import typer

from forensics.cli import audit, demo, doctor, generate, index, report, search, train, weights

__all__ = ["COMMANDS"]

COMMANDS: tuple[Callable[[typer.Typer], None], ...] = (
    generate.register,
    audit.register,
    search.register,
    index.register,
    report.register,
    train.register,
    weights.register,
    doctor.register,
    demo.register,
)
