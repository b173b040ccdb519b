"""Loads CLIP models from local files through open_clip and transformers. Nothing here may reach the network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from forensics.bpe import END, Tokenizer
from forensics.errors import UsageError, WeightsError

__all__ = ["BPE_FILE", "Towers", "bpe_ids", "load_open_clip", "load_transformers", "open_clip_settings"]


BPE_FILE = "bpe.model"
"""Beside a model whose texts are encoded by :class:`forensics.bpe.Tokenizer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Towers:
    """A loaded model.

    Attributes
    ----------
    image : callable
        (b, 3, side, side) normalised float tensor on the model's device to (b, dim) features.
    text : callable
        b texts to (b, dim) features. What it needs of a tokenizer is loaded at its first use.
    """

    image: Callable[[Any], Any]
    text: Callable[[Sequence[str]], Any]


def open_clip_settings(arch: str | Path, tag: str = "") -> dict[str, Any]:
    """Return open_clip's model settings of an architecture, or the preprocessing settings of one of its tags.

    A folder with an ``open_clip_config.json`` stands for the architecture in it.

    Raises
    ------
    UsageError
        If open_clip knows no such architecture.
    """
    import open_clip

    if isinstance(arch, Path):
        try:
            return dict(open_clip.get_model_config(_open_clip_name(arch)))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"{arch} has no open_clip_config.json that can be read ({_first_line(error)}); a folder as open_clip "
                "publishes models needed"
            ) from error
    if tag:
        return dict(open_clip.get_pretrained_cfg(arch, tag) or {})
    config = open_clip.get_model_config(arch) if ":" not in arch else None
    if config is None:
        raise UsageError(f"open_clip knows no architecture {arch!r}; list them with open_clip.list_models()")
    return dict(config)


def load_open_clip(arch: str | Path, path: Path, *, quick_gelu: bool) -> Callable[[str], Towers]:
    """Return what loads ``arch`` with the weights of ``path`` onto a device; see :func:`open_clip_settings`.

    Texts are encoded by the ``bpe.model`` in the architecture's folder where there is one, else as open_clip does.
    """
    return _OpenClip(arch, path, quick_gelu)


def load_transformers(folder: Path) -> Callable[[str], Towers]:
    """Return what loads a ``save_pretrained`` folder onto a device."""
    return _Transformers(folder)


@dataclass(frozen=True, slots=True)
class _OpenClip:
    arch: str | Path
    path: Path
    quick_gelu: bool

    def __call__(self, device: str) -> Towers:
        import open_clip
        import torch

        try:
            with _offline(), _silent():
                model = open_clip.create_model(
                    _open_clip_name(self.arch),
                    pretrained=None,
                    pretrained_text=False,
                    load_weights=False,
                    force_quick_gelu=self.quick_gelu,
                )
                if self.path.suffix != ".safetensors":
                    # Refuses a pickle with code in it before open_clip, which may retry with other arguments, sees it.
                    torch.load(self.path, map_location="meta", weights_only=True)
                open_clip.load_checkpoint(model, str(self.path), weights_only=True)
        except Exception as error:
            raise WeightsError(f"{self.path} cannot be loaded as a {self.arch}: {_first_line(error)}") from error
        loaded = cast("Any", model.eval().to(device))
        tokenizer = _once(self._tokenizer)
        return Towers(
            image=loaded.encode_image, text=lambda texts: loaded.encode_text(tokenizer()(list(texts)).to(device))
        )

    def _tokenizer(self) -> Any:
        import open_clip

        if isinstance(self.arch, Path) and (self.arch / BPE_FILE).is_file():
            length = int(open_clip_settings(self.arch)["text_cfg"].get("context_length", 77))
            bpe = Tokenizer.open(self.arch / BPE_FILE)
            return lambda texts: bpe_ids(bpe, texts, length)
        try:
            with _offline(), _silent():
                return open_clip.get_tokenizer(_open_clip_name(self.arch))
        except Exception as error:
            raise WeightsError(
                f"the tokenizer of {self.arch} is not on this machine: {_first_line(error)}; "
                "take an architecture with open_clip's own one"
            ) from error


@dataclass(frozen=True, slots=True)
class _Transformers:
    folder: Path

    def __call__(self, device: str) -> Towers:
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
        tokenizer = _once(self._tokenizer)

        def text(texts: Sequence[str]) -> Any:
            room = model.config.text_config.max_position_embeddings
            ids = tokenizer()(list(texts), padding=True, truncation=True, max_length=room, return_tensors="pt")
            states = model.text_model(
                input_ids=ids["input_ids"].to(device), attention_mask=ids["attention_mask"].to(device)
            )
            return model.text_projection(states.pooler_output)

        def image(pixels: Any) -> Any:
            return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)

        return Towers(image=image, text=text)

    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            if not any((self.folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
                raise ValueError("no tokenizer.json")  # the library would go on with an empty vocabulary
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except Exception as error:
            raise WeightsError(
                f"{self.folder} has no tokenizer that can be loaded ({_first_line(error)}); save the model's own one "
                "there with save_pretrained()"
            ) from error


def bpe_ids(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Any:
    """Return the (b, length) int64 ids of texts: begin, the text's, end, padding; one that is cut keeps its end."""
    import torch

    rows = [tokenizer.encode_prompt(text, length) for text in texts]
    ids = torch.tensor([row.ids for row in rows], dtype=torch.int64).reshape(len(rows), length)
    ids[torch.tensor([row.used > length for row in rows], dtype=torch.bool), -1] = END
    return ids


def _open_clip_name(arch: str | Path) -> str:
    return f"local-dir:{arch}" if isinstance(arch, Path) else arch


def _once(make: Callable[[], Any]) -> Callable[[], Any]:
    """Return what makes a thing at its first call and gives it from then on."""
    return lru_cache(maxsize=1)(make)


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
