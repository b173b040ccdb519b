"""Typefaces and invented words for covers, pages and signs: Latin, Cyrillic, and letters that mean nothing.

A generator's letters are garbled: forms of both alphabets, mirrored or melted into one another. ``pseudo`` text mixes
alphabets and shapes so that no line can be read, as those are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from forensics.errors import UsageError
from forensics.render.stock_fonts import BUNDLED, characters, find_fonts, typeface

if TYPE_CHECKING:
    import numpy as np
    from PIL import ImageDraw

__all__ = ["SCRIPTS", "Colour", "Lettering", "Script", "fit_text", "invented"]

Colour: TypeAlias = tuple[int, int, int]
Script = Literal["latin", "cyrillic", "pseudo"]
SCRIPTS: tuple[Script, ...] = get_args(Script)

_SYLLABLES = {
    "latin": "an ar be ca co da del en er fa go hi in is ka la lo ma mer mo na ni or pa ra re ri sa sol ta ten tor um",
    "cyrillic": "ан ба ве го да дом ер жи за ин ка кни ло ма мер мо на ни ов па пол ра ре сад сол та тор ту цве чу ый",
    "pseudo": "Яп дr иS оlл жк Vв щn аЬ гФ тt нИ юQ Бs ъr mи чЗ Rа яl эv пJ sё Кq Lж uш",
}
_SMALLEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Lettering:
    """How a rendering is written on.

    Attributes
    ----------
    faces : tuple of Path
        Typefaces to draw from; all of them have Latin and Cyrillic letters.
    scripts : tuple of {"latin", "cyrillic", "pseudo"}
        Scripts to draw from.
    """

    faces: tuple[Path, ...] = (BUNDLED,)
    scripts: tuple[Script, ...] = SCRIPTS

    def __post_init__(self) -> None:
        if not self.faces or not self.scripts:
            raise UsageError(f"{len(self.faces)} typefaces and {len(self.scripts)} scripts given, 1 or more accepted")

    @classmethod
    def found(cls, folders: Sequence[Path], *, held_out: bool | None = None) -> Lettering:
        """Return the typefaces of some folders that have both alphabets; see ``stock_fonts.find_fonts``.

        Parameters
        ----------
        folders : sequence of Path
            None at all: the bundled typeface alone.
        held_out : bool, optional
            Only families that training leaves out, or only those that it sees; all by default.
        """
        both = (path for path in find_fonts(folders, held_out=held_out) if "ж" in characters(path))
        return cls(faces=tuple(both))

    def face(self, rng: np.random.Generator) -> Path:
        """Return one of the typefaces."""
        return self.faces[int(rng.integers(len(self.faces)))]

    def script(self, rng: np.random.Generator) -> Script:
        """Return one of the scripts."""
        return self.scripts[int(rng.integers(len(self.scripts)))]


def invented(rng: np.random.Generator, script: Script, *, words: int) -> str:
    """Return ``words`` invented words of one to four syllables, capitalised at random."""
    syllables = _SYLLABLES[script].split()
    made = ["".join(rng.choice(syllables, int(rng.integers(1, 5)))) for _ in range(words)]
    if script == "pseudo":
        return " ".join(made)
    style = int(rng.integers(3))
    text = " ".join(made)
    return (text.upper(), text.title(), text.capitalize())[style]


def fit_text(
    draw: ImageDraw.ImageDraw,
    box: Sequence[float],
    text: str,
    face: Path,
    fill: Colour,
    *,
    largest: float,
    anchor: Literal["left", "middle", "right"] = "middle",
    outline: Colour | None = None,
) -> tuple[float, float, float, float]:
    """Write ``text`` into ``box`` = (x0, y0, x1, y1), as large as fits up to ``largest`` pixels; return what it covers.

    Lines break at spaces. Where even letters of 5 pixels do not fit, the lines that do are written.
    """
    x0, y0, x1, y1 = box
    size = max(_SMALLEST, round(largest))
    while True:
        lines = _broken(text, face, size, x1 - x0)
        wide = max((typeface(face, size).getlength(line) for line in lines), default=0.0)
        if (wide <= x1 - x0 and len(lines) * size * 1.18 <= y1 - y0) or size <= _SMALLEST:
            break
        size = max(_SMALLEST, min(size - 1, round(size * 0.88)))
    shown = lines[: max(1, int((y1 - y0) / (size * 1.18)))]
    x = {"left": x0, "middle": (x0 + x1) / 2, "right": x1}[anchor]
    letter = {"left": "la", "middle": "ma", "right": "ra"}[anchor]
    stroke = max(1, size // 14) if outline is not None else 0
    for number, line in enumerate(shown):
        place = (x, y0 + number * size * 1.18)
        draw.text(
            place, line, font=typeface(face, size), fill=fill, anchor=letter, stroke_width=stroke, stroke_fill=outline
        )
    left = {"left": x, "middle": x - wide / 2, "right": x - wide}[anchor]
    return (left, y0, left + wide, y0 + len(shown) * size * 1.18)


def _broken(text: str, face: Path, size: int, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and typeface(face, size).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
