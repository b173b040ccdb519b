"""``forensics train``: the embedded model's parts, from a corpus whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from forensics.flows.train import TrainResult

__all__ = ["register"]

_EXAMPLE = """
Examples, in this order:

    forensics train tokenizer --data index_data/demo --out models/kvadrat

    forensics train vqgan --data index_data/demo --out models/kvadrat

    forensics train transformer --data index_data/demo --out models/kvadrat

    forensics train clip --data index_data/demo --out models/kvadrat

Ctrl-C saves the state; the same command goes on. Then: forensics generate PROMPT --model models/kvadrat --out generated
"""

_COVER_EXAMPLE = """
Example:

    forensics train cover --data photographs --data clip-arts --fonts /usr/share/fonts --out models/detectors
"""

_WATERMARK_EXAMPLE = """
Example:

    forensics train watermark --data photographs --data clip-arts --fonts /usr/share/fonts --out models/detectors
"""

_Data = Annotated[
    Path,
    typer.Option("--data", help="Corpus: a folder with pictures and a manifest.csv (path, caption, role, planted)."),
]
_Out = Annotated[
    Path, typer.Option("--out", help="Model folder to write; states, checkpoints and loss curves go to OUT/training.")
]
_Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file; by default the one that comes with the program.")
]
_Short = Annotated[
    bool, typer.Option("--short", help="Apply the configuration's [short] table: a run of about a minute.")
]
_Resume = Annotated[
    bool, typer.Option("--resume/--restart", help="Go on where an earlier run in OUT stopped, or begin anew.")
]
_Vqgan = Annotated[Path | None, typer.Option("--vqgan", help="Converted VQGAN folder; OUT/vqgan by default.")]
_Tokenizer = Annotated[Path | None, typer.Option("--tokenizer", help="Tokenizer file; OUT/bpe.model by default.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, epilog=_EXAMPLE)
    app.add_typer(group, name="train", help="Train tokenizer, VQGAN, transformer and CLIP on a captioned corpus.")
    group.command(epilog=_EXAMPLE, short_help="Learn the byte-pair encoding of captions.")(tokenizer)
    group.command(epilog=_EXAMPLE, short_help="Train the VQGAN: images to codes and back.")(vqgan)
    group.command(epilog=_EXAMPLE, short_help="Train the transformer: captions to codes.")(transformer)
    group.command(epilog=_EXAMPLE, short_help="Train a small CLIP on images and captions.")(clip)
    group.command(epilog=_COVER_EXAMPLE, short_help="Train the detector of covers and mock-ups.")(cover)
    group.command(epilog=_WATERMARK_EXAMPLE, short_help="Train the detector of stock marks.")(watermark)


def tokenizer(data: _Data, out: _Out, config: _Config = None, short: _Short = False) -> int:
    """Learn the byte-pair encoding of the captions; writes OUT/bpe.model in YouTokenToMe's format."""
    from forensics.flows import train as flow

    _tell(flow.train_tokenizer(data=data, out=out, config=config, short=short))
    return 0


def vqgan(
    data: _Data,
    out: _Out,
    config: _Config = None,
    short: _Short = False,
    resume: _Resume = True,
    quiet: _Quiet = False,
) -> int:
    """Train the VQGAN on members and distractors; writes OUT/vqgan."""
    from forensics.flows import train as flow

    _run(flow.train_vqgan, quiet, data=data, out=out, config=config, short=short, restart=not resume)
    return 0


def transformer(
    data: _Data,
    out: _Out,
    config: _Config = None,
    vqgan: _Vqgan = None,
    tokenizer: _Tokenizer = None,
    short: _Short = False,
    resume: _Resume = True,
    quiet: _Quiet = False,
) -> int:
    """Train the transformer on members, each as often as it is planted; writes OUT/transformer."""
    from forensics.flows import train as flow

    _run(
        flow.train_transformer,
        quiet,
        data=data,
        out=out,
        config=config,
        vqgan=vqgan,
        tokenizer=tokenizer,
        short=short,
        restart=not resume,
    )
    return 0


def clip(
    data: _Data,
    out: _Out,
    config: _Config = None,
    tokenizer: _Tokenizer = None,
    short: _Short = False,
    resume: _Resume = True,
    quiet: _Quiet = False,
) -> int:
    """Train a small CLIP on members and distractors; writes OUT/clip, which `clip:@OUT/clip` names.

    It knows the corpus's world and nothing else: use it to rank this model's images, not others'.
    """
    from forensics.flows import train as flow

    _run(
        flow.train_clip,
        quiet,
        data=data,
        out=out,
        config=config,
        tokenizer=tokenizer,
        short=short,
        restart=not resume,
    )
    return 0


def cover(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", help="Folder of pictures to draw covers on, searched to any depth; repeat for several kinds."
        ),
    ],
    out: _Out,
    fonts: Annotated[
        list[Path] | None,
        typer.Option("--fonts", help="Folder of typefaces (.ttf, .otf); repeatable. By default the bundled one alone."),
    ] = None,
    config: _Config = None,
    short: _Short = False,
    resume: _Resume = True,
    quiet: _Quiet = False,
) -> int:
    """Train the detector of book covers, discs, web pages and posters on renderings; writes OUT/cover/cover.onnx.

    A fifth of the pictures and typefaces, by their names, and some designs are held out for its threshold.
    """
    from forensics.flows import train_cover as flow

    _run(
        flow.train_cover,
        quiet,
        data=data,
        out=out,
        fonts=fonts or [],
        config=config,
        short=short,
        restart=not resume,
    )
    return 0


def watermark(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", help="Folder of pictures to mark, searched to any depth; repeat for several kinds, or for weight."
        ),
    ],
    out: _Out,
    fonts: Annotated[
        list[Path] | None,
        typer.Option("--fonts", help="Folder of typefaces (.ttf, .otf); repeatable. By default the bundled one alone."),
    ] = None,
    config: _Config = None,
    short: _Short = False,
    resume: _Resume = True,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            help="Processes that draw composites meanwhile; by default one less than the cores, at most 16.",
        ),
    ] = None,
    quiet: _Quiet = False,
) -> int:
    """Train the detector of stock marks on drawn ones; writes OUT/watermark/watermark.onnx.

    A fifth of the pictures, typefaces and invented names, by their names, is held out; what is reached on them is told.
    """
    from forensics.flows import train_watermark as flow

    _run(
        flow.train_watermark,
        quiet,
        data=data,
        out=out,
        fonts=fonts or [],
        config=config,
        short=short,
        restart=not resume,
        workers=workers,
    )
    return 0


def _run(flow: Callable[..., TrainResult], quiet: bool, **settings: Any) -> None:
    from forensics.cli.progress import progress_bar
    from forensics.train.memory import keep_memory

    keep_memory()
    with progress_bar(quiet=quiet) as progress:
        result = flow(**settings, progress=progress)
    _tell(result)


def _tell(result: TrainResult) -> None:
    for name, value in result.facts.items():
        typer.echo(f"{name:<16} {value}")
    if result.run is not None:
        typer.echo(f"{'curves':<16} {result.run / 'losses.png'}")
    typer.echo(f"{'model':<16} {result.model}")
