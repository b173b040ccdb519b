"""SSCD: a self-supervised descriptor for image copy detection (Pizzi et al., CVPR 2022, arXiv:2202.10261).

Two builds of one model are two embedders with specs and thresholds of their own: ``sscd-disc-mixup`` (Meta's float
weights, torch) and ``sscd-int8`` (quantised, ONNX Runtime). ``sscd-distilled`` is a smaller network that imitates it.
All take the image skewed to 320 x 320, and give 512 floats of unit norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics import weights
from forensics.embed.rows import stack_images, unit_rows
from forensics.embed.runtime import device, threads
from forensics.errors import UsageError, WeightsError
from forensics.images import resize
from forensics.types import Embedder, EmbedderSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    UInt8Array = NDArray[np.uint8]

__all__ = ["OnnxSscd", "TorchSscd", "create"]

SIDE = 320
DIM = 512
_ONNX_BATCH = 4
_ONNX_CALLS = 16
_TORCH_BATCH = {"cpu": 8, "cuda": 128}
_RESIZE = f"antialiased resize to {SIDE}x{SIDE} (skewed)"
DECODE_SIZE = SIDE * 3 // 2


class OnnxSscd:
    """SSCD as an ONNX file on the CPU. The file is opened at the first ``embed``, so a pickled copy stays light.

    Calls of four images run side by side, each on one thread. One call on all threads takes a fifth to a half more
    processor time, for its threads wait for one another layer by layer, and that time is the decoders' on a machine
    that also decodes. A call needs about 20 MB an image, so there are at most 16 at once. A row's bytes depend on its
    image alone, not on the batch it is in or on the number of threads.

    Parameters
    ----------
    name : str
        Name of the weights' row.
    path : Path
        The ONNX file: input ``image`` (b, H, W, 3) uint8 RGB, output ``embedding`` (b, 512) float32.
    sha256, licence : str
        Of the file.
    """

    def __init__(self, name: str, path: Path, *, sha256: str, licence: str) -> None:
        self._path = path
        self._running: tuple[Any, ThreadPoolExecutor, int] | None = None
        self._spec = EmbedderSpec(
            name=name,
            kind="vector",
            dim=DIM,
            preprocessing=f"{_RESIZE}, uint8; ImageNet normalisation inside the model",
            weights_sha256=sha256,
            weights_licence=licence,
            decode_size=DECODE_SIZE,
        )

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return self._spec

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return (320, 320, 3) uint8."""
        return resize(image, SIDE, SIDE)

    def embed(self, prepared: Sequence[UInt8Array]) -> NDArray[np.float32]:
        """Return (n, 512) float32 with unit norm."""
        if len(prepared) == 0:
            return np.empty((0, DIM), np.float32)
        session, pool, calls = self._open()
        step = min(_ONNX_BATCH, math.ceil(len(prepared) / calls))

        def run(start: int) -> NDArray[np.float32]:
            batch = stack_images(prepared[start : start + step], SIDE)
            rows: NDArray[np.float32] = session.run(["embedding"], {"image": batch})[0]
            return rows

        return unit_rows(np.concatenate(list(pool.map(run, range(0, len(prepared), step)))), self._spec.name)

    def _open(self) -> tuple[Any, ThreadPoolExecutor, int]:
        if self._running is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            options.log_severity_level = 3
            try:
                session = onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
            except Exception as error:  # ONNX Runtime's own classes have no common base
                raise WeightsError(f"{self._path} cannot be opened as an ONNX model: {error}") from error
            calls = min(threads(), _ONNX_CALLS)
            self._running = session, ThreadPoolExecutor(calls, thread_name_prefix=self._spec.name), calls
        return self._running

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": None}


class TorchSscd:
    """SSCD from Meta's weights, on the CPU in float32 or on CUDA with float16 convolutions.

    On CUDA the float32 and float16 vectors of one image agree within cosine 0.999, so both stand under one spec.

    Parameters
    ----------
    path : Path
        ``sscd_disc_mixup.torchscript.pt`` or ``sscd_disc_mixup.torchvision.pt``.
    script : bool
        The file is the TorchScript one.
    sha256, licence : str
        Of the file.
    """

    def __init__(self, path: Path, *, script: bool, sha256: str, licence: str) -> None:
        self._path = path
        self._script = script
        self._model: Callable[[Any], Any] | None = None
        self._device = "cpu"
        self._spec = EmbedderSpec(
            name="sscd-disc-mixup",
            kind="vector",
            dim=DIM,
            preprocessing=f"{_RESIZE}, ImageNet mean and standard deviation",
            weights_sha256=sha256,
            weights_licence=licence,
            decode_size=DECODE_SIZE,
        )

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return self._spec

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return (320, 320, 3) uint8."""
        return resize(image, SIDE, SIDE)

    def embed(self, prepared: Sequence[UInt8Array]) -> NDArray[np.float32]:
        """Return (n, 512) float32 with unit norm."""
        if self._model is None:
            from forensics.embed.sscd_torch import load

            self._device = device()
            self._model = load(self._path, script=self._script, device=self._device)
        step = _TORCH_BATCH[self._device]
        rows = [np.empty((0, DIM), np.float32)]
        for start in range(0, len(prepared), step):
            rows.append(self._model(stack_images(prepared[start : start + step], SIDE)))
        return unit_rows(np.concatenate(rows), self._spec.name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}


def create(name: str) -> Embedder:
    """Return the SSCD build called ``name``, its weights checked but not loaded."""
    if name not in ("sscd-disc-mixup", "sscd-int8", "sscd-distilled"):
        raise UsageError(f"unknown SSCD build {name!r}; choose sscd-disc-mixup, sscd-int8 or sscd-distilled")
    found = weights.require(name)
    if name == "sscd-disc-mixup":
        script = found.file.kind == "torchscript-sscd"
        return TorchSscd(found.path, script=script, sha256=found.sha256, licence=found.model.licence)
    return OnnxSscd(name, found.path, sha256=found.sha256, licence=found.model.licence)
