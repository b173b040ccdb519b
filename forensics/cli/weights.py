"""``forensics weights``: lists, fetches and imports the weights of every model that the program can use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forensics.cli.progress import progress_bar

if TYPE_CHECKING:
    from forensics.weights import Found

__all__ = ["register"]

_SHOW = """
Example:

    forensics weights --json
"""
_FETCH = """
Example:

    forensics weights fetch sscd-disc-mixup
"""
_IMPORT = """
Example:

    forensics weights import sscd-disc-mixup sscd_disc_mixup.torchscript.pt
"""

_NAME = "Name of a model: one of `forensics weights`, `clip:ARCH/TAG` (open_clip) or `clip-hf:OWNER/NAME`."


def register(app: typer.Typer) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(
        help="List every model that the program can use: what for, whether present, size, licence, SHA-256, origin.",
        short_help="List, fetch and import model weights.",
        epilog=_SHOW,
        invoke_without_command=True,
    )
    group.callback()(show)
    group.command("fetch", epilog=_FETCH, short_help="Fetch weights from where they are published.")(fetch)
    group.command("import", epilog=_IMPORT, short_help="Take a file of weights that you have.")(import_)
    app.add_typer(group, name="weights")


def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """List every model that the program can use."""
    if context.invoked_subcommand is not None:
        return
    from forensics.weights import status

    rows = status()
    if as_json:
        typer.echo(json.dumps([row.to_dict() for row in rows], indent=2, ensure_ascii=False))
        return
    for row in rows:
        size = f"{row.size / 1e6:.1f} MB" if row.size else "size not known"
        typer.echo(f"{row.name}: {row.state} ({size})")
        typer.echo(f"  for      {row.purpose}")
        typer.echo(f"  licence  {row.licence}")
        typer.echo(f"  from     {row.source}")
        typer.echo(f"  sha256   {row.sha256 or 'not published; recorded when fetched or imported'}")
        if row.state == "present":
            typer.echo(f"  file     {row.path}")
        else:
            typer.echo(f"  {'damaged ' if row.state == 'damaged' else 'missing '} {row.note}")


def fetch(name: Annotated[str, typer.Argument(metavar="NAME", help=_NAME)]) -> None:
    """Fetch the weights of NAME from where they are published; a fetch that was cut off goes on."""
    from forensics import weights

    with progress_bar() as progress:
        found = weights.fetch(name, progress=progress)
    _report(found)


def import_(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_NAME)],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file; it is checked, copied, and its SHA-256 recorded.")
    ],
) -> None:
    """Copy a file of weights that you have into the program's cache folder, checked to be what it claims."""
    from forensics import weights

    _report(weights.import_file(name, file))


def _report(found: Found) -> None:
    typer.echo(f"{found.model.name}: present, {found.size / 1e6:.1f} MB, SHA-256 {found.sha256}, {found.path}")
