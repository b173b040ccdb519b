"""Text-to-image models whose memory the program audits. One folder or file a generator.

A generator's factory takes the whole name that the user gave and :class:`GeneratorOptions`, and returns a
:class:`forensics.types.Generator`. That may also have ``check(settings)``, which raises :class:`UsageError` for
settings that it cannot use, so that a wrong row is found before anything is made. Other packages add theirs by the
entry point group ``forensics.generators``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from forensics.errors import UsageError
from forensics.generate.options import DTYPES, GeneratorOptions
from forensics.registry import Registry

if TYPE_CHECKING:
    from forensics.types import Generator

__all__ = ["DTYPES", "GENERATORS", "GeneratorOptions", "create"]

_RUDALLE = "forensics.generate.rudalle.models:create"

GENERATORS = Registry(
    "forensics.generators",
    {
        "malevich": _RUDALLE,
        "malevich-v2": _RUDALLE,
        "emojich": _RUDALLE,
        "surrealist-xl": _RUDALLE,
        "kandinsky": _RUDALLE,
        "kvadrat": _RUDALLE,
        "dummy": _RUDALLE,
        "dummy-medium": _RUDALLE,
        "dummy-malevich": _RUDALLE,
        "diffusers": "forensics.generate.diffusers:create",
    },
)
"""Base name (what stands before the first colon) to a callable ``(name, options) -> Generator``."""

_CALLABLE = "forensics.generate.python:create"


def create(name: str, options: GeneratorOptions | None = None) -> Generator:
    """Return the generator called ``name``.

    Parameters
    ----------
    name : str
        A name of :data:`GENERATORS` (case and ``_`` for ``-`` do not matter); ``diffusers:FOLDER_OR_ID``; a folder
        with a ruDALL-E model; or ``module:attribute`` or ``FILE.py:attribute``, a Python callable.
    options : GeneratorOptions, optional
        Where and in which type it runs, and where its files are.

    Raises
    ------
    UsageError
        If there is no such generator.
    WeightsError
        If its weights are missing or not what they claim; the message says where they were looked for.
    """
    options = options or GeneratorOptions()
    base, colon, rest = name.partition(":")
    plain = base.lower().replace("_", "-")
    targets = GENERATORS.targets()
    if plain in targets:
        if plain == "diffusers":
            _only_rudalle(name, options)
        factory = GENERATORS.load(plain)
        return cast("Generator", factory(plain + colon + rest, options))
    if Path(name).is_dir():
        return cast("Generator", _load(_RUDALLE)(name, options))
    if colon and (base.endswith(".py") or all(part.isidentifier() for part in base.split("."))):
        _only_rudalle(name, options)
        return cast("Generator", _load(_CALLABLE)(name, options))
    raise UsageError(
        f"unknown model {name!r}; choose one of: {', '.join(targets)} (as diffusers:FOLDER_OR_ID), a folder with a "
        "ruDALL-E model, or module:attribute, a Python callable"
    )


def _only_rudalle(name: str, options: GeneratorOptions) -> None:
    """Raise for options that would be passed over in silence."""
    plain = GeneratorOptions()
    given = [
        part for part in ("weights", "upscale", "dwt", "offload") if getattr(options, part) != getattr(plain, part)
    ]
    if given:
        raise UsageError(f"{' and '.join(given)} given, which ruDALL-E's models take, {name} does not")


def _load(target: str) -> Callable[..., object]:
    from importlib import import_module

    module, _, attribute = target.partition(":")
    return cast("Callable[..., object]", getattr(import_module(module), attribute))
