"""Models larger than one GPU: layers on several, or in the host's memory or a file until they are computed.

Kandinsky has 12 billion parameters: 24 GB in float16. Its layers are given to the GPUs in order, as far as they fit,
and the rest to the CPU's memory, or to the checkpoint file itself; accelerate's hooks bring these to the first GPU
whenever they are called. Embeddings, the last norm and the output layer always stay on the first device, and each
layer's cache of keys is where the layer is computed. A step then costs what its offloaded weights take over the bus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from forensics.errors import UsageError
from forensics.generate.rudalle.checkpoints import DTYPES, Dtype, StateFile, fitted_names
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.decode import Decoder
from forensics.generate.rudalle.transformer import Rudalle

__all__ = ["Device", "MemoryEstimate", "check_memory", "device_map", "estimate_memory", "load_placed"]

Device = int | str
"""A GPU's number, or a name that torch knows, ``cpu`` or ``disk`` among them."""

_LAYERS = "transformer.layers."
_KEPT_HOME = ("cpu", "disk")
# of a full pass over one sequence, in units of S x H: the states, their norm, queries, keys and values, 4 H twice
_WORK_STATES = 16
# of drawing a token, bytes a logit: float32 logits, sorted, their order in int64, probabilities, sums in float64 …
_WORK_LOGIT = 64
_GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes that generating needs on the device; what CUDA itself takes (some 0.5 GB a process) is not among them.

    Attributes
    ----------
    weights, cache : int
        Exact.
    work : int
        About what a pass over one whole sequence and the drawing of a token hold at once.
    """

    weights: int
    cache: int
    work: int

    @property
    def total(self) -> int:
        """All three."""
        return self.weights + self.cache + self.work


def estimate_memory(config: TransformerConfig, dtype: Dtype, lanes: int) -> MemoryEstimate:
    """Return what a model needs to compute ``lanes`` sequences at once; guidance makes two of an image."""
    model = _empty(config, dtype)
    size = DTYPES[dtype].itemsize
    work = _WORK_STATES * config.length * config.hidden * size + 3 * config.length**2
    work += lanes * config.image_vocab * _WORK_LOGIT
    return MemoryEstimate(
        weights=sum(parameter.nbytes for parameter in model.parameters()),
        cache=Decoder(model, lanes).nbytes,
        work=work,
    )


def check_memory(config: TransformerConfig, dtype: Dtype, lanes: int, free: int) -> MemoryEstimate:
    """Return the estimate where it fits in ``free`` bytes.

    Raises
    ------
    UsageError
        Saying what is needed, what there is, and what would fit.
    """
    needed = estimate_memory(config, dtype, lanes)
    if needed.total <= free:
        return needed
    one = estimate_memory(config, dtype, 1)
    each = one.total - one.weights
    fitting = max(0, free - one.weights) // each
    if fitting:
        help_ = f"at most {fitting} fit"
    elif dtype == "float32":
        help_ = "take float16 or bfloat16, or place its layers on several devices"
    else:
        help_ = "place its layers on several devices or the CPU's memory"
    raise UsageError(
        f"{lanes} sequences at once in {dtype} given: {needed.total / _GB:.2f} GB needed "
        f"({needed.weights / _GB:.2f} GB of weights), {free / _GB:.2f} GB free; {help_}"
    )


def device_map(
    config: TransformerConfig,
    dtype: Dtype,
    *,
    max_memory: Mapping[Device, int] | None = None,
    lanes: int = 8,
) -> dict[str, Device]:
    """Return where each layer goes: on the GPUs in order, then the CPU, then ``disk``.

    Parameters
    ----------
    max_memory : mapping, optional
        Bytes by device, e.g. ``{0: 8 << 30, "cpu": 32 << 30}``; by default what is free now.
    lanes : int
        Sequences at once. Their cache and the work are taken off what GPUs have, weights get the rest: on the first one
        in full, since what is offloaded is computed there.
    """
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_max_memory

    model = _empty(config, dtype)
    room: dict[Device, int] = dict(max_memory) if max_memory is not None else get_max_memory()
    estimate = estimate_memory(config, dtype, lanes)
    for device, size in room.items():
        if device not in _KEPT_HOME:
            room[device] = max(0, size - estimate.cache - estimate.work)
    found: dict[str, Device] = infer_auto_device_map(
        model, max_memory=room, no_split_module_classes=["Layer"], dtype=DTYPES[dtype], clean_result=False
    )
    return found


def load_placed(
    path: Path,
    config: TransformerConfig,
    *,
    dtype: Dtype = "float16",
    devices: Mapping[str, Device] | None = None,
    max_memory: Mapping[Device, int] | None = None,
    lanes: int = 8,
) -> Rudalle:
    """Return the transformer of a checkpoint file with its layers on several devices.

    Weights are read one by one into the place where they stay, so that no more than the offloaded ones and a quarter of
    a gigabyte are in the host's memory.

    Parameters
    ----------
    path : Path
        See :class:`checkpoints.StateFile`.
    config : TransformerConfig
        Its sizes.
    dtype : str
        Of weights and computation.
    devices : mapping, optional
        Device of ``transformer.layers.0`` and so on (or of ``transformer.layers``, or ``""`` for all): a GPU's number,
        ``cpu``, or ``disk``, which reads a layer from the safetensors file whenever it is computed. By default
        :func:`device_map` of ``max_memory`` and ``lanes``.

    Raises
    ------
    WeightsError
        If the file is not this model's.
    UsageError
        If a layer has no device, or ``disk`` is wanted of a file that is no safetensors file.
    """
    from accelerate import dispatch_model

    wanted = device_map(config, dtype, max_memory=max_memory, lanes=lanes) if devices is None else devices
    model = _empty(config, dtype)
    placed = _places(model, wanted)
    # in the order of the map, so that a GPU that has the embeddings only still computes
    main = next((device for device in wanted.values() if device not in _KEPT_HOME), "cpu")
    for name in placed:
        if not name.startswith(_LAYERS):
            placed[name] = main
    if "disk" in placed.values() and path.suffix != ".safetensors":
        raise UsageError(f"layers left in {path} given; only a safetensors file can be read so: convert it first")
    state = StateFile(path)
    names = fitted_names(state, model, f"a ruDALL-E transformer of {config.layers} layers, {config.hidden} wide")
    where = {name: placed[_module(name)] for name in names}
    offloaded = _fill(model, state, where, DTYPES[dtype], main)
    model.eval()
    if set(placed.values()) == {main}:
        return model
    index = {
        name: {"safetensors_file": str(path), "weight_name": state.origin(name), "dtype": dtype}
        for name, device in where.items()
        if device == "disk"
    }
    dispatch_model(model, placed, main_device=main, state_dict=offloaded, offload_index=index or None, force_hooks=True)
    return model


def _empty(config: TransformerConfig, dtype: Dtype) -> Rudalle:
    if dtype not in DTYPES:
        raise UsageError(f"type {dtype!r} given, one of {', '.join(DTYPES)} accepted")
    with torch.device("meta"):
        return Rudalle(config).to(DTYPES[dtype])


def _module(name: str) -> str:
    """Return the placed module of a tensor: its layer, or the module itself."""
    if name.startswith(_LAYERS):
        return _LAYERS + name.removeprefix(_LAYERS).partition(".")[0]
    return name.rpartition(".")[0]


def _places(model: Rudalle, wanted: Mapping[str, Device]) -> dict[str, Device]:
    """Return the device of every placed module; only that of layers may be chosen, the others' is still to be set."""
    modules = dict.fromkeys(_module(name) for name in model.state_dict())
    layers = [name for name in modules if name.startswith(_LAYERS)]
    placed: dict[str, Device] = {}
    for name in layers:
        parts = name.split(".")
        found = [prefix for end in range(len(parts), -1, -1) if (prefix := ".".join(parts[:end])) in wanted]
        if not found:
            raise UsageError(f"no device for {name} given; a GPU's number, cpu or disk accepted for each layer")
        placed[name] = wanted[found[0]]
    return placed | {name: "cpu" for name in modules if name not in placed}


def _fill(
    model: Rudalle, state: StateFile, where: Mapping[str, Device], dtype: torch.dtype, main: Device
) -> dict[str, Tensor]:
    """Give the model its weights; return those that wait in the host's memory, page-locked where that helps."""
    offloaded: dict[str, Tensor] = {}
    pinned = main not in _KEPT_HOME and torch.device(main).type == "cuda"
    for name, tensor in state.read(name for name, device in where.items() if device != "disk"):
        device = where[name]
        stays = device != "cpu" or main == "cpu"
        fresh = torch.empty(
            tensor.shape, dtype=dtype, device=torch.device(device) if stays else "cpu", pin_memory=not stays and pinned
        )
        fresh.copy_(tensor)
        if stays:
            place, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(place), attribute, nn.Parameter(fresh, requires_grad=False))
        else:
            offloaded[name] = fresh
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return offloaded
