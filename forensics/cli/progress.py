"""Progress on stderr: a bar with rate and time left in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from forensics.types import Progress

__all__ = ["progress_bar"]

_LINE_EVERY_SECONDS = 15.0


class _Lines:
    """Plain progress for logs: one line when a stage begins and then every 15 seconds."""

    def __init__(self) -> None:
        self._stage, self._said = "", -1
        self._start = self._last = 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._start, self._last, self._said = stage, now, now, -1
            sys.stderr.write(f"{stage} …\n")
        if done == self._said or (now - self._last < _LINE_EVERY_SECONDS and done != total):
            return
        self._last, self._said = now, done
        rate = done / max(now - self._start, 1e-9)
        left = f", {_duration((total - done) / rate)} left" if total and total > done and rate > 0 else ""
        took = f" in {_duration(now - self._start)}" if done == total else ""
        # one item alone tells no rate
        speed = f" ({rate:.1f}/s{left})" if done > 1 and now > self._start else ""
        sys.stderr.write(f"{stage}: {done:,}/{f'{total:,}' if total is not None else '?'}{took}{speed}\n")


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
            bar.update(task, completed=done, total=total, rate=f"{rate:.1f}/s")

        yield report
