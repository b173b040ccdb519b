"""How a generator is opened: everything that is about this machine and its files, not about the images wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forensics.errors import UsageError

__all__ = ["DTYPES", "GeneratorOptions"]

DTYPES = ("auto", "float32", "float16", "bfloat16")
_FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """What every generator's factory is given beside its name; each takes what applies to it.

    Attributes
    ----------
    device : str
        ``auto`` (CUDA where torch sees a device), ``cpu``, ``cuda`` or ``cuda:N``.
    dtype : str
        One of :data:`DTYPES`; ``auto`` is the weights' own for a converted checkpoint, else float32 on a CPU and
        float16 on a GPU.
    batch : int
        Images at once. Where the result of a product may depend on the number of rows (half precision, GPUs) every
        call is padded to so many, so that a run that is interrupted and resumed makes the same images.
    weights : Path, optional
        A folder that holds the model's files under their published names, a converted folder, or the one checkpoint.
    cache : Path, optional
        Cache folder of the Hugging Face hub; its own by default.
    offline : bool
        Open no connection.
    token : str, optional
        For repositories that need one; ``$HF_TOKEN`` or the hub's login by default.
    upscale : int
        1, 2, 4 or 8: Real-ESRGAN after generation.
    dwt : bool
        Decode with the VQGAN that has the wavelet decoder: images of twice the size.
    offload : bool
        For models that are larger than a GPU: layers that the first one does not hold go to the others, then to main
        memory, then stay in the (converted) file.
    """

    device: str = "auto"
    dtype: str = "auto"
    batch: int = 8
    weights: Path | None = None
    cache: Path | None = None
    offline: bool = False
    token: str | None = None
    upscale: int = 1
    dwt: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"type {self.dtype!r} given; choose one of: {', '.join(DTYPES)}")
        if self.batch < 1:
            raise UsageError(f"batch {self.batch} given, 1 or more accepted")
        if self.upscale not in _FACTORS:
            raise UsageError(f"upscaling by {self.upscale} given; choose one of: {', '.join(map(str, _FACTORS))}")
        base, _, number = self.device.partition(":")
        if base not in ("auto", "cpu", "cuda") or (number and (base != "cuda" or not number.isdecimal())):
            raise UsageError(f"device {self.device!r} given; choose one of: auto, cpu, cuda, cuda:N")
