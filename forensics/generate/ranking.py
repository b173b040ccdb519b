"""How well images fit their prompts: cosines of CLIP or ruCLIP. They rank; files are never reordered by them.

``clip``, ``clip:…`` and ``clip-hf:…`` are the embedders of these names (:mod:`forensics.embed.clip`), whose texts most
checkpoints expect in English. ``ruclip``, ``ruclip:NAME`` and ``ruclip:FOLDER`` read Russian.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError
from forensics.types import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.embed.clip import Clip
    from forensics.generate.rudalle.ruclip import RuClip

__all__ = ["RUCLIP_DEFAULT", "ClipScorer", "RuClipScorer", "open_scorer"]

RUCLIP_DEFAULT = "ruclip-vit-base-patch32-384"
"""The one that the reference's README ranks with."""


class ClipScorer:
    """Cosine of image and prompt under a CLIP embedder."""

    def __init__(self, embedder: Clip) -> None:
        self._embedder = embedder

    @property
    def name(self) -> str:
        """``clip``."""
        return "clip"

    @property
    def identity(self) -> str:
        """The embedder's fingerprint: two checkpoints give two scores of one name."""
        return self._embedder.spec.fingerprint

    def score(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n,) cosines in [-1, 1] of (H, W, 3) uint8 RGB images and their prompts, pair by pair."""
        different, which = _pairs(images, prompts)
        if not images:
            return np.empty(0, np.float32)
        texts = self._embedder.embed_text(different)
        pictures = self._embedder.embed([self._embedder.prepare(image) for image in images])
        return _cosines(pictures, texts[which])


class RuClipScorer:
    """Cosine of image and prompt under ruCLIP; a prompt is put into the reference's sentences and averaged."""

    def __init__(self, model: RuClip, *, identity: str = "ruclip") -> None:
        self._model = model
        self.identity = identity

    @property
    def name(self) -> str:
        """``ruclip``."""
        return "ruclip"

    def score(self, images: Sequence[NDArray[np.uint8]], prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n,) cosines in [-1, 1] of (H, W, 3) uint8 RGB images and their prompts, pair by pair."""
        different, which = _pairs(images, prompts)
        if not images:
            return np.empty(0, np.float32)
        texts = self._model.text_latents(different).numpy()
        pictures = self._model.image_latents(self._model.pixel_values(images)).numpy()
        return _cosines(pictures, texts[which])


def open_scorer(
    name: str, *, device: str = "auto", token: str | None = None, cache: Path | None = None, offline: bool = False
) -> Scorer:
    """Return what scores images by their prompts.

    Parameters
    ----------
    name : str
        A name of :func:`forensics.embed.clip.create` (``clip``, ``clip:ARCH/TAG``, ``clip:ARCH@FILE``,
        ``clip:@FOLDER``, ``clip-hf:FOLDER_OR_ID``), ``ruclip``, ``ruclip:NAME`` with a published name, or
        ``ruclip:FOLDER`` that holds ``config.json``, ``pytorch_model.bin`` and ``bpe.model``.
    device : str
        ``auto`` (what ``$FORENSICS_DEVICE`` says, else CUDA where torch sees one), ``cpu``, ``cuda`` or ``cuda:N``.
    token, cache, offline
        For ruCLIP's published folders, see :func:`forensics.generate.rudalle.hub.locate`. CLIP's weights are fetched by
        ``forensics weights`` alone.

    Raises
    ------
    UsageError
        If the name is none of these.
    WeightsError
        If the weights are not on this machine and may not or cannot be fetched, or are not what they claim.
    """
    from forensics.generate.rudalle.models import make_device

    base, _, rest = name.partition(":")
    where = make_device(device)
    if base in ("clip", "clip-hf"):
        from forensics.embed.clip import create

        return ClipScorer(create(name).at(where))
    if base == "ruclip":
        from forensics.generate.rudalle.hub import locate_ruclip
        from forensics.generate.rudalle.ruclip import RuClip
        from forensics.weights import sha256_of

        folder = locate_ruclip(rest or RUCLIP_DEFAULT, token=token, cache=cache, offline=offline)
        return RuClipScorer(RuClip(folder, device=where), identity=sha256_of(folder / "pytorch_model.bin"))
    raise UsageError(
        f"scorer {name!r} given; accepted: clip, clip:ARCH/TAG, clip:ARCH@FILE, clip:@FOLDER, clip-hf:FOLDER_OR_ID, "
        "ruclip, ruclip:NAME_OR_FOLDER"
    )


def _pairs(images: Sequence[object], prompts: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the different prompts, and for each pair which of them is its own: a prompt often makes many images."""
    if len(images) != len(prompts):
        raise UsageError(f"{len(images)} images and {len(prompts)} prompts to score given, pairs accepted")
    different = list(dict.fromkeys(prompts))
    place = {prompt: number for number, prompt in enumerate(different)}
    return different, [place[prompt] for prompt in prompts]


def _cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = np.einsum("nd,nd->n", first, second).astype(np.float32)
    return scores
