"""``forensics generate``: prompts in, a folder of images that the audit reads out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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

__all__ = ["register"]

_EXAMPLE = """
Examples:

    forensics generate "радуга на фоне ночного города" --model malevich -n 24 --seed 42 --out generated

    forensics generate merzmensch --model malevich --weights checkpoints/ --rank ruclip --out generated

    forensics generate prompts.csv --model diffusers:runwayml/model --set num_inference_steps=30 --out generated

    forensics generate "кот" --model dummy -n 4 --out smoke

The result is a source: forensics audit generated/generated.csv --index INDEX --out RUN
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Make images from prompts, each with a record of its origin.")(generate)


def generate(
    prompts: Annotated[
        str,
        typer.Argument(
            metavar="PROMPTS",
            help="A prompt; a file of prompts (.txt, .csv, .tsv, .jsonl); or a list that ships, e.g. `merzmensch`.",
        ),
    ],
    model: Annotated[str, MODEL],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; finished images in it are kept.")],
    count: Count = 1,
    seed: Seed = 0,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    guidance: Guidance = None,
    size: Annotated[
        str | None, typer.Option(help="Rows x columns in tokens, one of them the model's side, e.g. `32x64`.")
    ] = None,
    image_prompt: Annotated[
        Path | None, typer.Option("--image-prompt", help="Picture whose borders are given to the model.")
    ] = None,
    up: Annotated[int | None, typer.Option(min=0, help="Upper border of the image prompt in tokens.")] = None,
    down: Annotated[int | None, typer.Option(min=0, help="Lower border in tokens.")] = None,
    left: Annotated[int | None, typer.Option(min=0, help="Left border in tokens.")] = None,
    right: Annotated[int | None, typer.Option(min=0, help="Right border in tokens.")] = None,
    crop_first: Annotated[
        bool, typer.Option("--crop-first", help="Cut the borders out before they are turned into tokens.")
    ] = False,
    setting: Setting = None,
    upscale: Annotated[int, typer.Option(help="2, 4 or 8: enlarge the images by Real-ESRGAN; 1: do not.")] = 1,
    dwt: Annotated[
        bool, typer.Option("--dwt", help="Decode by the VQGAN with wavelets: images of twice the size.")
    ] = False,
    rank: Annotated[
        list[str] | None,
        typer.Option(
            "--rank",
            help="Score image and prompt: `clip`, `clip:ARCH/TAG`, `ruclip`, `ruclip:FOLDER`. Columns with ranks, "
            "beside the perplexity; no file is renamed. Repeatable.",
        ),
    ] = None,
    batch: Batch = 8,
    device: Device = "auto",
    dtype: Dtype = "auto",
    offload: Offload = False,
    weights: Weights = None,
    cache: Cache = None,
    offline: Offline = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove the images of an earlier run in OUT first.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Make images from prompts, each with a record of its origin.

    OUT holds images/ (PNG with prompt, model, weights, seed and sampling in its text; a JSON file beside each) and
    generated.csv, which `forensics audit` reads; see docs/formats.md. Run the same command again after an interruption:
    finished images are kept. An image depends on model, prompt, seed and settings alone.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows import generate as flow
    from forensics.generate import GeneratorOptions

    options = GeneratorOptions(
        device=device,
        dtype=dtype,
        batch=batch,
        weights=weights,
        cache=cache,
        offline=offline,
        upscale=upscale,
        dwt=dwt,
        offload=offload,
    )
    named: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "guidance": guidance,
        "size": size,
        "image_prompt": None if image_prompt is None else str(image_prompt),
        "up": up,
        "down": down,
        "left": left,
        "right": right,
        "crop_first": crop_first or None,
    }
    settings = sampling_settings(named, setting)
    with progress_bar(quiet=quiet) as progress:
        result = flow.generate(
            prompts,
            model=model,
            out=out,
            n=count,
            seed=seed,
            settings=settings,
            options=options,
            scorers=_scorers(rank or [], options),
            replace=replace,
            progress=progress,
        )
    _print(result, as_json=json_output)
    return 0


def _scorers(names: list[str], options: Any) -> list[Any]:
    if not names:
        return []
    from forensics.generate.ranking import open_scorer

    return [
        open_scorer(name, device=options.device, cache=options.cache, offline=options.offline, token=options.token)
        for name in names
    ]


def _print(result: Any, *, as_json: bool) -> None:
    if as_json:
        import json

        typer.echo(
            json.dumps(
                {
                    "out": str(result.out),
                    "table": str(result.table),
                    "images": len(result.files),
                    "made": result.made,
                    "kept": result.kept,
                    "seconds": round(result.seconds, 3),
                    "tokens": result.tokens,
                    "notes": list(result.notes),
                },
                ensure_ascii=False,
            )
        )
        return
    kept = f" ({result.kept} kept from an earlier run)" if result.kept else ""
    typer.echo(f"images     {len(result.files)}{kept}")
    if result.made and result.seconds:
        tokens = f", {result.tokens / result.seconds:,.0f} tokens/s" if result.tokens else ""
        typer.echo(f"speed      {result.made / result.seconds:.2f} images/s{tokens}")
    for note in result.notes:
        typer.echo(f"note       {note}")
    typer.echo(f"table      {result.table}")
