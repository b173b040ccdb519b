"""Folders: what is listed, in which order, and what reading refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forensics.errors import SourceError
from forensics.sources import open_source, read_bytes
from forensics.sources.uris import display, file_uri, lost_uri, tar_uri


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_every_file_in_the_order_of_raw_paths(tmp_path: Path) -> None:
    names = [
        "b.jpg",
        "a/z.png",
        "a/.hidden",
        "a.b/c",
        "a-b/c",
        "Thumbs.db",
        ".DS_Store",
        "é.jpg",
        "no extension",
        "a/b/c",
    ]
    for name in names:
        write(tmp_path / name, name.encode())
    source = open_source(tmp_path)
    records = list(source.records())
    assert [record.id for record in records] == sorted(names, key=os.fsencode)
    assert source.kind == "folder"
    assert source.count() == len(names)
    assert [read_bytes(record.uri, source.root).decode() for record in records] == [record.id for record in records]


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    names = [b"\xff.jpg", b"\xfe.jpg", b"new\nline #%?.jpg", "\ufffd.jpg".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    source = open_source(tmp_path)
    records = list(source.records())
    assert len({record.id for record in records}) == 4
    assert all(record.id.encode() and record.uri.isascii() for record in records)
    assert sorted(read_bytes(record.uri, source.root) for record in records) == sorted(names)


def test_links_are_not_followed_out_and_loops_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside = write(tmp_path / "outside" / "secret.jpg", b"secret")
    root = tmp_path / "root"
    write(root / "sub" / "real.jpg", b"real")
    (root / "inside.jpg").symlink_to(root / "sub" / "real.jpg")
    (root / "escape.jpg").symlink_to(outside)
    (root / "dangling.jpg").symlink_to(root / "nothing")
    (root / "sub" / "loop").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe")
    source = open_source(root)
    records = {record.id: record for record in source.records()}
    assert sorted(records) == ["dangling.jpg", "escape.jpg", "inside.jpg", "self", "sub/real.jpg"]
    assert read_bytes(records["inside.jpg"].uri, root) == b"real"
    with pytest.raises(SourceError, match="link out of the source"):
        read_bytes(records["escape.jpg"].uri, root)
    with pytest.raises(SourceError, match="no such file"):
        read_bytes(records["dangling.jpg"].uri, root)
    with pytest.raises(SourceError):
        read_bytes(records["self"].uri, root)
    assert "link to a folder" in caplog.text


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:../secret", "leaves the source"),
        ("file:a/%2e%2e/%2e%2e/secret", "leaves the source"),
        ("file:/etc/passwd", "leaves the source"),
        ("file:folder/secret", "link out"),
        ("tar:../x.tar#0+1", "leaves the source"),
        ("file:", "no path"),
        ("file:a%00b", "not a path"),
        ("file:sub", "Is a directory"),
        ("file:pipe", "not a regular file"),
        ("file:sub/real.jpg/x", "cannot read"),
        ("file:" + "n" * 300, "cannot read"),
        ("tar:sub/real.jpg#2+9", "7 of the member's 9 bytes are missing"),
        ("tar:sub/real.jpg#x", "unknown uri"),
        ("http://example.org/a.jpg", "unknown uri"),
        ("tar:sub/real.jpg#0+99999999999", "at most"),
        (lost_uri(b"x.tar", "it is damaged"), "it is damaged"),
    ],
)
def test_reading_never_leaves_the_root(tmp_path: Path, uri: str, message: str) -> None:
    write(tmp_path / "secret")
    root = tmp_path / "root"
    write(root / "sub" / "real.jpg", b"real")
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    with pytest.raises(SourceError, match=message) as caught:
        read_bytes(uri, root)
    assert "\n" not in str(caught.value)


def test_a_window_of_a_file(tmp_path: Path) -> None:
    write(tmp_path / "a b.tar", bytes(range(100)))
    assert read_bytes(tar_uri(b"a b.tar", 10, 5), tmp_path) == bytes(range(10, 15))
    assert read_bytes(tar_uri(b"a b.tar", 100, 0), tmp_path) == b""


def test_a_root_that_is_itself_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real" / "a.jpg", b"a")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    source = open_source(tmp_path / "link")
    assert [read_bytes(record.uri, source.root) for record in source.records()] == [b"a"]


def test_a_folder_that_cannot_be_listed_is_counted(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg")
    closed = tmp_path / "closed"
    write(closed / "b.jpg")
    closed.chmod(0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("runs as root, who may list every folder")
        records = list(open_source(tmp_path).records())
    finally:
        closed.chmod(0o700)
    assert len(records) == 2
    with pytest.raises(SourceError, match="cannot list"):
        read_bytes(records[1].uri, tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.binary(min_size=1, max_size=40).filter(
        lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..")
    )
)
def test_any_name_can_be_read_back(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(name)
    assert read_bytes(file_uri(name), tmp_path) == name
    display(name).encode()
    Path(os.fsdecode(path)).unlink()


@settings(max_examples=100)
@given(a=st.binary(max_size=12), b=st.binary(max_size=12))
def test_different_names_look_different(a: bytes, b: bytes) -> None:
    assert (display(a) == display(b)) == (a == b)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda p: p / "missing", {}, "no such file or folder"),
        (lambda p: p, {}, "no file in"),
        (lambda p: p, {"kind": "movies"}, "unknown kind of source 'movies'; choose one of: auto, folder"),
        (lambda p: p, {"kind": "table"}, "is not a CSV"),
        (lambda p: p, {"kind": "webdataset"}, "no .tar file"),
        (lambda p: p, {"kind": "img2dataset"}, "no image in the shards"),
        (lambda p: p, {"path_column": "path"}, "a path column is for tables"),
        (lambda p: write(p / "picture.jpg"), {}, "is not a source"),
        (lambda p: write(p / "picture.jpg"), {"kind": "folder"}, "is not a folder"),
        (lambda p: write(p / "x.tar", b"no tar"), {}, "is not a tar file"),
        (lambda p: write(p / "x.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0"), {}, "gzip-compressed"),
        (lambda p: write(p / "x.tgz", b"\x1f\x8b\x08\0\0\0\0\0"), {}, "gzip-compressed"),
    ],
)
def test_what_is_no_source_is_one_clear_line(
    tmp_path: Path, make: object, arguments: dict[str, str], message: str
) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    with pytest.raises(SourceError, match=message) as caught:
        next(open_source(path, **arguments).records())
    assert "\n" not in str(caught.value)
