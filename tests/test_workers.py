"""Worker processes: order, failures, deaths, hangs, shutdown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from forensics.errors import ForensicsError, UsageError
from forensics.workers import Failure, Success, WorkerPool

ROOT = Path(__file__).resolve().parents[1]


TARGET = "tests.worker_functions:double"


def pool(workers: int = 2, timeout: float = 20, target: str = TARGET) -> WorkerPool:
    return WorkerPool(target, init=2, workers=workers, timeout=timeout)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order(workers: int) -> None:
    with pool(workers) as workers_pool:
        results = list(workers_pool.imap(range(50), window=7))
    assert results == [Success(item=i, value=2 * i) for i in range(50)]


def test_every_kind_of_failure_costs_its_item_only() -> None:
    items = [1, "segfault", 2, "exit", 3, "raise", 4, "unpicklable", 5, "hang", 6, "connection", lambda: None, 7]
    with pool(timeout=1.0) as workers:
        results = list(workers.imap(items, window=4))
    assert [result.item for result in results] == items
    assert [result.value for result in results if isinstance(result, Success)] == [2, 4, 6, 8, 10, 12, 14]
    reasons = [result.reason for result in results if isinstance(result, Failure)]
    assert reasons[0].startswith("worker died (signal 11")
    assert reasons[1] == "worker died (exit code 4)"
    assert reasons[2] == "ValueError: two lines"
    assert "pickle" in reasons[3]
    assert reasons[4] == "no answer within 1 s"
    assert reasons[5] == "ConnectionResetError: the function's own"
    assert reasons[6].startswith("cannot be sent to a worker")
    assert len(reasons) == 7


def test_a_hang_is_ended_in_time() -> None:
    with pool(1, timeout=0.5) as workers:
        list(workers.imap([1], window=1))  # started
        begin = time.monotonic()
        results = list(workers.imap(["hang", 3], window=2))
        assert time.monotonic() - begin < 10
    assert isinstance(results[0], Failure)
    assert results[1] == Success(item=3, value=6)


def test_a_worker_killed_while_idle_costs_nothing() -> None:
    with pool(1) as workers:
        (first,) = workers.imap(["pid"], window=1)
        assert isinstance(first, Success)
        os.kill(first.value, signal.SIGKILL)
        time.sleep(0.3)  # until the pool has seen it
        assert list(workers.imap([1, 2], window=2)) == [Success(item=1, value=2), Success(item=2, value=4)]


def test_what_ends_the_whole_group_is_the_parents_to_handle() -> None:
    with pool(workers=1) as own:
        results = list(own.imap(["SIGINT", "SIGTERM", 3], window=1))
    assert [result.value for result in results if isinstance(result, Success)] == ["SIGINT", "SIGTERM", 6]


def test_in_process_failures_are_results_too() -> None:
    with pool(0) as workers:
        assert list(workers.imap(["raise", 1], window=1)) == [
            Failure(item="raise", reason="ValueError: two lines"),
            Success(item=1, value=2),
        ]


def test_items_are_not_read_ahead_of_the_window() -> None:
    read = []

    def items() -> Any:
        for i in range(1000):
            read.append(i)
            yield i

    with pool() as workers:
        results = workers.imap(items(), window=5)
        for done in range(1, 20):
            next(results)
            assert len(read) <= done + 5


def test_an_error_of_the_items_reaches_the_caller() -> None:
    def items() -> Any:
        yield 1
        raise KeyError("source")

    with pool() as workers:
        with pytest.raises(KeyError):
            list(workers.imap(items(), window=1))
        assert list(workers.imap([4], window=1)) == [Success(item=4, value=8)]


def test_closing_the_generator_and_the_pool_leaves_no_process() -> None:
    with pool(2, timeout=30) as workers:
        pids = {result.value for result in workers.imap(["pid"] * 20, window=8) if isinstance(result, Success)}
        results = workers.imap([1, "hang", "hang", "hang"], window=4)
        next(results)
        results.close()
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
    assert pids
    assert not any(running(pid) for pid in pids)
    with pytest.raises(ForensicsError, match="closed"):
        list(workers.imap([1], window=1))
    workers.close()


def test_two_iterations_share_the_workers() -> None:
    with pool() as workers:
        first, second = workers.imap(range(5), window=3), workers.imap(range(5, 10), window=3)
        pairs = list(zip(first, second, strict=True))
    assert [(a.item, b.item) for a, b in pairs] == [(i, i + 5) for i in range(5)]


def test_workers_use_one_thread_and_keep_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with pool(1) as workers:
        threads, noise = workers.imap(["threads", "noise"], window=2)
    assert threads == Success(item="threads", value=(1, "1"))
    assert noise == Success(item="noise", value="quiet")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("target", ["no_such_module:f", "tests.worker_functions:no_such_function", "os:_exit"])
def test_workers_that_cannot_start_are_one_error(target: str) -> None:
    if target == "os:_exit":  # starts, but every call kills it: failures, not an error
        with pool(1, target=target) as workers:
            (result,) = workers.imap([1], window=1)
        assert isinstance(result, Failure)
        return
    with pool(1, target=target) as workers, pytest.raises(ForensicsError, match="cannot be started"):
        list(workers.imap([1], window=1))


@pytest.mark.parametrize(
    ("target", "workers", "timeout"),
    [("nothing", 1, 1), ("__main__:f", 1, 1), ("m:", 1, 1), ("m:f", -1, 1), ("m:f", 1, 0)],
)
def test_arguments_are_checked(target: str, workers: int, timeout: float) -> None:
    with pytest.raises(UsageError):
        WorkerPool(target, init=None, workers=workers, timeout=timeout)


def test_window_is_checked_at_once() -> None:
    with pool(0) as workers, pytest.raises(UsageError):
        workers.imap([1], window=0)


SCRIPT = """
import sys, os
sys.path.insert(0, {root!r})
from forensics.workers import WorkerPool
pool = WorkerPool("tests.worker_functions:double", init=2, workers=2, timeout={timeout})  # no __name__ guard
results = pool.imap(["pid", "pid", "hang", "hang"], window=4)
print(next(results).value, next(results).value, flush=True)
{then}
"""


def script(then: str, timeout: float = 60) -> subprocess.Popen[str]:
    text = SCRIPT.format(root=str(ROOT), then=then, timeout=timeout)
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def gone(pids: list[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(running(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def test_a_script_without_guard_that_just_ends_leaves_no_process() -> None:
    process = script("pool.close()")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert gone([int(pid) for pid in out.split()], 5)


def test_ctrl_c_ends_the_workers() -> None:
    process = script("with pool:\n    list(results)")
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert gone(pids, 5)


def test_workers_end_when_the_parent_is_killed() -> None:
    process = script("import time; time.sleep(60)", timeout=1)
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    process.kill()
    process.communicate(timeout=60)
    assert gone(pids, 10)  # they hang in the function: the kernel's alarm ends them
