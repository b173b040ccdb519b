"""Prompts → rows: one prompt as it stands, a text file, a CSV or TSV, JSON lines, or a list that ships.

Everything is read and checked before anything is made of it; what is wrong is one error that names file and line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forensics
from forensics.errors import SourceError
from forensics.sources.metadata import clean
from forensics.types import Scalar

__all__ = ["PromptRow", "prompt_lists", "read_prompts"]

_TABLES = (".csv", ".tsv")
_LINES = (".jsonl", ".ndjson")
_SUFFIXES = (".txt", *_TABLES, *_LINES)
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRow:
    """One prompt and what its row says about it.

    Attributes
    ----------
    prompt : str
        Without space around it, never empty.
    seed : int or None
        Of its first image; image i has seed + i. None: the run's.
    count : int or None
        Images; None: the run's.
    fields : mapping
        Every further column that is not empty: a generator's settings, and metadata.
    origin : str
        Where it stands, for messages: ``prompts.csv, line 3``.
    folder : Path or None
        Of its file: what relative paths in ``fields`` are relative to.
    """

    prompt: str
    seed: int | None = None
    count: int | None = None
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    origin: str = "the prompt"
    folder: Path | None = None


def read_prompts(given: str | Path | Sequence[str]) -> list[PromptRow]:
    """Return the prompts that an argument stands for.

    Parameters
    ----------
    given : str, Path or sequence of str
        A file: ``.csv`` and ``.tsv`` with a column ``prompt``, ``.jsonl`` with a ``prompt`` in each object (or a bare
        string a line), any other with a prompt a line, where empty lines and those that begin with ``#`` are left
        out. A name of :func:`prompt_lists`. Any other text is a prompt itself, and several are several prompts.
        Columns ``seed`` and ``n`` are a prompt's own, all others stay in ``fields``. Files are UTF-8, with or without
        a byte order mark.

    Raises
    ------
    SourceError
        If a file is missing, empty, not UTF-8, or has a line that cannot be used, naming file and line; or if a prompt
        given as it stands is empty.
    """
    if not isinstance(given, (str, Path)):
        return [_checked({"prompt": text}, f"prompt {number}") for number, text in enumerate(given, start=1)]
    path = _file(given)
    if path is None:
        return [_checked({"prompt": str(given)}, "the prompt")]
    suffix = path.suffix.lower()
    text = _text(path)
    entries = _table(text, path) if suffix in _TABLES else _objects(text, path) if suffix in _LINES else _lines(text)
    rows = [_checked(entry, f"{path}, line {line}", path.parent) for line, entry in entries]
    if not rows:
        raise SourceError(f"no prompt in {path}; give one a line")
    return rows


def prompt_lists() -> dict[str, Path]:
    """Return the lists that ship with the program, by name."""
    package = Path(forensics.__file__).parent
    for folder in (package.parent / "prompts", package / "_prompts"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.csv"))}
    return {}


def _file(given: str | Path) -> Path | None:
    """Return the file that an argument names, None where it is a prompt itself."""
    path = Path(given)
    try:
        if path.is_file():
            return path
        if str(given).strip() and path.is_dir():
            raise SourceError(f"the folder {given} given; give a file of prompts ({', '.join(_SUFFIXES)}), or a prompt")
    except OSError:  # too long for a file name: a prompt
        return None
    if isinstance(given, Path) or path.suffix.lower() in _SUFFIXES:
        raise SourceError(
            f"no such file: {given}; give a file of prompts ({', '.join(_SUFFIXES)}), a list that ships "
            f"({', '.join(prompt_lists()) or 'none is installed'}), or a prompt itself"
        )
    return prompt_lists().get(given.strip())


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error


def _lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # not splitlines(): it also parts at characters that stand inside a line
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, {"prompt": line}


def _table(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    names: list[str] = []
    begin = 1
    try:
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = _header(cells, path)
                continue
            if len(cells) != len(names):
                raise SourceError(
                    f"{path}, line {line}: {len(cells)} cells, the header has {len(names)}; put a text that holds the "
                    "delimiter in double quotes"
                )
            yield line, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise SourceError(f"{path}, line {begin}: not CSV ({error}); check its quotes") from error


def _header(cells: list[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    names = [name.lower() if name.lower() in ("prompt", "seed", "n") else name for name in names]
    if names.count("prompt") != 1:
        raise SourceError(f"{path} has {names.count('prompt')} columns called prompt, one needed; its first line must "
                          f"name the columns, it is: {', '.join(names)}")  # fmt: skip
    if repeated := [name for name in names if names.count(name) > 1]:
        raise SourceError(f"{path} has two columns called {repeated[0]!r}; rename one of them")
    return names


def _objects(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}, line {number}: not JSON ({error})") from error
        if isinstance(value, str):
            value = {"prompt": value}
        if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
            raise SourceError(f'{path}, line {number}: an object with "prompt" as text needed, or a text alone')
        yield number, value


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number in JSON")


def _checked(entry: Mapping[str, Any], origin: str, folder: Path | None = None) -> PromptRow:
    prompt = str(entry["prompt"]).replace("\0", "").strip()
    if not prompt:
        raise SourceError(f"{origin}: an empty prompt given; give the words that the image shall show")
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise SourceError(f"{origin}: the prompt is not UTF-8")
    others = {name: value for name, value in entry.items() if name not in ("prompt", "seed", "n") and name}
    return PromptRow(
        prompt=prompt,
        seed=_number(entry.get("seed"), "seed", origin, least=0, most=_LARGEST_SEED),
        count=_number(entry.get("n"), "n", origin, least=1, most=10**6),
        fields=clean(others),
        origin=origin,
        folder=folder,
    )


def _number(value: Any, name: str, origin: str, *, least: int, most: int) -> int | None:
    if value is None or value == "":
        return None
    text = str(value).strip()
    number = int(text) if text.isdecimal() and len(text) < 20 else -1
    if isinstance(value, bool) or not least <= number <= most:
        raise SourceError(f"{origin}: {name} {value!r} given, a whole number from {least} to {most} accepted")
    return number
