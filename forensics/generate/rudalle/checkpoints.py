"""Weights from files: pickled state dicts as published, or safetensors, read a part at a time.

A file is mapped, not read whole, and mapped anew for every part, so that what was copied already does not stay in
memory: beside the model itself there is never more than about a quarter of a gigabyte. Only tensors are unpickled.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn

from forensics.errors import UsageError, WeightsError
from forensics.generate.rudalle.config import TransformerConfig, VqganConfig
from forensics.generate.rudalle.transformer import Rudalle
from forensics.generate.rudalle.vqgan import Vqgan

__all__ = ["DTYPES", "StateFile", "fill", "fitted_names", "load_transformer", "load_vqgan", "random_transformer"]

Dtype = Literal["float32", "float16", "bfloat16"]
DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
"""The types that weights may have here, by name."""

_WRAPPERS = ("state_dict", "params_ema", "params")
_PREFIXES = ("module.", "model.")
_PART = 256 << 20
_SPREAD = 0.02
# in the files, but no weights of ours: masks and wavelet filters are computed, losses belong to training
_LEFT_OUT = ("row_mask", "col_mask", "conv_mask")
_LEFT_OUT_FIRST = ("decoder.idwt.", "loss.")

_log = logging.getLogger(__name__)
_Model = TypeVar("_Model", bound=nn.Module)


class StateFile:
    """The named tensors of one file, opened anew whenever they are read.

    Wrappings (``state_dict``, ``params``), a prefix that all names share (``model.``), mask buffers and the like are
    taken off.

    Parameters
    ----------
    path : Path
        ``*.safetensors``, else a file of ``torch.save``.
    bare : bool
        Take a shared prefix off; another library's networks may have one in their own names.

    Raises
    ------
    WeightsError
        If the file is missing, cut off, or holds anything but tensors.
    """

    def __init__(self, path: Path, *, bare: bool = True) -> None:
        self.path = path
        if not path.is_file():
            raise WeightsError(f"{path} is missing; a checkpoint file needed")
        self._safe = path.suffix == ".safetensors"
        self._origin: dict[str, str] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Shape of every tensor, by its name without prefix."""
        if self._safe:
            with self._open_safe() as file:
                found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping
        else:
            found = {name: tuple(tensor.shape) for name, tensor in self._open_pickle().items()}
        shared = [part for part in _PREFIXES if all(name.startswith(part) for name in found)]
        prefix = shared[0] if bare and shared else ""
        for name, shape in found.items():
            short = name.removeprefix(prefix)
            if not short.endswith(_LEFT_OUT) and not short.startswith(_LEFT_OUT_FIRST):
                self._origin[short] = name
                self.shapes[short] = shape

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield names with their tensors on the CPU, which are valid until the next one; copy what is to stay."""
        taken = _PART
        state: Mapping[str, Tensor] = {}
        for name in names:
            if self._safe:
                with self._open_safe() as file:
                    yield name, file.get_tensor(self._origin[name])
                continue
            if taken >= _PART:
                # dropping the old mapping gives its pages back
                state, taken = self._open_pickle(), 0
            tensor = state[self._origin[name]]
            taken += tensor.nbytes
            yield name, tensor

    def origin(self, name: str) -> str:
        """Return the name under which the file itself has a tensor."""
        return self._origin[name]

    def _open_safe(self) -> Any:
        try:
            return safe_open(self.path, "pt")
        except Exception as error:  # the library's own class, and the system's errors
            raise WeightsError(f"{self.path} is cut off or no safetensors file ({error}); fetch it again") from error

    def _open_pickle(self) -> Mapping[str, Tensor]:
        zipped = zipfile.is_zipfile(self.path)
        if not zipped:
            with open(self.path, "rb") as file:
                if file.read(2) == b"PK":
                    raise WeightsError(f"{self.path} is cut off: the end of its archive is missing; fetch it again")
            _log.debug("%s is in the format before torch 1.6: it is read whole", self.path)
        try:
            read = torch.load(self.path, map_location="cpu", mmap=zipped, weights_only=True)
        except Exception as error:  # unpickling raises whatever it meets
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise WeightsError(f"{self.path} is no checkpoint of tensors, or damaged ({reason})") from error
        for wrapper in _WRAPPERS:
            if isinstance(read, Mapping) and isinstance(read.get(wrapper), Mapping):
                read = read[wrapper]
                break
        if not isinstance(read, Mapping) or not read:
            raise WeightsError(f"{self.path} holds {type(read).__name__}, a dict of named tensors needed")
        for name, tensor in read.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                raise WeightsError(f"{self.path} holds {type(tensor).__name__} under {name!r}, a tensor needed")
        return read


def fitted_names(state: StateFile, model: nn.Module, what: str) -> list[str]:
    """Return the names of a model's tensors in its own order, once the file is known to hold exactly these.

    Raises
    ------
    WeightsError
        Naming the first tensor that is missing, too much or of another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    wrong = [name for name, shape in wanted.items() if state.shapes.get(name, shape) != shape]
    if wrong:
        name = wrong[0]
        raise WeightsError(
            f"{state.path} is another architecture than {what}: {name} is {state.shapes[name]}, {wanted[name]} needed"
            f"{_more(wrong)}"
        )
    if missing := [name for name in wanted if name not in state.shapes]:
        raise WeightsError(f"{state.path} lacks {missing[0]}{_more(missing)} of the {len(wanted)} tensors of {what}")
    if extra := [name for name in state.shapes if name not in wanted]:
        raise WeightsError(f"{state.path} is another architecture than {what}: that has no {extra[0]}{_more(extra)}")
    return list(wanted)


def fill(
    model: _Model, path: Path, *, what: str, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> _Model:
    """Give a model made on the ``meta`` device its weights from a file, and set it to evaluation.

    Parameters
    ----------
    model : Module
        Without memory of its own; it is changed and returned.
    path : Path
        See :class:`StateFile`.
    what : str
        What the model is, for messages.
    device, dtype
        Of the weights. The model is computed in this type throughout.
    """
    state = StateFile(path)
    for name, tensor in state.read(fitted_names(state, model, what)):
        place, _, attribute = name.rpartition(".")
        fresh = torch.empty(tensor.shape, dtype=dtype, device=device)
        fresh.copy_(tensor)
        setattr(model.get_submodule(place), attribute, nn.Parameter(fresh, requires_grad=False))
    return model.eval()


def load_transformer(
    path: Path, config: TransformerConfig, *, device: str = "cpu", dtype: Dtype = "float32"
) -> Rudalle:
    """Return the transformer of a checkpoint file, published or converted."""
    with torch.device("meta"):
        model = Rudalle(config)
    what = f"a ruDALL-E transformer {config.version} of {config.layers} layers, {config.hidden} wide"
    return fill(model, path, what=what, device=device, dtype=_dtype(dtype))


def load_vqgan(path: Path, config: VqganConfig, *, device: str = "cpu", dtype: Dtype = "float32") -> Vqgan:
    """Return the VQGAN of a checkpoint file, published or converted."""
    with torch.device("meta"):
        model = Vqgan(config)
    what = f"a Gumbel VQGAN with {config.codes} codes{' and wavelet decoder' if config.dwt else ''}"
    return fill(model, path, what=what, device=device, dtype=_dtype(dtype))


def random_transformer(
    config: TransformerConfig, *, seed: int = 0, device: str = "cpu", dtype: Dtype = "float32"
) -> Rudalle:
    """Return a transformer with random weights, for smoke runs and measurements: N(0, 0.02²), norms neutral."""
    with torch.device("meta"):
        model = Rudalle(config)
    model = model.to_empty(device=device) if dtype == "float32" else model.to(_dtype(dtype)).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    for module in model.modules():
        for name, weights in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm):
                nn.init.constant_(weights, 1.0 if name == "weight" else 0.0)
            else:
                nn.init.normal_(weights, std=_SPREAD, generator=generator)
            weights.requires_grad_(False)
    return model.eval()


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise UsageError(f"type {name!r} given, one of {', '.join(DTYPES)} accepted")
    return DTYPES[name]


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
