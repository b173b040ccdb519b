"""WebDataset tars and img2dataset output."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from forensics.errors import SourceError
from forensics.sources import open_source, read_bytes

PAYLOAD = {f"{i:05}.jpg": bytes([i]) * (700 * i + 1) for i in range(8)}


def pack(path: Path, members: Iterable[tuple[str, bytes]], tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_read_where_tarfile_finds_them(tmp_path: Path, tar_format: int) -> None:
    members = [*PAYLOAD.items(), ("x" * 180 + "/" + "é" * 90 + ".png", b"long"), ("./dot/a.b.c.jpg", b"dots")]
    path = pack(tmp_path / "a.tar", members, tar_format)
    source = open_source(path)
    assert (source.kind, source.count()) == ("webdataset", None)
    records = list(source.records())
    assert [record.id for record in records] == [f"a.tar/{name}" for name, _ in members]
    assert [read_bytes(record.uri, source.root) for record in records] == [data for _, data in members]
    with tarfile.open(path) as tar:
        expected = [f"tar:a.tar#{member.offset_data}+{member.size}" for member in tar]
    assert [record.uri for record in records] == expected


def test_sidecars_of_a_key_become_metadata(tmp_path: Path) -> None:
    members = [
        ("a.txt", b"the caption of a\n"),
        ("a.jpg", b"A"),
        ("a.json", json.dumps({"url": "https://example.org/a.jpg", "license": "MIT", "n": 3}).encode()),
        ("a.seg.png", b"AS"),
        ("a.cls", b"5"),
        ("b.json", b'{"caption": "from json"}'),
        ("b.txt", b"from text"),
        ("b.webp", b"B"),
        ("c.jpg", b"C"),
        ("c.json", b"not json"),
        ("folder/c.jpg", b"FC"),
    ]
    records = list(open_source(pack(tmp_path / "x.tar", members)).records())
    first = {
        "caption": "the caption of a",
        "source_url": "https://example.org/a.jpg",
        "domain": "example.org",
        "licence": "MIT",
        "n": 3,
    }
    assert {record.id: dict(record.metadata) for record in records} == {
        "x.tar/a.jpg": first,
        "x.tar/a.seg.png": first,
        "x.tar/b.webp": {"caption": "from json"},
        "x.tar/c.jpg": {},
        "x.tar/folder/c.jpg": {},
    }


def test_a_folder_of_tars_in_the_order_of_names(tmp_path: Path) -> None:
    pack(tmp_path / "b.tar", [("1.jpg", b"b")])
    pack(tmp_path / "a.tar", [("1.jpg", b"a")])
    (tmp_path / "README.md").write_text("companion")
    source = open_source(tmp_path)
    assert source.kind == "webdataset"
    assert [read_bytes(record.uri, source.root) for record in source.records()] == [b"a", b"b"]
    (tmp_path / "loose.jpg").write_bytes(b"x")
    assert open_source(tmp_path).kind == "folder"
    assert open_source(tmp_path, kind="webdataset").kind == "webdataset"


def test_what_cannot_be_addressed_is_counted_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in [("dir", tarfile.DIRTYPE), ("hard.jpg", tarfile.LNKTYPE), ("soft.jpg", tarfile.SYMTYPE)]:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = "a.jpg"
            tar.addfile(info)
        for data in (b"one", b"two"):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        sparse = tarfile.TarInfo("sparse.jpg")
        sparse.size = 4
        sparse.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": "4"}
        tar.addfile(sparse, io.BytesIO(b"1234"))
    source = open_source(path)
    records = list(source.records())
    assert len({record.id for record in records}) == len(records) == 5
    outcome: list[Any] = []
    for record in records:
        try:
            outcome.append(read_bytes(record.uri, source.root))
        except SourceError as error:
            outcome.append(str(error).split(":")[0])
    assert outcome[:4] == ["hard.jpg is a link to a.jpg", "soft.jpg is a link to a.jpg", b"one", b"two"]
    assert "sparse" in outcome[4]


@pytest.mark.parametrize("cut", range(0, 8000, 397))
def test_a_tar_cut_short_loses_nothing_silently(tmp_path: Path, cut: int) -> None:
    members = [(f"{i}.jpg", bytes([65 + i]) * 900) for i in range(5)]
    whole = pack(tmp_path / "x.tar", members).read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[:cut])
    if cut < 512:
        with pytest.raises(SourceError):
            list(open_source(tmp_path / "x.tar").records())
        return
    source = open_source(tmp_path / "x.tar")
    good, bad = [], []
    for record in source.records():
        try:
            good.append(read_bytes(record.uri, source.root))
        except SourceError as error:
            bad.append(str(error))
    complete = sum(1 for i in range(5) if i * 1536 + 512 + 900 <= cut)
    assert good == [data for _, data in members[:complete]]
    assert bool(bad) == (cut < 5 * 1536 + 512)  # up to the first block of the end mark


def test_a_damaged_header_in_the_middle_is_reported(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", [(f"{i}.jpg", b"x" * 100) for i in range(5)])
    data = bytearray(path.read_bytes())
    data[2 * 1024 : 2 * 1024 + 300] = b"\xaa" * 300
    path.write_bytes(data)
    records = list(open_source(path).records())
    assert [record.id for record in records] == ["x.tar/0.jpg", "x.tar/1.jpg", "x.tar/(unreadable rest)"]
    with pytest.raises(SourceError, match="damaged or cut short after byte 2048"):
        read_bytes(records[-1].uri, tmp_path)


def test_hostile_headers_end_as_records(tmp_path: Path) -> None:
    import random

    rng = random.Random(1)
    whole = pack(tmp_path / "x.tar", [(f"{i}.jpg", b"x" * 100) for i in range(5)]).read_bytes()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[512 + rng.randrange(len(whole) - 512) % 5000] = rng.randrange(256)
        (tmp_path / "x.tar").write_bytes(data)
        for record in open_source(tmp_path / "x.tar").records():
            try:
                read_bytes(record.uri, tmp_path)
            except SourceError:
                continue


def test_memory_is_bounded_by_names(tmp_path: Path) -> None:
    import tracemalloc

    path = pack(tmp_path / "x.tar", ((f"{i:06}.jpg", b"") for i in range(4000)))
    tracemalloc.start()
    assert sum(1 for _ in open_source(path).records()) == 4000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def shard(folder: Path, name: str, keys: list[str], failed: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "key": key,
            "url": f"https://img.example.org/{key}",
            "caption": f"caption {key}",
            "status": "success",
            "width": 5,
        }
        for key in keys
    ] + [{"key": failed, "url": "https://gone.example.org", "caption": "gone", "status": "failed", "width": None}]
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    (folder / f"{name}_stats.json").write_text(json.dumps({"count": len(rows), "successes": len(keys)}))


def test_img2dataset_tars_are_joined_by_key(tmp_path: Path) -> None:
    for name in ("00000", "00001"):
        keys = [f"{name}{i:04}" for i in range(3)]
        shard(tmp_path, name, keys, f"{name}9999")
        members = [(f"{key}.jpg", key.encode()) for key in keys]
        members += [(f"{keys[2]}.json", b'{"caption": "sidecar", "exif": "{}"}')]
        pack(tmp_path / f"{name}.tar", members)
    source = open_source(tmp_path)
    records = list(source.records())
    assert (source.kind, source.count(), len(records)) == ("img2dataset", 6, 6)
    assert records[5].id == "00001.tar/000010002.jpg"
    assert records[5].metadata == {
        "source_url": "https://img.example.org/000010002",
        "domain": "img.example.org",
        "caption": "caption 000010002",
        "width": 5,
        "exif": "{}",
    }
    assert read_bytes(records[5].uri, source.root) == b"000010002"


def test_img2dataset_shard_that_was_not_finished(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shard(tmp_path, "00000", ["000000000"], "000000001")
    pack(tmp_path / "00000.tar", [("000000000.jpg", b"a")])
    pack(tmp_path / "00001.tar", [("000010000.jpg", b"b"), ("000010000.txt", b"text")])
    (tmp_path / "00001.parquet").write_bytes(b"PAR1")
    source = open_source(tmp_path)
    assert [dict(record.metadata).get("caption") for record in source.records()] == ["caption 000000000", "text"]
    assert source.count() is None
    assert "00001.parquet" in caplog.text


def test_img2dataset_files_format(tmp_path: Path) -> None:
    shard(tmp_path, "00000", ["000000000", "000000001"], "000000002")
    (tmp_path / "00000").mkdir()
    for key in ("000000000", "000000001"):
        (tmp_path / "00000" / f"{key}.jpg").write_bytes(key.encode())
        (tmp_path / "00000" / f"{key}.json").write_text('{"sha": "1"}')
        (tmp_path / "00000" / f"{key}.txt").write_text("text")
    source = open_source(tmp_path)
    records = list(source.records())
    assert source.kind == "img2dataset"
    assert [record.id for record in records] == ["00000/000000000.jpg", "00000/000000001.jpg"]
    assert records[0].metadata["caption"] == "caption 000000000"
    assert records[0].metadata["sha"] == "1"
    assert read_bytes(records[1].uri, source.root) == b"000000001"
