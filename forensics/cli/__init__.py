"""Commands. Each module here has ``register(app)``, which adds its commands to the Typer app."""

from __future__ import annotations

from collections.abc import Callable

import typer

from forensics.cli import (
    audit,
    curve,
    demo,
    doctor,
    extract,
    generate,
    index,
    membership,
    memes,
    report,
    search,
    train,
    watermarks,
    weights,
)

__all__ = ["COMMANDS"]

COMMANDS: tuple[Callable[[typer.Typer], None], ...] = (
    generate.register,
    audit.register,
    search.register,
    index.register,
    watermarks.register,
    memes.register,
    report.register,
    membership.register,
    extract.register,
    curve.register,
    train.register,
    weights.register,
    doctor.register,
    demo.register,
)
