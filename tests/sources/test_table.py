"""Tables of paths."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from forensics.errors import SourceError
from forensics.sources import open_source, read_bytes
from forensics.sources.metadata import clean, from_json


def images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_keeps_captions_and_further_columns(tmp_path: Path, delimiter: str) -> None:
    images(tmp_path, "img/a.jpg", "img/b c.jpg")
    rows = [
        ["id", "Image_Path", "TEXT", "URL", "license", "score"],
        ["7", "img/a.jpg", '"a cat, ""quoted""; and\nmore"', "https://www.example.org/x?y", "CC0", "0.5"],
        ["8", "img/b c.jpg", "", "", "", ""],
        ["9", "img/missing.jpg", "gone", "", "", "", "one cell too many"],
    ]
    table = tmp_path / "list.csv"
    table.write_text("\ufeff" + "\n".join(delimiter.join(row) for row in rows) + "\n\n", encoding="utf-8")
    source = open_source(table)
    records = list(source.records())
    assert (source.kind, source.root, source.count()) == ("table", tmp_path, 3)
    assert [record.id for record in records] == ["img/a.jpg", "img/b c.jpg", "img/missing.jpg"]
    assert records[0].metadata == {
        "id": "7",
        "caption": 'a cat, "quoted"; and\nmore',
        "source_url": "https://www.example.org/x?y",
        "domain": "example.org",
        "licence": "CC0",
        "score": "0.5",
    }
    assert records[1].metadata == {"id": "8"}
    assert read_bytes(records[1].uri, source.root) == b"img/b c.jpg"
    with pytest.raises(SourceError, match=r"no such file: img/missing\.jpg"):
        read_bytes(records[2].uri, source.root)


def test_parquet_streams_the_same(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images(tmp_path, *[f"{i}.jpg" for i in range(3000)])
    columns = {
        "uri": [f"{i}.jpg" for i in range(3000)],
        "caption": [f"picture {i}" for i in range(3000)],
        "n": list(range(3000)),
        "tags": [["a", "b"]] * 3000,
        "blob": [b"\0"] * 3000,
    }
    pq.write_table(pa.table(columns), tmp_path / "list.parquet", row_group_size=700)
    source = open_source(tmp_path / "list.parquet")
    records = list(source.records())
    assert source.count() == len(records) == 3000
    assert records[2999].metadata == {"caption": "picture 2999", "n": 2999, "tags": '["a", "b"]'}
    assert read_bytes(records[2999].uri, source.root) == b"2999.jpg"


def test_paths_outside_of_the_folder_move_the_root(tmp_path: Path) -> None:
    images(tmp_path, "data/one/a.jpg", "data/two/b.jpg")
    (tmp_path / "data" / "lists").mkdir()
    table = tmp_path / "data" / "lists" / "list.csv"
    table.write_text(f"path\n../one/a.jpg\n{tmp_path}/data/two/b.jpg\nfile://{tmp_path}/data/two/%62.jpg\n")
    source = open_source(table)
    assert source.root == tmp_path / "data"
    records = list(source.records())
    assert [record.id for record in records] == ["one/a.jpg", "two/b.jpg#row2", "two/b.jpg#row3"]
    assert [read_bytes(record.uri, source.root) for record in records] == [
        b"data/one/a.jpg",
        b"data/two/b.jpg",
        b"data/two/b.jpg",
    ]


def test_a_path_far_away_makes_the_root_the_file_system(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("path\n/no-such-folder-of-mine/a.jpg\n")
    source = open_source(table)
    (record,) = source.records()
    assert (source.root, record.uri) == (Path("/"), "file:no-such-folder-of-mine/a.jpg")


def test_rows_without_a_path_are_counted(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    (tmp_path / "list.csv").write_text("path,caption\na.jpg,x\n,y\n.,z\nhttps://example.org/a.jpg,w\n")
    source = open_source(tmp_path / "list.csv")
    records = list(source.records())
    assert len({record.id for record in records}) == len(records) == source.count() == 4
    for record in records[1:]:
        with pytest.raises(SourceError):
            read_bytes(record.uri, source.root)


def test_paths_that_are_not_utf8(tmp_path: Path) -> None:
    name = b"caf\xe9.jpg"
    with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
        file.write(b"latin")
    (tmp_path / "list.csv").write_bytes(b"path,caption\n" + name + b",caf\xe9\n")
    source = open_source(tmp_path / "list.csv")
    (record,) = source.records()
    assert read_bytes(record.uri, source.root) == b"latin"
    record.id.encode()
    str(record.metadata["caption"]).encode()


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("a,b\n1,2\n", None, "no column that is known to hold paths .*--path-column, one of: a, b"),
        ("a,b\n1,2\n", "c", "has no column 'c'; it has: a, b"),
        ("", None, "no column"),
        ("path\n", None, "no row"),
        ('path,x\na,"' + "y" * 200_000 + '"\n', None, "not CSV"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, column: str | None, message: str) -> None:
    before = csv.field_size_limit(131_072)  # the module's own default, which another reader may have raised
    (tmp_path / "list.csv").write_text(text)
    try:
        with pytest.raises(SourceError, match=message) as caught:
            next(open_source(tmp_path / "list.csv", path_column=column).records())
    finally:
        csv.field_size_limit(before)
    assert "\n" not in str(caught.value)


def test_what_is_called_parquet_and_is_none_is_not_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(bytes(range(256)))
    with pytest.raises(SourceError, match="is no parquet file"):
        open_source(tmp_path / "list.parquet")


def test_a_broken_parquet_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(SourceError, match="parquet"):
        open_source(tmp_path / "list.parquet")


def test_a_named_column_wins(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    (tmp_path / "list.csv").write_text("path,thumb\nmissing,a.jpg\n")
    source = open_source(tmp_path / "list.csv", path_column="thumb")
    (record,) = source.records()
    assert (record.id, record.metadata) == ("a.jpg", {"path": "missing"})


def test_metadata_becomes_clean_scalars() -> None:
    fields = {"text": "a\0b\ud800", "caption": "second", "big": 1 << 70, "nan": float("nan"), "nested": {"a": [1]}}
    assert clean(fields | {"flag": True, "url": "http://[bad"}) == {
        "caption": "ab?",
        "big": str(1 << 70),
        "nested": '{"a": [1]}',
        "flag": True,
        "source_url": "http://[bad",
    }
    assert from_json(b"[1]") == from_json(b"{") == from_json(b"\xff") == from_json(b"[" * 100_000) == {}
