"""SSCD's network in torch. Imported only when Meta's weights are used, as it needs torch at import.

The file ``*.torchvision.pt`` holds the state of torchvision's ResNet-50 with 512 outputs under the prefix
``backbone.``, whose average pooling is replaced by generalised mean pooling (GeM; Radenović et al., arXiv:1711.02512,
eq. 3) with p = 3. The output is L2-normalised. The file ``*.torchscript.pt`` is the same as a program.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from forensics.errors import WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SscdNet", "load"]

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_GEM_POWER = 3.0
_GEM_FLOOR = 1e-6


class _GeM(nn.Module):
    """(b, c, h, w) → (b, c): the cube root of the mean cube, in float32 since cubes overflow float16."""

    def forward(self, features: Tensor) -> Tensor:
        cubes = features.float().clamp(min=_GEM_FLOOR).pow(_GEM_POWER)
        return cubes.mean(dim=(2, 3)).pow(1.0 / _GEM_POWER)


class SscdNet(nn.Module):
    """(b, 3, H, W) float, ImageNet-normalised → (b, 512) float32 of unit norm."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.backbone = resnet50(weights=None, num_classes=512)
        self.backbone.avgpool = _GeM()

    def forward(self, images: Tensor) -> Tensor:
        """Return the descriptors."""
        return nn.functional.normalize(self.backbone(images).float())


def load(path: Path, *, script: bool, device: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return a function from (b, H, W, 3) uint8 RGB to (b, 512) float32 that runs on ``device``.

    Raises
    ------
    WeightsError
        If the file does not hold the network.
    """
    try:
        model = _load_script(path) if script else _load_state(path)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path} cannot be loaded as SSCD: {reason}") from error
    model = model.eval().to(device)
    if not script:
        model = model.to(memory_format=torch.channels_last)
    mean = torch.tensor(_MEAN, device=device).view(3, 1, 1) * 255
    std = torch.tensor(_STD, device=device).view(3, 1, 1) * 255

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=device == "cuda"):
            # (b, H, W, 3) seen as (b, 3, H, W) is channels_last already
            images = (torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float() - mean) / std
            return cast("NDArray[np.float32]", model(images).float().cpu().numpy())

    return run


def _load_script(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch deprecates the format in which Meta publishes the model
        return torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]


def _load_state(path: Path) -> nn.Module:
    model = SscdNet()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model
