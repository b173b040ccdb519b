"""``forensics demo``: the embedded world, generated from, audited and graded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from forensics.types import Progress

__all__ = ["register"]

_EXAMPLE = """
Examples:

    forensics demo --out reports/demo --seed 2

    forensics demo --edits --out reports/edits
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Generate, audit and grade in the embedded world.")(demo)


def demo(
    out: Annotated[
        Path,
        typer.Option("--out", help="Run folder to write; images go to OUT-generated (--edits: OUT-data)."),
    ] = Path("reports/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the images: another one gives other images.")] = 1,
    model: Annotated[
        str, typer.Option(help="`kvadrat`, or a folder of another model that was trained on the embedded corpus.")
    ] = "kvadrat",
    edits: Annotated[
        bool, typer.Option("--edits", help="Audit edited pictures instead of generated ones: no model is needed.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes; the number of cores by default, 0 for none.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Generate 32 images from 16 prompts with the embedded model, audit them and grade the audit.

    What the model was trained on is known, and so it is known which images are copies: the report has a section that
    says how many of them were found, and how many findings were wrong.
    """
    from forensics.cli.progress import progress_bar

    with progress_bar(quiet=quiet) as progress:
        lines = _edits(out, seed, workers, progress) if edits else _world(out, seed, model, workers, progress)
    for line in lines:
        typer.echo(line)
    return 0


def _world(out: Path, seed: int, model: str, workers: int | None, progress: Progress) -> list[str]:
    from forensics.flows import demo as flow

    result = flow.demo(out=out, seed=seed, model=model, workers=workers, progress=progress)
    total = result.grade.total
    lines = [f"note       {note}" for note in result.audit.notes]
    lines.append(f"images     {total.images} in {result.images}")
    lines.append(f"copies     {total.copies.count} images are copies; {total.found.count} of them were flagged")
    lines.append(f"wrong      {total.wrong.count} of {total.wrong.total} flagged images are no copies")
    lines.append(
        f"misnamed   {total.misnamed.count} of {total.misnamed.total} findings name a picture that was not copied"
    )
    for level in result.grade.levels:
        lines.append(f"  {level.name:9}{level.copies.count} of {level.images} are copies, {level.found.count} flagged")
    lines.append(
        f"marks      found on {result.grade.marks.count} of {result.grade.marks.total} images of watermarked prompts"
    )
    lines.append("time       " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items()))
    roots = "".join(f" --source-root {old}={new}" for old, new in result.source_roots.items())
    first = sorted((result.images / "images").glob("*.png"))[0]
    lines.append(f"try        forensics search {first} --index {result.index}{roots}")
    lines.append(f"report     {result.audit.report}")
    return lines


def _edits(out: Path, seed: int, workers: int | None, progress: Progress) -> list[str]:
    from forensics.flows import edits as flow

    result = flow.edits(out=out, seed=seed, workers=workers, progress=progress)
    return [
        *(f"note       {note}" for note in result.audit.notes),
        f"copies     {result.found} of {result.copies} found, each with the right reference",
        f"others     {result.false} of {result.others} flagged wrongly",
        f"try        forensics search {out}-data/suspects/s01.jpg --index {result.index}",
        f"report     {result.audit.report}",
    ]
