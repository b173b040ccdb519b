"""CLIP: what an image shows, whatever its pixels. It ranks leads; a CLIP score is never evidence of a copy.

Names that :func:`create` understands:

``clip``
    The default, ``clip:ViT-B-32/laion2b_s34b_b79k``.
``clip:ARCH/TAG``
    An architecture of open_clip and one of its pretrained tags.
``clip:ARCH@FILE``
    An architecture and a local checkpoint: safetensors, or a state dict that ``torch.load(weights_only=True)`` reads.
    An ``open_clip_config.json`` beside it may state ``preprocess_cfg``.
``clip:@FOLDER``
    An architecture of its own: a folder with ``open_clip_config.json`` and ``open_clip_model.safetensors``, as
    open_clip publishes models and ``forensics train clip`` writes them (with a ``bpe.model``).
``clip-hf:FOLDER_OR_ID``
    A checkpoint of transformers' CLIPModel: a local folder, or a hub id that was fetched.

A local checkpoint's spec is named after its bytes (``clip:ARCH@sha256-…``, ``clip:@sha256-…``), so that an index built
with it does not depend on where the file lies; that name is understood too wherever the file was used or given once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from forensics import weights
from forensics.embed.clip_models import Towers, load_open_clip, load_transformers, open_clip_settings
from forensics.embed.rows import stack_images, unit_rows
from forensics.embed.runtime import device
from forensics.errors import UsageError, WeightsError
from forensics.types import EmbedderSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    UInt8Array = NDArray[np.uint8]

__all__ = ["Clip", "ClipInput", "create"]

DEFAULT = "clip:{}/{}".format(*weights.CLIP_DEFAULT)
_OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
_AS_GIVEN = "as given"  # the licence of a checkpoint that does not state one
_BATCH = {"cpu": 16, "cuda": 256}
_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipInput:
    """How an image becomes the model's input.

    Attributes
    ----------
    side : int
        Pixels; the input is square.
    squash : bool
        Resize to the square at once, else the shorter side and then cut out the centre.
    bilinear : bool
        Filter; bicubic otherwise.
    mean, std : tuple of 3 floats
        Of red, green and blue in [0, 1].
    """

    side: int
    squash: bool = False
    bilinear: bool = False
    mean: tuple[float, ...] = _OPENAI_MEAN
    std: tuple[float, ...] = _OPENAI_STD

    def pixels(self, image: UInt8Array) -> UInt8Array:
        """Return (side, side, 3) uint8 of one (H, W, 3) uint8 RGB image: resized by Pillow, centre cut out."""
        picture = Image.fromarray(image)
        how = Image.Resampling.BILINEAR if self.bilinear else Image.Resampling.BICUBIC
        if self.squash:
            return np.asarray(picture.resize((self.side, self.side), how))
        shorter = min(picture.size)
        width, height = (self.side if edge == shorter else int(self.side * edge / shorter) for edge in picture.size)
        resized = np.asarray(picture.resize((width, height), how))
        top, left = round((height - self.side) / 2), round((width - self.side) / 2)
        return np.ascontiguousarray(resized[top : top + self.side, left : left + self.side])

    def __str__(self) -> str:
        filter_name = "bilinear" if self.bilinear else "bicubic"
        how = "squashed" if self.squash else "shorter side, centre crop"
        return f"{filter_name} (Pillow) to {self.side}x{self.side} ({how}); mean {self.mean}, std {self.std}"


class Clip:
    """A CLIP checkpoint. The model is loaded at the first ``embed``; a pickled copy stays light.

    Parameters
    ----------
    spec : EmbedderSpec
    inputs : ClipInput
    load : callable
        Takes a device name, returns the model.
    where : str
        Torch device; by default what the user set, see :mod:`forensics.embed.runtime`.
    """

    def __init__(
        self, spec: EmbedderSpec, inputs: ClipInput, load: Callable[[str], Towers], *, where: str = ""
    ) -> None:
        self._spec = spec
        self._inputs = inputs
        self._load = load
        self._model: Towers | None = None
        self._device = where

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return self._spec

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return (side, side, 3) uint8."""
        return self._inputs.pixels(image)

    def embed(self, prepared: Sequence[UInt8Array]) -> NDArray[np.float32]:
        """Return (n, dim) float32 with unit norm."""
        import torch

        model, side = self._loaded(), self._inputs.side

        def image(batch: Sequence[UInt8Array]) -> Any:
            pixels = torch.from_numpy(stack_images(batch, side)).to(self._device).permute(0, 3, 1, 2).float() / 255
            mean = torch.tensor(self._inputs.mean, device=self._device).view(3, 1, 1)
            std = torch.tensor(self._inputs.std, device=self._device).view(3, 1, 1)
            return model.image((pixels - mean) / std)

        return self._rows(image, prepared)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, dim) float32 with unit norm, to be compared with images by cosine.

        A text that is longer than the model reads is cut. Raises :class:`WeightsError` where the model's tokenizer is
        not on this machine.
        """
        return self._rows(self._loaded().text, texts)

    def at(self, where: str) -> Clip:
        """Return the same embedder, to be loaded onto another torch device."""
        return Clip(self._spec, self._inputs, self._load, where=where)

    def _loaded(self) -> Towers:
        if self._model is None:
            self._device = self._device or device()
            self._model = self._load(self._device)
        return self._model

    def _rows(self, run: Callable[[Any], Any], items: Sequence[Any]) -> NDArray[np.float32]:
        """Return the unit rows of ``run`` over batches of images or texts."""
        import torch

        rows = [np.empty((0, self._spec.dim), np.float32)]
        cuda = self._device.startswith("cuda")
        step = _BATCH["cuda" if cuda else "cpu"]
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=cuda):
            rows += [run(items[start : start + step]).float().cpu().numpy() for start in range(0, len(items), step)]
        return unit_rows(np.concatenate(rows), self._spec.name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}


def create(name: str) -> Clip:
    """Return the CLIP embedder called ``name``: see the module's docstring. Nothing is fetched.

    Raises
    ------
    UsageError
        If the name is not of a known form, or open_clip does not know the architecture or tag.
    WeightsError
        If the weights are not on this machine or cannot be used.
    """
    name = DEFAULT if name == "clip" else name
    base, _, rest = name.partition(":")
    if base == "clip-hf" and rest:
        return _from_transformers(name, rest)
    if base == "clip" and "@" in rest:
        arch, _, file = rest.partition("@")
        path = _local(file)
        if not arch and path.is_dir():
            path /= _OPEN_CLIP_WEIGHTS
            if not path.is_file():
                raise WeightsError(f"{path.parent} has no {path.name}; a folder as open_clip publishes models needed")
        digest = weights.remember(path)
        name = f"clip:{arch}@sha256-{digest[:16]}"
        config = _config_beside(path)
        settings = dict(config.get("preprocess_cfg", {}))
        licence = _AS_GIVEN if arch else _stated_licence(config)
        return _from_open_clip(name, arch or path.parent, path, settings, digest=digest, licence=licence)
    if base == "clip" and "/" in rest:
        arch, _, tag = rest.partition("/")
        found = weights.require(name)
        settings = open_clip_settings(arch, tag)
        licence = found.model.licence
        return _from_open_clip(name, arch, found.path, settings, digest=found.sha256, licence=licence)
    raise UsageError(
        f"{name!r} given; accepted: clip, clip:ARCH/TAG, clip:ARCH@FILE and clip:@FOLDER (open_clip), "
        "clip-hf:FOLDER_OR_ID (transformers)"
    )


def _local(text: str) -> Path:
    """Return the file or folder of ``text``: a path, or ``sha256-…`` of one that was used before."""
    if re.fullmatch(r"sha256-[0-9a-f]{16}", text):
        path = weights.remembered(text.removeprefix("sha256-"))
        if path is None:
            raise WeightsError(
                f"the checkpoint {text} was never used on this machine; name its file or folder instead of {text}"
            )
        return path
    path = Path(text).expanduser()
    if not path.exists():
        raise WeightsError(f"no checkpoint {text}; give a file or folder that exists, or fetch weights by their name")
    return path.resolve()


def _config_beside(path: Path) -> dict[str, Any]:
    config = path.parent / "open_clip_config.json"
    return _json(config) if config.is_file() else {}


def _stated_licence(config: dict[str, Any]) -> str:
    """Return what a folder says of its own weights, as ``forensics train clip`` writes it."""
    about = config.get("about")
    return str((about.get("licence") if isinstance(about, dict) else None) or _AS_GIVEN)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is needed beside the weights and cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not an object")
    return content


def _triple(value: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    if value is None:
        return default
    numbers = value if isinstance(value, (list, tuple)) else (value,) * 3
    return tuple(float(number) for number in numbers)


def _from_open_clip(
    name: str, arch: str | Path, path: Path, settings: dict[str, Any], *, digest: str, licence: str
) -> Clip:
    config = open_clip_settings(arch)
    size = settings.get("size") or config["vision_cfg"].get("image_size", 224)
    sides = set(size) if isinstance(size, (list, tuple)) else {size}
    mode = settings.get("resize_mode") or "shortest"
    if len(sides) != 1 or mode not in ("shortest", "squash"):
        raise WeightsError(
            f"{name} wants images of {size} by {mode!r}; square ones by 'shortest' or 'squash' can be made"
        )
    inputs = ClipInput(
        side=int(sides.pop()),
        squash=mode == "squash",
        bilinear=settings.get("interpolation") == "bilinear",
        mean=_triple(settings.get("mean"), _OPENAI_MEAN),
        std=_triple(settings.get("std"), _OPENAI_STD),
    )
    load = load_open_clip(arch, path, quick_gelu=bool(settings.get("quick_gelu", False)))
    return Clip(_spec(name, int(config["embed_dim"]), inputs, digest, licence), inputs, load)


def _from_transformers(name: str, text: str) -> Clip:
    if Path(text).expanduser().exists() or text.startswith("sha256-") or text.count("/") != 1:
        given = _local(text)
        folder = given if given.is_dir() else given.parent
        file = folder / "model.safetensors"
        if not file.is_file():
            raise WeightsError(f"{folder} has no model.safetensors; save the model with save_pretrained()")
        digest, licence = weights.remember(file), _AS_GIVEN
        name = f"clip-hf:sha256-{digest[:16]}"
    else:
        found = weights.require(name)
        folder, digest, licence = found.path.parent, found.sha256, found.model.licence
    config = _json(folder / "config.json")
    if config.get("model_type") != "clip":
        raise WeightsError(f"{folder} holds a model of type {config.get('model_type')!r}; 'clip' is accepted")
    inputs = _transformers_input(config, folder)
    dim = int(config.get("projection_dim", 512))
    return Clip(_spec(name, dim, inputs, digest, licence), inputs, load_transformers(folder))


def _transformers_input(config: dict[str, Any], folder: Path) -> ClipInput:
    path = folder / "preprocessor_config.json"
    settings = _json(path) if path.is_file() else {}
    side = int((config.get("vision_config") or {}).get("image_size", 224))
    resample = settings.get("resample", Image.Resampling.BICUBIC)
    if resample not in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR):
        raise WeightsError(f"{path} asks for the filter {resample}; bilinear (2) and bicubic (3) can be made")
    return ClipInput(
        side=side,
        bilinear=resample == Image.Resampling.BILINEAR,
        mean=_triple(settings.get("image_mean"), _OPENAI_MEAN),
        std=_triple(settings.get("image_std"), _OPENAI_STD),
    )


def _spec(name: str, dim: int, inputs: ClipInput, digest: str, licence: str) -> EmbedderSpec:
    return EmbedderSpec(
        name=name,
        kind="vector",
        dim=dim,
        preprocessing=str(inputs),
        weights_sha256=digest,
        weights_licence=licence,
        decode_size=2 * inputs.side,
    )
