"""Runs commands as the entry point would, in this process."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from forensics.cli.app import main


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*words: object) -> Done:
    """Run ``forensics WORDS``."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["forensics", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def one_line(done: Done) -> str:
    """Return the one line that an error is; nothing else may have been said."""
    assert done.out == ""
    assert done.err.startswith("error: "), done.err
    assert done.err.count("\n") == 1, done.err
    assert done.err.endswith("\n")
    return done.err
