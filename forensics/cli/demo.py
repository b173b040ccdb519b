"""``forensics demo``: one real audit on the embedded pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_EXAMPLE = """
Example:

    forensics demo --out reports/demo --seed 2
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Audit the embedded example, whose truth is known.")(demo)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Run folder to write; index and suspects go to OUT-data.")] = Path(
        "reports/demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Draws the fresh suspects among the audited images.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes; the number of cores by default, 0 for none.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Audit the embedded example, where it is known which images are copies, and say how many were found."""
    from forensics.cli.progress import progress_bar
    from forensics.flows import demo as flow

    with progress_bar(quiet=quiet) as progress:
        result = flow.demo(out=out, seed=seed, workers=workers, progress=progress)
    for note in result.audit.notes:
        typer.echo(f"note       {note}")
    typer.echo(f"copies     {result.found} of {result.copies} found, each with the right reference")
    typer.echo(f"others     {result.false} of {result.others} flagged wrongly")
    typer.echo(f"try        forensics search {out}-data/suspects/s01.jpg --index {result.index}")
    typer.echo(f"report     {result.audit.report}")
    return 0
