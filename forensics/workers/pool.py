"""The pool: items in, results out, in order; one thread of this process looks after the workers."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, TypeVar

from forensics.errors import ForensicsError, UsageError
from forensics.workers.process import Failure, Job, Result, Success, Worker, describe, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

__all__ = ["WorkerPool"]

_log = logging.getLogger(__name__)

T = TypeVar("T")


class WorkerPool:
    """Runs ``function(init, item)`` in worker processes, in order, with a bounded number of items under way.

    Parameters
    ----------
    target : str
        ``"module:function"``, importable in a fresh interpreter with this process's ``sys.path``.
    init : object
        First argument of every call; pickled, sent to each worker once. Its classes must be importable too (not
        defined in ``__main__``).
    workers : int
        Number of processes; 0 runs the function in this process (no protection against crashes and hangs).
    timeout : float
        Seconds that one item may take. A worker that takes longer is killed and replaced.

    Raises
    ------
    UsageError
        If an argument is out of range or the target is not of the form ``module:function``.
    ForensicsError
        From :meth:`imap`, if workers cannot be started at all (the target does not import, ``init`` does not unpickle).

    Examples
    --------
    >>> with WorkerPool("math:pow", init=2, workers=0, timeout=30) as pool:
    ...     [result.value for result in pool.imap([1, 2, 3], window=8)]
    [2.0, 4.0, 8.0]
    """

    def __init__(self, target: str, *, init: object, workers: int, timeout: float) -> None:
        module, _, name = target.partition(":")
        if not module or not name or module == "__main__":
            raise UsageError(f"worker target {target!r}: give 'module:function' of an importable module")
        if workers < 0:
            raise UsageError(f"workers is {workers}: give 0 (this process) or more")
        if not timeout > 0:
            raise UsageError(f"timeout is {timeout}: give seconds, more than 0")
        self._target, self._init, self._timeout = target, init, timeout
        self._function: Callable[[Any, Any], Any] | None = None
        self._queue: deque[Job] = deque()
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._closing = False
        self._broken = ""
        self._thread: threading.Thread | None = None
        if workers == 0:
            return
        self._init_bytes = bytes(ForkingPickler.dumps(init))
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_write.setblocking(False)
        try:
            for _ in range(workers):
                self._workers.append(Worker(target, self._init_bytes, timeout))
        except BaseException:
            self._release()
            raise
        self._thread = threading.Thread(target=self._run, name="forensics-workers", daemon=True)
        self._thread.start()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def imap(self, items: Iterable[T], window: int) -> Iterator[Result[T]]:
        """Yield one result an item, in the order of the items.

        Parameters
        ----------
        items : iterable
            Read in the caller's thread, never further ahead than ``window`` items.
        window : int
            Most items read but not yet yielded; a few times the number of workers keeps them busy while the caller
            works.

        Yields
        ------
        Success or Failure
        """
        if window < 1:
            raise UsageError(f"window is {window}: give 1 or more")
        return self._imap_here(items) if self._thread is None else self._imap(items, window)

    def close(self) -> None:
        """End all workers and wait for them; harmless when called twice."""
        self._closing = True
        if self._thread is not None:
            self._wake()
            self._thread.join()
            self._thread = None
            self._release()

    def _imap_here(self, items: Iterable[T]) -> Iterator[Result[T]]:
        if self._closing:
            raise UsageError("this worker pool is closed; make a new one")
        if self._function is None:
            self._function = resolve(self._target)
        for item in items:
            try:
                yield Success(item=item, value=self._function(self._init, item))
            except Exception as error:  # noqa: BLE001 - any failure of the function belongs to its item
                yield Failure(item=item, reason=describe(error))

    def _imap(self, items: Iterable[T], window: int) -> Iterator[Result[T]]:
        source = iter(items)
        pending: deque[Job] = deque()
        exhausted = False
        try:
            while True:
                while not exhausted and len(pending) < window:
                    try:
                        job = Job(next(source))
                    except StopIteration:
                        exhausted = True
                        break
                    pending.append(job)
                    self._submit(job)
                if not pending:
                    return
                job = pending.popleft()
                job.done.wait()
                if job.result is None:
                    raise ForensicsError(self._broken or "the worker pool was closed before it had answered")
                yield job.result
        finally:
            with self._lock:
                for job in pending:
                    with suppress(ValueError):  # already with a worker: its answer is dropped
                        self._queue.remove(job)

    def _submit(self, job: Job) -> None:
        with self._lock:
            if self._broken or self._closing:
                raise ForensicsError(self._broken or "this worker pool is closed; make a new one")
            self._queue.append(job)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # a full buffer wakes just as well
            self._wake_write.send(b"\0")

    # Everything below runs in the pool's own thread.

    def _run(self) -> None:
        try:
            while not self._closing:
                self._assign()
                self._collect()
        except Exception as error:  # noqa: BLE001 - a pool that fails must release its callers, whatever it was
            _log.debug("worker pool failed", exc_info=True)
            self._broken = str(error) if isinstance(error, ForensicsError) else f"worker pool failed: {error!r}"
        finally:
            with self._lock:
                self._closing = True
                jobs = [*self._queue, *(worker.job for worker in self._workers if worker.job)]
                self._queue.clear()
            for worker in self._workers:
                worker.stop()
            for job in jobs:
                job.done.set()

    def _assign(self) -> None:
        for position, worker in enumerate(self._workers):
            while worker.idle:
                with self._lock:
                    job = self._queue.popleft() if self._queue else None
                if job is None:
                    return
                try:
                    worker.send(job)
                except OSError:  # it died while idle: not this item's fault
                    with self._lock:
                        self._queue.appendleft(job)
                    worker.job = None
                    self._replace(position)
                    break
                except Exception as error:  # noqa: BLE001 - the item cannot be pickled
                    worker.job = None
                    job.fail(f"cannot be sent to a worker: {describe(error)}")

    def _collect(self) -> None:
        by_connection: dict[Any, int] = {worker.connection: at for at, worker in enumerate(self._workers)}
        now = time.monotonic()
        deadline = min(worker.deadline for worker in self._workers)
        ready = wait([self._wake_read, *by_connection], None if deadline == float("inf") else max(0.0, deadline - now))
        for connection in ready:
            if connection is self._wake_read:
                self._wake_read.recv(4096)
            else:
                self._receive(by_connection[connection])
        now = time.monotonic()
        for position, worker in enumerate(self._workers):
            if worker.deadline < now:
                self._give_up(position, f"no answer within {self._timeout:g} s")

    def _receive(self, position: int) -> None:
        worker = self._workers[position]
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            self._give_up(position, worker.ended())
            return
        except Exception as error:  # noqa: BLE001 - the whole message was read; only its content is unusable
            kind, value = "failed", f"the answer cannot be read: {describe(error)}"
        if kind == "unstartable":
            raise ForensicsError(f"workers cannot be started for {self._target}: {value}")
        worker.deadline = float("inf")
        worker.started = True
        job, worker.job = worker.job, None
        if job is not None and kind == "value":
            job.finish(value)
        elif job is not None:
            job.fail(value)

    def _give_up(self, position: int, reason: str) -> None:
        worker = self._workers[position]
        job, worker.job = worker.job, None
        if not worker.started:
            raise ForensicsError(f"workers cannot be started for {self._target}: {reason} {worker.tail()}".strip())
        _log.debug("%s; last words: %s", reason, worker.tail())
        self._replace(position)
        if job is not None:
            job.fail(reason)

    def _replace(self, position: int) -> None:
        self._workers[position].stop(polite=False)
        self._workers[position] = Worker(self._target, self._init_bytes, self._timeout)

    def _release(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._wake_read.close()
        self._wake_write.close()
