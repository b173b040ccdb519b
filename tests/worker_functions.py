"""What the workers of test_workers.py run; imports nothing that makes them start slowly."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def double(init: int, item: Any) -> Any:
    if item == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item in ("SIGINT", "SIGTERM"):
        os.kill(os.getpid(), getattr(signal, item))
        return item
    if item == "exit":
        os._exit(4)
    if item == "hang":
        time.sleep(60)
    if item == "raise":
        raise ValueError("two\nlines")
    if item == "connection":
        raise ConnectionResetError("the function's own")
    if item == "unpicklable":
        return lambda: None
    if item == "threads":
        import cv2

        return cv2.getNumThreads(), os.environ["OMP_NUM_THREADS"]
    if item == "pid":
        return os.getpid()
    if item == "noise":
        os.write(2, b"a library complains\n" * 1000)
        return "quiet"
    return init * item
