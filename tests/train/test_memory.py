import subprocess
import sys

import pytest

# in a process of its own: the setting stays for as long as the process lives
SCRIPT = """
import resource
from forensics.train.memory import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        b'x' * (64 << 20)  # more than what it ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
print(keep_memory(), usual, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the GNU C library")
def test_freed_memory_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    kept, usual, after = done.stdout.split()
    if kept == "False":
        pytest.skip("another C library")
    assert int(usual) > 5 * 10_000
    assert int(after) < int(usual) / 4


def test_nothing_changes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from forensics.train import memory

    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert not memory.keep_memory()
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert not memory.keep_memory()
