"""Functions as generators."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forensics.errors import UsageError
from forensics.generate import create as create_by_name
from forensics.generate.python import CallableGenerator, create, open_target
from forensics.testing import check_generator
from forensics.types import GeneratedImage, Generator, GeneratorSpec, Progress, Scalar

SOURCE = '''
from PIL import Image
import numpy as np

def paint(prompt: str, seed: int, *, size: int = 8, grey: bool = False, helper=object()):
    """Noise of the seed; the prompt's length shows."""
    pixels = np.random.default_rng([seed, len(prompt)]).integers(0, 256, (size, size, 3), np.uint8)
    return Image.fromarray(pixels).convert("L" if grey else "RGB")

class Painter:
    def __call__(self, prompt, seed):
        return paint(prompt, seed, size=4)
    def draw(self, prompt, seed):
        return paint(prompt, seed, size=6)

painter = Painter()

def needs(a, b, c, d):
    pass

def nothing():
    return 3

number = 3
'''


def noise(prompt: str, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, len(prompt)]).integers(0, 256, (5, 7, 3), np.uint8)


class Replay:
    """A generator of its own."""

    spec = GeneratorSpec(name="replay", kind="own")

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        settings: Mapping[str, Scalar],
        progress: Progress | None = None,
    ) -> list[GeneratedImage]:
        return [GeneratedImage(pixels=noise(prompt, seed)) for prompt, seed in zip(prompts, seeds, strict=True)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own_painter.py"
    path.write_text(SOURCE)
    return path


def test_functions_keep_the_contract(file: Path) -> None:
    check_generator(CallableGenerator(noise))
    check_generator(create(f"{file}:paint"), settings={"size": 3})
    check_generator(create(f"{file}:painter"))


def test_an_image_is_the_functions(file: Path) -> None:
    made = CallableGenerator(noise).generate(["ab", "c"], [3, 4], settings={})
    assert [np.array_equal(image.pixels, noise(*call)) for image, call in zip(made, (("ab", 3), ("c", 4)), strict=True)]
    grey = create(f"{file}:paint").generate(["ab"], [3], settings={"grey": "yes", "size": "9"})[0].pixels
    assert grey.shape == (9, 9, 3)
    assert (grey[..., 0] == grey[..., 2]).all()


def test_the_spec_names_settings_and_source(file: Path) -> None:
    spec = create(f"{file}:paint").spec
    assert (spec.name, spec.kind) == (f"{file}:paint", "callable")
    assert spec.defaults == {"size": 8, "grey": False}  # what is no plain value stays the function's own
    assert spec.settings == {"source_sha256": hashlib.sha256(file.read_bytes()).hexdigest(), **spec.defaults}
    assert CallableGenerator(noise).spec.name == f"{__name__}:noise"
    assert CallableGenerator(noise, name="mine").spec.name == "mine"


def test_what_a_name_may_stand_for(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_painter", raising=False)
    shapes = {"own_painter:paint": 8, "own_painter:painter": 4, "own_painter:painter.draw": 6, "own_painter:Painter": 4}
    for name, side in shapes.items():
        generator = create_by_name(name)
        assert generator.spec.name == name
        assert generator.generate(["red"], [1], settings={})[0].pixels.shape == (side, side, 3)
    assert str(tmp_path) not in sys.path
    assert create_by_name("own_painter.py:paint").generate(["red"], [1], settings={})[0].pixels.shape == (8, 8, 3)
    monkeypatch.delitem(sys.modules, "own_painter")


def test_generators_and_what_makes_them_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("own_generators")
    ready = Replay()
    for attribute, value in {"ready": ready, "kind": Replay, "make": lambda made=ready: made}.items():
        setattr(module, attribute, value)
    monkeypatch.setitem(sys.modules, "own_generators", module)
    assert create("own_generators:ready") is ready
    for name in ("kind", "make"):
        assert isinstance(create(f"own_generators:{name}"), Replay)
    assert isinstance(ready, Generator)


def test_progress_and_no_prompts() -> None:
    calls: list[tuple[str, int, int | None]] = []
    generator = CallableGenerator(noise)
    generator.generate(["a", "b"], [1, 2], settings={}, progress=lambda *call: calls.append(call))
    assert calls == [("making images", 1, 2), ("making images", 2, 2)]
    assert generator.generate([], [], settings={}) == []


def test_a_buffer_that_is_filled_again_is_copied() -> None:
    buffer = np.zeros((2, 2, 3), np.uint8)

    def fill(prompt: str, seed: int) -> np.ndarray:
        buffer[:] = seed
        return buffer

    images = CallableGenerator(fill).generate(["a", "a"], [1, 2], settings={})
    assert [int(image.pixels[0, 0, 0]) for image in images] == [1, 2]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (None, "returned NoneType"),
        ("x.png", "returned str"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\) uint8"),
        (np.zeros((4, 4, 3)), r"shape \(4, 4, 3\) float64"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
    ],
)
def test_what_is_no_image_is_one_clear_error(made: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CallableGenerator(lambda prompt, seed: made, name="broken").generate(["a"], [1], settings={})


def test_an_image_with_alpha_becomes_rgb() -> None:
    generator = CallableGenerator(lambda prompt, seed: Image.new("RGBA", (3, 2), (9, 8, 7, 255)), name="alpha")
    assert generator.generate(["a"], [1], settings={})[0].pixels[1, 2].tolist() == [9, 8, 7]


def test_names_and_signatures_that_cannot_be_used(file: Path) -> None:
    for name, words in {
        "no_colon": "module:attribute or FILE.py:attribute accepted",
        "module:": "module:attribute or FILE.py:attribute accepted",
        "no_such_module:paint": "no Python module 'no_such_module'",
        "no/such/file.py:paint": "no file no/such/file.py",
        f"{file}:pain": r"has no 'pain'; it has: .*\bpaint, Painter, painter\b",
        f"{file}:number": "is int; a callable",
        f"{file}:needs": r"takes neither \(prompt, seed\) nor nothing",
        f"{file}:nothing": r"nothing\(\) gave int",
    }.items():
        with pytest.raises(UsageError, match=words):
            create(name)
    with pytest.raises(UsageError, match=r"given as a generator, a callable fn\(prompt, seed\) accepted"):
        CallableGenerator(lambda prompt: None)
    with pytest.raises(UsageError, match="3 given as a generator"):
        CallableGenerator(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="2 prompts and 1 seeds"):
        CallableGenerator(noise).generate(["a", "b"], [1], settings={})
    with pytest.raises(UsageError, match=r"which .* does not take"):
        CallableGenerator(noise).generate(["a"], [1], settings={"size": 3})


def test_a_modules_own_failure_is_passed_on(tmp_path: Path) -> None:
    """It is the user's code: its traceback says more than we could."""
    path = tmp_path / "broken.py"
    path.write_text("import no_such_module_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        open_target(f"{path}:paint")

    def fails(prompt: str, seed: int) -> None:
        raise ZeroDivisionError(prompt)

    with pytest.raises(ZeroDivisionError, match="red"):
        CallableGenerator(fails).generate(["red"], [1], settings={})
