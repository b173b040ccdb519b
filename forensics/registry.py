"""Names of plug-ins, resolved to code only when used.

A registry maps a name to ``"module:attribute"``. Third parties add names through entry points of the registry's group
(``forensics.embedders``, …). A name that is given twice raises; an unknown one lists the choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from forensics.errors import UsageError

__all__ = ["Registry"]


class Registry:
    """Lazy names of one kind of plug-in.

    Parameters
    ----------
    group : str
        Entry point group, e.g. ``forensics.embedders``.
    builtin : mapping of str to str
        Name to ``"module:attribute"``.
    """

    def __init__(self, group: str, builtin: Mapping[str, str]) -> None:
        self.group = group
        self._builtin = dict(builtin)

    def targets(self) -> dict[str, str]:
        """Return every name with its ``"module:attribute"``, built-in ones first.

        Raises
        ------
        UsageError
            If two packages claim one name.
        """
        found = dict(self._builtin)
        for point in entry_points(group=self.group):
            if point.name in found and found[point.name] != point.value:
                raise UsageError(
                    f"the name {point.name!r} of {self.group} is claimed by {found[point.name]} and {point.value}; "
                    "uninstall one of the two packages"
                )
            found[point.name] = point.value
        return found

    def load(self, name: str) -> Any:
        """Import and return the object behind ``name``.

        Raises
        ------
        UsageError
            If no plug-in has this name.
        """
        targets = self.targets()
        if name not in targets:
            raise UsageError(f"unknown name {name!r} in {self.group}; choose one of: {', '.join(sorted(targets))}")
        module, _, attribute = targets[name].partition(":")
        return getattr(import_module(module), attribute)
