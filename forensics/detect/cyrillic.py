"""Reads Cyrillic from the inner features of a recogniser that was trained on other scripts.

PP-OCRv6's recogniser knows no Cyrillic, but what it sees before its last layer tells Cyrillic letters apart as well:
two small layers on it, fitted by ``bench/fit_cyrillic.py`` on drawn lines, read Cyrillic and Latin and say which it is.

=============  ====================================================================
symbol         meaning
=============  ====================================================================
``f``          (T, 120) features of a line, T places along it
``h``          ``max(0, f @ first + first_bias)``, (T, 256)
``p``          ``softmax(h @ second + second_bias)``, (T, 1 + len(ALPHABET)); column 0 is "no (new) letter"
=============  ====================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.lines import TextLine, greedy, script_of

if TYPE_CHECKING:
    from forensics.types import FloatArray

__all__ = ["ALPHABET", "HEAD", "CyrillicHead", "load_head"]

ALPHABET = (
    "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдеёжзийклмнопрстуфхцчшщъыьэюя"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    "0123456789 .,!?:;-()#%&/+@©№«»\"'"
)
"""The letters the head knows, in the order of its columns."""

HEAD = "coefficients/cyrillic.npz"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CyrillicHead:
    """The fitted layers; shapes and symbols in the module's table. All float32."""

    first: FloatArray
    first_bias: FloatArray
    second: FloatArray
    second_bias: FloatArray

    def probability(self, features: FloatArray) -> FloatArray:
        """Return (T, 1 + len(ALPHABET)) float32: each letter's probability at each place of a (T, 120) line."""
        hidden = np.maximum(features @ self.first + self.first_bias, 0.0)
        scores = hidden @ self.second + self.second_bias
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(scores / scores.sum(1, keepdims=True), np.float32)

    def read(self, features: FloatArray) -> TextLine:
        """Read one line from its (T, 120) features."""
        text, confidence = greedy(self.probability(features), ALPHABET)
        return TextLine(text=text, confidence=confidence, script=script_of(text))

    def save(self, path: Path | None = None) -> None:
        """Store the layers in half precision at ``path``, by default beside the program."""
        target = path or Path(str(files("forensics") / HEAD))
        names = ("first", "first_bias", "second", "second_bias")
        np.savez_compressed(target, **{name: getattr(self, name).astype(np.float16) for name in names})


@lru_cache(maxsize=2)
def load_head(path: Path | None = None) -> CyrillicHead:
    """Return the shipped head, or the one stored at ``path``."""
    source = path or Path(str(files("forensics") / HEAD))
    with np.load(source, allow_pickle=False) as stored:
        return CyrillicHead(**{name: stored[name].astype(np.float32) for name in stored.files})
