"""``forensics curve``: memory over a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forensics.errors import UsageError

__all__ = ["register"]

_EXAMPLE = """
Examples:

    forensics curve models/training/transformer/checkpoints --out curves

    forensics curve checkpoints --model my-model --corpus my-corpus --over steps,planted --pictures 30 --out curves
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Measure how a model's memory grows with its training.")(curve)


def curve(
    checkpoints: Annotated[
        Path, typer.Argument(metavar="CHECKPOINTS", help="Folder of the training's step-NNNNNN.safetensors.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; a run that was interrupted goes on in it.")],
    model: Annotated[
        str, typer.Option(help="The ruDALL-E whose VQGAN and tokenizer belong to the checkpoints: a name or a folder.")
    ] = "kvadrat",
    corpus: Annotated[
        Path | None,
        typer.Option(help="Folder with manifest.csv (path, caption, role, planted); the embedded corpus by default."),
    ] = None,
    over: Annotated[
        str, typer.Option(help="Of `steps`, `planted`, `caption`, with commas; the last two by the last checkpoint.")
    ] = "steps,planted,caption",
    pictures: Annotated[int, typer.Option(min=1, help="Of each times planted, and twice as many held-out ones.")] = 16,
    samples: Annotated[int, typer.Option("-n", "--samples", min=1, help="Images drawn from each caption.")] = 1,
    rows: Annotated[int, typer.Option(min=0, help="Of the prefix; 0 takes a quarter of the model's rows.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Draws the pictures; also the first sample's.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 32,
    json_output: Annotated[bool, typer.Option("--json", help="Print the points as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Measure how a model's memory grows with its training.

    Copy rate, extraction rate and membership AUC, with intervals, over the checkpoints of one training run, over how
    often a picture was planted, and over how much of its caption is told. OUT holds curve.csv, curve.png, curve.svg,
    curve.json and a page.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.curve import OVER, Draw
    from forensics.flows.curve import curve as flow

    axes: list[Any] = [word.strip() for word in over.split(",") if word.strip()]
    if bad := [axis for axis in axes if axis not in OVER]:
        raise UsageError(f"--over {bad[0]} given; choose of: {', '.join(OVER)}")
    with progress_bar(quiet=quiet) as progress:
        result = flow(
            checkpoints,
            out=out,
            model=model,
            corpus=corpus,
            over=axes,
            draw=Draw(pictures=pictures, samples=samples, rows=rows, seed=seed, batch=batch),
            progress=progress,
        )
    if json_output:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(point) for point in result.points]))
        return 0
    for point in result.points:
        found = point.interval
        typer.echo(
            f"{point.axis:8} {point.x:>6g}  {point.measure:10} {point.level:9} {found.value:.2f} "
            f"[{found.low:.2f}, {found.high:.2f}] n={found.count}"
        )
    for note in result.notes:
        typer.echo(f"note       {note}")
    typer.echo(f"picture    {result.picture}")
    typer.echo(f"page       {result.page}")
    return 0
