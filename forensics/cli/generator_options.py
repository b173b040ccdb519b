"""Options of the commands that make images: each defined once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from forensics.cli.options import parse_pairs
from forensics.errors import UsageError

__all__ = [
    "MODEL",
    "Batch",
    "Cache",
    "Count",
    "Device",
    "Dtype",
    "Guidance",
    "Offline",
    "Offload",
    "Seed",
    "Setting",
    "Temperature",
    "TopK",
    "TopP",
    "Weights",
    "sampling_settings",
]

_PANEL = "Generator"

MODEL = typer.Option(
    "--model",
    rich_help_panel=_PANEL,
    help="`malevich`, `malevich-v2`, `emojich`, `surrealist-xl`, `kandinsky`; `kvadrat` (embedded); `dummy`, "
    "`dummy-medium`, `dummy-malevich` (random weights); a folder; `diffusers:FOLDER_OR_ID`; or "
    "`module:attribute`, a Python callable.",
)
Count = Annotated[int, typer.Option("-n", "--count", min=1, rich_help_panel=_PANEL, help="Images a prompt.")]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, rich_help_panel=_PANEL, help="Of each prompt's first image; the next has one more."),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature", rich_help_panel=_PANEL, help="Divides the logits: below 1 likelier images, above 1 freer ones."
    ),
]
TopK = Annotated[
    int | None, typer.Option("--top-k", rich_help_panel=_PANEL, help="Draw from the k likeliest tokens; 0: all.")
]
TopP = Annotated[
    float | None,
    typer.Option(
        "--top-p", rich_help_panel=_PANEL, help="Draw from the fewest tokens of probability p in sum; 1: all."
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        rich_help_panel=_PANEL,
        help="Classifier-free guidance; 1 is off, other values take twice the time.",
    ),
]
Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        rich_help_panel=_PANEL,
        help="NAME=VALUE: any setting that the model takes. Repeatable; columns overrule it.",
    ),
]
Batch = Annotated[int, typer.Option("--batch", min=1, rich_help_panel=_PANEL, help="Images at once.")]
Device = Annotated[str, typer.Option("--device", rich_help_panel=_PANEL, help="`auto`, `cpu`, `cuda` or `cuda:N`.")]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        rich_help_panel=_PANEL,
        help="`auto`, `float32`, `float16` or `bfloat16`; auto: float32 on a CPU, else half.",
    ),
]
Offload = Annotated[
    bool,
    typer.Option(
        "--offload",
        rich_help_panel=_PANEL,
        help="Layers that one GPU does not hold go to further ones, then to main memory.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        rich_help_panel=_PANEL,
        help="Folder with the model's published or converted files, or its checkpoint.",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", rich_help_panel=_PANEL, help="Cache folder of the Hugging Face hub; its own by default."),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", rich_help_panel=_PANEL, help="Open no connection. A token for the hub is read from $HF_TOKEN."
    ),
]


def sampling_settings(named: Mapping[str, Any], pairs: Sequence[str] | None) -> dict[str, Any]:
    """Return the settings that options of their own gave (None: not given) and those of ``--set``.

    Raises
    ------
    UsageError
        If one is given twice.
    """
    settings = {name: value for name, value in named.items() if value is not None}
    for name, value in parse_pairs(pairs, "--set", form="NAME=VALUE").items():
        if name in settings:
            raise UsageError(f"--set {name}={value} given beside the option for {name}; give one of the two")
        settings[name] = value
    return settings
