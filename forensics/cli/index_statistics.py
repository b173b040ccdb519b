"""``forensics index duplicates`` and ``calibrate``: what an index says about itself before it is asked about others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forensics.cli.options import parse_pairs, parse_thresholds
from forensics.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from forensics.flows.calibrate import CalibrationResult
    from forensics.flows.duplicates import DuplicatesResult

__all__ = ["register_statistics"]

_SHOWN_GROUPS = 10
_SHOWN_MEMBERS = 5

_DUPLICATES = """
Example:

    forensics index duplicates my-index --list duplicates.csv
"""

_CALIBRATE = """
Example:

    forensics index calibrate my-index --queries 500 --background holiday-photos/
"""
_RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)

Directory = Annotated[Path, typer.Argument(metavar="INDEX", help="Index folder made by `forensics index build`.")]
ThresholdOption = Annotated[
    list[str] | None,
    typer.Option("--threshold", help="NAME=VALUE: your own threshold (names: docs/method.md). Repeatable."),
]
Approximate = Annotated[
    bool, typer.Option("--approximate", help="Let the index's FAISS files propose, where it has some.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def register_statistics(group: typer.Typer) -> None:
    """Add the commands to ``forensics index``."""
    group.command(epilog=_DUPLICATES, short_help="Find the near-duplicates among the references.")(duplicates)
    group.command(epilog=_CALIBRATE, short_help="Measure how high unrelated images score against an index.")(calibrate)


def duplicates(
    index: Directory,
    listing: Annotated[
        Path | None, typer.Option("--list", help="Also write every image of every group to this .csv or .json file.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print counts and groups as JSON.")] = False,
    threshold: ThresholdOption = None,
    approximate: Approximate = False,
    quiet: Quiet = False,
) -> int:
    """Group the references that show one picture, and keep the groups in the index.

    How often a picture stands in a training set is the strongest known cause of its being memorised: audits then say of
    every finding how many near-duplicates its reference has. Every image of a group is checked against the group's
    centre, so that groups do not chain. Run it again when images were added or removed.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.duplicates import duplicates as flow
    from forensics.flows.duplicates import write_listing

    with progress_bar(quiet=quiet) as progress:
        result = flow(index, thresholds=parse_thresholds(threshold), approximate=approximate, progress=progress)
    if listing is not None:
        rows = write_listing(result, listing)
        typer.echo(f"{listing}: {rows} images", err=True)
    if json_output:
        _print_json(result)
    else:
        _print_table(result)
    return ExitCode.CLEAN


def calibrate(
    index: Directory,
    background: Annotated[
        Path | None,
        typer.Option(help="Images that have nothing to do with the index; by default its own, each left out in turn."),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Unrelated queries, 50 or more.")] = 300,
    effort: Annotated[
        str, typer.Option(help="fast, standard or thorough, as in the audits that it is for.")
    ] = "standard",
    top: Annotated[int, typer.Option(min=1, help="As in the audits that it is for.")] = 8,
    side: Annotated[int, typer.Option(help="Longer side of the queries in pixels: what the generator draws.")] = 256,
    same: Annotated[
        Path | None,
        typer.Option(help="CSV of query,reference: pairs that, looked at, show one picture and are left out."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the queries.")] = 0,
    threshold: ThresholdOption = None,
    approximate: Approximate = False,
    source_root: Annotated[
        list[str] | None, typer.Option("--source-root", help="OLD=NEW: where references lie that moved. Repeatable.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes; the number of processors by default, 0 for none.")
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Audit images that show nothing of the index, and keep their best scores in it.

    Audits of this index then say of every finding how often an unrelated image would score as high, how many false
    findings are expected, and take --false-alarms 0.01 for a stated rate. Near-duplicates among the references are
    found first and left out. The strongest unrelated pairs are listed: look at them, and name those that show one
    picture in a CSV for --same. Interrupted, the same command goes on. Make it again when the index changes.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.calibrate import CalibrationOptions
    from forensics.flows.calibrate import calibrate as flow
    from forensics.flows.views import EFFORTS

    known = next((name for name in EFFORTS if name == effort), None)
    if known is None:
        raise UsageError(f"effort {effort!r} given; choose one of: {', '.join(EFFORTS)}")
    options = CalibrationOptions(
        queries=queries,
        effort=known,
        top=top,
        approximate=approximate,
        source_roots=parse_pairs(source_root, "--source-root"),
        thresholds=parse_thresholds(threshold),
        background=background,
        same=same,
        side=side,
        seed=seed,
        workers=workers,
    )
    with progress_bar(quiet=quiet) as progress:
        result = flow(index, options, progress=progress)
    _print_calibration(result)
    return ExitCode.CLEAN


def _print_calibration(result: CalibrationResult) -> None:
    from forensics.calibration import one_in
    from forensics.thresholds import THRESHOLDS

    found, default = result.calibration, THRESHOLDS["belief"].value
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    for reason, count in result.unusable.items():
        typer.echo(f"note: {count} pictures were no queries: {reason}", err=True)
    groups = result.duplicates
    typer.echo(f"queries    {len(found)}: {found.population}")
    typer.echo(f"left out   {len(groups.groups)} groups of near-duplicates with {groups.images} images, "
               f"{len(result.left_out)} further pairs")  # fmt: skip
    chance = found.chance(default)
    typer.echo(
        f"at {default:g}     an unrelated image becomes a finding in {one_in(chance.value)} "
        f"(95 %: {one_in(chance.low)} to {one_in(chance.high)}); {chance.seen} of {chance.of} did"
    )
    for rate in _RATES:
        if rate * len(found) >= 1:
            typer.echo(f"rate {rate:<6g}belief {found.belief_at(rate):.4f}")
    typer.echo("the strongest unrelated pairs:")
    for pair in result.strongest[:_SHOWN_MEMBERS]:
        typer.echo(f"  {pair.belief:.4f} {pair.query} and {pair.reference}")
    typer.echo(f"kept in    {result.file}")


def _print_json(result: DuplicatesResult) -> None:
    import json

    facts = {
        "index": result.found.fingerprint,
        "at_least": dict(result.found.rule.at_least),
        "compared": result.found.compared,
        "distinct": result.distinct,
        "groups": len(result.found.groups),
        "images_in_groups": result.found.images,
        "sizes": {str(size): count for size, count in result.sizes.items()},
        "listing": list(result.rows()),
    }
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))


def _print_table(result: DuplicatesResult) -> None:
    found = result.found
    typer.echo(f"compared   {found.compared} images, {result.distinct} different pictures")
    typer.echo(f"groups     {len(found.groups)} with {found.images} images")
    typer.echo("alike      " + " or ".join(f"{name} >= {value:g}" for name, value in found.rule.at_least.items()))
    for size, count in result.sizes.items():
        typer.echo(f"of {size:<8}{count} group{'s' if count > 1 else ''}")
    for number, group in enumerate(found.groups[:_SHOWN_GROUPS], 1):
        typer.echo(f"group {number}: {len(group.images)} images around {result.index.image(group.centre).ref.id}")
        for image, score, name in list(zip(group.others, group.scores, group.found_by, strict=True))[:_SHOWN_MEMBERS]:
            typer.echo(f"  {score:.3f} {name:<12} {result.index.image(image).ref.id}")
        if len(group.others) > _SHOWN_MEMBERS:
            typer.echo(f"  … {len(group.others) - _SHOWN_MEMBERS} more")
    if len(found.groups) > _SHOWN_GROUPS:
        typer.echo(f"… {len(found.groups) - _SHOWN_GROUPS} groups more: --list FILE writes all of them")
