"""The embedded corpus: what its manifest says of the pictures holds, and every picture is accounted for."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.render.agencies import AGENCIES
from forensics.train.corpus import read_corpus
from index_data import make_corpus
from index_data.sources import FILE, LICENCES, MARKER

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "index_data" / "demo"


def rows() -> list[dict[str, str]]:
    with (DEMO / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_numbers_are_those_of_the_design() -> None:
    found = rows()
    roles = Counter(row["role"] for row in found)
    assert roles["member"] == make_corpus.MEMBERS
    assert roles["held-out"] == make_corpus.HELD_OUT
    assert roles["distractor"] >= 1000
    planted = Counter(int(row["planted"]) for row in found if row["role"] == "member")
    assert {repeat: planted[repeat] for repeat in make_corpus.PLANTED} == dict(make_corpus.PLANTED)
    assert set(planted) == {1, *make_corpus.PLANTED}


def test_every_picture_is_listed_and_every_listed_one_is_there() -> None:
    shipped = {f"pictures/{path.name}" for path in (DEMO / "pictures").iterdir()}
    assert {row["path"] for row in rows()} == shipped
    assert sum((DEMO / path).stat().st_size for path in shipped) < 12_000_000


def test_every_picture_is_in_sources_with_its_licence() -> None:
    lines = FILE.read_text("utf-8").split(MARKER)[1].splitlines()
    listed = {line.split(" | ")[0].removeprefix("| "): line for line in lines if line.startswith("| pictures/")}
    assert set(listed) == {row["path"] for row in rows()}
    for row in rows():
        assert row["author"].strip(), row["path"]
        assert f" | {LICENCES[row['licence']]} | " in listed[row["path"]], row["path"]


def test_no_group_stands_on_two_sides() -> None:
    """Near-duplicates of a held-out picture among the references would make a copy of what was never seen."""
    sides: dict[str, set[str]] = {}
    for row in rows():
        sides.setdefault(row["group"], set()).add(row["role"])
    assert not [group for group, found in sides.items() if len(found) > 1]


def test_members_and_held_out_are_alike() -> None:
    """Both were drawn from one pool after it was decorated: the shares of marks differ by no more than chance."""
    found = rows()
    for kind in (*AGENCIES, "meme", "cover"):
        share = {}
        for role in ("member", "held-out"):
            side = [row for row in found if row["role"] == role]
            marked = [row for row in side if row["watermark"] == kind or (row.get(kind))]
            share[role] = len(marked) / len(side)
        pooled = (2 * share["member"] + share["held-out"]) / 3
        bound = 3.3 * np.sqrt(pooled * (1 - pooled) * (1 / 600 + 1 / 300))
        assert abs(share["member"] - share["held-out"]) < bound, kind


def test_captions_of_the_pool_are_unique_and_do_not_tell_of_watermarks() -> None:
    pool = [row for row in rows() if row["role"] != "distractor"]
    captions = [row["caption"] for row in pool]
    assert len(set(captions)) == len(captions)
    for row in pool:
        assert not any(name.lower() in row["caption"].lower() for name in AGENCIES)
        assert ("мем" in row["caption"].split()) == bool(row["meme"])


def test_the_reader_takes_it_and_pictures_are_square() -> None:
    corpus = read_corpus(DEMO)
    for picture in corpus.pictures[::40]:
        with Image.open(picture.path) as opened:
            assert opened.size == (make_corpus.SIDE, make_corpus.SIDE)


def test_roles_never_split_a_group_and_need_a_large_enough_pool() -> None:
    def picture(number: int) -> make_corpus.Picture:
        return make_corpus.Picture(
            file=f"{number}.png", title="", author="x", licence="PD", dataset="openclipart", caption_ru=str(number),
            group=str(number // 2), category="thing",
        )  # fmt: skip

    many = [picture(number) for number in range(1100)]
    role = make_corpus.roles(many, np.random.default_rng(0))
    assert Counter(role)["member"] == make_corpus.MEMBERS
    for one, two in zip(role[::2], role[1::2], strict=True):
        assert {one, two} in ({"member"}, {"held-out"}, {"distractor"})
    with pytest.raises(SystemExit, match="pool is too small"):
        make_corpus.roles(many[:500], np.random.default_rng(0))
