"""What every generator keeps to, tried on one: for the tests of plug-ins.

::

    def test_my_generator_keeps_the_contract() -> None:
        check_generator(MyGenerator(...))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from forensics.types import GeneratedImage, Generator, GeneratorSpec, Scalar

__all__ = ["check_generator"]

_PROMPTS = ("радуга на фоне ночного города", "портрет гения", "a chair in the shape of an avocado")
_PLAIN = (str, int, float, bool, type(None))


def check_generator(
    generator: Generator,
    *,
    prompts: Sequence[str] = _PROMPTS,
    settings: Mapping[str, Scalar] | None = None,
    seeded: bool = True,
) -> None:
    """Raise :class:`AssertionError`, saying what is wrong, unless a generator keeps the contract.

    Makes about 5 images a prompt, so give it a small one, or few steps in ``settings``.

    Parameters
    ----------
    generator : Generator
        Any object of the protocol :class:`forensics.types.Generator`.
    prompts : sequence of str
        At least two different ones.
    settings : mapping, optional
        Values for keys of its ``spec.defaults``; the others keep their defaults.
    seeded : bool
        Another seed gives another image. Turn it off for a generator that only replays.

    Notes
    -----
    Checked are the spec (plain values, one fingerprint for the whole run), the images (shape, type, measurements that
    JSON can hold), progress, and that image i depends on prompt i and seed i alone: the same in any order, batch and
    repetition, bit by bit; and an unknown setting is an error.
    """
    settings = dict(settings or {})
    _true(isinstance(generator, Generator), "it lacks spec or generate()")
    _true(len(set(prompts)) >= 2, "the check itself needs two different prompts")
    spec = generator.spec
    _check_spec(spec)
    seeds = [number // 2 for number in range(len(prompts))]  # two share a seed
    calls: list[tuple[int, int | None]] = []
    images = generator.generate(
        prompts, seeds, settings=settings, progress=lambda _, done, total: calls.append((done, total))
    )
    _true(len(images) == len(prompts), f"{len(prompts)} prompts gave {len(images)} images")
    for image in images:
        _check_image(image)
    for done, total in calls:
        _true(done >= 0 and (total is None or done <= total), f"progress told {done} of {total}")
    backwards = generator.generate(prompts[::-1], seeds[::-1], settings=settings)
    alone = [
        generator.generate([prompt], [seed], settings=settings)[0] for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    again = generator.generate(prompts, seeds, settings=settings)
    for number, first in enumerate(images):
        for what, other in (
            ("repeated", again[number]),
            ("made alone", alone[number]),
            ("made in another order", backwards[len(prompts) - 1 - number]),
        ):
            _true(_same(first, other), f"image {number} (prompt {prompts[number]!r}) differs when {what}")
    if seeded:
        other_seed = generator.generate(prompts[:1], [seeds[0] + 1], settings=settings)[0]
        _true(not np.array_equal(other_seed.pixels, images[0].pixels), "another seed gave the same image")
    _true(len(generator.generate([], [], settings=settings)) == 0, "no prompts gave images")
    try:
        generator.generate(prompts[:1], seeds[:1], settings={**settings, "no such setting": 1})
    except ValueError:  # UsageError is one
        pass
    else:
        raise AssertionError("an unknown setting was not refused with UsageError")
    _true(generator.spec == spec, "its spec changed while it generated")


def _check_spec(spec: GeneratorSpec) -> None:
    _true(bool(spec.name) and bool(spec.kind), "its spec has no name or no kind")
    for field in ("settings", "defaults"):
        for key, value in getattr(spec, field).items():
            _true(isinstance(value, _PLAIN), f"{field}[{key!r}] of its spec is {type(value).__name__}, no plain value")
    for file, digest in spec.weights.items():
        hexadecimal = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
        _true(hexadecimal, f"weights[{file!r}] of its spec is {digest!r}, no SHA-256 in hex")
    json.dumps(spec.to_dict(), allow_nan=False)


def _check_image(image: GeneratedImage) -> None:
    pixels = image.pixels
    _true(isinstance(pixels, np.ndarray), f"pixels are {type(pixels).__name__}, an array needed")
    shaped = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
    _true(shaped, f"pixels are {pixels.shape} {pixels.dtype}, (H, W, 3) uint8 needed")
    for key, value in image.measurements.items():
        _true(isinstance(value, _PLAIN), f"measurement {key!r} is {type(value).__name__}, no plain value")
    json.dumps(dict(image.measurements), allow_nan=False)


def _same(first: GeneratedImage, other: GeneratedImage) -> bool:
    return np.array_equal(first.pixels, other.pixels) and first.tokens == other.tokens


def _true(holds: bool, wrong: str) -> None:
    if not holds:
        raise AssertionError(f"this generator does not keep the contract: {wrong}")
