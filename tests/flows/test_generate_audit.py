"""From prompts to a report: that both parts really overlap, and what they survive together."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from forensics import audit, build_index
from forensics.embed.hashes import PHash
from forensics.errors import ForensicsError, IndexFormatError, SourceError, UsageError
from forensics.flows.audit import AuditOptions
from forensics.flows.generate import generate
from forensics.flows.generate_audit import GenerateAuditResult, generate_audit, images_folder
from forensics.generate import GeneratorOptions
from forensics.report.evidence import check_sums
from forensics.types import GeneratedImage, Generator, GeneratorSpec, Scalar

_PICTURES = {"astronaut": data.astronaut, "cat": data.chelsea, "coffee": data.coffee}


class Memory:
    """A generator that gives a picture back for its name, mirrored for odd seeds, and colour fields for all else."""

    def __init__(self, fail: Mapping[tuple[str, int], BaseException] | None = None) -> None:
        self.spec = GeneratorSpec(
            name="memory",
            kind="test",
            weights={"w.bin": hashlib.sha256(b"memory").hexdigest()},
            defaults={"temperature": 1.0},
            licence="none",
        )
        self.made: list[tuple[str, int]] = []
        self.threads: set[int] = set()
        self._fail = fail or {}

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], *, settings: Mapping[str, Scalar], progress: Any = None
    ) -> list[GeneratedImage]:
        self.threads.add(threading.get_ident())
        images = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            self.before(prompt, seed)
            if (prompt, seed) in self._fail:
                raise self._fail[prompt, seed]
            digest = hashlib.sha256(f"{prompt} {seed}".encode()).digest()
            pixels = np.frombuffer(digest[:27], np.uint8).reshape(3, 3, 3).repeat(24, 0).repeat(24, 1)
            if prompt in _PICTURES:
                pixels = _PICTURES[prompt]()[20:340, 100:420]
                pixels = np.ascontiguousarray(pixels[:, ::-1]) if seed % 2 else pixels
            images.append(GeneratedImage(pixels=pixels, measurements={"perplexity": float(digest[0])}))
            self.made.append((prompt, seed))
            if progress is not None:
                progress("steps", len(images), len(prompts))
        return images

    def before(self, prompt: str, seed: int) -> None:
        """Do something before an image is made."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("index")
    (root / "references").mkdir()
    for name, picture in _PICTURES.items():
        Image.fromarray(picture()).save(root / "references" / f"{name}.png")
    build_index(root / "references", out=root / "index", hashes=("phash", "pdq"), embedders=(), workers=0)
    return root / "index"


def _run(
    index: Path, out: Path, generator: Generator | None = None, *, workers: int = 0, **more: Any
) -> GenerateAuditResult:
    more.setdefault("prompts", ["cat", "дом"])
    return generate_audit(
        more.pop("prompts"),
        model=generator or Memory(),
        index=index,
        out=out,
        generator_options=GeneratorOptions(batch=more.pop("batch", 1)),
        options=AuditOptions(workers=workers, effort=more.pop("effort", "fast"), **more.pop("options", {})),
        **more,
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _run_facts(out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((out / "run.json").read_text("utf-8"))
    return facts


def _no_generating_thread() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "forensics-generate"]


def _files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("images/*")}


@pytest.fixture(scope="module")
def done(index: Path, tmp_path_factory: pytest.TempPathFactory) -> GenerateAuditResult:
    out = tmp_path_factory.mktemp("done") / "run"
    return _run(index, out, n=2, seed=5, settings={"temperature": 0.5}, options={"case_id": "G 1"})


def test_from_prompts_to_a_report(done: GenerateAuditResult) -> None:
    out = done.audit.run_dir
    assert dict(done.audit.states) == {"ok": 4}
    assert done.audit.images_with_copy == 2
    check_sums(out)
    found = [json.loads(line) for line in (out / "findings.jsonl").read_text("utf-8").splitlines()]
    assert {(row["query"]["id"], row["reference"]["id"]) for row in found} == {
        ("images/00001-seed5.png", "cat.png"), ("images/00001-seed6.png", "cat.png"),
    }  # fmt: skip
    metadata = found[0]["query"]["metadata"]
    assert metadata["prompt"] == "cat"
    assert metadata["seed"] in (5, 6)
    assert metadata["perplexity"] >= 0
    text = done.audit.report.read_text("utf-8")
    assert "clustered by 2 prompts" in text
    assert "G 1" in text


def test_the_run_says_what_made_the_images(done: GenerateAuditResult) -> None:
    run = _run_facts(done.audit.run_dir)
    assert run["source"] == {"path": str(done.generated.out), "kind": "generated"}
    entry = run["generator"]
    assert entry["name"] == "memory"
    assert entry["weights"] == {"w.bin": hashlib.sha256(b"memory").hexdigest()}
    assert (entry["prompts"], entry["n"], entry["seed"]) == (["cat", "дом"], 2, 5)
    assert entry["sampling"] == {"temperature": 0.5}
    assert entry["images"] == {"made": 4, "kept": 0}
    assert entry["weights"]["w.bin"] in done.audit.report.read_text("utf-8")


def test_it_is_what_both_commands_give_one_after_the_other(
    index: Path, tmp_path: Path, done: GenerateAuditResult
) -> None:
    """Same images, same candidates, same findings; the records carry what the table says, ranks excepted."""
    made = generate(
        ["cat", "дом"], model=Memory(), out=tmp_path / "made", n=2, seed=5, settings={"temperature": 0.5},
    )  # fmt: skip
    apart = audit(made.table, index=index, out=tmp_path / "run", effort="fast", workers=0)
    assert {name: data for name, (data, _) in _files(made.out).items()} == {
        name: data for name, (data, _) in _files(done.generated.out).items()
    }
    assert (apart.run_dir / "candidates.csv").read_bytes() == (done.audit.run_dir / "candidates.csv").read_bytes()
    assert list(apart.findings()["finding_id"]) == list(done.audit.findings()["finding_id"])
    ours, theirs = (result.images() for result in (done.audit, apart))
    assert list(ours["prompt"]) == list(theirs["prompt"])
    for one, other in zip(ours["extra"], theirs["extra"], strict=True):
        table = {name: str(value) for name, value in json.loads(other).items() if not name.endswith("_rank")}
        assert {name: str(value) for name, value in json.loads(one).items()} == table


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_described_while_others_are_being_made(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """The generator does not make its last image before a descriptor of the first ones has been computed."""
    described = threading.Event()
    embed = PHash.embed

    def seen(self: PHash, prepared: Any) -> Any:
        described.set()
        return embed(self, prepared)

    monkeypatch.setattr(PHash, "embed", seen)

    class Patient(Memory):
        def before(self, prompt: str, seed: int) -> None:
            if seed == 7:
                assert described.wait(60), "nothing was described before the last image was made"

    generator = Patient()
    result = _run(index, tmp_path / "run", generator, workers=workers, prompts=["дом"], n=8)
    assert described.is_set()
    assert result.audit.states["ok"] == 8
    assert threading.get_ident() not in generator.threads


def test_an_interrupted_run_goes_on(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at image 6, with parts of 4: no finished image is made again, none of the first part is read again."""
    from forensics.flows import ingest

    monkeypatch.setattr("forensics.flows.audit._LIVE_PART", 4)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        _run(index, out, Memory({("дом", 6): KeyboardInterrupt()}), prompts=["дом"], n=8)
    assert _no_generating_thread()
    assert len(_rows(images_folder(out) / "generated.csv")) == 6
    assert not (out / "report.html").exists()
    kept = _files(images_folder(out))
    read: list[str] = []
    one = ingest.ingest_one

    def counted(plan: Any, record: Any) -> Any:
        read.append(record.id)
        return one(plan, record)

    generator = Memory()
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "ingest_one", counted)
        result = _run(index, out, generator, prompts=["дом"], n=8)
    assert generator.made == [("дом", 6), ("дом", 7)]
    assert read == [f"images/00001-seed{seed}.png" for seed in range(4, 8)]
    assert (result.generated.made, result.generated.kept) == (2, 6)
    assert result.audit.states["ok"] == 8
    files = _files(images_folder(out))
    assert {name: files[name] for name in kept} == kept
    whole = _run(index, tmp_path / "whole", prompts=["дом"], n=8)
    assert (out / "candidates.csv").read_bytes() == (whole.audit.run_dir / "candidates.csv").read_bytes()
    assert list(result.audit.images()["id"]) == list(whole.audit.images()["id"])


def test_the_order_is_the_plans_also_where_names_sort_otherwise(index: Path, tmp_path: Path) -> None:
    """An interrupted run of 12: seed 10 comes before seed 2 by name, and not in the list of what was described."""
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        _run(index, out, Memory({("дом", 11): KeyboardInterrupt()}), prompts=["дом"], n=12)
    result = _run(index, out, prompts=["дом"], n=12)
    assert list(result.audit.images()["id"]) == [f"images/00001-seed{seed}.png" for seed in range(12)]


def test_one_interrupted_after_the_last_image_goes_on(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forensics.flows import audit as flow

    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(flow, "_add_pictures", stop)
        with pytest.raises(KeyboardInterrupt):
            _run(index, out)
    generator = Memory()
    with monkeypatch.context() as patch:
        patch.setattr("forensics.flows.ingest.ingest_one", stop)
        patch.setattr("forensics.flows.pairs.verify_pair", stop)
        result = _run(index, out, generator)
    assert not generator.made
    assert result.audit.images_with_copy == 1
    assert _run_facts(out)["generator"]["images"] == {"made": 0, "kept": 2}


def test_more_images_go_on_and_what_was_half_described_is_described_anew(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        _run(index, out, Memory({("дом", 0): KeyboardInterrupt()}), n=2)
    generator = Memory()
    result = _run(index, out, generator, n=3)
    assert sorted(generator.made) == [("cat", 2), ("дом", 0), ("дом", 1), ("дом", 2)]
    assert result.audit.states["ok"] == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_what_ends_the_generation_is_the_one_error(index: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "run"
    error = ForensicsError("the model has melted; let it cool")
    with pytest.raises(ForensicsError, match=r"^the model has melted; let it cool$") as caught:
        _run(index, out, Memory({("дом", 1): error}), n=2, workers=workers)
    assert caught.value is error
    assert _no_generating_thread()
    assert [row["seed"] for row in _rows(images_folder(out) / "generated.csv")] == ["0", "1", "0"]
    assert not (out / "report.html").exists()
    assert _run(index, out, n=2, workers=workers).generated.kept == 3


def test_a_full_disk_keeps_what_is_finished(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from forensics.report.files import write_bytes

    def write(target: Path, content: bytes) -> None:
        if target.name == "00002-seed0.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        write_bytes(target, content)

    with monkeypatch.context() as patch:
        patch.setattr("forensics.flows.generation_files.write_bytes", write)
        with pytest.raises(ForensicsError, match=r"No space left on device; 1 of 2 images are finished and kept"):
            _run(index, tmp_path / "run")
    assert _run(index, tmp_path / "run").generated.kept == 1


def test_what_ends_the_audit_ends_the_generation_between_two_steps(index: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the main thread, here in its progress; what is finished then is listed."""
    out = tmp_path / "run"
    described = threading.Event()

    class Slow(Memory):
        def before(self, prompt: str, seed: int) -> None:
            if seed == 2:  # the batch of seeds 2 to 9 is under way when the interrupt comes
                assert described.wait(60)
            elif seed > 2:
                time.sleep(0.02)  # the rest would otherwise be made before the interrupt is heard

    def interrupt(stage: str, images: int, total: int | None) -> None:
        if stage == "describe":
            described.set()
            raise KeyboardInterrupt

    slow = Slow()
    with pytest.raises(KeyboardInterrupt):
        generate_audit(
            ["дом"], model=slow, index=index, out=out, n=2, generator_options=GeneratorOptions(batch=1),
            options=AuditOptions(workers=0, effort="fast"), progress=interrupt,
        )  # fmt: skip
    assert _no_generating_thread()
    described.clear()
    with pytest.raises(KeyboardInterrupt):
        generate_audit(
            ["дом"], model=slow, index=index, out=out, n=1000, generator_options=GeneratorOptions(batch=998),
            options=AuditOptions(workers=0, effort="fast"), progress=interrupt,
        )  # fmt: skip
    assert _no_generating_thread()
    assert len(slow.made) < 1000
    assert len(_rows(images_folder(out) / "generated.csv")) == 2


def test_wrong_input_is_said_before_an_image_is_made(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    generator = Memory()
    with pytest.raises(SourceError, match="an empty prompt"):
        _run(index, out, generator, prompts=[" "])
    with pytest.raises(UsageError, match="top_k 3 given, which memory does not take"):
        _run(index, out, generator, settings={"top_k": 3})
    with pytest.raises(IndexFormatError):
        _run(tmp_path, out, generator)
    assert not out.exists()
    assert not images_folder(out).exists()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        _run(index, out, generator)
    assert not generator.made
    with pytest.raises(UsageError, match="0 images a prompt given"):
        _run(index, tmp_path / "none", n=0)


def test_images_of_another_run_are_never_mixed(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    _run(index, out)
    with pytest.raises(UsageError, match="was made with another sampling; give another folder, or --replace"):
        _run(index, out, settings={"temperature": 0.5})
    again = _run(index, out, settings={"temperature": 0.5}, replace=True)
    assert (again.generated.made, again.generated.kept) == (2, 0)


def test_a_list_that_changes_meanwhile_is_no_silent_loss(index: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("cat\nдом\n", "utf-8")

    class Editor(Memory):
        @property
        def spec(self) -> GeneratorSpec:
            return self._spec

        @spec.setter
        def spec(self, value: GeneratorSpec) -> None:
            self._spec = value

        def check(self, settings: Mapping[str, Scalar]) -> None:
            path.write_text("cat\n", "utf-8")  # between the two times that the list is read

    with pytest.raises(SourceError, match="the list of prompts was changed while it was read"):
        _run(index, tmp_path / "run", Editor(), prompts=path)


def test_columns_of_the_list_reach_the_report_under_their_names(index: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,seed,phenomenon,path,perplexity\ncat,7,book cover,here,mine\n", "utf-8")
    result = _run(index, tmp_path / "run", prompts=path)
    metadata = json.loads(result.audit.images()["extra"][0])
    assert (metadata["phenomenon"], metadata["given_path"], metadata["given_perplexity"]) == (
        "book cover", "here", "mine",
    )  # fmt: skip
    assert metadata["seed"] == 7
    assert _run_facts(tmp_path / "run")["generator"]["prompts"] == str(path)


def test_progress_of_both_never_at_once(index: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    busy = threading.Lock()

    def report(stage: str, images: int, total: int | None) -> None:
        assert busy.acquire(blocking=False)
        calls.append((stage, images, total))
        busy.release()

    _run(index, tmp_path / "run", n=2, progress=report)
    for stage in ("images", "steps", "describe"):
        assert [call[1:] for call in calls if call[0] == stage][-1] == (4, 4)
    assert {"verify", "pictures"} <= {call[0] for call in calls}


def test_notes_of_the_generation_reach_the_report(index: Path, tmp_path: Path) -> None:
    result = _run(index, tmp_path / "run", prompts=["cat", "cat"])
    note = "prompt 2 repeats prompt 1 with seed 0: made once."
    assert note in result.audit.notes
    assert note in _run_facts(tmp_path / "run")["notes"]


def test_where_the_images_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert images_folder(Path("reports/case-1")) == Path("reports/case-1-generated")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert images_folder(Path()) == tmp_path / "here-generated"


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_a_model_by_its_name(index: Path, tmp_path: Path) -> None:
    result = generate_audit(
        "кот", model="dummy", index=index, out=tmp_path / "run", n=2, options=AuditOptions(workers=1, effort="fast"),
        generator_options=GeneratorOptions(device="cpu", batch=2),
    )  # fmt: skip
    assert result.generated.tokens == 512
    assert dict(result.audit.states) == {"ok": 2}
    assert list(result.audit.images()["prompt"]) == ["кот", "кот"]
