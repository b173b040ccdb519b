"""``forensics membership``: was the model trained on these images?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forensics.cli.generator_options import Batch, Cache, Device, Dtype, Offline, Offload, Weights

if TYPE_CHECKING:
    from forensics.flows.membership import MembershipResult
    from forensics.flows.membership_asking import Estimate

__all__ = ["register"]

_EXAMPLE = """
Examples:

    forensics membership suspects/ --captions captions.csv --model malevich --nonmembers others/ --out asked

    forensics membership suspects.csv --model kvadrat --nonmembers others.csv --set --out asked

    forensics membership verses.txt --model transformers:my-gpt2 --nonmembers prose.txt --out faust

A high likelihood is not a proof of membership: read the page's limits before anything is concluded.
"""
_PANEL = "Generator"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Ask a model's likelihoods whether it was trained on images.")(membership)


def membership(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES",
            help="The images in question: a folder, a table, a tar, one image. For a model of text a file of texts.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            rich_help_panel=_PANEL,
            help="A ruDALL-E (`malevich` …, `kvadrat`, a folder); `transformers:FOLDER_OR_ID`, a model of text; or "
            "`module:attribute`, an adapter (see docs/laboratory.md).",
        ),
    ],
    nonmembers: Annotated[
        Path,
        typer.Option(
            "--nonmembers",
            help="Images of the same source, drawn at random, that the model cannot have seen: 10 or more, 100 to "
            "state a false-positive rate of 1 %, 1,000 for 0.1 %.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; a run that was interrupted goes on in it.")],
    captions: Annotated[
        Path | None,
        typer.Option(
            "--captions", help="Table of paths and captions of both sides; by default what the sources say themselves."
        ),
    ] = None,
    no_captions: Annotated[
        bool, typer.Option("--no-captions", help="Ask without captions, whatever the sources say.")
    ] = False,
    as_set: Annotated[
        bool, typer.Option("--set", help="Dataset inference too: whether the whole collection is in the training set.")
    ] = False,
    statistic: Annotated[
        str,
        typer.Option(help="By which single images are ranked, e.g. `loss`, `min_k_20`, `caption_ratio`, `zlib`."),
    ] = "min_k_plus_20",
    neighbours: Annotated[
        bool,
        typer.Option("--neighbours/--no-neighbours", help="Ask about altered copies too, four passes an image."),
    ] = True,
    group: Annotated[
        str | None,
        typer.Option(help="Column of both tables that names each image's series, for the blind control."),
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=2, help="Tokens of each text that are looked at, for models of text.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of bootstraps, folds and permutations.")] = 0,
    batch: Batch = 8,
    device: Device = "auto",
    dtype: Dtype = "auto",
    offload: Offload = False,
    weights: Weights = None,
    cache: Cache = None,
    offline: Offline = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run will take in time and memory, and end.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Ask a model by its likelihoods whether it was trained on images.

    The model says how likely each image's tokens are, with and without the caption, and the same of non-members. A
    blind control that never sees the model says whether the two sides differ in anything else; where they do, the
    result means nothing, and the report says so. OUT holds membership.html (method, limits, ROC), membership.json and
    membership.csv; see docs/laboratory.md.
    """
    from forensics.cli.progress import progress_bar
    from forensics.errors import UsageError
    from forensics.flows.membership import membership as flow
    from forensics.generate import GeneratorOptions

    if no_captions and captions is not None:
        raise UsageError("--captions and --no-captions given; give one of the two")

    def told(expected: Estimate) -> bool:
        typer.echo(f"estimate   {expected.text}", err=not dry_run)
        return not dry_run

    with progress_bar(quiet=quiet) as progress:
        result = flow(
            images,
            model=model,
            nonmembers=nonmembers,
            out=out,
            captions=False if no_captions else captions,
            as_set=as_set,
            statistic=statistic,
            neighbours=neighbours,
            group=group,
            length=length,
            options=GeneratorOptions(
                device=device, dtype=dtype, batch=batch, weights=weights, cache=cache, offline=offline, offload=offload
            ),
            seed=seed,
            on_estimate=told,
            progress=progress,
        )
    if result is not None:
        _print(result, as_json=json_output)
    return 0


def _print(result: MembershipResult, *, as_json: bool) -> None:
    auc = result.separations[result.statistic].auc
    if as_json:
        import json

        summary: dict[str, Any] = {
            "out": str(result.out),
            "report": str(result.report),
            "images": result.images,
            "nonmembers": result.nonmembers,
            "left_out": result.left_out,
            "statistic": result.statistic,
            "auc": [auc.value, auc.low, auc.high],
            "blind": result.blind.verdict.state,
            "p": None if result.dataset is None else result.dataset.permutation_p,
            "conclusions": list(result.sentences),
            "notes": list(result.notes),
        }
        typer.echo(json.dumps(summary, ensure_ascii=False))
        return
    typer.echo(f"images     {result.images}, non-members {result.nonmembers}, left out {result.left_out}")
    typer.echo(f"AUC        {auc.value:.3f} (95 %: {auc.low:.3f} to {auc.high:.3f}) by {result.statistic}")
    if result.dataset is not None:
        typer.echo(f"collection p = {result.dataset.permutation_p:.4f}")
    for sentence in result.sentences:
        typer.echo(f"concluded  {sentence}")
    for note in result.notes:
        typer.echo(f"note       {note}")
    typer.echo(f"report     {result.report}")
