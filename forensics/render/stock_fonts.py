"""Typefaces for stock marks and for letters that are none: those of a folder, and the bundled one where there are none.

Which typefaces a machine has decides what training sees, so they are always named by the caller; nothing here looks at
the system's own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from forensics.errors import UsageError
from forensics.render.stock_names import is_held_out

__all__ = ["BUNDLED", "characters", "find_fonts", "typeface"]

BUNDLED = Path(__file__).parent / "fonts" / "DejaVuSans-Bold-subset.ttf"
"""Latin and Cyrillic, bold; its licence lies beside it."""

_LATIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/-"
_TESTED = _LATIN + "|,#@&%!?()+_" + "©®™" + "".join(chr(code) for code in range(0x410, 0x450)) + "Ёё"
_MISSING = "\ufffe"
_PROBE = 20


@lru_cache(maxsize=1024)
def typeface(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """Return a typeface at ``size`` pixels."""
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1024)
def characters(path: Path) -> frozenset[str]:
    """Return which letters of Latin and Russian and which common signs a typeface has."""
    font = typeface(path, _PROBE)
    missing = bytes(font.getmask(_MISSING))
    return frozenset(letter for letter in _TESTED if bytes(font.getmask(letter)) not in (b"", missing))


def find_fonts(folders: Sequence[Path], *, held_out: bool | None = None) -> list[Path]:
    """Return the typefaces (TTF, OTF) below some folders that have all Latin letters, sorted by name.

    Parameters
    ----------
    folders : sequence of Path
        None at all: the bundled typeface alone.
    held_out : bool, optional
        Only families that training leaves out, or only those that it sees; all by default. A family is the file's name
        up to the first hyphen.

    Raises
    ------
    UsageError
        If a folder is missing, or no typeface remains.
    """
    if not folders:
        return [BUNDLED]
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder; give one with typefaces (.ttf, .otf)")
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in (".ttf", ".otf"):
                found.setdefault(path.name, path)
    fitting = []
    for name in sorted(found):
        family = unicodedata.normalize("NFC", found[name].stem).split("-")[0]
        if held_out is not None and is_held_out(family) != held_out:
            continue
        try:
            if set(_LATIN) <= characters(found[name]):
                fitting.append(found[name])
        except OSError:  # no typeface that FreeType reads
            continue
    if not fitting:
        raise UsageError(
            f"no fitting typeface below {', '.join(map(str, folders))}; give folders with .ttf or .otf files"
        )
    return fitting
