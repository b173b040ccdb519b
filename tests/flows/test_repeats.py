"""What a generator repeats, found without references: a callable whose memory is known."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.flows.repeats import find_repeats, repeats
from forensics.generate import GeneratorOptions
from forensics.lab.repeats import uncoded
from forensics.types import GeneratedImage, GeneratorSpec, Progress, Scalar
from tests.small_world import write_world_model


class Remembers:
    """Gives the same picture for prompts that begin with ``known``, with a little noise, and a new one for others."""

    def __init__(self, *, side: int = 96, every: int = 1) -> None:
        self._side, self._every = side, every
        self.made = 0

    @property
    def spec(self) -> GeneratorSpec:
        return GeneratorSpec(name="remembers", kind="callable")

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        settings: Mapping[str, Scalar],
        progress: Progress | None = None,
    ) -> list[GeneratedImage]:
        self.made += len(prompts)
        return [GeneratedImage(pixels=self._one(prompt, seed)) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _one(self, prompt: str, seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, len(prompt)])
        if prompt == "blank":
            return np.full((self._side, self._side, 3), 255, np.uint8)
        known = prompt.startswith("known") and seed % self._every == 0
        what = np.random.default_rng(len(prompt)) if known else rng
        blocks = what.integers(0, 256, (24, 24, 3)).repeat(self._side // 24, 0).repeat(self._side // 24, 1)
        return np.clip(blocks + rng.normal(0, 4, blocks.shape), 0, 255).astype(np.uint8)


def test_memories_are_found_ranked_and_written(tmp_path: Path) -> None:
    prompts = ["known one", "new", "known another", "blank"]
    found = repeats(prompts, model=Remembers(), out=tmp_path / "out", samples=6)
    assert found is not None
    assert [found.texts[group.prompt] for group in found.groups] == ["known one", "known another"]
    assert all(len(group.members) == 6 and group.share == 1 for group in found.groups)
    rows = list(csv.DictReader(found.table.read_text("utf-8-sig").splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert len(rows[0]["members"].split()) == 6
    candidates = sorted(path.name for path in (tmp_path / "out" / "candidates").iterdir())
    assert candidates == [f"rank-000{row['rank']}-{row['centre']}" for row in rows]
    page = found.page.read_text("utf-8")
    assert "2 groups of near-identical images among 24 from 4 prompts" in page
    assert page.count("<figure>") == 12


def test_a_memory_that_comes_up_half_of_the_time(tmp_path: Path) -> None:
    found = repeats(["known one", "new"], model=Remembers(every=2), out=tmp_path / "out", samples=8)
    assert found is not None
    assert [len(group.members) for group in found.groups] == [4]
    assert found.groups[0].share == 0.5


def test_two_alike_are_no_group_unless_asked_for() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.random((6, 64, 64, 3), dtype=np.float32)
    pictures[1] = pictures[0]
    images = uncoded(pictures, 16)
    assert find_repeats(images, [0] * 6) == []
    two = find_repeats(images, [0] * 6, least=2)
    assert [(group.centre, group.members) for group in two] == [(0, (0, 1))]
    assert two[0].clique == 2


def test_equal_pictures_of_two_prompts_make_no_group_of_one() -> None:
    """A group is of one prompt; what all prompts show is template."""
    pictures = np.repeat(np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32), 6, 0)
    images = uncoded(pictures, 16)
    assert find_repeats(images, [0, 0, 0, 1, 1, 1]) == []
    assert len(find_repeats(images, [0] * 6)) == 1


def test_a_run_goes_on_with_more_samples(tmp_path: Path) -> None:
    model = Remembers()
    repeats(["known one"], model=model, out=tmp_path / "out", samples=3)
    repeats(["known one"], model=model, out=tmp_path / "out", samples=5)
    assert model.made == 5


def test_tokens_of_a_codebook_are_looked_at_too(tmp_path: Path) -> None:
    model = write_world_model(tmp_path / "model")
    told = []
    found = repeats(
        "рисунок а",
        model=str(model),
        out=tmp_path / "out",
        samples=3,
        options=GeneratorOptions(batch=3),
        on_estimate=lambda expected: told.append(expected) is None,
    )
    assert found is not None
    assert found.images == 3
    assert told[0].completions == 3
    assert told[0].memory > 0
    assert any("One prompt alone" in note for note in found.notes)


def test_an_unknown_speed_is_said(tmp_path: Path) -> None:
    told = []

    def end(expected: object) -> bool:
        told.append(expected)
        return False

    assert repeats("known", model=Remembers(), out=tmp_path / "out", on_estimate=end) is None
    assert "16 images to draw" in told[0].text  # type: ignore[attr-defined]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("samples", [0, 1, 10_001])
def test_repeats_need_company(tmp_path: Path, samples: int) -> None:
    with pytest.raises(UsageError, match="2 to 10,000"):
        repeats("known", model=Remembers(), out=tmp_path / "out", samples=samples)
