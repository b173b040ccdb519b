"""``forensics memes``: add, list, find."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forensics.cli.options import parse_thresholds
from forensics.errors import ExitCode

__all__ = ["register"]

_ADD = """
Examples:

    forensics memes add templates/ --to my-memes

    forensics memes add templates.csv --to my-memes
"""
_LIST = """
Example:

    forensics memes list my-memes
"""
_FIND = """
Example:

    forensics memes find generated/ --templates my-memes --out run
"""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Worker processes; the number of processors by default, 0 for none.")
]
PathColumn = Annotated[
    str | None, typer.Option("--path-column", help="Column with the paths, where SOURCE is a CSV or parquet list.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Recognise meme templates, and image macros of none.", no_args_is_help=True)
    group.command(epilog=_ADD, short_help="Add templates to an index of them, which is made where it is missing.")(add)
    group.command("list", epilog=_LIST, short_help="List the templates of an index.")(list_)
    group.command(epilog=_FIND, short_help="Find which images show a template, or are image macros of none.")(find)
    app.add_typer(group, name="memes")


def add(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="The templates: a folder, whose file names are their names, or a CSV or parquet list with a column "
            "`template`, `name` or `title`.",
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Index of templates: a new or empty folder, or one made earlier.")],
    descriptor: Annotated[
        str,
        typer.Option(
            help="Copy descriptor of a new index: `auto` takes the SSCD that is here, `none` none, or a name."
        ),
    ] = "auto",
    path_column: PathColumn = None,
    workers: Workers = None,
    quiet: Quiet = False,
) -> int:
    """Add templates to an index of them, which is made where it is missing.

    Each template gets a threshold of its own: above what any unrelated picture reaches against it.

    Exit code 0: all files were read; 11: some were not (see: forensics memes list).
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.memes import add_templates

    with progress_bar(quiet=quiet) as progress:
        result = add_templates(
            source, to, path_column=path_column, descriptor=descriptor, workers=workers, progress=progress
        )
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    if result.already_complete:
        typer.echo(f"{to} has every template of {source} already")
        return ExitCode.CLEAN
    total = sum(result.states.values())
    skipped = f", {result.skipped} skipped (already there)" if result.skipped else ""
    unreadable = f", {result.unreadable} unreadable" if result.unreadable else ""
    typer.echo(f"{to}: {total} templates{unreadable}; {result.added} added{skipped}")
    return ExitCode.UNREADABLE if result.unreadable else ExitCode.CLEAN


def list_(
    templates: Annotated[Path, typer.Argument(metavar="TEMPLATES", help="Index made by `forensics memes add`.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the templates of an index with their thresholds; `–` stands at one that is not looked for, and why."""
    from dataclasses import asdict

    from forensics.flows.memes import list_templates

    rows = list_templates(templates)
    if json_output:
        import json

        typer.echo(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
        return
    for row in rows:
        threshold = "–    " if row.threshold is None else f"{row.threshold:.3f}"
        note = row.reason or row.note
        typer.echo(f"{threshold}  {row.name}  ({row.id}, {row.width}x{row.height}){': ' + note if note else ''}")
    typer.echo(f"{len(rows)} templates in {templates}")


def find(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="The images: a folder, a CSV or parquet list, a tar or a folder of tars."
        ),
    ],
    templates: Annotated[Path, typer.Option("--templates", help="Index made by `forensics memes add`.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder; an earlier run there is replaced, reviews are kept.")],
    path_column: PathColumn = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            help="NAME=VALUE: your own threshold, marked as such, for meme (then every template's), image_macro or "
            "geometry_log10_nfa (docs/method.md). Repeatable.",
        ),
    ] = None,
    redact: Annotated[
        str,
        typer.Option(help="Comma list of `faces`, `references` (templates blurred) and `pixels` (no picture at all)."),
    ] = "",
    case_id: Annotated[str, typer.Option("--case-id", help="Your name for this case, printed in the report.")] = "",
    operator: Annotated[
        str, typer.Option(envvar="FORENSICS_OPERATOR", help="Who runs it, printed in the report.")
    ] = "",
    workers: Workers = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Quiet = False,
) -> int:
    """Find which images show a template, and which are image macros of none that is known.

    Writes the same run folder as an audit. An image that is neither gets no finding. Interrupted, the same command goes
    on where it was.

    Exit code 0: all files were read; 11: some were not.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.detect import DetectOptions
    from forensics.flows.memes import find_memes
    from forensics.flows.results import exit_code, unread

    options = DetectOptions(
        path_column=path_column,
        redact=[word.strip() for word in redact.split(",") if word.strip()],
        case_id=case_id,
        operator=operator,
        workers=workers,
    )
    own = parse_thresholds(threshold)
    with progress_bar(quiet=quiet) as progress:
        result = find_memes(source, templates=templates, out=out, thresholds=own, options=options, progress=progress)
    if json_output:
        import json

        facts = {
            **result.summary(),
            "images_with_meme": result.images_with_finding,
            "notes": list(result.notes),
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return int(exit_code(result.states))
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    searched, total = result.states.get("ok", 0) + result.states.get("degraded", 0), sum(result.states.values())
    missed = unread(result.states)
    typer.echo(
        f"{searched} of {total} images searched{f' ({missed}: reasons in the report)' if missed else ''}, "
        f"{result.images_with_finding} with a meme"
    )
    for label, count in result.labels.items():
        typer.echo(f"  {count:5}  {label}")
    typer.echo(f"report: {result.report}")
    return int(exit_code(result.states))
