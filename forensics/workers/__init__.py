"""Worker processes that may crash or hang without taking the run along.

A worker is a fresh interpreter at the other end of a socket, started by ``python -c`` rather than by
:mod:`multiprocessing`: nothing of the caller's ``__main__`` is imported again, so the pool works from scripts without a
``__name__`` guard, from notebooks and from tests. Each worker imports the target once, receives ``init`` once, and then
answers one item at a time. POSIX only.

Against leaks there are two nets: a worker ends when its socket closes, and while it works the kernel's own alarm
(``SIGALRM``) ends it soon after the timeout, even where it is stuck in C code and even where the parent was killed.
"""

from __future__ import annotations

from forensics.workers.pool import WorkerPool
from forensics.workers.process import Failure, Result, Success

__all__ = ["Failure", "Result", "Success", "WorkerPool"]
