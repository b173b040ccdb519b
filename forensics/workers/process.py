"""One worker process: the parent's side of it, and its whole life in :func:`_serve`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Failure", "Job", "Result", "Success", "Worker", "describe", "resolve"]

_START_SECONDS = 120.0
_ALARM_GRACE_SECONDS = 2.0
_EXIT_SECONDS = 2.0
_REASON_CHARS = 300

_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); "
    "from forensics.workers.process import _serve; _serve(int(sys.argv[1]))"
)

# One thread a worker: the pool is the parallelism, and nested thread pools slow each other down.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
    ),
    "1",
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Success(Generic[T]):
    """An item and what the function returned for it."""

    item: T
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Generic[T]):
    """An item without a value, and why: ``worker died (signal 11)``, ``no answer within 30 s``, ``ValueError: …``."""

    item: T
    reason: str


Result: TypeAlias = Success[T] | Failure[T]


class Job:
    """One item on its way; ``result`` stays None where the pool ended first."""

    __slots__ = ("done", "item", "result")

    def __init__(self, item: Any) -> None:
        self.item = item
        self.result: Result[Any] | None = None
        self.done = threading.Event()

    def finish(self, value: Any) -> None:
        """Answer with a value."""
        self.result = Success(item=self.item, value=value)
        self.done.set()

    def fail(self, reason: str) -> None:
        """Answer with a reason."""
        self.result = Failure(item=self.item, reason=reason)
        self.done.set()


class Worker:
    """The parent's side of one process."""

    def __init__(self, target: str, init_bytes: bytes, timeout: float) -> None:
        self._timeout = timeout
        self.job: Job | None = None
        self.started = False
        self.deadline = time.monotonic() + _START_SECONDS
        # What C libraries and faulthandler write goes to a file without a name, emptied with every item.
        self._noise = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed in stop()
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                stdout=self._noise,
                stderr=self._noise,
                pass_fds=[theirs.fileno()],
                env=os.environ | _ONE_THREAD,
            )
        except BaseException:
            ours.close()
            self._noise.close()
            raise
        finally:
            theirs.close()
        self.connection = Connection(ours.detach())
        with suppress(OSError):  # it died at once: the first receive tells
            self.connection.send((target, timeout))
            self.connection.send_bytes(init_bytes)

    @property
    def idle(self) -> bool:
        """Whether it waits for an item."""
        return self.started and self.job is None

    def send(self, job: Job) -> None:
        """Hand over an item; from here on the clock runs."""
        self.job = job
        os.ftruncate(self._noise.fileno(), 0)
        self.connection.send(job.item)
        self.deadline = time.monotonic() + self._timeout

    def ended(self) -> str:
        """Wait for a process whose socket closed, and say how it ended."""
        try:
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "worker died (connection lost)"
        if code == -signal.SIGALRM:  # its own alarm, where this process was stopped for a while
            return f"no answer within {self._timeout:g} s"
        if code == -signal.SIGKILL:
            return f"worker died (signal {-code}, often too little memory)"
        return f"worker died (signal {-code})" if code < 0 else f"worker died (exit code {code})"

    def tail(self) -> str:
        """Return the last of what was written to stdout and stderr during the current item."""
        if self._noise.closed:
            return ""
        size = self._noise.seek(0, os.SEEK_END)
        self._noise.seek(max(0, size - 2000))
        return " ".join(self._noise.read().decode("utf-8", "replace").split())[-_REASON_CHARS:]

    def stop(self, *, polite: bool = True) -> None:
        """End the process: politely where it waits for an item, by SIGKILL where it works or does not go."""
        self.connection.close()
        if not (polite and self.idle):
            self._process.kill()
        try:
            self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._noise.close()


def _serve(descriptor: int) -> None:
    """Answer items until the socket closes (the worker's whole life)."""
    import faulthandler

    os.set_inheritable(descriptor, False)
    # Ctrl-C and the end of a job, sent to the whole group, are the parent's to handle; it closes the socket
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.enable()
    connection = Connection(descriptor)
    try:
        target, timeout = connection.recv()
        try:
            init = connection.recv()
            function = resolve(target)
            if "cv2" in sys.modules:
                sys.modules["cv2"].setNumThreads(1)
        except Exception as error:  # noqa: BLE001 - told to the parent, which raises
            connection.send(("unstartable", describe(error)))
            return
        connection.send(("ready", None))
        while True:
            item = connection.recv()
            signal.setitimer(signal.ITIMER_REAL, timeout + _ALARM_GRACE_SECONDS)
            _answer(connection, function, init, item)
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (EOFError, ConnectionError):
        return


def _answer(connection: Connection, function: Callable[[Any, Any], Any], init: Any, item: Any) -> None:
    try:
        answer = ForkingPickler.dumps(("value", function(init, item)))
    except Exception as error:  # noqa: BLE001 - any failure of the function belongs to its item
        answer = ForkingPickler.dumps(("failed", describe(error)))
    connection.send_bytes(answer)


def resolve(target: str) -> Callable[[Any, Any], Any]:
    """Import the function behind ``module:function``."""
    module, _, name = target.partition(":")
    function: Callable[[Any, Any], Any] = getattr(import_module(module), name)
    return function


def describe(error: Exception) -> str:
    """Return an error's type and message in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_REASON_CHARS] if text else type(error).__name__
