"""``forensics watermarks``: whose marks are on these images, and which marks do they share?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forensics.cli.options import parse_thresholds

__all__ = ["register"]

_EXAMPLE = """
Examples:

    forensics watermarks generated/ --out reports/marks

    forensics watermarks shards/ --no-network --out reports/shared-marks
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Find picture agencies' marks, and marks that images share.")(watermarks)


def watermarks(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="The images: a folder, a CSV or parquet list, a tar or a folder of tars."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", help="Run folder; an earlier run there is replaced, reviews are kept.")],
    network: Annotated[
        bool,
        typer.Option("--network/--no-network", help="Look at every image with the watermark network, and read marks."),
    ] = True,
    discover: Annotated[
        bool,
        typer.Option("--discover/--no-discover", help="Compare the images with one another for marks they share."),
    ] = True,
    path_column: Annotated[
        str | None, typer.Option("--path-column", help="Column with the paths, where SOURCE is a CSV or parquet list.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            help="NAME=VALUE: your own threshold, marked as such, for watermark, watermark_named, shared_mark, "
            "moving_mark or shared_mark_share (docs/method.md). Repeatable.",
        ),
    ] = None,
    redact: Annotated[str, typer.Option(help="Comma list of `faces` and `pixels` (no picture at all).")] = "",
    case_id: Annotated[str, typer.Option("--case-id", help="Your name for this case, printed in the report.")] = "",
    operator: Annotated[
        str, typer.Option(envvar="FORENSICS_OPERATOR", help="Who runs it, printed in the report.")
    ] = "",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes; the number of cores by default, 0 for none.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Find picture agencies' marks in every image, and marks that many of the images share; write the report.

    No index is needed. The run folder is that of an audit: report.html, findings.jsonl with kind `watermark` and the
    agency in `label`, masks in evidence/masks, and marks.json with the averaged picture of every shared mark. Run the
    same command again after an interruption: images that were examined are not examined twice.

    Exit code 0: all files were read; 11: some were not.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.detect import DetectOptions
    from forensics.flows.results import exit_code, unread
    from forensics.flows.watermarks import watermarks as flow

    options = DetectOptions(
        path_column=path_column,
        redact=[word.strip() for word in redact.split(",") if word.strip()],
        case_id=case_id,
        operator=operator,
        workers=workers,
    )
    with progress_bar(quiet=quiet) as progress:
        result = flow(
            source,
            out=out,
            network=network,
            discover=discover,
            thresholds=parse_thresholds(threshold),
            options=options,
            progress=progress,
        )
    searched = result.states.get("ok", 0) + result.states.get("degraded", 0)
    if json_output:
        import json

        facts = {
            **result.summary(),
            "images_with_mark": result.images_with_finding,
            "shared_marks": [mark.row() for mark in result.shared],
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return int(exit_code(result.states))
    missed = unread(result.states)
    total = sum(result.states.values())
    typer.echo(f"searched   {searched} of {total} images" + (f" ({missed}: reasons in the report)" if missed else ""))
    typer.echo(f"marks on   {result.images_with_finding} of {searched} images")
    for label, count in result.labels.items():
        typer.echo(f"{count:9}  {label}")
    for mark in result.shared:
        typer.echo(f"shared     {mark.label}: one mark on {len(mark.spotted)} images")
        typer.echo(f"           {result.run_dir / 'evidence' / 'marks' / mark.mark_id}.png")
    typer.echo(f"report     {result.report}")
    return int(exit_code(result.states))
