"""ruDALL-E as a generator: prompt → token ids → image tokens → pixels → larger pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from forensics.errors import ForensicsError, UsageError, WeightsError
from forensics.generate.rudalle.image_prompts import known_tokens
from forensics.generate.rudalle.panorama import generate_panorama
from forensics.generate.rudalle.sampling import Sampling, generate_tokens, perplexity
from forensics.generate.rudalle.tokenizer import EncodedPrompt, Tokenizer
from forensics.generate.rudalle.transformer import Rudalle
from forensics.generate.rudalle.upscale import Upscaler
from forensics.generate.rudalle.vqgan import Vqgan
from forensics.generate.settings import with_defaults
from forensics.images import decode
from forensics.types import GeneratedImage, GeneratorSpec, Progress, Scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DEFAULTS", "RudalleGenerator"]

DEFAULTS: Mapping[str, Scalar] = {
    "temperature": 1.0,
    "top_k": 2048,
    "top_p": 0.995,
    "guidance": 1.0,
    "size": "",
    "image_prompt": "",
    "up": 0,
    "down": 0,
    "left": 0,
    "right": 0,
    "crop_first": False,
}
"""What a prompt may choose. ``size``: rows x columns in tokens, e.g. ``32x64``; empty is the model's square.
``image_prompt``: path of a picture whose borders, ``up`` to ``right`` tokens wide, are given to the model."""

_BORDERS = ("up", "down", "left", "right")
_PROMPTS_KEPT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The settings of one call, in the types of the functions that take them."""

    sampling: Sampling
    height: int
    width: int
    known: Tensor | None


class RudalleGenerator:
    """One transformer with its VQGAN and tokenizer.

    Parameters
    ----------
    model : Rudalle
    vqgan : Vqgan
        Its codes are the transformer's image tokens.
    tokenizer : Tokenizer
    name : str
        As the user gave it.
    weights : mapping of str to str, optional
        File name to SHA-256.
    settings : mapping, optional
        What else of the models an image depends on: :attr:`GeneratorSpec.settings`.
    licence : str
    upscaler : Upscaler, optional
        Makes the finished images larger.
    lanes : int
        Calls with fewer images are padded to so many where results may depend on it; see
        :class:`forensics.generate.GeneratorOptions`. On a CPU in float32 they do not, and nothing is padded.

    Raises
    ------
    WeightsError
        If the three do not belong together.
    """

    def __init__(
        self,
        model: Rudalle,
        vqgan: Vqgan,
        tokenizer: Tokenizer,
        *,
        name: str,
        weights: Mapping[str, str] | None = None,
        settings: Mapping[str, Scalar] | None = None,
        licence: str = "",
        upscaler: Upscaler | None = None,
        lanes: int = 8,
    ) -> None:
        config = model.config
        if config.image_vocab > vqgan.config.codes:
            raise WeightsError(
                f"{name}: the transformer draws {config.image_vocab} image tokens, the VQGAN knows "
                f"{vqgan.config.codes} codes; they do not belong together"
            )
        if len(tokenizer) > config.text_vocab - config.text_length:
            raise WeightsError(
                f"{name}: the tokenizer has {len(tokenizer)} subwords, the transformer reads "
                f"{config.text_vocab - config.text_length}; they do not belong together"
            )
        self.model, self.vqgan, self.tokenizer, self.upscaler = model, vqgan, tokenizer, upscaler
        exact = model.device.type == "cpu" and model.dtype == torch.float32
        self._lanes = 1 if exact else lanes
        own: dict[str, Scalar] = {
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": model.device.type,
            "lanes": self._lanes,
            "architecture": _architecture(model.config, vqgan.config),
            "upscale": upscaler.factor if upscaler else 1,
        }
        self._spec = GeneratorSpec(
            name=name,
            kind="rudalle",
            weights=dict(weights or {}),
            settings={**(settings or {}), **own},
            defaults=DEFAULTS,
            licence=licence,
        )
        # a prompt that is cut warns once, however many images it makes
        self._encode = lru_cache(_PROMPTS_KEPT)(self._encode_once)

    @property
    def spec(self) -> GeneratorSpec:
        """What this generator is."""
        return self._spec

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        settings: Mapping[str, Scalar],
        progress: Progress | None = None,
    ) -> list[GeneratedImage]:
        """Return one image a (prompt, seed), in order.

        Measurements: ``perplexity`` (lower is likelier, :func:`sampling.perplexity`), ``mean_log_prob`` (natural
        logarithm, over all tokens), ``prompt_tokens`` (what the prompt needed, begin and end included), and where the
        prompt was cut ``prompt_used`` and ``prompt_dropped``.
        """
        if len(prompts) != len(seeds):
            raise UsageError(f"{len(prompts)} prompts and {len(seeds)} seeds given, one seed a prompt accepted")
        if not prompts:
            return []
        wanted = self._wanted(with_defaults(self._spec, settings))
        encoded = [self._encode(prompt) for prompt in prompts]
        try:
            tokens, log_probs = self._draw(encoded, list(seeds), wanted, progress)
            pictures = self._pictures(tokens.view(-1, wanted.height, wanted.width), progress)
        except torch.cuda.OutOfMemoryError as error:
            raise ForensicsError(
                f"the GPU has too little memory for {self._spec.name} in {self._spec.settings['dtype']} with "
                f"{max(len(prompts), self._lanes)} images at once; give a smaller batch, float16, or the CPU"
            ) from error
        if bool(log_probs.isnan().any()):
            raise ForensicsError(
                f"{self._spec.name} computed numbers beyond {self._spec.settings['dtype']}, its images mean nothing; "
                "give --dtype bfloat16 or float32"
            )
        scores = perplexity(log_probs).tolist()
        return [
            GeneratedImage(
                pixels=picture,
                measurements=_measured(text, score, float(row.mean())),
                tokens=tuple(cells),
            )
            for picture, text, score, row, cells in zip(
                pictures, encoded, scores, log_probs, tokens.tolist(), strict=True
            )
        ]

    def check(self, settings: Mapping[str, Scalar]) -> None:
        """Raise what :meth:`generate` would raise for these settings, before anything is made."""
        self._wanted(with_defaults(self._spec, settings))

    def _encode_once(self, prompt: str) -> EncodedPrompt:
        return self.tokenizer.encode_prompt(prompt, self.model.config.text_length)

    def _wanted(self, settings: Mapping[str, Scalar]) -> _Wanted:
        config = self.model.config
        sampling = Sampling(
            temperature=float(settings["temperature"] or 0),
            top_k=int(settings["top_k"] or 0),
            top_p=float(settings["top_p"] or 0),
            guidance=float(settings["guidance"] or 0),
        )
        height, width = _size(str(settings["size"] or ""), config.image_side)
        path, borders = str(settings["image_prompt"] or ""), {name: int(settings[name] or 0) for name in _BORDERS}
        if not path:
            if any(borders.values()):
                raise UsageError(f"borders {borders} given without a picture; give image_prompt, the path of one")
            return _Wanted(sampling=sampling, height=height, width=width, known=None)
        if (height, width) != (config.image_side, config.image_side):
            raise UsageError(f"an image prompt and size {height}x{width} given; image prompts are for square images")
        known = known_tokens(
            self.vqgan, _picture(Path(path)), config, crop_first=bool(settings["crop_first"]), **borders
        )
        return _Wanted(sampling=sampling, height=height, width=width, known=known)

    def _draw(
        self, encoded: Sequence[EncodedPrompt], seeds: list[int], wanted: _Wanted, progress: Progress | None
    ) -> tuple[Tensor, Tensor]:
        """Return (n, h · w) tokens and their log-probabilities."""
        count, side = len(seeds), self.model.config.image_side
        spare = max(self._lanes - count, 0)
        ids = torch.tensor([text.ids for text in (*encoded, *[encoded[0]] * spare)])
        seeds = seeds + [seeds[0]] * spare
        if (wanted.height, wanted.width) == (side, side):
            drawn = generate_tokens(
                self.model,
                ids,
                seeds,
                sampling=wanted.sampling,
                batch=len(seeds),
                known=wanted.known,
                progress=_share(progress, count, len(seeds)),
            )
            return drawn.tokens[:count], drawn.log_probs[:count]
        wide = generate_panorama(
            self.model,
            ids,
            seeds,
            height=wanted.height,
            width=wanted.width,
            sampling=wanted.sampling,
            batch=len(seeds),
            progress=_share(progress, count, len(seeds)),
        )
        return wide.tokens[:count], wide.log_probs[:count]

    def _pictures(self, codes: Tensor, progress: Progress | None) -> list[NDArray[np.uint8]]:
        """Return (H, W, 3) uint8 pictures of (n, h, w) codes, one at a time: memory is bounded, batches do not show."""
        pictures = []
        for number, code in enumerate(codes):
            image = self.vqgan.decode(code[None])
            if self.upscaler is not None:
                image = self.upscaler.upscale(image, progress=_part(progress, number, len(codes)))
            pixels = (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
            pictures.append(np.ascontiguousarray(pixels.cpu().numpy()))
        return pictures


def _architecture(*configs: object) -> str:
    """Return a short fingerprint of sizes: equal weights mean other images under another mask or another head count."""
    return hashlib.sha256(repr(configs).encode()).hexdigest()[:16]


def _measured(text: EncodedPrompt, score: float, mean: float) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {"perplexity": score, "mean_log_prob": mean, "prompt_tokens": text.used}
    return found | ({"prompt_used": text.kept, "prompt_dropped": text.dropped} if text.dropped else {})


def _size(text: str, side: int) -> tuple[int, int]:
    """Return rows and columns of ``32x64``; empty text means the square."""
    if not text:
        return side, side
    rows, _, columns = text.lower().replace("×", "x").partition("x")
    if not (rows.strip().isdecimal() and columns.strip().isdecimal()):
        raise UsageError(f"size {text!r} given; write rows x columns in tokens, e.g. {side}x{2 * side}")
    if min(int(rows), int(columns)) != side:
        raise UsageError(
            f"size {text!r} given; this model makes images of {side} x {side} tokens, and those that are longer on one "
            f"side, e.g. {side}x{2 * side} or {2 * side}x{side}"
        )
    return int(rows), int(columns)


def _picture(path: Path) -> NDArray[np.uint8]:
    """Return the largest centred square of a picture file, (S, S, 3) uint8."""
    if path.exists() and not path.is_file():  # a pipe or a device never ends
        raise UsageError(f"image prompt {path} is no plain file; a picture file accepted")
    try:
        found = decode(path.read_bytes())
    except OSError as error:
        raise UsageError(f"image prompt {path} cannot be read: {error.strerror or error}") from error
    if found.pixels is None:
        raise UsageError(f"image prompt {path} is no picture that can be read: {found.reason}")
    height, width = found.pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(found.pixels[top : top + side, left : left + side])


def _share(progress: Progress | None, count: int, lanes: int) -> Progress | None:
    """Return what reports the progress of ``lanes`` images as that of the ``count`` which are wanted."""
    if progress is None or count == lanes:
        return progress

    def report(stage: str, done: int, total: int | None) -> None:
        progress(stage, done * count // lanes, None if total is None else total * count // lanes)

    return report


def _part(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Return what reports the progress of image ``number`` as that of all ``count``."""
    if progress is None:
        return None

    def report(stage: str, done: int, total: int | None) -> None:
        if total is not None:
            progress(stage, number * total + done, count * total)

    return report
