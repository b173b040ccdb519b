"""Writing a trained network as ONNX with weights in half precision, which ONNX Runtime computes in single."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forensics.errors import MissingExtraError

__all__ = ["export_onnx", "halve_weights"]

_OPSET = 17
_LARGE_WEIGHT = 256
"""Tensors of fewer numbers stay as they are: biases, shapes."""
_LARGEST_HALF = 65504.0
"""What float16 cannot hold stays as it is."""


def export_onnx(model: nn.Module, inputs: tuple[Tensor, ...], path: Path, *, names: Sequence[str], result: str) -> None:
    """Write a model as ONNX, its first axis free, with larger weights kept as float16 and cast when it is loaded.

    Parameters
    ----------
    model : Module
        In evaluation mode; it is left as it is.
    inputs : tuple of Tensor
        An example.
    path : Path
        Written in place.
    names : sequence of str
        Of the inputs.
    result : str
        Name of the only output.

    Raises
    ------
    MissingExtraError
        If the package ``onnx`` is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a detector is written as ONNX; install what writes it with: pip install onnx"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter needs no compiler, and says that another one is newer
        torch.onnx.export(
            copy.deepcopy(model),  # the exporter joins norms with convolutions in place
            inputs,
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=list(names),
            output_names=[result],
            dynamic_axes={name: {0: "n"} for name in (*names, result)},
        )
    graph = onnx.load(str(path))
    halve_weights(graph)
    onnx.save(graph, str(path))


def halve_weights(model: Any) -> None:
    """Keep a model's large float32 weights as float16, each widened by a Cast that the runtime does once."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in list(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _LARGE_WEIGHT or float(np.abs(values).max()) > _LARGEST_HALF:
            continue
        name = tensor.name
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT, name=f"{name}.cast"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
