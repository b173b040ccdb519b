"""A checkpoint converted once: ``weights.safetensors`` in the type it will run in, and ``manifest.json`` beside it.

The manifest names the configuration, the SHA-256 of both files, where the original came from and its licence.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forensics.errors import IntegrityError, UsageError, WeightsError
from forensics.generate.rudalle.checkpoints import (
    DTYPES,
    Dtype,
    StateFile,
    fitted_names,
    load_transformer,
    load_vqgan,
)
from forensics.generate.rudalle.config import TransformerConfig, VqganConfig
from forensics.generate.rudalle.transformer import Rudalle
from forensics.generate.rudalle.vqgan import Vqgan
from forensics.weights import sha256_of

__all__ = ["MANIFEST", "WEIGHTS", "convert", "load_converted", "read_config", "read_manifest", "save_model"]

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
_FORMAT = "forensics-rudalle-1"
_TAGS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_LARGEST_HALF = 65504.0


def convert(
    source: Path,
    target: Path,
    config: TransformerConfig | VqganConfig,
    *,
    dtype: Dtype = "float32",
    origin: str = "",
    licence: str = "",
) -> dict[str, Any]:
    """Write a published checkpoint as safetensors with a manifest; tensors pass through one at a time.

    Parameters
    ----------
    source : Path
        The published file.
    target : Path
        Folder to make; an older conversion in it is replaced when the new one is complete.
    config : TransformerConfig or VqganConfig
        What the file is.
    dtype : {"float32", "float16", "bfloat16"}
        Type to keep. A weight beyond float16's range is an error.
    origin, licence : str
        For the manifest: where the file was had, and under which terms.

    Returns
    -------
    dict
        The manifest.
    """
    if dtype not in DTYPES:
        raise UsageError(f"type {dtype!r} given, one of {', '.join(DTYPES)} accepted")
    state = StateFile(source)
    with torch.device("meta"):
        model: nn.Module = Rudalle(config) if isinstance(config, TransformerConfig) else Vqgan(config)
    names = fitted_names(state, model, "the configuration given")
    try:
        about = {
            "file": source.name,
            "bytes": source.stat().st_size,
            "sha256": sha256_of(source),
            "origin": origin,
            "licence": licence,
        }
        shapes = {name: state.shapes[name] for name in names}
        return _commit(target, config, dtype, shapes, state.read(names), about)
    except OSError as error:
        raise WeightsError(f"{source} could not be converted into {target}: {error.strerror or error}") from error


def save_model(
    model: Rudalle | Vqgan, target: Path, *, dtype: Dtype = "float16", source: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write a model in memory as :func:`convert` writes a file.

    Parameters
    ----------
    model : Rudalle or Vqgan
        Left as it is.
    target : Path
        As in :func:`convert`.
    dtype : {"float32", "float16", "bfloat16"}
        Type to keep. A weight beyond float16's range is an error.
    source : mapping, optional
        The manifest's ``source``: how the model was made, ``origin`` and ``licence`` among it.

    Returns
    -------
    dict
        The manifest.
    """
    if dtype not in DTYPES:
        raise UsageError(f"type {dtype!r} given, one of {', '.join(DTYPES)} accepted")
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    about = {"origin": "", "licence": "", **(source or {})}
    try:
        return _commit(target, model.config, dtype, shapes, state.items(), about)
    except OSError as error:
        raise WeightsError(f"the model could not be written into {target}: {error.strerror or error}") from error


def _commit(
    target: Path,
    config: TransformerConfig | VqganConfig,
    dtype: Dtype,
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Iterable[tuple[str, Tensor]],
    source: Mapping[str, Any],
) -> dict[str, Any]:
    """Write weights and manifest; return the manifest."""
    weights, part = target / WEIGHTS, target / f"{WEIGHTS}.part"
    try:
        target.mkdir(parents=True, exist_ok=True)
        _write(part, shapes, tensors, DTYPES[dtype])
        manifest = {
            "format": _FORMAT,
            "kind": "transformer" if isinstance(config, TransformerConfig) else "vqgan",
            "config": asdict(config),
            "dtype": dtype,
            "weights": {"file": WEIGHTS, "bytes": part.stat().st_size, "sha256": sha256_of(part)},
            "source": dict(source),
        }
        # the manifest goes first and comes back last: a folder that has one has its weights
        (target / MANIFEST).unlink(missing_ok=True)
        os.replace(part, weights)  # noqa: PTH105  atomic
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        (target / f"{MANIFEST}.part").write_text(text, "utf-8")
        os.replace(target / f"{MANIFEST}.part", target / MANIFEST)  # noqa: PTH105
    finally:
        with suppress(OSError):  # what went wrong is on its way already
            part.unlink()
    return manifest


def read_manifest(folder: Path, *, check: bool = False) -> dict[str, Any]:
    """Return a converted folder's manifest; its weights are there in full size, and with ``check`` in every byte.

    Raises
    ------
    WeightsError
        If the folder is no conversion or its weights are cut off.
    IntegrityError
        If ``check`` finds another SHA-256 than the recorded one.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if manifest["format"] != _FORMAT:
            raise WeightsError(f"{path} has format {manifest['format']!r}, {_FORMAT!r} needed; convert again")
        weights = manifest["weights"]
        file, size, digest = folder / str(weights["file"]), int(weights["bytes"]), str(weights["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder} is no converted checkpoint: {MANIFEST} cannot be read ({error})") from error
    there = file.stat().st_size if file.is_file() else 0
    if there != size:
        raise WeightsError(f"{file} has {there} bytes, {size} recorded; convert again")
    if check and (now := sha256_of(file)) != digest:
        raise IntegrityError(f"{file} has SHA-256 {now}, recorded is {digest}; convert again")
    return manifest


def load_converted(
    folder: Path, *, device: str = "cpu", dtype: Dtype | None = None, check: bool = False
) -> Rudalle | Vqgan:
    """Return the model of a converted folder, in its own type unless another is given."""
    manifest = read_manifest(folder, check=check)
    path, kept = folder / manifest["weights"]["file"], dtype or manifest["dtype"]
    config = read_config(folder, manifest)
    if isinstance(config, TransformerConfig):
        return load_transformer(path, config, device=device, dtype=kept)
    return load_vqgan(path, config, device=device, dtype=kept)


def read_config(folder: Path, manifest: Mapping[str, Any]) -> TransformerConfig | VqganConfig:
    """Return the configuration in a converted folder's manifest."""
    try:
        if manifest["kind"] == "transformer":
            return TransformerConfig(**manifest["config"])
        lists: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in manifest["config"].items()
        }
        return VqganConfig(**lists)
    except TypeError as error:
        raise WeightsError(
            f"{folder / MANIFEST} holds another configuration than this program knows: {error}"
        ) from error


def _write(
    path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[tuple[str, Tensor]], dtype: torch.dtype
) -> None:
    """Write a safetensors file as it streams by: the length of the header, the header, the tensors' bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start = end
        end += torch.Size(shape).numel() * dtype.itemsize
        header[name] = {"dtype": _TAGS[dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in tensors:
            for piece in _pieces(name, tensor, dtype):
                file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _pieces(name: str, tensor: Tensor, dtype: torch.dtype) -> Iterator[bytes]:
    """Yield a tensor's bytes in row order and little-endian, a few megabytes at a time."""
    for piece in torch.split(tensor.reshape(-1), 4 << 20):
        if dtype == torch.float16 and float(piece.abs().max()) > _LARGEST_HALF:
            raise WeightsError(f"{name} has values beyond float16's range; convert to bfloat16 or float32")
        yield piece.to(dtype).contiguous().view(torch.uint8).numpy().tobytes()
