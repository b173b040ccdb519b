"""How long `forensics --help` takes against a bare typer program: medians of interleaved runs and their ratio.

    python bench/startup.py [--repeat 15]

Asked: a ratio of at most 2.5.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = '''import typer

app = typer.Typer()


@app.command()
def hello(name: str = "world") -> None:
    """Greet."""
    typer.echo(name)


app()
'''
OURS = "from forensics.cli.app import main; main()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        programs = {
            "bare typer --help": [sys.executable, str(bare), "--help"],
            "forensics --help": [sys.executable, "-c", OURS, "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in programs}
        for command in programs.values():  # fills the caches of bytecode and files
            seconds(command)
        for _ in range(given.repeat):
            for name, command in programs.items():
                times[name].append(seconds(command))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    for name, median in medians.items():
        print(f"{name:18} {median * 1000:6.0f} ms (median of {given.repeat})")
    print(f"ratio              {medians['forensics --help'] / medians['bare typer --help']:6.2f} (asked: at most 2.5)")


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
