"""Every change of a file is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forensics.flows.index import check_sources, open_index
from forensics.index.check import check_index
from forensics.index.manifest import EmbedderEntry, SourceEntry
from forensics.index.part import ImageRow, PartData, RowSet
from forensics.index.writer import create_index
from forensics.testing.demo_embedder import DemoEmbedder
from forensics.types import View
from tests.index.pictures import small_index


def test_intact(tmp_path: Path) -> None:
    small_index(tmp_path, keep_pixels=16)
    report = check_index(tmp_path / "index")
    assert (report.files, report.images, report.problems) == (3 * 7, 10, ())


def test_each_file_counts(tmp_path: Path) -> None:
    small_index(tmp_path, keep_pixels=16)
    files = [path for path in (tmp_path / "index").rglob("part-*") if path.is_file()]
    assert len(files) == 21
    for path in files:
        content = path.read_bytes()
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        path.write_bytes(changed)
        name = path.relative_to(tmp_path / "index").as_posix()
        assert [(one.name, one.kind) for one in check_index(tmp_path / "index").problems] == [(name, "changed")]
        path.unlink()
        assert [(one.name, one.kind) for one in check_index(tmp_path / "index").problems] == [(name, "missing")]
        path.write_bytes(content)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_unusable_vectors_with_right_sums(tmp_path: Path, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EmbedderEntry(spec=DemoEmbedder().spec, folder="demo", views=(View(name="whole"),))
    rows = RowSet(
        data=np.full((1, 48), value, np.float32),
        image=np.array([0], np.int32),
        view=["whole"],
        box=np.array([[0, 0, 4, 4]], np.int32),
        orientation=np.array([0], np.int8),
        quality=np.array([-1], np.int16),
    )
    image = ImageRow(id="a", uri="file:a", sha256="", width=4, height=4, state="ok")
    part = PartData(images=[image], rows={"demo": rows}, listing="")
    # A writer that does not check, as another program's would be.
    monkeypatch.setattr("forensics.index.part.check_rows", lambda spec, data, what: data)
    with create_index(tmp_path / "index", embedders=[entry], part_size=4, keep_pixels=0) as writer:
        number = writer.begin_source(SourceEntry(kind="folder", path="/a", root="/a"))
        writer.commit_part(number, part)
        writer.finish_source(number)
    assert "NaN or zero" in check_index(tmp_path / "index").problems[0].text


def test_originals(tmp_path: Path) -> None:
    small_index(tmp_path, 4)
    (tmp_path / "pictures" / "001.png").unlink()
    (tmp_path / "pictures" / "002.png").write_bytes(b"other")
    problems = list(check_sources(open_index(tmp_path / "index")))
    assert [(one.id, one.kind) for one in problems] == [("001.png", "missing"), ("002.png", "changed")]
