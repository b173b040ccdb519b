"""The settings that a prompt may choose for itself: checked against a generator's defaults, and of their types."""

from __future__ import annotations

import math
from collections.abc import Mapping

from forensics.errors import UsageError
from forensics.types import GeneratorSpec, Scalar

__all__ = ["with_defaults"]

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def with_defaults(spec: GeneratorSpec, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return all settings of a generator, those given in the types of the defaults, which take the rest.

    An empty value (None, ``""``) is not given. Numbers may come as text, as they do from a CSV.

    Raises
    ------
    UsageError
        For a name that the generator does not take, or a value of another type.
    """
    settings = dict(spec.defaults)
    for name, value in given.items():
        if name not in settings:
            raise UsageError(
                f"{name} {value!r} given, which {spec.name} does not take; it takes: {', '.join(settings) or 'nothing'}"
            )
        if value is not None and value != "":
            settings[name] = _typed(name, value, settings[name])
    return settings


def _typed(name: str, value: Scalar, default: Scalar) -> Scalar:
    if default is None:  # nothing is known of its type
        return value
    kind = type(default)
    if kind is str:
        return str(value)
    text = str(value).strip()
    try:
        if kind is bool:
            return _TRUTH[text.lower()]
        number = float(text)
        if kind is float and math.isfinite(number):
            return number
        if kind is int and number.is_integer():
            return int(text) if text.lstrip("+-").isdecimal() else int(number)
    except (KeyError, ValueError, OverflowError):
        pass
    raise UsageError(f"{name} {value!r} given, {_KINDS[kind]} accepted")
