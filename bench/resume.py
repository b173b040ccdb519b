"""Kill `forensics index build` at random moments, resume it, compare the index byte for byte with an uninterrupted one.

    python bench/resume.py SOURCE [--kills 30] [--part-size 16] [--embedders none] [--seed 0]

Every round begins a fresh index, is killed once or several times (SIGKILL, the whole process group), and is then left
to finish. Exit code 0 if every round ends with the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--part-size", type=int, default=16)
    parser.add_argument("--embedders", default="none")
    parser.add_argument("--keep-pixels", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)  # noqa: S311 - moments, not secrets
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        start = time.monotonic()
        if start_build(given, whole).wait() not in (0, 11):
            return 1
        seconds = time.monotonic() - start
        expected = digest(whole)
        print(f"uninterrupted: {seconds:.1f} s, {len(expected)} files")
        kills = failures = rounds = 0
        while kills < given.kills:
            rounds += 1
            out = Path(folder) / f"round-{rounds}"
            done = 0
            for _ in range(min(rng.randint(1, 3), given.kills - kills)):
                moment = rng.uniform(0.0, seconds)
                if not kill_after(start_build(given, out), moment):
                    break
                kills += 1
                done += 1
                print(f"  round {rounds}: killed after {moment:.2f} s, {committed(out)} parts committed", flush=True)
            code = start_build(given, out).wait()
            found = digest(out)
            differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            failures += code not in (0, 11) or bool(differing)
            if done or differing:
                text = f"DIFFERENT: {', '.join(differing[:5])}" if differing else "equal"
                print(f"  round {rounds}: {text} (exit {code})", flush=True)
            shutil.rmtree(out)
    print(f"{kills} kills in {rounds} rounds, {failures} indexes differ from the uninterrupted one")
    return 1 if failures else 0


def start_build(given: argparse.Namespace, out: Path) -> subprocess.Popen:
    words = ["index", "build", str(given.source), "--out", str(out), "--embedders", given.embedders, "--quiet"]
    words += ["--part-size", str(given.part_size), "--keep-pixels", str(given.keep_pixels)]
    code = "from forensics.cli.app import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *words], start_new_session=True, stdout=subprocess.DEVNULL)


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Kill the process and its workers at once; False where it had ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def committed(out: Path) -> int:
    parts = out / "parts.jsonl"
    return parts.read_bytes().count(b"\n") if parts.exists() else 0


def digest(folder: Path) -> dict[str, str]:
    """Return every file below the folder, relative, with the SHA-256 of its bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    sys.exit(main())
