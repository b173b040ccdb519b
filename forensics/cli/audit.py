"""``forensics audit``: which generated images are copies, of what, how sure that is; also straight from prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from forensics.cli.generator_options import (
    MODEL,
    Batch,
    Cache,
    Count,
    Device,
    Dtype,
    Guidance,
    Offline,
    Offload,
    Seed,
    Setting,
    Temperature,
    TopK,
    TopP,
    Weights,
    sampling_settings,
)
from forensics.cli.options import parse_pairs, parse_thresholds
from forensics.errors import UsageError

__all__ = ["register"]

_EXAMPLE = """
Examples:

    forensics audit generated/ --index my-index --out reports/case-1

    forensics audit --generate prompts.csv --model malevich -n 24 --index my-index --out reports/case-2
"""

# by parameter: what has a meaning only where images are made
_OF_THE_GENERATOR = ("model", "count", "seed", "temperature", "top_k", "top_p", "guidance", "setting", "batch",
                     "device", "dtype", "offload", "weights", "cache", "offline", "replace")  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Find the copies among generated images and write a report.")(audit)


def audit(
    context: typer.Context,
    *,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="The generated images: a folder, a CSV or parquet list, a tar, a folder of tars; or give --generate.",
        ),
    ] = None,
    index: Annotated[Path, typer.Option("--index", help="Reference index made by `forensics index build`.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write, e.g. reports/case-1.")],
    prompts: Annotated[
        str | None,
        typer.Option(
            "--generate",
            metavar="PROMPTS",
            help="Make the images first, in OUT-generated: a prompt, a file of prompts or a list that ships, as in "
            "`forensics generate`. The options from --model on say how.",
        ),
    ] = None,
    effort: Annotated[
        str,
        typer.Option(
            help="`fast`: whole images only; `standard`: also 3 x 3 parts and inset rectangles of each query; "
            "`thorough`: also 2 x 2 parts and quarter turns."
        ),
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
    false_alarms: Annotated[
        float | None,
        typer.Option(
            "--false-alarms",
            help="Set the threshold so that this share of unrelated images passes it, e.g. 0.01; the index must be "
            "calibrated (`forensics index calibrate`).",
        ),
    ] = None,
    detect: Annotated[
        str | None,
        typer.Option(
            "--detect",
            help="Comma list of `watermark`, `meme`, `cover`: what to look for in the images themselves; all that are "
            "available by default.",
        ),
    ] = None,
    no_detect: Annotated[
        bool, typer.Option("--no-detect", help="Look for copies only, not for marks, memes and covers.")
    ] = False,
    templates: Annotated[
        Path | None, typer.Option("--templates", help="Meme templates by name, made by `forensics memes add`.")
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
    model: Annotated[str | None, MODEL] = None,
    count: Count = 1,
    seed: Seed = 0,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    guidance: Guidance = None,
    setting: Setting = None,
    batch: Batch = 8,
    device: Device = "auto",
    dtype: Dtype = "auto",
    offload: Offload = False,
    weights: Weights = None,
    cache: Cache = None,
    offline: Offline = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            rich_help_panel="Generator",
            help="Remove the images of an earlier run in OUT-generated first.",
        ),
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Find which generated images are copies of indexed references, verify every pair, and write the report.

    The run folder holds report.html, findings.jsonl, candidates.csv and the evidence; see docs/formats.md. Run the same
    command again after an interruption: finished work is kept.

    With --generate, images are described and searched while the next ones are being made.

    Exit code 0: done; 10: copies found (only with --fail-on-findings); 11: some inputs could not be read.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows import audit as flow
    from forensics.flows import generate_audit as generate_flow
    from forensics.flows.results import exit_code
    from forensics.flows.views import EFFORTS
    from forensics.generate import GeneratorOptions

    if effort not in EFFORTS:
        raise UsageError(f"effort {effort!r} given; choose one of: {', '.join(EFFORTS)}")
    _check_choice(context, source, prompts, model, path_column)
    options: dict[str, Any] = {
        "effort": effort,
        "top": top,
        "approximate": approximate,
        "source_roots": parse_pairs(source_root, "--source-root"),
        "thresholds": parse_thresholds(threshold),
        "detect": _detectors(detect, no_detect, templates),
        "templates": templates,
        "false_alarms": false_alarms,
        "redact": [word.strip() for word in redact.split(",") if word.strip()],
        "case_id": case_id,
        "operator": operator,
        "workers": workers,
    }
    generated = None
    with progress_bar(quiet=quiet) as progress:
        if source is not None:
            result = flow.audit(source, index=index, out=out, path_column=path_column, progress=progress, **options)
        else:
            both = generate_flow.generate_audit(
                cast("str", prompts),  # checked above
                model=cast("str", model),
                index=index,
                out=out,
                n=count,
                seed=seed,
                settings=sampling_settings(
                    {"temperature": temperature, "top_k": top_k, "top_p": top_p, "guidance": guidance}, setting
                ),
                generator_options=GeneratorOptions(
                    device=device,
                    dtype=dtype,
                    batch=batch,
                    weights=weights,
                    cache=cache,
                    offline=offline,
                    offload=offload,
                ),
                replace=replace,
                options=flow.AuditOptions(**options),
                progress=progress,
            )
            result, generated = both.audit, both.generated
    _print(result, generated, as_json=json_output)
    found = sum(result.findings_count.values())
    return int(exit_code(result.states, findings=found, fail_on_findings=fail_on_findings))


def _detectors(names: str | None, none: bool, templates: Path | None) -> list[str] | None:
    """Return the detectors that the options name; None for all that are available."""
    if none and (names is not None or templates is not None):
        raise UsageError("--no-detect given beside --detect or --templates; give one of them")
    if none or names is None:
        return [] if none else None
    listed = [word.strip() for word in names.split(",") if word.strip()]
    if not listed:
        raise UsageError("--detect given without a name; give any of watermark, meme, cover, or --no-detect")
    return listed


def _check_choice(
    context: typer.Context, source: str | None, prompts: str | None, model: str | None, path_column: str | None
) -> None:
    """Raise unless images are either given or made, and everything given belongs to that."""
    if source is not None and prompts is not None:
        raise UsageError(
            f"both SOURCE ({source}) and --generate given; give SOURCE to audit images that are there, --generate to "
            "make them first"
        )
    if source is None and prompts is None:
        raise UsageError(
            "nothing to audit given; give SOURCE, the generated images, or --generate PROMPTS --model MODEL"
        )
    if source is not None:
        flags = {parameter.name: parameter.opts[-1] for parameter in context.command.params}
        given = [flags[name] for name in _OF_THE_GENERATOR if _was_given(context, name)]
        if given:
            raise UsageError(f"{', '.join(given)} given beside SOURCE, which makes no images; give --generate PROMPTS")
    elif model is None:
        raise UsageError("--generate given without --model; name the model that makes the images, e.g. malevich")
    elif path_column is not None:
        raise UsageError("--path-column given beside --generate; it is for a SOURCE that is a list")


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    # by name: newer versions of typer carry their own click
    return source is not None and source.name == "COMMANDLINE"


def _print(result: Any, generated: Any, *, as_json: bool) -> None:
    if as_json:
        import json

        facts = {
            "run": str(result.run_dir),
            "report": str(result.report),
            "states": dict(result.states),
            "findings": dict(result.findings_count),
            "images_with_copy": result.images_with_copy,
            "leads": result.leads_count,
            "notes": list(result.notes),
        }
        if generated is not None:
            facts["generated"] = {"out": str(generated.out), "made": generated.made, "kept": generated.kept}
        typer.echo(json.dumps(facts, ensure_ascii=False))
        return
    if generated is not None:
        kept = f" ({generated.kept} kept from an earlier run)" if generated.kept else ""
        typer.echo(f"generated  {len(generated.files)} images{kept} in {generated.out}")
    from forensics.flows.results import unread

    total = sum(result.states.values())
    searched = result.states.get("ok", 0) + result.states.get("degraded", 0)
    missed = unread(result.states)
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.findings_count.items())
    typer.echo(f"searched   {searched} of {total} images" + (f" ({missed}: reasons in the report)" if missed else ""))
    typer.echo(f"copies in  {result.images_with_copy} of {searched} images")
    typer.echo(f"findings   {sum(result.findings_count.values())}" + (f": {kinds}" if kinds else ""))
    typer.echo(f"leads      {result.leads_count} (alike, not claimed to be copies)")
    for note in result.notes:
        typer.echo(f"note       {note}")
    typer.echo(f"report     {result.report}")
