"""Configuration files: what is read, and which key a message names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from forensics.errors import UsageError
from forensics.train.config import read_config, shipped_config
from forensics.train.loop import LoopConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    loop: LoopConfig
    sides: tuple[int, ...] = (1,)
    kind: Literal["a", "b"] = "a"
    share: float = 0.5
    name: str = ""
    exact: bool = False


GOOD = """
sides = [3, 4]
kind = "b"
share = 1
exact = true
[loop]
steps = 100
batch = 2
lr = 1e-3
betas = [0.9, 0.99]
[short.loop]
steps = 7
[short]
share = 0.25
"""


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_file_becomes_a_dataclass(tmp_path: Path) -> None:
    found = read_config(file(tmp_path, GOOD), Whole)
    assert found == Whole(
        loop=LoopConfig(steps=100, batch=2, lr=1e-3, betas=(0.9, 0.99)), sides=(3, 4), kind="b", share=1.0, exact=True
    )
    assert type(found.share) is float


def test_short_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    found = read_config(file(tmp_path, GOOD), Whole, short=True)
    assert (found.loop.steps, found.loop.batch, found.share, found.sides) == (7, 2, 0.25, (3, 4))
    with pytest.raises(UsageError, match=r"no table \[short\]"):
        read_config(file(tmp_path, "[loop]\nsteps = 1\nbatch = 1\nlr = 1.0"), Whole, short=True)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("steps = 100", "stpes = 100", "unknown key loop.stpes; accepted: steps, batch"),
        ("share = 1", "shares = 1", "unknown key shares; accepted: loop, sides"),
        ("steps = 100", "", "the key loop.steps is missing"),
        ("steps = 100", "steps = 1.5", "loop.steps = 1.5 given, int accepted"),
        ("steps = 100", "steps = true", "loop.steps = True given, int accepted"),
        ("steps = 100", "steps = 0", r"\[loop\] steps 0 given, 1 or more"),
        ('kind = "b"', 'kind = "c"', "kind = 'c' given, one of 'a', 'b' accepted"),
        ("exact = true", "exact = 1", "exact = 1 given, bool accepted"),
        ("sides = [3, 4]", "sides = 3", "sides = 3 given, a list accepted"),
        ("sides = [3, 4]", 'sides = ["x"]', "sides = 'x' given, int accepted"),
        ("betas = [0.9, 0.99]", "betas = [0.9]", "loop.betas with 1 entries given, 2 accepted"),
        ("[loop]", "loop = 3\n[other]", "unknown key other"),
        ("sides = [3, 4]", "sides = ", "is no TOML"),
    ],
)
def test_messages_name_file_key_and_what_is_accepted(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in GOOD
    with pytest.raises(UsageError, match=message) as caught:
        read_config(file(tmp_path, GOOD.replace(before, after, 1)), Whole)
    assert "model.toml" in str(caught.value)


def test_a_table_is_asked_for_where_a_value_stands(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"loop = 3 given, a table \[loop\] accepted"):
        read_config(file(tmp_path, "loop = 3"), Whole)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read"):
        read_config(tmp_path / "none.toml", Whole)
    with pytest.raises(UsageError, match=r"'dalle' given; there are configurations of: .*transformer"):
        shipped_config("dalle")
