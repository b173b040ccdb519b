"""Completions of given tokens: planned, estimated, drawn in batches, and kept, so that a run which is cut off goes on.

``completions.jsonl`` holds one line a completion, written as soon as its batch is drawn. Its first line says which
model drew them: completions of another model, or drawn another way, are never mixed with them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError
from forensics.flows.facts import fingerprint
from forensics.types import AutoregressiveModel, AutoregressiveSpec, Progress

if TYPE_CHECKING:
    from forensics.types import TokenArray

__all__ = ["FILE", "Asked", "CompletionStore", "Drawn", "Estimate", "complete_all", "default_rows", "estimate"]

FILE = "completions.jsonl"
_FORMAT = "forensics-completions-1"
_DEFAULT_ROWS = {32: (0, 4, 8, 16), 16: (0, 1, 2, 4)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """Items as a model is asked for them.

    Attributes
    ----------
    tokens : (m, L) int64
    captions : tuple of str
        One an item, empty where there is none.
    """

    tokens: TokenArray
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def keys(self) -> list[str]:
        """What each item is called in the store: a hash over its tokens and its caption."""
        return [
            hashlib.sha256(row.astype("<i8").tobytes() + b"\0" + caption.encode("utf-8", "surrogatepass")).hexdigest()[
                :32
            ]
            for row, caption in zip(self.tokens, self.captions, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Completions of m items from one prefix.

    Attributes
    ----------
    given : int
        Tokens of the prefix.
    greedy : (m, 1, L) int64
        By the most likely token at every place; (m, 0, L) where it was not asked for.
    sampled : (m, N, L) int64
    """

    given: int
    greedy: TokenArray
    sampled: TokenArray

    @property
    def both(self) -> TokenArray:
        """(m, 1 + N, L): greedy first."""
        return np.concatenate((self.greedy, self.sampled), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will take, as far as it can be told before it begins.

    Attributes
    ----------
    completions, tokens : int
        Still to be drawn.
    seconds : float
        For them, at the speed of a probe of one row of tokens; a short probe, so within a factor of two or so. NaN
        where nothing can be said.
    memory : int
        Bytes, as the adapter tells them; 0 where it does not.
    """

    completions: int
    tokens: int
    seconds: float
    memory: int

    @property
    def text(self) -> str:
        """One sentence."""
        if not self.completions:
            return "Everything is drawn already."
        if math.isnan(self.seconds):
            return f"{self.completions:,} images to draw; how long this generator takes shows once it runs."
        minutes = self.seconds / 60
        took = f"{self.seconds:.0f} seconds" if minutes < 2 else f"{minutes:.0f} minutes" if minutes < 120 else (
            f"{minutes / 60:.1f} hours"
        )  # fmt: skip
        memory = f" and {self.memory / 1e9:.2f} GB of memory" if self.memory else ""
        return f"{self.completions:,} images or texts, {self.tokens:,} tokens to draw: about {took}{memory}."


class CompletionStore:
    """The completions that are there, in memory and in a file that only grows.

    Parameters
    ----------
    path : Path or None
        ``completions.jsonl``; made where it is missing. None keeps nothing.
    spec : AutoregressiveSpec
        Whose they are.

    Raises
    ------
    UsageError
        If the file holds another model's.
    """

    def __init__(self, path: Path | None, spec: AutoregressiveSpec) -> None:
        self._path, self._length = path, spec.length
        self._identity = fingerprint(
            {
                "format": _FORMAT,
                "weights": sorted(spec.weights.values()) or spec.name,
                "settings": dict(spec.settings),
                "length": spec.length,
                "vocabulary": spec.vocabulary,
            }
        )
        self._found: dict[tuple[str, int, int | None], list[int]] = {}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._read(path, spec.name)

    def __contains__(self, key: tuple[str, int, int | None]) -> bool:
        return key in self._found

    def rest(self, key: tuple[str, int, int | None]) -> list[int]:
        """Return the completed tokens of (item, given, seed); seed None is greedy."""
        return self._found[key]

    def add(self, batch: dict[tuple[str, int, int | None], list[int]]) -> None:
        """Keep a batch: on disk first."""
        if self._path is not None:
            lines = [
                json.dumps({"item": item, "given": given, "seed": seed, "tokens": tokens}, separators=(",", ":"))
                for (item, given, seed), tokens in batch.items()
            ]
            self._append(lines)
        self._found |= batch

    def _append(self, lines: Sequence[str]) -> None:
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def _read(self, path: Path, name: str) -> None:
        header = json.dumps({"format": _FORMAT, "model": name, "identity": self._identity})
        data = path.read_bytes() if path.exists() else b""
        # what a kill left half written is no line
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with path.open("r+b") as file:
                file.truncate(len(whole))
        lines = whole.decode("utf-8", "replace").splitlines()
        if not lines:
            self._append([header])
            return
        first = _object(lines[0], path, 1)
        if first.get("format") != _FORMAT or first.get("identity") != self._identity:
            raise UsageError(
                f"{path} holds completions of {first.get('model', 'something else')!s}, or such as were drawn another "
                "way; give another folder, or remove that file"
            )
        for number, line in enumerate(lines[1:], start=2):
            entry = _object(line, path, number)
            tokens, given = entry.get("tokens"), entry.get("given")
            if not isinstance(tokens, list) or not isinstance(given, int) or len(tokens) + given != self._length:
                raise UsageError(
                    f"{path}, line {number}, is no completion of this model; remove the file to begin anew"
                )
            self._found[str(entry.get("item")), given, entry.get("seed")] = tokens


def default_rows(spec: AutoregressiveSpec) -> tuple[int, ...]:
    """Return the prefixes, in rows, that a model is asked for where none are named.

    0, 4, 8, 16 of 32 rows and 0, 1, 2, 4 of 16; of any other number none, and an eighth, a quarter and a half. Text has
    no caption to begin from, so there the prefix of nothing is left out.
    """
    rows = spec.length // spec.row
    chosen = _DEFAULT_ROWS.get(rows) or tuple(sorted({0, *(max(1, rows // part) for part in (8, 4, 2))} - {rows}))
    return tuple(k for k in chosen if k or spec.settings.get("kind") != "text")


def estimate(
    asked: AutoregressiveModel,
    items: Asked,
    prefixes: Sequence[int],
    seeds: Sequence[int],
    store: CompletionStore,
    *,
    batch: int = 8,
) -> Estimate:
    """Say what is still to be drawn and how long it will take, by drawing the last token, and the last row, of a batch.

    Parameters
    ----------
    prefixes : sequence of int
        In tokens.
    seeds : sequence of int
        Of the samples; a greedy completion comes beside them.
    """
    todo = [key for key in _wanted(items, prefixes, seeds) if key not in store]
    length, row = asked.spec.length, asked.spec.row
    tokens = sum(length - given for _, given, _ in todo)
    memory = int(getattr(asked, "memory", 0) or 0)
    if not todo:
        return Estimate(completions=0, tokens=0, seconds=0.0, memory=memory)
    lanes = max(1, min(batch, len(todo)))
    chosen = [i % len(items) for i in range(lanes)]
    captions = [items.captions[i] for i in chosen]

    def took(left: int) -> float:
        begin = time.perf_counter()
        asked.complete(items.tokens[chosen, : length - left], captions, [0] * lanes)
        return time.perf_counter() - begin

    took(1)  # what is made at the first call is no part of the speed
    first, whole = took(1), took(row)
    step = max(whole - first, 0.0) / (row - 1) if row > 1 else first
    seconds = (tokens * step + len(todo) * first) / lanes
    return Estimate(completions=len(todo), tokens=tokens, seconds=seconds, memory=memory)


def complete_all(
    asked: AutoregressiveModel,
    items: Asked,
    prefixes: Sequence[int],
    seeds: Sequence[int],
    *,
    greedy: bool = True,
    store: CompletionStore | None = None,
    batch: int = 8,
    progress: Progress | None = None,
) -> dict[int, Drawn]:
    """Complete every item from every prefix, greedily and once a seed; what the store has is not drawn again.

    Parameters
    ----------
    prefixes : sequence of int
        In tokens, each less than L.
    seeds : sequence of int
    greedy : bool
        False draws the samples alone.
    store : CompletionStore, optional
    batch : int
        Items a call, after which they are kept.
    progress : Progress, optional
        Called with tokens drawn of all.

    Returns
    -------
    dict of int to Drawn
        By prefix.
    """
    length = asked.spec.length
    if bad := [given for given in prefixes if not 0 <= given < length]:
        raise UsageError(f"a prefix of {bad[0]} tokens given, 0 to {length - 1} accepted by {asked.spec.name}")
    store = store or CompletionStore(None, asked.spec)
    place = {key: number for number, key in enumerate(items.keys)}
    meter = _Meter(
        progress, sum(length - key[1] for key in _wanted(items, prefixes, seeds, greedy=greedy) if key not in store)
    )
    # the longest prefixes first: they are the quickest, and a run that is cut off has something to show
    for given in sorted(set(prefixes), reverse=True):
        for likeliest in (True, False) if greedy else (False,):
            todo = [
                key
                for key in _wanted(items, (given,), () if likeliest else seeds, greedy=likeliest)
                if key not in store
            ]
            for start in range(0, len(todo), batch):
                part = todo[start : start + batch]
                chosen = [place[key[0]] for key in part]
                with meter.batch(len(part) * (length - given)) as report:
                    found = asked.complete(
                        items.tokens[chosen, :given],
                        [items.captions[i] for i in chosen],
                        [key[2] or 0 for key in part],
                        greedy=likeliest,
                        progress=report,
                    )
                store.add({key: row[given:].tolist() for key, row in zip(part, np.asarray(found), strict=True)})
    return {given: _drawn(items, given, seeds, store, greedy=greedy) for given in prefixes}


def _wanted(
    items: Asked, prefixes: Sequence[int], seeds: Sequence[int], *, greedy: bool = True
) -> Iterator[tuple[str, int, int | None]]:
    """Yield every completion once; equal items are one."""
    keys = list(dict.fromkeys(items.keys))
    for given in prefixes:
        for seed in (*((None,) if greedy else ()), *seeds):
            for key in keys:
                yield key, given, seed


def _drawn(items: Asked, given: int, seeds: Sequence[int], store: CompletionStore, *, greedy: bool) -> Drawn:
    def whole(seed: int | None) -> TokenArray:
        rest = [store.rest((key, given, seed)) for key in items.keys]
        return np.concatenate((items.tokens[:, :given], np.array(rest, np.int64).reshape(len(items), -1)), 1)

    none = np.empty((len(items), 0, items.tokens.shape[1]), np.int64)
    return Drawn(
        given=given,
        greedy=whole(None)[:, None] if greedy else none,
        sampled=np.stack([whole(seed) for seed in seeds], 1) if seeds else none,
    )


class _Meter:
    """Progress in tokens over all batches."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    @contextmanager
    def batch(self, tokens: int) -> Iterator[Progress]:
        def report(stage: str, done: int, total: int | None) -> None:
            if self._progress is not None and total:
                self._progress("completing", self._done + tokens * done // total, self._total)

        yield report
        self._done += tokens
        if self._progress is not None:
            self._progress("completing", self._done, self._total)


def _object(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path}, line {number}, is not JSON ({error}); remove the file to begin anew") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path}, line {number}, is no completion; remove the file to begin anew")
    return value
