"""Loads CLIP image towers from local files through open_clip and transformers. Nothing here may reach the network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from forensics.errors import UsageError, WeightsError

__all__ = ["load_open_clip", "load_transformers", "open_clip_settings"]


def open_clip_settings(arch: str, tag: str = "") -> dict[str, Any]:
    """Return open_clip's model settings of an architecture, or the preprocessing settings of one of its tags.

    Raises
    ------
    UsageError
        If open_clip knows no such architecture.
    """
    import open_clip

    if tag:
        return dict(open_clip.get_pretrained_cfg(arch, tag) or {})
    config = open_clip.get_model_config(arch) if ":" not in arch else None
    if config is None:
        raise UsageError(f"open_clip knows no architecture {arch!r}; list them with open_clip.list_models()")
    return dict(config)


def load_open_clip(arch: str, path: Path, *, quick_gelu: bool) -> Callable[[str], Callable[[Any], Any]]:
    """Return what loads the image tower of ``arch`` with the weights of ``path`` onto a device."""
    return _OpenClip(arch, path, quick_gelu)


def load_transformers(folder: Path) -> Callable[[str], Callable[[Any], Any]]:
    """Return what loads the image tower of a ``save_pretrained`` folder onto a device."""
    return _Transformers(folder)


@dataclass(frozen=True, slots=True)
class _OpenClip:
    arch: str
    path: Path
    quick_gelu: bool

    def __call__(self, device: str) -> Callable[[Any], Any]:
        import open_clip
        import torch

        try:
            with _offline(), _silent():
                model = open_clip.create_model(
                    self.arch, pretrained=None, pretrained_text=False, force_quick_gelu=self.quick_gelu
                )
                if self.path.suffix != ".safetensors":
                    # Refuses a pickle with code in it before open_clip, which may retry with other arguments, sees it.
                    torch.load(self.path, map_location="meta", weights_only=True)
                open_clip.load_checkpoint(model, str(self.path), weights_only=True)
        except Exception as error:
            raise WeightsError(f"{self.path} cannot be loaded as a {self.arch}: {_first_line(error)}") from error
        image_tower: Callable[[Any], Any] = cast("Any", model.eval().to(device)).encode_image
        return image_tower


@dataclass(frozen=True, slots=True)
class _Transformers:
    folder: Path

    def __call__(self, device: str) -> Callable[[Any], Any]:
        from safetensors.torch import load_file
        from transformers import CLIPConfig, CLIPModel

        try:
            model: Any = CLIPModel(CLIPConfig.from_pretrained(self.folder, local_files_only=True))
            # Not from_pretrained: it fills tensors that are missing with random values, and writes to the terminal.
            missing = model.load_state_dict(load_file(self.folder / "model.safetensors"), strict=False).missing_keys
            if missing:
                raise ValueError(f"{len(missing)} tensors are missing, {min(missing)} first")
        except Exception as error:
            raise WeightsError(f"{self.folder} cannot be loaded as a CLIPModel: {_first_line(error)}") from error
        model = model.eval().to(device)
        return lambda pixels: model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the hub's client from opening a connection: some architectures look for a text model's settings there."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE  # read at every request
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what is logged on the root logger: open_clip warns there of random weights before ours are loaded."""
    root = logging.getLogger()

    def refuse(record: logging.LogRecord) -> bool:
        return record.name != root.name

    root.addFilter(refuse)
    try:
        yield
    finally:
        root.removeFilter(refuse)
