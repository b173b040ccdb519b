"""Any Python callable as a generator: ``fn(prompt, seed) -> image``.

Named ``module:attribute`` or ``FILE.py:attribute``.

::

    def paint(prompt: str, seed: int, *, steps: int = 20) -> Image.Image: ...

Keyword-only parameters with a plain default are settings that a prompt may set for itself. The callable must draw all
its randomness from the seed: the program cannot see whether it does (``forensics.testing.check_generator`` tries it).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from forensics.errors import UsageError
from forensics.generate.options import GeneratorOptions
from forensics.generate.settings import with_defaults
from forensics.types import GeneratedImage, Generator, GeneratorSpec, Progress, Scalar

__all__ = ["CallableGenerator", "create", "open_target"]

_PLAIN = (str, int, float, bool, type(None))


class CallableGenerator:
    """Calls a function once an image.

    Parameters
    ----------
    function : callable or str
        ``fn(prompt, seed, **settings)`` that returns a Pillow image or an (H, W, 3) uint8 RGB array; or its name, see
        :func:`open_target`.
    name : str
        How it is called in evidence; by default its ``module:qualified name``.

    Raises
    ------
    UsageError
        If it cannot be found, or cannot be called with a prompt and a seed.
    """

    def __init__(self, function: Callable[..., Any] | str, *, name: str = "") -> None:
        if isinstance(function, str):
            name, function = name or function, open_target(function)
        if not callable(function):
            raise UsageError(f"{function!r} given as a generator, a callable fn(prompt, seed) accepted")
        self._function = function
        self._name = name or f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
        defaults = _settings(function, self._name)
        source = _source_sha256(function)
        self._spec = GeneratorSpec(
            name=self._name,
            kind="callable",
            settings={"source_sha256": source, **defaults} if source else defaults,
            defaults=defaults,
        )

    @property
    def spec(self) -> GeneratorSpec:
        """What this generator is; ``source_sha256`` among its settings is that of the file that defines it."""
        return self._spec

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        settings: Mapping[str, Scalar],
        progress: Progress | None = None,
    ) -> list[GeneratedImage]:
        """Return one image a (prompt, seed), in order. What the callable raises is passed on as it is."""
        if len(prompts) != len(seeds):
            raise UsageError(f"{len(prompts)} prompts and {len(seeds)} seeds given, as many of the one as of the other")
        keywords = with_defaults(self._spec, settings)
        images: list[GeneratedImage] = []
        for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            images.append(GeneratedImage(pixels=self._pixels(self._function(prompt, seed, **keywords))))
            if progress is not None:
                progress("making images", number + 1, len(prompts))
        return images

    def _pixels(self, made: object) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if isinstance(made, Image.Image):
            made = np.array(made.convert("RGB"))
        if not isinstance(made, np.ndarray):
            what = type(made).__name__
        elif made.dtype != np.uint8 or made.ndim != 3 or made.shape[2] != 3 or 0 in made.shape:
            what = f"an array of shape {made.shape} {made.dtype}"
        else:
            # a callable may fill one buffer again and again
            return np.array(made, order="C")
        raise UsageError(f"{self._name} returned {what}; a Pillow image or an (H, W, 3) uint8 RGB array accepted")


def create(name: str, options: GeneratorOptions | None = None) -> Generator:
    """Return the generator behind ``module:attribute`` or ``FILE.py:attribute``.

    The attribute is a generator (an object with ``spec`` and ``generate``), a class or function that makes one when
    called with nothing, or a callable ``fn(prompt, seed)``. The options do not reach it.
    """
    found = open_target(name)
    if not isinstance(found, type) and isinstance(found, Generator):
        return found
    if not callable(found):
        raise UsageError(
            f"{name} is {type(found).__name__}; a callable fn(prompt, seed), a generator or what makes one accepted"
        )
    if isinstance(found, type) or not _takes(found, "prompt", 0):
        try:
            made = found()
        except TypeError as error:
            raise UsageError(
                f"{name} takes neither (prompt, seed) nor nothing ({error}); a callable fn(prompt, seed), a generator "
                "or what makes one accepted"
            ) from error
        if isinstance(made, Generator) and not isinstance(made, type):
            return made
        if not callable(made):
            raise UsageError(f"{name}() gave {type(made).__name__}; a generator or a callable fn(prompt, seed) needed")
        found = made
    return CallableGenerator(cast("Callable[..., Any]", found), name=name)


def open_target(name: str) -> Any:
    """Return the object that ``module:attribute`` or ``FILE.py:attribute`` names; attributes may be dotted.

    Modules are looked for as Python does, and in the current folder.

    Raises
    ------
    UsageError
        If the name has another form, or there is no such module or attribute. What the module itself raises when it is
        imported is passed on.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not all(part.isidentifier() for part in attribute.split(".")):
        raise UsageError(f"generator {name!r} given, module:attribute or FILE.py:attribute accepted")
    found: Any = _file(Path(place)) if place.endswith(".py") else _module(place)
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [key for key in getattr(found, "__dict__", {}) if not key.startswith("_")]
            raise UsageError(f"{place} has no {attribute!r}; it has: {', '.join(public) or 'nothing public'}")
        found = getattr(found, part)
    return found


def _module(name: str) -> Any:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # a module that is there but lacks one of its own imports says so itself
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise UsageError(f"no Python module {name!r}; give an installed one, one in this folder, or FILE.py") from error
    finally:
        if added:
            sys.path.remove(here)


def _file(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"no file {path}; give FILE.py:attribute or module:attribute")
    name = f"forensics_generator_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported as a Python module")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickle look a class's module up by name
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _takes(function: Callable[..., Any], *arguments: object) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # some built-ins have no signature: calling them will tell
        return True
    return True


def _settings(function: Callable[..., Any], name: str) -> dict[str, Scalar]:
    if not _takes(function, "prompt", 0):
        raise UsageError(
            f"{name}{inspect.signature(function)} given as a generator, a callable fn(prompt, seed) accepted"
        )
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return {}
    keywords = [item for item in parameters if item.kind is item.KEYWORD_ONLY]
    return {item.name: item.default for item in keywords if isinstance(item.default, _PLAIN)}


def _source_sha256(function: object) -> str:
    """Return the SHA-256 of the file that defines a callable; empty where there is none."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(function) if inspect.isroutine(function) else type(function))
        return hashlib.sha256(Path(file or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""
