"""``forensics index``: build, add, info, verify, remove, optimize, duplicates, calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forensics.cli.index_statistics import register_statistics
from forensics.cli.options import parse_pairs
from forensics.errors import ExitCode, IntegrityError, UsageError

if TYPE_CHECKING:
    from forensics.flows.build import BuildResult

__all__ = ["register"]

_SHOWN = 20

_BUILD = """
Example:

    forensics index build training-images/ --out my-index
"""
_ADD = """
Example:

    forensics index add my-index more-images/
"""
_INFO = """
Example:

    forensics index info my-index --json
"""
_VERIFY = """
Example:

    forensics index verify my-index --sources --source-root /old/place=/new/place
"""
_REMOVE = """
Example:

    forensics index remove my-index --id cats/1.jpg --reason "rights holder asked"
"""
_OPTIMIZE = """
Example:

    forensics index optimize my-index --index-type IVF256,Flat --nprobe 32
"""

Directory = Annotated[Path, typer.Argument(metavar="INDEX", help="Index folder made by `forensics index build`.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Worker processes; the number of processors by default, 0 for none.")
]
PathColumn = Annotated[
    str | None, typer.Option("--path-column", help="Column with the paths, where SOURCE is a CSV or parquet list.")
]
Source = Annotated[
    Path,
    typer.Argument(metavar="SOURCE", help="The images: a folder, a CSV or parquet list, a tar or a folder of tars."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Nprobe = Annotated[int | None, typer.Option("--nprobe", min=1, help="Lists that an IVF index type looks into.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Make and keep the index of reference images.", no_args_is_help=True)
    group.command(epilog=_BUILD, short_help="Make an index of a source, or go on with an interrupted build.")(build)
    group.command(epilog=_ADD, short_help="Add the images of one more source.")(add)
    group.command(epilog=_INFO, short_help="Say what an index holds.")(info)
    group.command(epilog=_VERIFY, short_help="Check every file of an index against its SHA-256.")(verify)
    group.command(epilog=_REMOVE, short_help="Take images out of an index.")(remove)
    group.command(epilog=_OPTIMIZE, short_help="Make FAISS files for faster interactive searches.")(optimize)
    register_statistics(group)
    app.add_typer(group, name="index")


def build(
    source: Source,
    out: Annotated[Path, typer.Option("--out", help="Index folder: new, empty, or left by an interrupted build.")],
    hashes: Annotated[
        str, typer.Option(help="Comma list of phash, pdq, dhash, whash, crop-resistant; `none` for none.")
    ] = "phash,pdq",
    embedders: Annotated[
        str,
        typer.Option(
            help="Comma list of sscd-disc-mixup, sscd-int8, sscd-distilled, clip:ARCH/TAG, clip-hf:OWNER/NAME; `auto` "
            "takes those whose weights are here, `none` none."
        ),
    ] = "auto",
    keep_pixels: Annotated[
        int,
        typer.Option("--keep-pixels", min=0, help="Keep JPEG previews with this long side in the index, e.g. 512."),
    ] = 0,
    part_size: Annotated[int, typer.Option("--part-size", min=1, help="Images that are committed at once.")] = 1024,
    index_type: Annotated[
        str, typer.Option("--index-type", help="FAISS factory string, e.g. IVF256,Flat or HNSW32; Flat is exact.")
    ] = "Flat",
    nprobe: Nprobe = None,
    parts: Annotated[
        bool | None,
        typer.Option(
            "--parts/--no-parts",
            help="Describe 3 x 3 parts of each image too: finds more small crops, costs ten times the passes. By "
            "default for up to 20,000 images.",
        ),
    ] = None,
    path_column: PathColumn = None,
    workers: Workers = None,
    quiet: Quiet = False,
) -> int:
    """Describe every image of SOURCE and store the descriptors, so that audits can search them.

    Every file ends in one state: ok, degraded, rejected or error; none ends the run. Interrupted at any point, the same
    command goes on where it was.

    Exit code 0: all files were read; 11: some were not (see: forensics index info).
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.index import build_index

    with progress_bar(quiet=quiet) as progress:
        result = build_index(
            source,
            out,
            hashes=_names(hashes),
            embedders=None if embedders == "auto" else _names(embedders),
            keep_pixels=keep_pixels,
            part_size=part_size,
            index_type=index_type,
            nprobe=nprobe,
            parts=parts,
            path_column=path_column,
            workers=workers,
            progress=progress,
        )
    if result.already_complete:
        typer.echo(f"{out} is complete: {source} is indexed already")
    return _finish(result)


def add(
    index: Directory, source: Source, path_column: PathColumn = None, workers: Workers = None, quiet: Quiet = False
) -> int:
    """Add the images of SOURCE that the index does not have yet.

    Files that an earlier source with the same root has are skipped. The embedders are those of the index. Exit codes as
    of build.
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.index import add_source

    with progress_bar(quiet=quiet) as progress:
        result = add_source(index, source, path_column=path_column, workers=workers, progress=progress)
    if result.already_complete:
        typer.echo(f"{index} has every file of {source} already")
    return _finish(result)


def info(
    index: Directory, json_output: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False
) -> None:
    """Say what an index holds: counts by state, embedders with fingerprints, sources."""
    from forensics.flows.index import describe

    facts = describe(index)
    if json_output:
        import json

        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    typer.echo(f"index        {facts['directory']}{'' if facts['complete'] else ' (unfinished)'}")
    typer.echo(f"fingerprint  {facts['fingerprint']}")
    typer.echo(f"images       {facts['images']}" + (f", {facts['removed']} removed" if facts["removed"] else ""))
    typer.echo("states       " + _states(facts["states"]))
    if facts["keep_pixels"]:
        typer.echo(f"previews     {facts['keep_pixels']} px")
    for embedder in facts["embedders"]:
        recall = "" if embedder["index_type"] == "Flat" else f", recall@10 {embedder['recall_at_10']:.3f}"
        typer.echo(
            f"embedder     {embedder['name']}: {embedder['rows']} rows of {embedder['dim']} "
            f"{'bits' if embedder['kind'] == 'bits' else 'floats'}, {embedder['index_type']}{recall}, "
            f"{embedder['fingerprint'][:12]}"
        )
    for source in facts["sources"]:
        label = f" as {source['label']}/" if source["label"] else ""
        skipped = f", {source['skipped']} skipped" if source["skipped"] else ""
        typer.echo(f"source       {source['path']} ({source['kind']}){label}: {source['images']} images{skipped}")


def verify(
    index: Directory,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also read every original file again and compare its SHA-256.")
    ] = False,
    source_root: Annotated[
        list[str] | None, typer.Option("--source-root", help="OLD=NEW: where references lie that moved. Repeatable.")
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Check every file of an index against its SHA-256, and every table and vector against the recorded counts.

    Exit code 0: intact; 20: something was changed or is missing; 11: only originals are missing (with --sources).
    """
    from forensics.cli.progress import progress_bar
    from forensics.flows.index import check_sources, open_index
    from forensics.index.check import check_index

    with progress_bar(quiet=quiet) as progress:
        report = check_index(index, progress=progress)
    for problem in report.problems[:_SHOWN]:
        typer.echo(f"{problem.kind:9}{problem.text}")
    if report.problems:
        raise IntegrityError(
            f"{len(report.problems)} of {report.files} files of the index {index} are not as recorded; restore them "
            "from a copy, or build the index again"
        )
    typer.echo(f"intact   {report.files} files, {report.images} images")
    if not sources:
        return ExitCode.CLEAN
    with progress_bar(quiet=quiet) as progress:
        opened = open_index(index, source_roots=parse_pairs(source_root, "--source-root"))
        count = {"missing": 0, "changed": 0}
        for original in check_sources(opened, progress=progress):
            count[original.kind] += 1
            if sum(count.values()) <= _SHOWN:
                typer.echo(f"{original.kind:9}{original.id} ({original.text})")
    typer.echo(f"originals {count['missing']} missing, {count['changed']} changed")
    if count["changed"]:
        raise IntegrityError(f"{count['changed']} original files no longer have the bytes that were indexed")
    return ExitCode.UNREADABLE if count["missing"] else ExitCode.CLEAN


def remove(
    index: Directory,
    identifier: Annotated[list[str] | None, typer.Option("--id", help="Id of an image. Repeatable.")] = None,
    sha256: Annotated[
        list[str] | None, typer.Option("--sha256", help="SHA-256 of a file: every image with it. Repeatable.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", help="Text file with one id or SHA-256 a line; - reads stdin.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, kept with the removed images.")] = "",
) -> None:
    """Take images out of an index: they are never returned again, and why is recorded."""
    from forensics.flows.index import remove_images

    ids, sums = list(identifier or ()), list(sha256 or ())
    for line in _lines(from_file):
        (sums if len(line) == 64 and not set(line.lower()) - set("0123456789abcdef") else ids).append(line)
    removed = remove_images(index, ids=ids, sha256s=sums, reason=reason)
    for tombstone in removed[:_SHOWN]:
        typer.echo(f"removed  {tombstone.id}")
    typer.echo(f"{len(removed)} images removed from {index}")


def optimize(
    index: Directory,
    index_type: Annotated[
        str, typer.Option("--index-type", help="FAISS factory string, e.g. IVF256,Flat or HNSW32; Flat removes it.")
    ],
    embedder: Annotated[
        list[str] | None, typer.Option("--embedder", help="Only this embedder. Repeatable; all that fit by default.")
    ] = None,
    nprobe: Nprobe = None,
) -> None:
    """Make a FAISS index for faster interactive searches; audits stay exact.

    Its proposals are always scored again from the stored vectors, and its recall is measured and printed. Adding or
    removing images drops it.
    """
    from forensics.flows.index import optimize as flow

    made = flow(index, index_type, embedders=embedder, nprobe=nprobe)
    for name, entry in made.items():
        settings = "".join(f", {key} {value}" for key, value in entry.search.items())
        typer.echo(
            f"{name}: {entry.factory}{settings}, {entry.rows} rows, recall@10 {entry.recall_at_10:.4f} "
            f"(n = {entry.sample})"
        )
    if not made:
        typer.echo(f"{index} searches exactly, without FAISS files")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if "none" in names and len(names) > 1:
        raise UsageError(f"{text!r} given; `none` stands alone")
    return [] if names == ["none"] else names


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    import sys

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--from-file {path} cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _states(states: dict[str, Any]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _finish(result: BuildResult) -> int:
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    total = sum(result.states.values())
    more = f"{result.added} added" + (f", {result.resumed} from the interrupted run" if result.resumed else "")
    more += f", {result.skipped} skipped (already there)" if result.skipped else ""
    typer.echo(f"{result.directory}: {total} images ({_states(dict(result.states))}); {more}")
    # Where there was nothing to do, nothing was unreadable either.
    return ExitCode.UNREADABLE if result.unreadable and not result.already_complete else ExitCode.CLEAN
