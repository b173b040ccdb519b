"""Progress on stderr: a bar with rate and time left in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from forensics.types import Progress

__all__ = ["progress_bar"]

_LINE_EVERY_SECONDS = 15.0


class _Lines:
    """Plain progress for logs: one line when a stage begins and then every 15 seconds; stages may take turns."""

    def __init__(self) -> None:
        self._stages: dict[str, _Stage] = {}

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if stage not in self._stages:
            self._stages[stage] = _Stage(now)
            sys.stderr.write(f"{stage} …\n")
        seen = self._stages[stage]
        if done == seen.said or (now - seen.last < _LINE_EVERY_SECONDS and done != total):
            return
        seen.last, seen.said = now, done
        rate = done / max(now - seen.start, 1e-9)
        left = f", {_duration((total - done) / rate)} left" if total and total > done and rate > 0 else ""
        took = f" in {_duration(now - seen.start)}" if done == total else ""
        # one item alone tells no rate
        speed = f" ({_rate(rate)}{left})" if done > 1 and now > seen.start else ""
        sys.stderr.write(f"{stage}: {done:,}/{f'{total:,}' if total is not None else '?'}{took}{speed}\n")


@dataclass(slots=True)
class _Stage:
    start: float
    last: float = field(init=False)
    said: int = -1

    def __post_init__(self) -> None:
        self.last = self.start


def _rate(rate: float) -> str:
    return f"{rate:,.1f}/s" if rate >= 1 else f"{rate:.2g}/s"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a :class:`~forensics.types.Progress` that draws on stderr for as long as the block lasts."""
    if quiet:
        yield lambda stage, done, total: None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, tuple[TaskID, float]] = {}

        def report(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = (bar.add_task(stage, total=total, rate=""), time.monotonic())
            task, start = tasks[stage]
            rate = done / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=done, total=total, rate=_rate(rate))

        yield report
