"""Which images a run makes: every prompt with its seeds and settings, checked before the first one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from forensics.errors import UsageError
from forensics.flows.generation_files import Planned
from forensics.generate.settings import with_defaults
from forensics.sources.prompts import PromptRow
from forensics.types import Generator, Scalar
from forensics.weights import sha256_of

__all__ = ["plan"]

_LARGEST_SEED = 2**63 - 1
# what a prompt's row says under these names is meant for the generator, also where that does not take it
_SETTINGS = ("temperature", "top_k", "top_p", "guidance")
_FILES = ("image_prompt",)


def _setting(column: str) -> str:
    """Return a column's name as settings are spelt: ``Top-K`` means ``top_k``."""
    return column.strip().lower().replace("-", "_").replace(" ", "_")


def plan(
    rows: Sequence[PromptRow], generator: Generator, *, n: int, seed: int, settings: Mapping[str, Scalar]
) -> tuple[list[Planned], list[str]]:
    """Return every image wanted, checked as far as it can be before one is made."""
    spec = generator.spec
    with_defaults(spec, settings)  # so that a wrong option is not blamed on the first prompt
    check: Callable[[Mapping[str, Scalar]], None] | None = getattr(generator, "check", None)
    planned: list[Planned] = []
    notes: list[str] = []
    seen: dict[str, str] = {}
    checked: set[tuple[tuple[str, Scalar], ...]] = set()
    for number, row in enumerate(rows, start=1):
        named = {_setting(name): (name, value) for name, value in row.fields.items()}
        own = {name: value for name, (_, value) in named.items() if name in spec.defaults or name in _SETTINGS}
        taken = {given for name, (given, _) in named.items() if name in own}
        for name in _FILES:
            if own.get(name) and row.folder is not None:
                own[name] = str(row.folder / str(own[name]))
        first = seed if row.seed is None else row.seed
        count = row.count or n
        if not 0 <= first <= _LARGEST_SEED - count + 1:
            raise UsageError(f"{row.origin}: seeds from {first} to {first + count - 1} given, 0 to 2^63 - 1 accepted")
        try:
            sampling = with_defaults(spec, {**settings, **own})
            if check is not None and (known := tuple(sampling.items())) not in checked:
                check(sampling)
                checked.add(known)
        except UsageError as error:
            raise UsageError(f"{row.origin}: {error}" if own else str(error)) from error
        for i in range(count):
            image = Planned(
                number=number,
                prompt=row.prompt,
                seed=first + i,
                sampling=sampling,
                metadata={name: value for name, value in row.fields.items() if name not in taken},
                files={name: sha256_of(Path(str(sampling[name]))) for name in _FILES if sampling.get(name)},
            )
            earlier = seen.setdefault(image.key(spec), row.origin)
            if earlier != row.origin:
                notes.append(f"{row.origin} repeats {earlier} with seed {image.seed}: made once.")
            else:
                planned.append(image)
    return planned, notes
