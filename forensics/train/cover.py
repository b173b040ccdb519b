"""Training the detector of covers: a head on frozen features of EfficientNet-Lite0 and on measures of the layout.

The backbone's ImageNet classes include book jackets, web sites and menus, so its features know covers already; what is
learnt here is a head. Features are computed once and kept in the run folder. What is written is one ONNX
file, from pixels and layout to the chances of the kinds, its weights in half precision.

======  =====================================================================================
symbol  meaning
======  =====================================================================================
``n``   samples
``V``   views of a sample: one, sharp, to learn from; those of :func:`forensics.detect.cover_network.views` to ask in
``F``   features of a view: 1280 averaged over the view, then the layout's
``K``   classes: none, book, disc, website, poster
======  =====================================================================================
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forensics.detect.cover_layout import Layout, measure_layout
from forensics.detect.cover_network import CLASSES, SIDE, sharp_view
from forensics.errors import UsageError
from forensics.train.cover_samples import Recipe
from forensics.train.efficientnet_lite import PIXEL_MEAN, PIXEL_STD
from forensics.train.loop import LoopConfig, Trained, train
from forensics.train.onnx_file import export_onnx
from forensics.train.session import write_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.train.cover_samples import CoverSample
    from forensics.types import FloatArray, Progress, UInt8Array

    FeatureFunction: TypeAlias = Callable[[UInt8Array, FloatArray], FloatArray]

__all__ = [
    "CoverFeatures",
    "CoverHead",
    "CoverNetwork",
    "CoverTraining",
    "average_precision",
    "chances",
    "cover_features",
    "cover_threshold",
    "feature_function",
    "save_cover",
    "train_head",
]

_BATCH = 16
_INPUTS = ("image", "layout")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverTraining:
    """One training of the detector.

    Attributes
    ----------
    loop : LoopConfig
    samples, held_out : int
        Samples to learn from, and those of unseen typefaces, designs and pictures that the threshold is set on.
    pictures : int
        Pictures of each folder.
    recipe : Recipe
    hidden : int
        Width of the head.
    dropout, smoothing : float
        Of features while learning, and of labels.
    false_alarms : float
        Share of held-out samples that are none and still reach the threshold.
    """

    loop: LoopConfig
    samples: int = 4000
    held_out: int = 1000
    pictures: int = 600
    recipe: Recipe = field(default_factory=Recipe)
    hidden: int = 96
    dropout: float = 0.6
    smoothing: float = 0.15
    false_alarms: float = 0.01

    def __post_init__(self) -> None:
        for name in ("samples", "held_out", "pictures", "hidden"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} given, 1 or more accepted")
        if not 0 <= self.dropout < 1 or not 0 <= self.smoothing < 1 or not 0 < self.false_alarms < 1:
            raise UsageError(
                f"dropout {self.dropout}, smoothing {self.smoothing}, false_alarms {self.false_alarms} given; "
                "shares from 0 to 1 accepted"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverFeatures:
    """Features of samples.

    Attributes
    ----------
    values : ndarray
        (n, V, F) float32.
    labels : ndarray
        (n,) int64 into the classes.
    what : tuple of str
        (n,) what each shows, and how it was spoilt: ``book``, ``picture/redraw`` …
    """

    values: FloatArray
    labels: NDArray[np.int64]
    what: tuple[str, ...]

    def save(self, path: Path, *, made_from: str) -> None:
        """Write them, whole or not at all."""
        write_tensors(
            {"values": torch.from_numpy(self.values).half(), "labels": torch.from_numpy(self.labels)},
            path,
            metadata={"made_from": made_from, "what": json.dumps(self.what)},
        )

    @classmethod
    def load(cls, path: Path, *, made_from: str) -> CoverFeatures | None:
        """Read what :meth:`save` wrote of the same samples; None where there is none."""
        from safetensors import safe_open

        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("made_from") != made_from:
                return None
            return cls(
                values=file.get_tensor("values").float().numpy(),
                labels=file.get_tensor("labels").numpy(),
                what=tuple(json.loads(about["what"])),
            )


class CoverHead(nn.Module):
    """Features to chances, read twice: by a hidden layer, and without one; the chances are averaged.

    Without one, what is learnt from renderings carries over best to covers that no renderer drew; flat drawings of
    books and discs are told from other flat drawings only with one.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.dropout = nn.Dropout(dropout)
        self.plain = nn.Linear(features, len(CLASSES))
        self.hidden = nn.Linear(features, hidden)
        self.out = nn.Linear(hidden, len(CLASSES))

    def fit_scale(self, values: Tensor) -> None:
        """Take mean and deviation of (n, F) features; what hardly varies is left as it is."""
        self.mean.copy_(values.mean(0))
        self.scale.copy_(1 / values.std(0).clamp(min=1e-2))

    def readings(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return (..., K) logits of (..., F) features, without the hidden layer and with it."""
        # a pixel pattern that training never saw may not outweigh everything else
        scaled = ((values - self.mean) * self.scale).clamp(-6, 6)
        inner = functional.relu(self.hidden(self.dropout(scaled)))
        return self.plain(self.dropout(scaled)), self.out(self.dropout(inner))

    def forward(self, values: Tensor) -> Tensor:
        """Return (..., K) chances of (..., F) features, which sum to 1."""
        plain, deep = self.readings(values)
        return (plain.softmax(-1) + deep.softmax(-1)) / 2


class CoverNetwork(nn.Module):
    """Backbone and head: (n, S, S, 3) uint8 RGB and (n, L) layout measures to (n, K) chances."""

    def __init__(self, backbone: nn.Module, head: CoverHead | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def features(self, pixels: Tensor, layout: Tensor) -> Tensor:
        """Return (n, F) features; where things stand the layout says: maps of places learn the renderer by heart."""
        net: Any = self.backbone
        x = (pixels.permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_STD
        x = net.bn1(net.conv_stem(x))
        for stage in net.blocks:
            x = stage(x)
        x = net.bn2(net.conv_head(x))
        return torch.cat((x.mean((2, 3)), layout), dim=1)

    def forward(self, pixels: Tensor, layout: Tensor) -> Tensor:
        """Return (n, K) chances that sum to 1."""
        if self.head is None:
            raise UsageError("a network without a head given; train one first")
        made: Tensor = self.head(self.features(pixels, layout))
        return made


class _Features(nn.Module):
    """The part of a network before its head, as something to write."""

    def __init__(self, network: CoverNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, layout: Tensor) -> Tensor:
        return self.network.features(pixels, layout)


def feature_function(network: CoverNetwork, path: Path) -> FeatureFunction:
    """Return what computes features on ONNX Runtime, at three times eager torch's speed on a CPU.

    Parameters
    ----------
    network : CoverNetwork
    path : Path
        File to write it to; weights in half precision, as they will be in the detector.
    """
    import onnxruntime

    from forensics.embed import runtime

    path.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(_Features(network).eval(), _example(), path, names=_INPUTS, result="features")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels, layouts: session.run(None, {"image": pixels, "layout": layouts})[0]


def cover_features(
    function: FeatureFunction,
    samples: Iterable[CoverSample],
    *,
    count: int,
    view: Callable[[UInt8Array], UInt8Array] = sharp_view,
    progress: Progress | None = None,
) -> CoverFeatures:
    """Return the features of ``count`` samples, which are drawn when needed, in the views that ``view`` gives."""
    rows: list[FloatArray] = []
    labels: list[int] = []
    what: list[str] = []
    pixels: list[UInt8Array] = []
    layouts: list[FloatArray] = []

    def compute() -> None:
        if pixels:
            # in half precision, as they are kept: a run that goes on sees the same
            made = function(np.concatenate(pixels), np.repeat(np.stack(layouts), len(pixels[0]), axis=0))
            rows.append(made.reshape(len(pixels), len(pixels[0]), -1).astype(np.float16).astype(np.float32))
            pixels.clear()
            layouts.clear()

    for number, sample in enumerate(samples):
        pixels.append(view(sample.image))
        layouts.append(measure_layout(sample.image).vector())
        labels.append(sample.label)
        what.append(sample.what + (f"/{sample.spoilt}" if sample.spoilt else ""))
        if len(pixels) == _BATCH:
            compute()
        if progress is not None:
            progress("drawing covers", number + 1, count)
    compute()
    return CoverFeatures(values=np.concatenate(rows), labels=np.array(labels, np.int64), what=tuple(what))


def train_head(
    training: CoverTraining,
    features: CoverFeatures,
    out: Path,
    *,
    about: Mapping[str, str] | None = None,
    restart: bool = False,
    progress: Progress | None = None,
) -> tuple[CoverHead, Trained]:
    """Train a head on features, or go on; see :func:`forensics.train.loop.train`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.loop.seed)
        head = CoverHead(features.values.shape[2], hidden=training.hidden, dropout=training.dropout)
    values = torch.from_numpy(features.values).flatten(0, 1)
    labels = torch.from_numpy(features.labels).repeat_interleave(features.values.shape[1])
    head.fit_scale(values)

    def step_loss(chosen: Tensor, generator: torch.Generator) -> Mapping[str, Tensor]:
        # dropout draws from torch's own generator, which a step's seed sets
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            plain, deep = head.readings(values[chosen])
        losses = [
            functional.cross_entropy(logits, labels[chosen], label_smoothing=training.smoothing)
            for logits in (plain, deep)
        ]
        with torch.no_grad():
            right = (deep.argmax(1) == labels[chosen]).float().mean()
        return {"total": losses[0] + losses[1], "plain": losses[0], "deep": losses[1], "right": right}

    digest = hashlib.sha256(features.values.tobytes() + features.labels.tobytes()).hexdigest()
    trained = train(
        head,
        step_loss,
        repeats=[1] * len(labels),
        config=training.loop,
        out=out,
        about={
            **(about or {}),
            "features": digest,
            "head": f"plain and {training.hidden}, {training.dropout} {training.smoothing}",
        },
        stage="training the cover detector",
        restart=restart,
        progress=progress,
    )
    return head, trained


@torch.inference_mode()
def chances(head: CoverHead, features: CoverFeatures) -> FloatArray:
    """Return (n, K) float32: the chances of the classes, averaged over the views."""
    result: FloatArray = head(torch.from_numpy(features.values)).mean(1).numpy()
    return result


def average_precision(score: FloatArray, is_cover: NDArray[np.bool_]) -> float:
    """Return the area under precision over recall of (n,) scores, ties taken together; 0 where nothing is a cover."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(is_cover[order])
    last = np.append(np.diff(score[order]) != 0, True)  # of each group of equal scores
    precision, recall = (hits / np.arange(1, len(hits) + 1))[last], (hits / max(1, int(is_cover.sum())))[last]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def cover_threshold(score: FloatArray, is_cover: NDArray[np.bool_], *, false_alarms: float) -> float:
    """Return the least score that at most ``false_alarms`` of the samples that are none reach.

    Parameters
    ----------
    score : (n,) float32
        1 minus the chance of none.
    is_cover : (n,) bool
    false_alarms : float
    """
    none = np.sort(score[~is_cover])[::-1]
    if not len(none):
        raise UsageError("no held-out sample without a cover given; a threshold needs some")
    allowed = int(false_alarms * len(none))
    return float(np.nextafter(none[allowed], np.float32(2)))


def save_cover(network: CoverNetwork, folder: Path, *, about: Mapping[str, Any]) -> Path:
    """Write ``cover.onnx`` (weights in half precision, computed in single) and ``cover.json``; return the former.

    Parameters
    ----------
    network : CoverNetwork
        With a head.
    folder : Path
        Made; what it holds of these files is replaced.
    about : mapping
        Kept in ``cover.json``: how the model was made, its licence, what it reached.

    Raises
    ------
    MissingExtraError
        If the package ``onnx`` is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cover.onnx"
    part = path.with_suffix(".onnx.part")
    export_onnx(network.eval(), _example(), part, names=_INPUTS, result="chance")
    os.replace(part, path)  # noqa: PTH105  atomic
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    content = {"classes": list(CLASSES), "layout": list(Layout.names()), "sha256": digest, **about}
    (folder / "cover.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return path


def _example() -> tuple[Tensor, Tensor]:
    return torch.zeros((1, SIDE, SIDE, 3), dtype=torch.uint8), torch.zeros((1, len(Layout.names())))
