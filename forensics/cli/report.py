"""``forensics report``: render a run again, review it, follow its leads, check its seal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forensics.errors import UsageError

__all__ = ["register"]

_RENDER = """
Example:

    forensics report render shared-copy --redact faces,references
"""
_LEADS = """
Example:

    forensics report leads reports/example --out leads.csv
    forensics report leads reports/example --read leads.csv
"""
_REVIEW = """
Example:

    forensics report review reports/example --set f-0123456789abcdef0123=confirmed --reviewer "A. Examiner"
"""
_VERIFY = """
Example:

    forensics report verify reports/example
"""

_RunArg = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, e.g. reports/example.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the group ``report``."""
    group = typer.Typer(
        name="report",
        help="Render a run's report again, review its findings, follow its leads, check its seal.",
        short_help="Render, review, follow up and check a run.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
    )
    group.command("render", epilog=_RENDER, short_help="Write report.html anew, redacted if asked for.")(_render)
    group.command("leads", epilog=_LEADS, short_help="Write or read the sheet for a search by hand.")(_leads)
    group.command("review", epilog=_REVIEW, short_help="Set the review fields of findings.")(_review)
    group.command("verify", epilog=_VERIFY, short_help="Check that nothing was changed since.")(_verify)
    app.add_typer(group)


def _render(
    run: _RunArg,
    redact: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Any of faces, references, pixels, joined by commas: blur faces, blur references, or leave all "
            "pictures out. The stored pictures are redacted too, for good: redact a copy of the run.",
        ),
    ] = "",
    pictures: Annotated[
        int, typer.Option(min=0, help="How many of the strongest findings are shown with pictures.")
    ] = 200,
) -> None:
    """Write report.html anew from the files of the run, and seal the run."""
    from forensics.report.html import render
    from forensics.report.redact import parse_redactions

    typer.echo(render(run, redact=parse_redactions(redact), pictures=pictures))


def _leads(
    run: _RunArg,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Where the sheet goes. Default: RUN-leads/leads.csv beside the run."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many generated images at most, best lead first.")] = 100,
    read: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Read this filled sheet back into the run instead.")
    ] = None,
) -> None:
    """Write a sheet of leads, crop by crop, for a reverse image search by hand; or read the filled one back."""
    from forensics.report.leads import read_sheet, write_sheet

    if read is not None:
        if out is not None:
            raise UsageError("both --out and --read given; write a sheet with --out, read it back with --read")
        typer.echo(f"{read_sheet(run, read)} filled rows read; {run / 'report.html'} shows them")
        return
    path = out or run.resolve().parent / f"{run.resolve().name}-leads" / "leads.csv"
    typer.echo(f"{write_sheet(run, path, top=top)} rows in {path}; look at {path.with_suffix('.html')}")


def _review(
    run: _RunArg,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FINDING_ID=STATUS", help="confirmed, rejected, unclear or unreviewed. May be repeated."
        ),
    ] = None,
    reviewer: Annotated[str, typer.Option(metavar="NAME", help="Who decided. Default: keep what stands there.")] = "",
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The reviewer's words. Default: keep what stands there.")
    ] = None,
    read: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Take the review columns of this edited findings.csv instead."),
    ] = None,
) -> None:
    """Set the review fields of findings; the report shows them and leaves rejected findings out of the rate."""
    from forensics.report.review import read_reviews, set_reviews

    if bool(set_) == (read is not None):
        raise UsageError("give either --set FINDING_ID=STATUS or --read FILE.csv")
    if read is not None:
        if reviewer or note is not None:
            raise UsageError("--reviewer and --note belong to --set; the sheet of --read has its own columns for them")
        changed = read_reviews(run, read)
    else:
        pairs = [text.partition("=") for text in set_ or ()]
        wrong = [name for name, mark, _ in pairs if not mark]
        if wrong:
            raise UsageError(f"--set {wrong[0]!r} given; FINDING_ID=STATUS is needed")
        changed = set_reviews(
            run, {name.strip(): status.strip() for name, _, status in pairs}, reviewer=reviewer, note=note
        )
    typer.echo(f"{changed} finding{'' if changed == 1 else 's'} changed; {run / 'report.html'} shows them")


def _verify(run: _RunArg) -> None:
    """Compare every file of a run with SHA256SUMS; a difference ends with exit code 20."""
    from forensics.report.evidence import check_sums

    typer.echo(f"{check_sums(run)} files agree with {run / 'SHA256SUMS'}")
