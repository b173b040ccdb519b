"""Composites for the mark detector, made by worker processes some files ahead of the training that reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.errors import ForensicsError
from forensics.workers import Failure, WorkerPool

if TYPE_CHECKING:
    from forensics.train.composites import Composite, Recipe
    from forensics.train.shards import Shards
    from forensics.types import Progress

__all__ = ["Composing", "composer", "shards_ahead", "write_shard"]

_TIMEOUT_SECONDS = 3600.0
"""For 128 composites: ten seconds, an odd machine's minute, and a generator's codes at large sides many times that."""
_AHEAD = 4
"""Shards under way or waiting, a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composing:
    """What decides the composites, and where their files go.

    Attributes
    ----------
    folder : Path
        Of the shards.
    recipe : Recipe
    data, fonts : tuple of Path
        Folders of pictures and of typefaces.
    model : str
        ruDALL-E model whose codes spoil some.
    most : int
        Pictures that are read of a folder, at most.
    """

    folder: Path
    recipe: Recipe
    data: tuple[Path, ...]
    fonts: tuple[Path, ...] = ()
    model: str = "kvadrat"
    most: int = 1500


def composer(
    data: Sequence[Path],
    recipe: Recipe,
    *,
    fonts: Sequence[Path] = (),
    model: str = "kvadrat",
    most: int = 1500,
    without: Collection[str] = (),
    progress: Progress | None = None,
) -> Callable[[int], Composite]:
    """Return what makes composite number n; pictures and codes are read when the first one is made.

    Parameters
    ----------
    data, fonts, model
        As of :class:`Composing`.
    recipe : Recipe
        With ``held_out`` of what training leaves out.
    most : int
        Pictures that are read of a folder, at most.
    without : collection of str
        Names of files that are left out.
    progress : Progress, optional
    """
    from forensics.render.stock_fonts import find_fonts
    from forensics.train.backgrounds import read_backgrounds
    from forensics.train.composites import compose

    letters = find_fonts(fonts, held_out=recipe.held_out if fonts else None)

    @cache
    def parts() -> dict[str, Any]:
        from forensics.train.codec import codec_for

        return {
            "backgrounds": read_backgrounds(
                data, held_out=recipe.held_out, most=most, without=without, progress=progress
            ),
            "fonts": letters,
            "codec": codec_for(model),
        }

    return lambda number: compose(number, recipe, **parts())


@contextmanager
def shards_ahead(
    plan: Composing, *, count: int, workers: int, once: bool, progress: Progress | None = None
) -> Iterator[Shards]:
    """Yield the composites' shards, the next ones being made by ``workers`` processes, or by this one where that is 0.

    Parameters
    ----------
    plan : Composing
    count : int
        Composites in all.
    workers : int
    once : bool
        Each is read once: delete what was.
    progress : Progress, optional
        Of reading the pictures, where this process makes the composites.

    Raises
    ------
    ForensicsError
        While a shard is read that a worker could not make.
    """
    from forensics.train.shards import SHARD, Shards

    if workers == 0:
        yield Shards(plan.folder, _maker(plan, progress), once=once)
        return
    with WorkerPool(
        "forensics.flows.composing:write_shard", init=plan, workers=workers, timeout=_TIMEOUT_SECONDS
    ) as pool:
        made: Iterator[int] | None = None

        def coming(first: int) -> Iterator[int]:
            for result in pool.imap(range(first, -(-count // SHARD)), window=_AHEAD * workers):
                if isinstance(result, Failure):
                    raise ForensicsError(f"composites from number {result.item * SHARD} on: {result.reason}")
                yield result.item

        def ahead(shard: int) -> None:
            nonlocal made
            if made is None or next(made, None) != shard:  # the first one, or back at the beginning
                made = coming(shard)
                next(made)

        # nothing is made here; that the typefaces are there is said before a worker is asked
        yield Shards(plan.folder, _maker(plan, progress), ahead=ahead, once=once)


def write_shard(plan: Composing, shard: int) -> None:
    """Write one shard, in a worker process; nothing where it is there."""
    _shards(plan).write(shard)


@lru_cache(maxsize=1)
def _shards(plan: Composing) -> Shards:
    from forensics.train.shards import Shards

    return Shards(plan.folder, _maker(plan, None))


def _maker(plan: Composing, progress: Progress | None) -> Callable[[int], Composite]:
    return composer(plan.data, plan.recipe, fonts=plan.fonts, model=plan.model, most=plan.most, progress=progress)
