"""Building, going on after an interruption, adding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.embed import create
from forensics.errors import IndexFormatError, SourceError, SpecMismatchError, UsageError
from forensics.flows.build import BuildResult, add, build
from forensics.flows.index import describe, open_index, remove_images
from forensics.testing.demo_embedder import DemoEmbedder
from forensics.types import Embedder, Progress, Record, View
from tests.index.pictures import ListedSource, small_index, tree, write_pictures


class StopHereError(Exception):
    """Ends a build from its progress callback, as a kill would end it."""


def stop_after(count: int) -> Progress:
    def progress(stage: str, done: int, total: int | None) -> None:
        if done > count:
            raise StopHereError

    return progress


def embedders() -> list[Embedder]:
    return [DemoEmbedder(), create("phash"), create("pdq")]


def make(source: ListedSource, out: Path, **settings: object) -> BuildResult:
    return build(source, out, embedders(), **{"part_size": 4, "workers": 0, "keep_pixels": 16, **settings})


@pytest.mark.parametrize("count", [0, 3, 4, 9, 17])
def test_resumed_equals_uninterrupted(tmp_path: Path, count: int) -> None:
    source = ListedSource.of(write_pictures(tmp_path / "pictures", 18), caption="x")
    make(source, tmp_path / "whole")
    with pytest.raises(StopHereError):
        make(source, tmp_path / "cut", progress=stop_after(count))
    result = make(source, tmp_path / "cut")
    assert (result.resumed, result.added) == (count // 4 * 4, 18 - count // 4 * 4)
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")
    again = make(source, tmp_path / "cut")
    assert again.already_complete
    assert again.added == 0


def test_any_file_of_an_uncommitted_part_may_be_there(tmp_path: Path) -> None:
    source = ListedSource.of(write_pictures(tmp_path / "pictures", 10))
    make(source, tmp_path / "whole")
    with pytest.raises(StopHereError):
        make(source, tmp_path / "cut", progress=stop_after(5))
    for path in (tmp_path / "whole").rglob("part-00001*"):
        (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).write_bytes(path.read_bytes()[:50])
    (tmp_path / "cut" / "manifest.json.tmp").write_bytes(b"{")
    with (tmp_path / "cut" / "parts.jsonl").open("ab") as file:
        file.write(b'{"part": 1, "sou')
    make(source, tmp_path / "cut")
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_killed_before_the_manifest(tmp_path: Path) -> None:
    source = ListedSource.of(write_pictures(tmp_path / "pictures", 3))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / ".lock").touch()
    (tmp_path / "cut" / "manifest.json.tmp").write_bytes(b"{")
    make(source, tmp_path / "cut")
    make(source, tmp_path / "whole")
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_a_changed_listing_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 10)
    with pytest.raises(StopHereError):
        make(ListedSource.of(folder), tmp_path / "cut", progress=stop_after(6))
    (folder / "0015.png").write_bytes((folder / "001.png").read_bytes())
    with pytest.raises(SourceError, match="no longer lists"):
        make(ListedSource.of(folder), tmp_path / "cut")
    (folder / "0015.png").unlink()
    for name in ("008.png", "009.png"):  # what was not read yet may change
        (folder / name).unlink()
    assert make(ListedSource.of(folder), tmp_path / "cut").added == 4


def test_other_settings_are_refused(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 6)
    source = ListedSource.of(folder)
    with pytest.raises(StopHereError):
        make(source, tmp_path / "cut", progress=stop_after(4))
    with pytest.raises(IndexFormatError, match="part size 4, 5 was given"):
        make(source, tmp_path / "cut", part_size=5)
    with pytest.raises(IndexFormatError, match="kept pixels 16"):
        make(source, tmp_path / "cut", keep_pixels=0)
    half = View(name="half", box=(0, 0, 1, 0.5))
    with pytest.raises(IndexFormatError, match="other views"):
        make(source, tmp_path / "cut", view_plan={"demo": (half,), "phash": (half,), "pdq": (half,)})
    with pytest.raises(SpecMismatchError, match="demo, phash, pdq"):
        build(source, tmp_path / "cut", [DemoEmbedder()], part_size=4, keep_pixels=16, workers=0)
    with pytest.raises(SpecMismatchError, match="weights_sha256"):
        build(source, tmp_path / "cut", [DemoEmbedder("other"), *embedders()[1:]], part_size=4, keep_pixels=16)
    other = ListedSource.of(write_pictures(tmp_path / "other", 3))
    with pytest.raises(SourceError, match="index add"):
        make(other, tmp_path / "cut")
    with pytest.raises(UsageError, match="already holds"):
        make(source, tmp_path / "cut", resume=False)


def test_folders_that_are_not_an_index(tmp_path: Path) -> None:
    source = ListedSource.of(write_pictures(tmp_path / "pictures", 3))
    with pytest.raises(UsageError, match="not empty and not an index"):
        make(source, tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        make(source, tmp_path / "pictures" / "000.png")
    with pytest.raises(SourceError, match="no image files"):
        make(ListedSource(tmp_path, []), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_states_and_unusable_descriptors(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 2)
    (folder / "text.png").write_bytes(b"no image")
    Image.new("RGB", (64, 64)).save(folder / "black.png")
    result = make(ListedSource.of(folder), tmp_path / "index")
    assert sum(result.states.values()) == 4
    assert (result.states["ok"], result.states["degraded"], result.unreadable) == (2, 1, 1)
    index = open_index(tmp_path / "index")
    black = next(index.image(n) for n in range(4) if index.image(n).ref.id == "black.png")
    assert (black.state, black.reason) == ("degraded", "no usable descriptor from demo (NaN or zero)")
    first, stop = index.rows_of_images("demo", np.array([black.number]))
    assert first == stop
    assert index.row_count("phash") == 3
    assert index.row_count("demo") == 2


def test_only_unusable_descriptors(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "pictures" / "black.png")
    source = ListedSource.of(tmp_path / "pictures")
    assert build(source, tmp_path / "index", [DemoEmbedder()], workers=0).states["error"] == 1
    assert (open_index(tmp_path / "index").search("demo", np.ones((1, 48)), 3).rows == -1).all()


def test_views_have_boxes_and_qualities(tmp_path: Path) -> None:
    source = ListedSource.of(write_pictures(tmp_path / "pictures", 5))
    views = (View(name="whole"), View(name="left", box=(0, 0, 1 / 3, 1), orientation=4))
    build(source, tmp_path / "index", [create("pdq")], {"pdq": views}, part_size=2, workers=0)
    frame = open_index(tmp_path / "index").rows_frame("pdq", 1)
    assert frame["view"].tolist() == ["whole", "left"] * 2
    assert frame["image"].tolist() == [2, 2, 3, 3]
    assert frame["orientation"].tolist() == [0, 4, 0, 4]
    assert frame["x1"].tolist() == [64, 22, 64, 22]
    assert (frame["quality"] >= 0).all()


def test_batches_do_not_cross_parts(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Counting(DemoEmbedder):
        def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
            sizes.append(len(prepared))
            return DemoEmbedder.embed(self, prepared)

    source = ListedSource.of(write_pictures(tmp_path / "pictures", 90))
    build(source, tmp_path / "index", [Counting()], part_size=40, workers=0)
    assert sizes == [32, 8, 32, 8, 10]


def test_add(tmp_path: Path) -> None:
    index = small_index(tmp_path, 6)
    demo = [DemoEmbedder(), create("phash")]
    more = write_pictures(tmp_path / "b" / "pictures", 3, first=20)
    result = add(index.directory, ListedSource.of(more), demo, workers=0)
    assert (result.added, result.skipped) == (3, 0)
    grown = open_index(index.directory)
    assert [grown.image(n).ref.id for n in (5, 6)] == ["005.png", "pictures/020.png"]
    assert [part.images for part in grown.parts] == [4, 2, 3]
    assert grown.pixels(6).kind == "original"
    write_pictures(more, 2, first=23)
    again = add(index.directory, ListedSource.of(more), demo, workers=0)
    assert (again.added, again.skipped) == (2, 3)
    assert open_index(index.directory).image(9).ref.id == "pictures-2/023.png"
    assert describe(index.directory)["sources"][2]["skipped"] == 3
    nothing = add(index.directory, ListedSource.of(more), demo, workers=0)
    assert (nothing.added, nothing.skipped, nothing.already_complete) == (0, 5, True)
    assert len(open_index(index.directory).manifest.sources) == 3
    with pytest.raises(SpecMismatchError, match="weights_sha256"):
        add(index.directory, ListedSource.of(more), [DemoEmbedder("other"), demo[1]], workers=0)


def test_removed_images_can_be_added_again(tmp_path: Path) -> None:
    index = small_index(tmp_path, 6)
    remove_images(index.directory, ids=["002.png"])
    result = add(index.directory, ListedSource.of(tmp_path / "pictures"), [DemoEmbedder(), create("phash")], workers=0)
    assert (result.added, result.skipped) == (1, 5)


def test_an_interrupted_addition(tmp_path: Path) -> None:
    demo = [DemoEmbedder(), create("phash")]
    more = ListedSource.of(write_pictures(tmp_path / "more", 11, first=20))
    other = ListedSource.of(write_pictures(tmp_path / "other", 2, first=50))
    for name in ("whole", "cut"):
        small_index(tmp_path / name, 6)
    # The same root for both, so that the two indexes can be equal.
    for name in ("whole", "cut"):
        out = tmp_path / name / "index"
        if name == "cut":
            with pytest.raises(StopHereError):
                add(out, more, demo, workers=0, progress=stop_after(7))
            with pytest.raises(IndexFormatError, match="unfinished"):
                open_index(out)
            with pytest.raises(IndexFormatError, match="unfinished"):
                remove_images(out, ids=["000.png"])
            with pytest.raises(IndexFormatError, match="unfinished source"):
                add(out, other, demo, workers=0)
        result = add(out, more, demo, workers=0)
        assert result.resumed == (4 if name == "cut" else 0)
    whole, cut = tree(tmp_path / "whole" / "index"), tree(tmp_path / "cut" / "index")
    assert {name for name in whole if whole[name] != cut[name]} == {"manifest.json"}  # it names its first root


def test_ids_of_sources_never_meet(tmp_path: Path) -> None:
    class Nested(ListedSource):
        def records(self) -> Iterator[Record]:
            for record in super().records():
                yield replace(record, id=f"b/{record.id}")

    first = Nested.of(write_pictures(tmp_path / "a", 2))
    build(first, tmp_path / "index", [DemoEmbedder()], workers=0)
    add(tmp_path / "index", ListedSource.of(write_pictures(tmp_path / "b", 2)), [DemoEmbedder()], workers=0)
    index = open_index(tmp_path / "index")
    assert [index.image(n).ref.id for n in range(4)] == ["b/000.png", "b/001.png", "b-2/000.png", "b-2/001.png"]


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 1)
    raw = bytes(tmp_path / "pictures") + b"/\xff.png"
    Path(raw.decode("utf-8", "surrogateescape")).write_bytes((tmp_path / "pictures" / "000.png").read_bytes())
    from forensics.sources import open_source

    build(open_source(tmp_path / "pictures"), tmp_path / "index", [DemoEmbedder()], workers=0)
    index = open_index(tmp_path / "index")
    assert index.image(1).ref.uri == "file:%FF.png"
    assert index.pixels(1).kind == "original"
    assert index.duplicates(0) == [1]
