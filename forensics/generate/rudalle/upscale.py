"""Real-ESRGAN by factors 2, 4 and 8, through spandrel's network, tile by tile so that memory is bounded.

A tile is computed with a margin of the image around it. A pixel depends on all pixels in a reach that grows with the
network's depth, hundreds for the published ones, but hardly on the far ones: in random networks of the published size
(23 blocks, factor 4) tiles with a margin of 16 differ from the whole by 4e-6 of the result's spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from forensics.errors import UsageError, WeightsError
from forensics.generate.rudalle.checkpoints import StateFile
from forensics.types import Progress

__all__ = ["Upscaler"]

_STEP = 4
"""Tiles begin at multiples of this: the factor-2 network folds 2 x 2 pixels into one first."""


class Upscaler:
    """One Real-ESRGAN file.

    Parameters
    ----------
    path : Path
        ``RealESRGAN_x2.pth`` (x4, x8): an RRDBNet of any size.
    device : str
        Where it runs.

    Raises
    ------
    WeightsError
        If the file is not such a network.
    """

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        from spandrel import ImageModelDescriptor, ModelLoader

        # read by ourselves, for spandrel's own reader unpickles more than tensors
        file = StateFile(path, bare=False)
        state = {name: tensor.clone() for name, tensor in file.read(file.shapes)}
        try:
            found = ModelLoader(device).load_from_state_dict(state)
        except Exception as error:  # spandrel's own classes, and KeyError or RuntimeError from half a network
            raise WeightsError(f"{path} is no Real-ESRGAN network ({str(error) or type(error).__name__})") from error
        if not isinstance(found, ImageModelDescriptor) or found.architecture.id != "ESRGAN":
            raise WeightsError(f"{path} is a {found.architecture.name} network, Real-ESRGAN's (RRDBNet) needed")
        if found.input_channels != 3 or found.output_channels != 3:
            raise WeightsError(f"{path} takes {found.input_channels} channels, 3 (RGB) needed")
        self.factor = int(found.scale)
        """How many times larger the result is: 2, 4 or 8."""
        self.device = device
        self._net: nn.Module = found.model.eval().requires_grad_(False)

    @torch.inference_mode()
    def upscale(
        self,
        image: Tensor,
        *,
        tile: int = 192,
        margin: int = 32,
        clamp: bool = True,
        progress: Progress | None = None,
    ) -> Tensor:
        """Return the (b, 3, fH, fW) float32 image for (b, 3, H, W) RGB in [0, 1].

        Parameters
        ----------
        image : Tensor
            Of any size from 1 x 1.
        tile : int
            Side of the part that is kept of each tile; a multiple of 4. 0 computes the image in one piece.
        margin : int
            What is computed around it in addition, on all sides where the image has it; a multiple of 4.
        clamp : bool
            Limit the result to [0, 1].
        progress : Progress, optional
            Called with tiles done and in all.
        """
        if image.dim() != 4 or image.shape[1] != 3 or image.numel() == 0:
            raise UsageError(f"an image of shape {tuple(image.shape)} given, (batch, 3, height, width) accepted")
        if tile < 0 or margin < 0 or tile % _STEP or margin % _STEP:
            raise UsageError(f"tile {tile} and margin {margin} given, multiples of {_STEP} accepted")
        batch, _, height, width = image.shape
        factor = self.factor
        result = torch.empty((batch, 3, height * factor, width * factor))
        boxes = list(_tiles(height, width, tile or max(height, width) + _STEP))
        for done, (top, left, bottom, right) in enumerate(boxes):
            upper, outer = max(top - margin, 0), max(left - margin, 0)
            part = image[:, :, upper : min(bottom + margin, height), outer : min(right + margin, width)]
            grown = self._run(part.to(self.device, torch.float32))
            row, column = (top - upper) * factor, (left - outer) * factor
            kept = grown[:, :, row : row + (bottom - top) * factor, column : column + (right - left) * factor]
            result[:, :, top * factor : bottom * factor, left * factor : right * factor] = kept
            if progress is not None:
                progress("upscaling", done + 1, len(boxes))
        return result.clamp_(0, 1) if clamp else result

    def _run(self, part: Tensor) -> Tensor:
        """Return the network's output; sides that it cannot fold are padded by their mirror image and cut again."""
        height, width = part.shape[2:]
        fold = 2 if self.factor == 2 else 1
        down, along = -height % fold, -width % fold
        if down or along:
            mode = "reflect" if height > down and width > along else "replicate"
            part = nn.functional.pad(part, (0, along, 0, down), mode=mode)
        grown = cast(Tensor, self._net(part))
        return grown[:, :, : height * self.factor, : width * self.factor]


def _tiles(height: int, width: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield top, left, min(top + side, height), min(left + side, width)
