"""``forensics search``: the reverse image search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forensics.cli.options import parse_pairs
from forensics.errors import UsageError

__all__ = ["register"]

_EXAMPLE = """
Example:

    forensics search suspect.png --index my-index --top 5
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Find the references most like one image.")(search)


def search(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image to look up.")],
    index: Annotated[Path, typer.Option("--index", help="Reference index made by `forensics index build`.")],
    top: Annotated[int, typer.Option(min=1, help="Matches to show.")] = 10,
    effort: Annotated[
        str,
        typer.Option(
            help="`fast`: the whole image only; `standard`: also 3 x 3 parts and inset rectangles of it; "
            "`thorough`: also 2 x 2 parts and quarter turns."
        ),
    ] = "standard",
    exact: Annotated[
        bool, typer.Option("--exact", help="Search every row even where `forensics index optimize` made FAISS files.")
    ] = False,
    source_root: Annotated[
        list[str] | None, typer.Option("--source-root", help="OLD=NEW: where references lie that moved. Repeatable.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the matches, with pictures, to this file.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the matches as JSON.")] = False,
) -> int:
    """Find the references most like one image: a reverse image search in your own index.

    `score` is the belief that the image was made from the reference, 0 to 1.
    """
    from forensics.flows.search import search as flow
    from forensics.flows.views import EFFORTS

    if effort not in EFFORTS:
        raise UsageError(f"effort {effort!r} given; choose one of: {', '.join(EFFORTS)}")
    result = flow(
        image,
        index=index,
        top=top,
        effort=effort,
        exact=exact,
        source_roots=parse_pairs(source_root, "--source-root"),
        html=html,
    )
    if json_output:
        import json

        typer.echo(json.dumps({"query": result.query, "matches": result.matches, "notes": result.notes}))
        return 0
    import sys

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("score", justify="right")
    table.add_column("verdict")
    table.add_column("SSCD", justify="right")
    table.add_column("inliers", justify="right")
    table.add_column("reference", overflow="fold")
    for match in result.matches:
        sscd = match.get("sscd")
        table.add_row(
            f"{match['score']:.3f}",
            str(match["verdict"]).replace("_", " "),
            f"{sscd:.2f}" if isinstance(sscd, float) else "–",
            str(match["inliers"]),
            str(match["reference"]),
        )
    # a pipe gets one line a match, however long its id is
    width = None if sys.stdout.isatty() else 10_000
    Console(file=sys.stdout, highlight=False, markup=False, width=width).print(table)
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    if html is not None:
        typer.echo(f"page: {html}", err=True)
    return 0
