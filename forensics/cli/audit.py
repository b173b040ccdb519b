"""``forensics audit``: which generated images are copies, of what, how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forensics.cli.options import parse_pairs, parse_thresholds
from forensics.errors import UsageError

__all__ = ["register"]

_EXAMPLE = """
Example:

    forensics audit generated/ --index my-index --out reports/case-1
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Find the copies among generated images and write a report.")(audit)


def audit(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The generated images: a folder, a CSV or parquet list, a tar or a folder of tars."
        ),
    ],
    index: Annotated[Path, typer.Option("--index", help="Reference index made by `forensics index build`.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write, e.g. reports/case-1.")],
    effort: Annotated[
        str, typer.Option(help="`fast`: whole images only; `standard`: also 13 overlapping parts of each query.")
    ] = "standard",
    top: Annotated[int, typer.Option(min=1, help="How many references each descriptor proposes for an image.")] = 8,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Let FAISS files of the index propose (`forensics index optimize`).")
    ] = False,
    path_column: Annotated[
        str | None, typer.Option("--path-column", help="Column with the paths, where SOURCE is a CSV or parquet list.")
    ] = None,
    source_root: Annotated[
        list[str] | None, typer.Option("--source-root", help="OLD=NEW: where references lie that moved. Repeatable.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold", help="NAME=VALUE: your own threshold, marked as such (names: docs/method.md). Repeatable."
        ),
    ] = None,
    redact: Annotated[
        str, typer.Option(help="Comma list of `faces`, `references` (blurred) and `pixels` (no picture at all).")
    ] = "",
    case_id: Annotated[str, typer.Option("--case-id", help="Your name for this case, printed in the report.")] = "",
    operator: Annotated[
        str, typer.Option(envvar="FORENSICS_OPERATOR", help="Who runs the audit, printed in the report.")
    ] = "",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes; the number of cores by default, 0 for none.")
    ] = None,
    fail_on_findings: Annotated[
        bool, typer.Option("--fail-on-findings", help="Exit with 10 where a copy was found.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Find which generated images are copies of indexed references, verify every pair, and write the report.

    The run folder holds report.html, findings.jsonl, candidates.csv and the evidence; see docs/formats.md. Run the same
    command again after an interruption: finished work is kept.

    Exit code 0: done; 10: copies found (only with --fail-on-findings); 11: some inputs could not be read.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows import audit as flow
    from forensics.flows.results import exit_code
    from forensics.flows.views import EFFORTS

    if effort not in EFFORTS:
        raise UsageError(f"effort {effort!r} given; choose one of: {', '.join(EFFORTS)}")
    with progress_bar(quiet=quiet) as progress:
        result = flow.audit(
            source,
            index=index,
            out=out,
            effort=effort,
            top=top,
            approximate=approximate,
            path_column=path_column,
            source_roots=parse_pairs(source_root, "--source-root"),
            thresholds=parse_thresholds(threshold),
            redact=[word.strip() for word in redact.split(",") if word.strip()],
            case_id=case_id,
            operator=operator,
            workers=workers,
            progress=progress,
        )
    _print(result, as_json=json_output)
    found = sum(result.findings_count.values())
    return int(exit_code(result.states, findings=found, fail_on_findings=fail_on_findings))


def _print(result: Any, *, as_json: bool) -> None:
    if as_json:
        import json

        typer.echo(
            json.dumps(
                {
                    "run": str(result.run_dir),
                    "report": str(result.report),
                    "states": dict(result.states),
                    "findings": dict(result.findings_count),
                    "images_with_copy": result.images_with_copy,
                    "leads": result.leads_count,
                    "notes": list(result.notes),
                }
            )
        )
        return
    total = sum(result.states.values())
    searched = result.states.get("ok", 0) + result.states.get("degraded", 0)
    unread = ", ".join(f"{count} {state}" for state, count in result.states.items() if state in ("rejected", "error"))
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.findings_count.items())
    typer.echo(f"searched   {searched} of {total} images" + (f" ({unread}: reasons in the report)" if unread else ""))
    typer.echo(f"copies in  {result.images_with_copy} of {searched} images")
    typer.echo(f"findings   {sum(result.findings_count.values())}" + (f": {kinds}" if kinds else ""))
    typer.echo(f"leads      {result.leads_count} (alike, not claimed to be copies)")
    for note in result.notes:
        typer.echo(f"note       {note}")
    typer.echo(f"report     {result.report}")
