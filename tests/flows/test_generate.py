"""A folder of generated images: what is in it, and what it survives."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from forensics.errors import ForensicsError, SourceError, UsageError
from forensics.flows.generate import GeneratedFile, GenerateResult, generate
from forensics.flows.generation_files import Folder
from forensics.generate import GeneratorOptions, create
from forensics.generate.rudalle.checkpoints import random_transformer
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.dummy import character_tokenizer, random_vqgan
from forensics.generate.rudalle.generator import RudalleGenerator
from forensics.images import decode
from forensics.sources import open_source, read_bytes
from forensics.types import GeneratedImage, Generator, GeneratorSpec, Scalar
from tests.generate.rudalle.models import VQGAN, spread


class Painter:
    """A generator whose pictures can be read: the prompt's and the seed's hash as colours. It remembers its calls."""

    def __init__(self, name: str = "painter", stop_at: tuple[str, int] | None = None) -> None:
        self.spec = GeneratorSpec(
            name=name,
            kind="test",
            weights={"w.bin": hashlib.sha256(name.encode()).hexdigest()},
            defaults={"temperature": 1.0, "steps": 3, "image_prompt": ""},
            licence="none",
        )
        self.calls: list[list[tuple[str, int]]] = []
        self._stop_at = stop_at

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], *, settings: Mapping[str, Scalar], progress: Any = None
    ) -> list[GeneratedImage]:
        pairs = list(zip(prompts, seeds, strict=True))
        self.calls.append(pairs)
        if self._stop_at in pairs:
            raise KeyboardInterrupt
        images = []
        for place, (prompt, seed) in enumerate(pairs, start=1):
            digest = hashlib.sha256(f"{self.spec.name} {prompt} {seed} {settings['temperature']}".encode()).digest()
            pixels = np.frombuffer(digest[:12], np.uint8).reshape(2, 2, 3).repeat(8, 0).repeat(8, 1)
            images.append(GeneratedImage(pixels=pixels, measurements={"perplexity": float(digest[0])}, tokens=(1, 2)))
            if progress is not None:
                progress("steps", place * 3, len(pairs) * 3)
        return images

    @property
    def made(self) -> list[tuple[str, int]]:
        return [pair for call in self.calls for pair in call]


class Brightness:
    """A scorer that can be checked by eye."""

    def __init__(self, name: str = "bright", identity: str = "1") -> None:
        self.name, self.identity = name, identity

    def score(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> np.ndarray:
        assert len(images) == len(prompts)
        return np.array([image.mean() for image in images], np.float32)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _rudalle() -> RudalleGenerator:
    config = TransformerConfig(
        layers=4, hidden=32, heads=2, text_length=12, image_side=6, text_vocab=140, image_vocab=VQGAN.codes
    )
    with torch.no_grad():
        model = spread(random_transformer(config))
    return RudalleGenerator(model, random_vqgan(VQGAN), character_tokenizer(), name="small", weights={"m": "0" * 64})


def _table(out: Path) -> list[dict[str, str]]:
    with (out / "generated.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _bytes(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "images").iterdir())}


def _run(out: Path, generator: Generator | None = None, **options: Any) -> GenerateResult:
    options.setdefault("prompts", ["кот", "пёс"])
    batch = options.pop("batch", 4)
    return generate(
        options.pop("prompts"), model=generator or Painter(), out=out, options=GeneratorOptions(batch=batch), **options
    )


def test_what_a_folder_holds(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = _run(out, n=2, seed=40, settings={"temperature": "0.5"})
    assert (result.made, result.kept, result.tokens, result.notes) == (4, 0, 8, ())
    assert [(file.prompt, file.seed) for file in result.files] == [("кот", 40), ("кот", 41), ("пёс", 40), ("пёс", 41)]
    first = result.files[0]
    assert first.path == out / "images" / "00001-seed40.png"
    sidecar = json.loads(first.sidecar.read_text("utf-8"))
    assert sidecar["prompt"] == "кот"
    assert sidecar["seed"] == 40
    assert sidecar["model"] == "painter"
    assert list(sidecar["weights"]) == ["w.bin"]
    assert sidecar["sampling"] == {"temperature": 0.5, "steps": 3, "image_prompt": ""}
    assert sidecar["measurements"] == dict(first.measurements)
    assert sidecar["tokens"] == [1, 2]
    assert sidecar["image"] == {
        "file": "00001-seed40.png", "sha256": hashlib.sha256(first.path.read_bytes()).hexdigest(),
        "width": 16, "height": 16,
    }  # fmt: skip
    with Image.open(first.path) as image:
        facts = json.loads(image.text["forensics"])
        assert image.text["Description"] == "кот"
        assert image.text["Software"].startswith("forensics ")
    assert facts == {
        "prompt": "кот", "model": "painter", "weights": sidecar["weights"], "seed": 40,
        "sampling": sidecar["sampling"], "perplexity": first.measurements["perplexity"],
    }  # fmt: skip
    run = json.loads((out / "generation.json").read_text("utf-8"))
    assert run["complete"]
    assert run["images"] == {"planned": 4, "finished": 4, "kept": 0}
    assert run["settings"] == {"n": 2, "seed": 40, "temperature": "0.5"}
    assert run["model"]["name"] == "painter"
    assert run["version"]


def test_the_table_is_a_source_for_the_audit(tmp_path: Path) -> None:
    result = _run(tmp_path / "out", n=2)
    source = open_source(result.table)
    records = list(source.records())
    assert [record.metadata["prompt"] for record in records] == ["кот", "кот", "пёс", "пёс"]
    for record, file in zip(records, result.files, strict=True):
        found = decode(read_bytes(record.uri, source.root))
        assert found.state == "ok"
        assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
        assert record.metadata["seed"] == str(file.seed)


def test_an_image_does_not_depend_on_batch_or_order(tmp_path: Path) -> None:
    """With the real generator, to the byte of the file."""
    for name, prompts, batch in (("a", ["кот", "пёс у реки"], 1), ("b", ["пёс у реки", "кот"], 4)):
        _run(tmp_path / name, _rudalle(), prompts=prompts, n=3, seed=5, batch=batch)
    first, second = _bytes(tmp_path / "a"), _bytes(tmp_path / "b")
    for seed in (5, 6, 7):
        assert first[f"00001-seed{seed}.png"] == second[f"00002-seed{seed}.png"]
        assert first[f"00002-seed{seed}.png"] == second[f"00001-seed{seed}.png"]
    assert len({data for name, data in first.items() if name.endswith(".png")}) == 6


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        _run(out, Painter(stop_at=("пёс", 1)), n=3, batch=2)
    # the first two batches are finished and listed
    assert [(row["prompt"], row["seed"]) for row in _table(out)] == [
        ("кот", "0"), ("кот", "1"), ("кот", "2"), ("пёс", "0"),
    ]  # fmt: skip
    run = json.loads((out / "generation.json").read_text("utf-8"))
    assert not run["complete"]
    assert run["images"] == {"planned": 6, "finished": 4, "kept": 0}
    painter = Painter()
    result = _run(out, painter, n=3, batch=2)
    assert painter.made == [("пёс", 1), ("пёс", 2)]
    assert (result.made, result.kept) == (2, 4)
    assert [file.kept for file in result.files] == [True] * 4 + [False] * 2
    _run(tmp_path / "whole", n=3)
    assert _bytes(out) == _bytes(tmp_path / "whole")
    assert (out / "generated.csv").read_bytes() == (tmp_path / "whole" / "generated.csv").read_bytes()


def test_what_a_kill_leaves_is_cleared_and_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _run(out, n=3)
    whole = _bytes(out)
    images = out / "images"
    (images / "00001-seed0.json.part").write_text("half")
    (images / "00001-seed0.json").unlink()  # killed between the image and its sidecar
    (images / "00001-seed1.png").write_bytes(whole["00001-seed1.png"][:-9])
    (images / "00001-seed2.json").write_text('{"format": ')
    (images / "00002-seed0.png").unlink()
    painter = Painter()
    assert _run(out, painter, n=3).made == 4
    assert painter.made == [("кот", 0), ("кот", 1), ("кот", 2), ("пёс", 0)]
    assert _bytes(out) == whole


def test_more_images_and_prompts_go_on_in_the_same_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _run(out, n=1)
    painter = Painter()
    result = _run(out, painter, prompts=["кот", "пёс", "дом"], n=2)
    assert painter.made == [("кот", 1), ("пёс", 1), ("дом", 0), ("дом", 1)]
    assert (result.made, result.kept) == (4, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {"temperature": 0.5}}, r"00001-seed0\.png was made with another sampling;"),
        ({"generator": Painter("other")}, "another model and weights;"),
        ({"prompts": ["пёс", "кот"]}, "another prompt;"),
        ({"n": 1}, r"00001-seed1\.json is not of this run"),
        ({"seed": 7}, "is not of this run"),
    ],
)
def test_runs_are_never_mixed(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    out = tmp_path / "out"
    _run(out, n=2)
    before = _bytes(out)
    with pytest.raises(UsageError, match=words):
        _run(out, **{"n": 2, **change})
    assert _bytes(out) == before
    result = _run(out, **{"n": 2, **change}, replace=True)
    assert result.kept == 0
    assert len(_bytes(out)) == 2 * len(result.files)


def test_other_files_are_neither_removed_nor_mixed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _run(out)
    Image.new("RGB", (8, 8)).save(out / "images" / "mine.png")
    for replace in (False, True):
        with pytest.raises(UsageError, match=r"mine\.png is not of this run"):
            _run(out, replace=replace)
    assert (out / "images" / "mine.png").is_file()


def test_an_image_prompt_counts_by_its_bytes(tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    Image.new("RGB", (8, 8)).save(picture)
    _run(tmp_path / "out", settings={"image_prompt": str(picture)})
    assert _run(tmp_path / "out", settings={"image_prompt": str(picture)}).kept == 2
    Image.new("RGB", (8, 8), "red").save(picture)
    with pytest.raises(UsageError, match="made with another image prompt"):
        _run(tmp_path / "out", settings={"image_prompt": str(picture)})
    # a path in a list is relative to the list, and where the picture lies does not matter
    for place in (tmp_path / "here", tmp_path / "there"):
        place.mkdir()
        Image.new("RGB", (8, 8)).save(place / "p.png")
        (place / "list.csv").write_text("prompt,image_prompt\nкот,p.png\nпёс,p.png\n", "utf-8")
        assert len(_run(tmp_path / "moved", prompts=place / "list.csv").files) == 2
    assert _run(tmp_path / "moved", prompts=tmp_path / "here" / "list.csv").kept == 2


def _full(path: Path) -> Callable[[Path, bytes], None]:
    from forensics.report.files import write_bytes

    def write(target: Path, data: bytes) -> None:
        if target == path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        write_bytes(target, data)

    return write


@pytest.mark.parametrize("name", ["00002-seed0.png", "00002-seed0.json"])
def test_a_full_disk_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("forensics.flows.generation_files.write_bytes", _full(out / "images" / name))
        with pytest.raises(ForensicsError) as caught:
            _run(out, n=2, batch=3)
    assert f"{name}: No space left on device; 2 of 4 images are finished and kept: make room" in str(caught.value)
    assert caught.value.exit_code == 1
    assert len(_table(out)) == 2
    painter = Painter()
    assert _run(out, painter, n=2).kept == 2
    assert painter.made == [("пёс", 0), ("пёс", 1)]


def test_a_wrong_row_is_found_before_anything_is_made(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    for text, words in (
        ("prompt,temperature\nкот,1\nпёс,warm\n", r"p\.csv, line 3: temperature 'warm' given, a number accepted"),
        ("prompt,top_k\nкот,5\n", r"p\.csv, line 2: top_k '5' given, which painter does not take; it takes: temp"),
        (f"prompt,seed\nкот,{2**63 - 1}\n", r"p\.csv, line 2: seeds from \d+ to \d+ given"),
    ):
        path.write_text(text, "utf-8")
        painter = Painter()
        with pytest.raises(UsageError, match=words):
            _run(tmp_path / "out", painter, prompts=path, n=2)
        assert not painter.calls
        assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match=r"^temperature 'x' given"):
        _run(tmp_path / "out", settings={"temperature": "x"})
    path.write_text("prompt,size\nкот,6x9\nпёс,6\n", "utf-8")  # the generator's own check
    with pytest.raises(UsageError, match=r"line 3: size '6' given"):
        _run(tmp_path / "out", _rudalle(), prompts=path)
    with pytest.raises(SourceError, match="an empty prompt"):
        _run(tmp_path / "out", prompts=" ")
    with pytest.raises(UsageError, match="0 images a prompt"):
        _run(tmp_path / "out", n=0)


def test_prompts_have_settings_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        "prompt,seed,n,temperature,translation,path\nкот,5,2,0.5,cat,here\nпёс,,,,dog,\nпёс,,,2,dog,\n", "utf-8"
    )
    painter = Painter()
    result = _run(tmp_path / "out", painter, prompts=path, seed=1, settings={"temperature": 3})
    assert painter.calls == [[("кот", 5), ("кот", 6)], [("пёс", 1)], [("пёс", 1)]]  # a call for each settings
    used = [json.loads(file.sidecar.read_text("utf-8"))["sampling"]["temperature"] for file in result.files]
    assert used == [0.5, 0.5, 3, 2]
    rows = _table(tmp_path / "out")
    assert [row["translation"] for row in rows] == ["cat", "cat", "dog", "dog"]
    assert rows[0]["path"] == "images/00001-seed5.png"
    assert [row["given_path"] for row in rows] == ["here", "here", "", ""]
    assert "temperature" not in rows[0]
    assert json.loads(result.files[0].sidecar.read_text("utf-8"))["metadata"] == {"translation": "cat", "path": "here"}


def test_a_repeated_prompt_is_made_once(tmp_path: Path) -> None:
    result = _run(tmp_path / "out", prompts=["кот", "пёс", "кот"])
    assert [file.prompt for file in result.files] == ["кот", "пёс"]
    assert result.notes == ("prompt 3 repeats prompt 1 with seed 0: made once.",)


def test_scores_rank_and_never_reorder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _run(out, n=3)
    painter = Painter()
    result = _run(out, painter, n=4, scorers=[Brightness()])
    assert painter.made == [("кот", 3), ("пёс", 3)]  # kept images are scored from their files
    rows = _table(out)
    assert [row["path"] for row in rows] == [file.path.relative_to(out).as_posix() for file in result.files]
    assert [int(row["seed"]) for row in rows] == [0, 1, 2, 3] * 2
    for prompt in ("кот", "пёс"):
        own = [row for row in rows if row["prompt"] == prompt]
        by_score = sorted(own, key=lambda row: -float(row["bright"]))
        assert [int(row["bright_rank"]) for row in by_score] == [1, 2, 3, 4]
        by_perplexity = sorted(own, key=lambda row: float(row["perplexity"]))
        assert [int(row["perplexity_rank"]) for row in by_perplexity] == [1, 2, 3, 4]
    for file in result.files:
        with Image.open(file.path) as image:
            assert file.scores["bright"] == pytest.approx(np.asarray(image).mean(), abs=1e-4)
        assert json.loads(file.sidecar.read_text("utf-8"))["scores"] == dict(file.scores)
    # the same scorer has nothing to do, another one of that name has
    stamps = {file.path: file.sidecar.stat().st_mtime_ns for file in result.files}
    again = _run(out, n=4, scorers=[Brightness()])
    assert {file.path: file.sidecar.stat().st_mtime_ns for file in again.files} == stamps
    other = _run(out, n=4, scorers=[Brightness(identity="2")])
    assert all(file.scored_by == {"bright": "2"} for file in other.files)


def test_every_image_is_handed_on_as_soon_as_it_is_committed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _run(out, prompts=["пёс"], n=1)
    seen: list[GeneratedFile] = []

    def take(file: GeneratedFile) -> None:
        assert file.sidecar.is_file()
        assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
        assert not file.path.with_name("00001-seed3.png").exists() or len(seen) >= 2
        seen.append(file)

    result = _run(out, prompts=["пёс"], n=5, batch=2, on_image=take)
    assert seen == list(result.files)
    assert [file.kept for file in seen] == [True, False, False, False, False]


def test_progress_counts_over_the_whole_run(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    _run(tmp_path / "out", n=5, batch=4, progress=lambda *call: calls.append(call))
    images = [call[1:] for call in calls if call[0] == "images"]
    assert images == [(done, 10) for done in range(11)]
    steps = [call[1:] for call in calls if call[0] == "steps"]
    assert steps == [(3 * done, 30) for done in range(1, 11)]
    calls.clear()
    _run(tmp_path / "out", n=5, progress=lambda *call: calls.append(call))
    assert calls == []  # all are kept: there is nothing to wait for


def test_a_cut_prompt_is_noted(tmp_path: Path) -> None:
    result = _run(tmp_path / "out", _rudalle(), prompts=["кот", "большой рыжий кот"], n=2)
    assert result.notes == ('Prompt 2 is longer than the model reads; it was cut after "большой ры".',)
    assert [row["prompt_dropped"] for row in _table(tmp_path / "out")] == ["", "", "жий кот", "жий кот"]
    assert _run(tmp_path / "out", _rudalle(), prompts=["кот", "большой рыжий кот"], n=2).notes == result.notes


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Folder(tmp_path, Painter().spec).locked(), pytest.raises(UsageError, match="another process writes to"):
        _run(tmp_path)


def test_a_model_is_opened_by_its_name(tmp_path: Path) -> None:
    options = GeneratorOptions(device="cpu", batch=2)
    result = generate("кот", model="dummy", out=tmp_path / "out", n=2, options=options)
    assert result.tokens == 512
    assert result.seconds > 0
    direct = create("dummy", options).generate(["кот"], [1], settings={})
    with Image.open(result.files[1].path) as image:
        assert np.array_equal(np.asarray(image), direct[0].pixels)


def test_columns_are_settings_however_they_are_spelt(tmp_path: Path) -> None:
    prompts = tmp_path / "list.csv"
    prompts.write_text("Prompt,Top-K,note\nкот,1,a\n", "utf-8")
    made = generate(prompts, model="dummy", out=tmp_path / "out", seed=1).files[0]
    sidecar = json.loads(made.sidecar.read_text("utf-8"))
    assert sidecar["sampling"]["top_k"] == 1
    assert sidecar["metadata"] == {"note": "a"}
