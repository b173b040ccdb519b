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

_CONVERT = """
Example:

    forensics weights convert malevich --dtype float16

    forensics weights convert malevich --weights checkpoints/ --out malevich-fp16 --dtype float16
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
    group.command("convert", epilog=_CONVERT, short_help="Convert a ruDALL-E model to safetensors, once.")(convert)
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


def convert(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="`malevich` …, or a folder with config.json and the files it is for.")
    ],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Folder with the published files, or the one checkpoint.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write; by default the one in which `forensics generate` looks first."),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Of the transformer: `float32`, `float16` or `bfloat16`; the VQGAN stays float32.")
    ] = "float32",
    dwt: Annotated[bool, typer.Option("--dwt", help="Convert the VQGAN that has the wavelet decoder.")] = False,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Cache folder of the Hugging Face hub; its own by default.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection.")] = False,
) -> None:
    """Convert a ruDALL-E model's files to safetensors with manifests (SHA-256, source, licence) and a type of choice.

    The files pass through a tensor at a time. What is converted already is kept; a file that is cut off, of another
    architecture or incomplete is named.
    """
    from typing import cast

    from forensics.errors import UsageError
    from forensics.generate import GeneratorOptions
    from forensics.generate.rudalle.bundle import convert_model
    from forensics.generate.rudalle.checkpoints import DTYPES, Dtype

    if dtype not in DTYPES:
        raise UsageError(f"type {dtype!r} given; choose one of: {', '.join(DTYPES)}")
    options = GeneratorOptions(weights=weights, cache=cache, offline=offline, dwt=dwt)
    bundle = convert_model(model, dtype=cast("Dtype", dtype), out=out, options=options)
    for name, manifest in bundle.manifests.items():
        kept = manifest["weights"]
        typer.echo(f"{name}: {manifest['dtype']}, {kept['bytes'] / 1e6:,.1f} MB, SHA-256 {kept['sha256']}")
    typer.echo(f"folder: {bundle.folder}")


def _report(found: Found) -> None:
    typer.echo(f"{found.model.name}: present, {found.size / 1e6:.1f} MB, SHA-256 {found.sha256}, {found.path}")
