"""Training the detector of stock marks: mask, presence and brand, on composites that the renderer makes.

The masks' error is counted at each place (cross-entropy) and over each marked picture (Dice, Milletari et al.,
arXiv:1606.04797), for a mark covers little of a picture. Places where lines alone run are not counted. A marked picture
is shown beside its twin without the mark.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forensics.errors import MissingExtraError, UsageError
from forensics.train.composites import BRAND_NAMES, WINDOW
from forensics.train.loop import LoopConfig, Trained, train
from forensics.train.mark_network import MarkNetwork, MarkOutput, load_imagenet
from forensics.train.onnx_file import halve_weights
from forensics.train.shards import Sample, Shards
from forensics.types import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WatermarkTraining", "Weights", "cut_batch", "export_onnx", "mark_losses", "new_network", "train_watermark"]

_STRIDE = 4
_TRACE = 0.004
"""Share of a crop below which its mark is neither one nor none."""
_UNDECIDED = -1
_AT_MARK = 0.5
"""Share of a marked picture's crops that are made to touch the mark."""
_SMOOTHING = 0.02
_OPSET = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each error counts."""

    places: float = 3.0
    overlap: float = 1.5
    presence: float = 1.0
    brand: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkTraining:
    """One training of the mark detector.

    Attributes
    ----------
    loop : LoopConfig
    weights : Weights
    composites : int
        How many are made; a longer training sees them again in other crops and tones.
    crop : int
        Side in pixels of what the network sees of a composite's 256; a multiple of 32.
    pictures : int
        Most that are read of a folder.
    checked : int
        Held-out composites that the trained network is checked on.
    tint : float
        Largest change of brightness and of each colour's gain.
    marked, faint, small, spoilt, codes, distractors : float
        As in :class:`~forensics.train.composites.Recipe`.
    """

    loop: LoopConfig
    weights: Weights
    composites: int = 48000
    crop: int = 224
    pictures: int = 1500
    checked: int = 600
    tint: float = 0.15
    marked: float = 0.62
    faint: float = 0.45
    small: float = 0.34
    spoilt: float = 0.5
    codes: float = 0.6
    distractors: float = 0.5

    def __post_init__(self) -> None:
        if self.crop % 32 or not 32 <= self.crop <= WINDOW or self.composites < 1 or self.pictures < 1:
            raise UsageError(
                f"crop {self.crop}, composites {self.composites}, pictures {self.pictures} given; a multiple of 32 up "
                f"to {WINDOW}, and 1 or more accepted"
            )


def new_network(seed: int, imagenet: Path | None) -> MarkNetwork:
    """Return an untrained network: random, or with a trained backbone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MarkNetwork(len(BRAND_NAMES))
    if imagenet is not None:
        load_imagenet(network, torch.load(imagenet, map_location="cpu", weights_only=True))
    return network


def train_watermark(
    training: WatermarkTraining,
    shards: Shards,
    out: Path,
    *,
    imagenet: Path | None,
    about: Mapping[str, str] | None = None,
    device: str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> tuple[MarkNetwork, Trained]:
    """Train a detector, going on where an earlier run in ``out`` stopped; see :func:`forensics.train.loop.train`.

    Parameters
    ----------
    training : WatermarkTraining
    shards : Shards
        The composites.
    out : Path
        Run folder.
    imagenet : Path, optional
        State dict of the backbone; random weights without.
    about : mapping of str to str, optional
        What tells these composites from others, for going on.
    device, restart, progress
        As in the loop.

    Returns
    -------
    MarkNetwork
        In evaluation mode.
    Trained
        How the run went.
    """
    network = new_network(training.loop.seed, imagenet).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def step_loss(chosen: Tensor, generator: torch.Generator) -> Mapping[str, Tensor]:
        samples = [shards.row(number) for number in chosen.tolist()]
        batch = cut_batch(samples, generator, crop=training.crop, tint=training.tint)
        pixels, mask, lines, presence, brand = (part.to(device) for part in batch)
        output = network(pixels.contiguous(memory_format=torch.channels_last))
        return mark_losses(output, mask, lines, presence, brand, training.weights)

    trained = train(
        network,
        step_loss,
        repeats=[1] * training.composites,
        config=training.loop,
        out=out,
        in_order=True,
        about={**(about or {}), "recipe": str(asdict(training) | {"loop": ""})},
        stage="training the mark detector",
        restart=restart,
        progress=progress,
    )
    return network, trained


def cut_batch(
    samples: Sequence[Sample], generator: torch.Generator, *, crop: int, tint: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return pixels (b, 3, s, s) float32 in [0, 255], mask and lines (b, s/4, s/4) in [0, 1], presence, brand (b,).

    A crop is shifted by whole cells of the mask. One that holds a trace of its picture's mark alone is undecided. After
    the n samples follow the twins of those whose crop is marked: the same crop in the same tone without the mark.

    Parameters
    ----------
    samples : sequence of Sample
    generator : torch.Generator
        The only source of chance.
    crop : int
        Side in pixels, a multiple of 32.
    tint : float
        Largest change of brightness and of each colour's gain.
    """
    cells = crop // _STRIDE
    chances = torch.rand((len(samples), 4), generator=generator).tolist()
    gain = 1 + tint * (2 * torch.rand((len(samples), 3, 1, 1), generator=generator) - 1)
    shift = 255 * tint * (torch.rand((len(samples), 1, 1, 1), generator=generator) - 0.5)
    pixels, masks, labels, twins, twin_of = [], [], [], [], []
    for place, (sample, chance) in enumerate(zip(samples, chances, strict=True)):
        row, column = _corner(sample, cells, chance)
        part = (slice(row * _STRIDE, row * _STRIDE + crop), slice(column * _STRIDE, column * _STRIDE + crop))
        mask = np.array(sample.mask[:, row : row + cells, column : column + cells])
        presence, brand = sample.presence, sample.brand
        if float((mask[0] > 127).mean()) < _TRACE:
            presence, brand = _UNDECIDED if mask.any() else 0, _UNDECIDED
        elif sample.twin is not None:
            twins.append(np.array(sample.twin[part]))
            twin_of.append(place)
        pixels.append(np.array(sample.image[part]))
        masks.append(mask)
        labels.append((presence, brand))
    masks += [np.zeros_like(masks[0])] * len(twins)
    labels += [(0, _UNDECIDED)] * len(twins)
    order = [*range(len(samples)), *twin_of]
    batch = torch.from_numpy(np.stack(pixels + twins)).permute(0, 3, 1, 2).float()
    truth = torch.from_numpy(np.stack(masks)).float() / 255
    chosen = torch.tensor(labels)
    return (batch * gain[order] + shift[order]).clamp(0, 255), truth[:, 0], truth[:, 1], chosen[:, 0], chosen[:, 1]


def _corner(sample: Sample, cells: int, chances: Sequence[float]) -> tuple[int, int]:
    """Return row and column of a crop's first cell: inside the picture where it is large enough, often at its mark."""
    lasts = [max(0, length - cells) for length in sample.inside]
    ranges = [(0, last) for last in lasts]
    if chances[0] < _AT_MARK:
        places: NDArray[np.intp] = np.argwhere(sample.mask[0] > 127)
        if len(places):
            # this place of the mark must be inside the crop
            at = places[int(chances[1] * len(places))].tolist()
            least = [min(max(0, place - cells + 1), last) for place, last in zip(at, lasts, strict=True)]
            ranges = [(low, max(low, min(place, last))) for low, place, last in zip(least, at, lasts, strict=True)]
    row, column = (
        low + int(chance * (high - low + 1)) for (low, high), chance in zip(ranges, chances[2:], strict=True)
    )
    return row, column


def mark_losses(
    output: MarkOutput, mask: Tensor, lines: Tensor, presence: Tensor, brand: Tensor, weights: Weights
) -> dict[str, Tensor]:
    """Return ``total`` and its parts: ``places``, ``overlap``, ``presence``, ``brand``.

    Parameters
    ----------
    output : MarkOutput
    mask, lines : Tensor
        (b, h, w) in [0, 1]; where lines run and no mark is, nothing is counted.
    presence, brand : Tensor
        (b,) int64; -1 where undecided.
    weights : Weights
    """
    logits = output.mask.float()
    counted = 1 - lines * (mask < 0.5)
    places = (functional.binary_cross_entropy_with_logits(logits, mask, reduction="none") * counted).mean()
    shown = torch.sigmoid(logits) * counted
    both, either = (shown * mask).sum((1, 2)), (shown + mask * counted).sum((1, 2))
    marked = (presence == 1).float()
    overlap = ((1 - (2 * both + 1) / (either + 1)) * marked).sum() / marked.sum().clamp(min=1)
    known = (presence >= 0).float()
    surely = functional.binary_cross_entropy_with_logits(
        output.presence.float(), presence.clamp(min=0).float(), reduction="none"
    )
    present = (surely * known).sum() / known.sum().clamp(min=1)
    named = (brand >= 0).float()
    each = functional.cross_entropy(
        output.brand.float(), brand.clamp(min=0), reduction="none", label_smoothing=_SMOOTHING
    )
    brands = (each * named).sum() / named.sum().clamp(min=1)
    total = weights.places * places + weights.overlap * overlap + weights.presence * present + weights.brand * brands
    return {"total": total, "places": places, "overlap": overlap, "presence": present, "brand": brands}


class _Served(nn.Module):
    """The network as it is used: (B, H, W, 3) uint8 in, probabilities out."""

    def __init__(self, network: MarkNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output = self.network(image.permute(0, 3, 1, 2).float())
        return torch.sigmoid(output.mask), torch.sigmoid(output.presence), torch.softmax(output.brand, dim=1)


def export_onnx(network: MarkNetwork, path: Path, *, about: Mapping[str, str]) -> None:
    """Write a trained network for ONNX Runtime, weights in float16 that are widened when it is opened.

    Input ``image`` (B, H, W, 3) uint8 RGB, sides multiples of 32. Outputs: ``mask`` (B, H / 4, W / 4), ``presence``
    (B,), ``brand`` (B, K), float32 probabilities. The brands' names and ``about`` are in the file's metadata.

    Raises
    ------
    MissingExtraError
        If the package onnx is not there.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(
            "a trained detector is written by the package onnx; install it: pip install onnx"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    axes = {0: "batch", 1: "height", 2: "width"}
    with warnings.catch_warnings():
        # the exporter by TorchScript is deprecated; the newer one needs a further package and fixes the sizes
        warnings.simplefilter("ignore")
        torch.onnx.export(
            # a copy: the exporter joins norms with convolutions in place
            _Served(copy.deepcopy(network).cpu().eval()),
            (torch.zeros(1, 64, 96, 3, dtype=torch.uint8),),
            str(part),
            dynamo=False,
            input_names=["image"],
            output_names=["mask", "presence", "brand"],
            dynamic_axes={"image": axes, "mask": axes, "presence": {0: "batch"}, "brand": {0: "batch"}},
            opset_version=_OPSET,
        )
    model = onnx.load(str(part))
    halve_weights(model)
    for key, value in {"brands": "\n".join(BRAND_NAMES), **about}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, str(part))
    part.replace(path)
