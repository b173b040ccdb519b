"""Groups of near-duplicates against a slow oracle, without chains, with crowds and removed images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forensics.errors import IndexFormatError, IntegrityError, SpecMismatchError
from forensics.flows.index import open_index, remove_images
from forensics.index import Index, duplicates
from forensics.index.duplicates import find_duplicates
from forensics.index.groups import DuplicateRule, Duplicates, encode_duplicates, grouped, read_duplicates
from forensics.index.manifest import EmbedderEntry, SourceEntry
from forensics.index.part import ImageRow, PartData, RowSet
from forensics.index.writer import create_index, open_writer
from forensics.testing.demo_embedder import DemoEmbedder
from forensics.types import View

ENTRY = EmbedderEntry(spec=DemoEmbedder().spec, folder="demo", views=(View(name="whole"),))
RULE = DuplicateRule(at_least={"demo": 0.9})


def indexed(folder: Path, rows: np.ndarray, *, part: int = 7) -> Index:
    """Write an index of these (n, 48) vectors."""
    with create_index(folder, embedders=[ENTRY], part_size=part, keep_pixels=0) as writer:
        number = writer.begin_source(SourceEntry(kind="folder", path="/a", root="/a"))
        for start in range(0, len(rows), part):
            data = rows[start : start + part]
            names = [f"{start + k}.png" for k in range(len(data))]
            images = [ImageRow(id=n, uri=f"file:{n}", sha256="", width=4, height=4, state="ok") for n in names]
            described = RowSet(
                data=data.astype(np.float32),
                image=np.arange(len(data), dtype=np.int32),
                view=["whole"] * len(data),
                box=np.zeros((len(data), 4), np.int32),
                orientation=np.zeros(len(data), np.int8),
                quality=np.full(len(data), -1, np.int16),
            )
            writer.commit_part(number, PartData(images=images, rows={"demo": described}, listing=str(start)))
        writer.finish_source(number)
    return open_index(folder)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def at_angles(degrees: list[float], axis: int = 0) -> np.ndarray:
    """Unit rows in one plane: the cosine of two of them is that of the difference of their angles."""
    rows = np.zeros((len(degrees), 48))
    radians = np.deg2rad(degrees)
    rows[:, axis], rows[:, axis + 1] = np.cos(radians), np.sin(radians)
    return rows


def crowd(rng: np.random.Generator, sizes: list[int], singles: int) -> tuple[np.ndarray, list[int]]:
    """Clusters around random centres, and single images, shuffled; return rows and the cluster of each."""
    rows, of = [], []
    for number, size in enumerate(sizes):
        centre = unit(rng.normal(size=48))
        rows += [unit(centre + 0.02 * rng.normal(size=48)) for _ in range(size)]
        of += [number] * size
    rows += list(unit(rng.normal(size=(singles, 48))))
    of += list(range(len(sizes), len(sizes) + singles))
    order = rng.permutation(len(rows))
    return np.array(rows)[order], [of[k] for k in order]


def sets(found: Duplicates) -> set[frozenset[int]]:
    return {frozenset(group.images) for group in found.groups}


def test_clusters_are_found_whole(tmp_path: Path) -> None:
    rows, of = crowd(np.random.default_rng(0), [2, 5, 9, 3], 30)
    found = find_duplicates(indexed(tmp_path / "i", rows), RULE)
    expected = {frozenset(k for k, name in enumerate(of) if name == cluster) for cluster in range(4)}
    assert sets(found) == expected
    assert (found.compared, found.images) == (len(rows), 19)
    assert [len(group.images) for group in found.groups] == [9, 5, 3, 2]
    member = found.groups[0].others[0]
    assert found.size_of(member) == 9
    single = of.index(4)
    assert found.group_of(single) == (single,)


def test_every_member_is_alike_to_its_centre_and_nothing_chains(tmp_path: Path) -> None:
    """Steps of 20 degrees: each image is alike to its neighbours alone (cos 20 = 0.94, cos 40 = 0.77)."""
    index = indexed(tmp_path / "i", at_angles([0, 20, 40, 60, 80, 100]))
    found = find_duplicates(index, RULE)
    rows = index.vectors("demo", np.arange(6)).astype(np.float32)
    assert max(len(group.images) for group in found.groups) == 3
    for group in found.groups:
        for image, score in zip(group.others, group.scores, strict=True):
            assert score == pytest.approx(float(rows[group.centre] @ rows[image]), abs=1e-3)
            assert score >= 0.9
    images = [image for group in found.groups for image in group.images]
    assert len(images) == len(set(images))


def test_the_centre_is_the_one_with_most_alike(tmp_path: Path) -> None:
    found = find_duplicates(indexed(tmp_path / "i", at_angles([0, 20, 40])), RULE)
    assert found.groups[0].centre == 1
    assert found.groups[0].others == (0, 2)


def test_a_crowd_larger_than_a_search_returns_is_found_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(duplicates, "_NEIGHBOURS", 4)
    monkeypatch.setattr(duplicates, "_BLOCK", 11)
    rows, of = crowd(np.random.default_rng(1), [40, 3], 20)
    found = find_duplicates(indexed(tmp_path / "i", rows), RULE)
    assert sets(found) == {frozenset(k for k, name in enumerate(of) if name == cluster) for cluster in range(2)}


def test_removed_images_take_no_part(tmp_path: Path) -> None:
    index = indexed(tmp_path / "i", np.concatenate([at_angles([0, 1, 2]), at_angles([0], axis=4)]))
    assert find_duplicates(index, RULE).size_of(0) == 3
    remove_images(tmp_path / "i", ids=["1.png"])
    found = find_duplicates(open_index(tmp_path / "i"), RULE)
    assert sets(found) == {frozenset({0, 2})}
    assert found.compared == 3


def test_no_group_and_no_descriptor(tmp_path: Path) -> None:
    index = indexed(tmp_path / "i", at_angles([0, 90]))
    assert find_duplicates(index, RULE).groups == ()
    with pytest.raises(SpecMismatchError, match="sscd-int8 or pdq"):
        find_duplicates(index, DuplicateRule(at_least={"sscd-int8": 0.8, "pdq": 0.9}))


def test_grouping_takes_the_best_of_several_scores() -> None:
    left, right = np.array([0, 0, 5]), np.array([1, 1, 6])
    made = grouped(left, right, np.array([0.2, 0.7, 0.1], np.float32))
    assert [(centre, others[0][0]) for centre, others in made] == [(0, 1), (5, 6)]
    assert made[0][1][0][1] == pytest.approx(0.7)
    assert grouped(left[:0], right[:0], np.empty(0, np.float32)) == []


def test_kept_in_the_index_read_replaced_and_stale(tmp_path: Path) -> None:
    index = indexed(tmp_path / "i", at_angles([0, 1, 2, 90]))
    assert read_duplicates(index) is None
    found = find_duplicates(index, RULE)
    with open_writer(tmp_path / "i") as writer:
        first = writer.seal("duplicates", "groups", ".jsonl", encode_duplicates(found))
    read = read_duplicates(open_index(tmp_path / "i"))
    assert read is not None
    assert read.groups == found.groups
    assert read.rule == found.rule
    other = find_duplicates(index, DuplicateRule(at_least={"demo": 0.99999}))
    with open_writer(tmp_path / "i") as writer:
        second = writer.seal("duplicates", "groups", ".jsonl", encode_duplicates(other))
    assert (first.exists(), second.exists()) == (False, True)
    remove_images(tmp_path / "i", ids=["0.png"])
    assert read_duplicates(open_index(tmp_path / "i")) is None


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    index = indexed(tmp_path / "i", at_angles([0, 1]))
    with open_writer(tmp_path / "i") as writer:
        path = writer.seal("duplicates", "groups", ".jsonl", encode_duplicates(find_duplicates(index, RULE)))
    path.write_text(path.read_text().replace("0.9", "0.1"))
    with pytest.raises(IntegrityError, match="changed"):
        read_duplicates(open_index(tmp_path / "i"))
    with open_writer(tmp_path / "i") as writer:
        writer.seal("duplicates", "groups", ".jsonl", b"no json\n")
    with pytest.raises(IndexFormatError, match="damaged"):
        read_duplicates(open_index(tmp_path / "i"))
