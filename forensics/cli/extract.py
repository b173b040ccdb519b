"""``forensics extract``: what a generator gives back when it is asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forensics.cli.generator_options import Batch, Cache, Device, Dtype, Offline, Offload, Seed, Setting, Weights
from forensics.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from forensics.flows.completions import Estimate
    from forensics.lab.intervals import Interval

__all__ = ["register"]

_EXAMPLE = """
Examples:

    forensics extract --from my-pictures --model kvadrat --out extraction

    forensics extract --from captions.csv --model malevich --rows 0,4,8,16 -n 8 --device cuda --out extraction

    forensics extract --prompts prompts.txt --model malevich -n 16 --out repeats

    forensics extract --from faust.txt --model transformers:my-gpt2 --out faust
"""
_PANEL = "Generator"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLE, short_help="Ask a generator for its training images: prefixes, or many samples.")(
        extract
    )


def extract(
    out: Annotated[Path, typer.Option("--out", help="Folder to write; a run that was interrupted goes on in it.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            rich_help_panel=_PANEL,
            help="As for `forensics generate`. With --from: a ruDALL-E; `transformers:FOLDER_OR_ID`, a model of text; "
            "or `module:attribute`, an adapter (see docs/laboratory.md).",
        ),
    ],
    references: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Images whose first rows are given to the model: a folder, a table (its column `caption` is given "
            "too), a tar. For a model of text a file of texts.",
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", help="Without references: a file of prompts, or one; what samples repeat is shown."),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Prefixes in rows of tokens, e.g. `0,4,8,16`; by default those, or 0,1,2,4 of 16 rows."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--count",
            min=0,
            rich_help_panel=_PANEL,
            help="Samples: 4 a reference and prefix (0: the greedy completion alone), 16 a prompt.",
        ),
    ] = None,
    captions: Annotated[
        bool, typer.Option("--captions/--no-captions", help="Give the model the references' captions.")
    ] = True,
    scores: Annotated[
        bool, typer.Option("--scores/--no-scores", help="Also compare by a copy descriptor (SSCD, else pHash).")
    ] = True,
    length: Annotated[
        int | None, typer.Option(min=2, help="Tokens of each text that are looked at, for models of text.")
    ] = None,
    seed: Seed = 0,
    setting: Setting = None,
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
    """Ask a generator for its training images.

    With `--from` it is given the first rows of each reference, and completes them: what comes back is remembered. With
    `--prompts` it draws many samples a prompt: what it keeps repeating is remembered, and is ranked for a reverse image
    search by hand. OUT holds a page, tables and all that was drawn.
    """
    from forensics.cli.progress import progress_bar
    from forensics.generate import GeneratorOptions

    if (references is None) == (prompts is None):
        which = "both --from and --prompts" if references is not None else "neither --from nor --prompts"
        raise UsageError(
            f"{which} given; give one of the two: references whose beginnings are completed, or prompts that are drawn "
            "many times"
        )
    options = GeneratorOptions(
        device=device, dtype=dtype, batch=batch, weights=weights, cache=cache, offline=offline, offload=offload
    )

    def told(expected: Estimate) -> bool:
        typer.echo(f"estimate   {expected.text}", err=not dry_run)
        return not dry_run

    with progress_bar(quiet=quiet) as progress:
        if references is not None:
            if setting:
                raise UsageError(
                    "--set given with --from, whose samples are drawn by the model's own settings; leave it out"
                )
            from forensics.flows.extraction import extract as flow

            result = flow(
                references,
                model=model,
                out=out,
                rows=_numbers(rows),
                samples=4 if count is None else count,
                seed=seed,
                captions=captions,
                scores=scores,
                options=options,
                length=length,
                on_estimate=told,
                progress=progress,
            )
            lines, summary = ([], {}) if result is None else _from(result)
        else:
            from forensics.cli.generator_options import sampling_settings
            from forensics.flows.repeats import repeats as flow_repeats

            _only_with_from(
                rows=rows,
                length=length,
                no_captions=None if captions else True,
                no_scores=None if scores else True,
            )
            repeated = flow_repeats(
                str(prompts),
                model=model,
                out=out,
                samples=16 if count is None else count,
                seed=seed,
                settings=sampling_settings({}, setting),
                options=options,
                on_estimate=told,
                progress=progress,
            )
            lines, summary = ([], {}) if repeated is None else _repeated(repeated)
    if json_output and summary:
        import json

        lines = [json.dumps(summary, ensure_ascii=False)]
    for line in lines:
        typer.echo(line)
    return int(ExitCode.UNREADABLE if summary.get("unread") else ExitCode.CLEAN)


def _from(result: Any) -> tuple[list[str], dict[str, Any]]:
    found = sum(one.needed_rows is not None for one in result.items)
    lines = [f"note       {note}" for note in result.notes]
    if result.unread:
        lines.append(f"unread     {len(result.unread)} references; see extraction.json")
    lines.append(f"came back  {found} of {len(result.items)} references")
    for one in result.prefixes:
        chance = f", by chance {one.chance.unrelated:.4f}" if one.chance.unrelated == one.chance.unrelated else ""
        lines.append(
            f"  {one.rows:>2} rows   greedy {_share(one.greedy)}, any completion {_share(one.any_completion)}; tokens "
            f"right {_share(one.right)}{chance}"
        )
    lines.append(f"page       {result.page}")
    summary = {
        "out": str(result.out),
        "references": len(result.items),
        "unread": len(result.unread),
        "came_back": found,
        "prefixes": [
            {
                "rows": one.rows,
                "greedy": one.greedy.value,
                "any_completion": one.any_completion.value,
                "right": one.right.value,
                "chance": one.chance.unrelated if one.chance.unrelated == one.chance.unrelated else None,
            }
            for one in result.prefixes
        ],
        "notes": list(result.notes),
    }
    return lines, summary


def _repeated(result: Any) -> tuple[list[str], dict[str, Any]]:
    lines = [f"note       {note}" for note in result.notes]
    lines.append(f"images     {result.images} from {result.prompts} prompts")
    lines.append(f"groups     {len(result.groups)}")
    for group in result.groups[:10]:
        lines.append(f"  {group.rank:>3}      {len(group.members)} images: {result.texts[group.prompt][:80]}")
    lines.append(f"table      {result.table}")
    lines.append(f"page       {result.page}")
    summary = {
        "out": str(result.out),
        "prompts": result.prompts,
        "images": result.images,
        "groups": [
            {"rank": group.rank, "prompt": result.texts[group.prompt], "images": len(group.members)}
            for group in result.groups
        ],
        "notes": list(result.notes),
    }
    return lines, summary


def _share(found: Interval) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _numbers(text: str | None) -> list[int]:
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--rows {text!r} given; write whole numbers with commas between them, e.g. 0,4,8,16")
    return [int(part) for part in parts]


def _only_with_from(**given: object) -> None:
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if named:
        raise UsageError(f"{' and '.join(named)} given with --prompts; only --from takes that")
