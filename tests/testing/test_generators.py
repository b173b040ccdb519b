"""The kit lets a good generator through and names what is wrong with each bad one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.testing import check_generator
from forensics.types import GeneratedImage, GeneratorSpec, Progress, Scalar


class Good:
    """Noise of prompt and seed."""

    def __init__(self) -> None:
        self.spec = GeneratorSpec(name="noise", kind="test", weights={"a": "0" * 64}, defaults={"side": 4})
        self.calls = 0

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        settings: Mapping[str, Scalar],
        progress: Progress | None = None,
    ) -> list[GeneratedImage]:
        if unknown := set(settings) - set(self.spec.defaults):
            raise UsageError(f"{unknown} given")
        self.calls += 1
        images = []
        for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            images.append(self.image(prompt, seed, number, len(prompts)))
            if progress is not None:
                progress("noise", number + 1, len(prompts))
        return images

    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return self.noise(sum(prompt.encode()), seed)

    def noise(self, *key: int) -> GeneratedImage:
        return GeneratedImage(pixels=np.random.default_rng(key).integers(0, 256, (4, 4, 3), np.uint8), tokens=(1,))


def test_a_good_one_passes() -> None:
    generator = Good()
    check_generator(generator)
    check_generator(generator, prompts=["a", "b"], settings={"side": 4})
    assert generator.calls > 10


class Place(Good):
    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return self.noise(sum(prompt.encode()), seed, number)


class Company(Good):
    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return self.noise(sum(prompt.encode()), seed, count)


class Order(Good):
    """One stream for all images of a call, begun with the first one's seed."""

    def generate(self, prompts: Any, seeds: Any, **rest: Any) -> list[GeneratedImage]:
        self.first = [*seeds, 0][0]
        return super().generate(prompts, seeds, **rest)

    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return self.noise(sum(prompt.encode()), seed, self.first)


class Unseeded(Good):
    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return GeneratedImage(pixels=np.random.default_rng().integers(0, 256, (4, 4, 3), np.uint8))


class Deaf(Good):
    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return self.noise(sum(prompt.encode()))


class Tokens(Good):
    """The same pixels, other tokens."""

    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return replace(super().image(prompt, seed, number, count), tokens=(self.calls,))


class Grey(Good):
    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return GeneratedImage(pixels=np.zeros((4, 4), np.uint8))


class Floats(Good):
    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return GeneratedImage(pixels=np.zeros((4, 4, 3)))  # type: ignore[arg-type]


class Measured(Good):
    def image(self, prompt: str, seed: int, number: int, count: int) -> GeneratedImage:
        return replace(self.noise(seed), measurements={"score": np.float32(1)})  # type: ignore[dict-item]


class Short(Good):
    def generate(self, prompts: Any, seeds: Any, **rest: Any) -> list[GeneratedImage]:
        return super().generate(prompts, seeds, **rest)[:1]


class Beyond(Good):
    def generate(self, prompts: Any, seeds: Any, *, settings: Any, progress: Any = None) -> list[GeneratedImage]:
        if progress:
            progress("noise", 5, 4)
        return super().generate(prompts, seeds, settings=settings)


class Lenient(Good):
    def generate(self, prompts: Any, seeds: Any, *, settings: Any, progress: Any = None) -> list[GeneratedImage]:
        return super().generate(prompts, seeds, settings={})


class Changing(Good):
    def generate(self, prompts: Any, seeds: Any, **rest: Any) -> list[GeneratedImage]:
        self.spec = replace(self.spec, settings={"calls": self.calls})
        return super().generate(prompts, seeds, **rest)


class Unnamed(Good):
    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, name="")


class Hashless(Good):
    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, weights={"model.bin": "1234"})


class Arrays(Good):
    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, defaults={"size": (4, 4)})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Place, "differs when made"),
        (Company, "differs when made alone"),
        (Order, "differs when made"),
        (Unseeded, "differs when repeated"),
        (Deaf, "another seed gave the same image"),
        (Tokens, "differs when repeated"),
        (Grey, r"pixels are \(4, 4\) uint8"),
        (Floats, r"pixels are \(4, 4, 3\) float64"),
        (Measured, "measurement 'score' is float32"),
        (Short, "3 prompts gave 1 images"),
        (Beyond, "progress told 5 of 4"),
        (Lenient, "an unknown setting was not refused"),
        (Changing, "its spec changed"),
        (Unnamed, "its spec has no name"),
        (Hashless, r"weights\['model.bin'\] of its spec is '1234', no SHA-256"),
        (Arrays, r"defaults\['size'\] of its spec is tuple"),
        (object, "it lacks spec or generate"),
    ],
)
def test_each_bad_one_is_named(kind: type, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_generator(kind())


def test_one_that_replays_may_not_heed_seeds() -> None:
    check_generator(Deaf(), seeded=False)
