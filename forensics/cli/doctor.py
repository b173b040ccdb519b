"""``forensics doctor``: what this machine can do and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from forensics.errors import ExitCode

__all__ = ["register"]

_EXAMPLE = """
Example:

    forensics doctor --json
"""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("doctor", epilog=_EXAMPLE, short_help="Say what this machine can do and what is missing.")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Say what this machine can do (devices, weights, codecs, free disk) and what to do about what is missing.

    Exit code 0: the main job can run; 1: something keeps it from running.
    """
    from forensics.flows.doctor import examine

    checks = examine(Path.cwd())
    if as_json:
        typer.echo(json.dumps([check.to_dict() for check in checks], indent=2, ensure_ascii=False))
    else:
        for check in checks:
            typer.echo(f"{check.state:<8} {check.name}: {check.detail}")
            if check.fix:
                typer.echo(f"{'':<8} -> {check.fix}")
    if any(check.state == "error" for check in checks):
        raise typer.Exit(ExitCode.FAILURE)
