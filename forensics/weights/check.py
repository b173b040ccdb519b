"""Cheap structural checks: is a file of weights what it claims to be? No code of the file is run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from forensics.weights.table import FileKind

__all__ = ["check_file", "safetensors_shapes"]

_MAX_HEADER = 100 * 1024 * 1024


def check_file(path: Path, kind: FileKind) -> str:
    """Return why ``path`` is not a file of ``kind``; the empty string when it is."""
    try:
        return _CHECKS[kind](path)
    except Exception as error:  # noqa: BLE001  parsers of foreign bytes raise anything
        return f"{type(error).__name__}: {error}".splitlines()[0]


def _onnx_sscd(path: Path) -> str:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = [(value.name, value.type, len(value.shape)) for value in session.get_inputs()]
    if inputs != [("image", "tensor(uint8)", 4)]:
        return f"its inputs are {inputs}, not one uint8 image batch"
    outputs = [(value.name, value.shape[-1]) for value in session.get_outputs()]
    return "" if outputs == [("embedding", 512)] else f"its outputs are {outputs}, not one embedding of 512"


def _torchscript_sscd(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return "not a TorchScript archive"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any("/code/" in name for name in names):
        return "no TorchScript code inside"
    return "" if any(name.endswith("/constants.pkl") for name in names) else "no TorchScript constants inside"


def _state_sscd(path: Path) -> str:
    import torch

    state = torch.load(path, map_location="meta", weights_only=True)
    if not isinstance(state, dict):
        return f"it holds a {type(state).__name__}, not a state dict"
    wanted = {"backbone.conv1.weight": (64, 3, 7, 7), "backbone.fc.weight": (512, 2048)}
    for key, shape in wanted.items():
        if key not in state:
            return f"it lacks {key}"
        if tuple(state[key].shape) != shape:
            return f"{key} has the shape {tuple(state[key].shape)}, not {shape}"
    return ""


def _safetensors(path: Path) -> str:
    shapes = safetensors_shapes(path)
    vision = any(key.startswith(("visual.", "vision_model.", "vision.")) for key in shapes)
    return "" if vision else "it holds no CLIP image tower"


def safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return tensor names and shapes from a safetensors header, without reading the tensors.

    Raises
    ------
    ValueError
        If the file is not a whole safetensors file.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise ValueError("not a safetensors file")
        header = json.loads(stream.read(length))
    tensors = {key: entry for key, entry in header.items() if key != "__metadata__"}
    end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    if 8 + length + end != size:
        raise ValueError(f"{size} bytes, {8 + length + end} announced: cut off or not safetensors")
    return {key: tuple(entry["shape"]) for key, entry in tensors.items()}


_CHECKS: dict[FileKind, Callable[[Path], str]] = {
    "onnx-sscd": _onnx_sscd,
    "torchscript-sscd": _torchscript_sscd,
    "state-sscd": _state_sscd,
    "safetensors": _safetensors,
}
