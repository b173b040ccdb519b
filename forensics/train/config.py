"""Training configurations: one TOML file a model, read into frozen dataclasses.

A table of the file is a field that is itself a dataclass. ``[short]`` holds what a run of a minute changes, under the
same names; it is applied where the caller asks for it, and is no part of the configuration otherwise.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from forensics.errors import UsageError

__all__ = ["read_config", "shipped_config"]

_Config = TypeVar("_Config")
_SHORT = "short"
_FOLDER = Path(__file__).parent / "configs"


def shipped_config(model: str) -> Path:
    """Return the configuration file of a model that comes with the program."""
    path = _FOLDER / f"{model}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in _FOLDER.glob("*.toml")))
        raise UsageError(f"model {model!r} given; there are configurations of: {known}")
    return path


def read_config(path: Path, kind: type[_Config], *, short: bool = False) -> _Config:
    """Read a configuration.

    Parameters
    ----------
    path : Path
        A TOML file.
    kind : type
        A dataclass; its fields are the keys that the file may have, those without default the ones it must have.
    short : bool
        Apply the file's ``[short]`` table.

    Raises
    ------
    UsageError
        If the file cannot be read, or a key is unknown, missing, or of another type. The message names the key.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"configuration {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise UsageError(f"configuration {path} is no TOML: {error}") from error
    changes = values.pop(_SHORT, {})
    if short:
        if not changes:
            raise UsageError(f"configuration {path} has no table [{_SHORT}], which a short run needs")
        values = _merged(values, changes)
    return _build(kind, values, f"{path}: ", "")


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, change in changes.items():
        before = merged.get(name)
        merged[name] = _merged(before, change) if isinstance(before, dict) and isinstance(change, dict) else change
    return merged


def _build(kind: type[_Config], values: Mapping[str, Any], where: str, prefix: str) -> _Config:
    types = get_type_hints(kind)
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # a dataclass, as documented
    if unknown := [name for name in values if name not in known]:
        raise UsageError(f"{where}unknown key {prefix}{unknown[0]}; accepted: {', '.join(known)}")
    required = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING]
    if missing := [name for name in required if name not in values]:
        raise UsageError(f"{where}the key {prefix}{missing[0]} is missing")
    made = {name: _value(types[name], value, where, f"{prefix}{name}") for name, value in values.items()}
    try:
        return kind(**made)
    except UsageError as error:
        raise UsageError(f"{where}{f'[{prefix[:-1]}] ' if prefix else ''}{error}") from error


def _value(kind: Any, value: Any, where: str, name: str) -> Any:
    """Return a value as its field's type wants it."""
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise UsageError(f"{where}{name} = {value!r} given, a table [{name}] accepted")
        return _build(kind, value, where, f"{name}.")
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value in parts:
            return value
        raise UsageError(f"{where}{name} = {value!r} given, one of {', '.join(map(repr, parts))} accepted")
    if origin is tuple and isinstance(value, list):
        kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
        if len(kinds) != len(value):
            raise UsageError(f"{where}{name} with {len(value)} entries given, {len(kinds)} accepted")
        return tuple(_value(part, entry, where, name) for part, entry in zip(kinds, value, strict=True))
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    accepted = "a list" if origin is tuple else getattr(kind, "__name__", str(kind))
    raise UsageError(f"{where}{name} = {value!r} given, {accepted} accepted")
