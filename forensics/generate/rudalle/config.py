"""Every published ruDALL-E, as tables: sizes, where the files are, and how a layout is read from a plain dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from forensics.errors import UsageError

__all__ = [
    "DUMMY",
    "MODELS",
    "RUCLIP",
    "TOKENIZER",
    "UPSCALERS",
    "VQGAN",
    "VQGAN_DWT",
    "VQGAN_FILES",
    "HubFile",
    "Published",
    "TransformerConfig",
    "VqganConfig",
    "published",
]

_META = {
    "version": "hf_version",
    "layers": "num_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "text_length": "text_seq_length",
    "image_side": "image_tokens_per_dim",
    "text_vocab": "vocab_size",
    "image_vocab": "image_vocab_size",
    "sandwich": "cogview_sandwich_layernorm",
    "pb_relax": "cogview_pb_relax",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """Sizes of the transformer.

    Attributes
    ----------
    version : {"v3", "v2"}
        v2 reads a begin token before the text, so its image tokens stand one position later, and its convolutional
        mask wraps around the image's borders.
    layers, hidden, heads : int
        L, H and heads of H / heads each.
    text_length, image_side : int
        T text tokens and D x D image tokens; the sequence has S = T + D² positions in both versions.
    text_vocab, image_vocab : int
        V and IV. The last T of the V text ids stand for padding, one a position.
    sandwich : bool
        A layer norm after attention and after the MLP as well (CogView, arXiv:2105.13290, section 2.4).
    pb_relax : bool
        Trained with precision-bottleneck relaxation (same section): a rearrangement that keeps float16 scores from
        overflowing and changes no exact value. Attention here is computed that way whatever the flag says.
    """

    version: Literal["v3", "v2"] = "v3"
    layers: int = 24
    hidden: int = 2048
    heads: int = 16
    text_length: int = 128
    image_side: int = 32
    text_vocab: int = 16384 + 128
    image_vocab: int = 8192
    sandwich: bool = True
    pb_relax: bool = True

    def __post_init__(self) -> None:
        if self.version not in ("v3", "v2"):
            raise UsageError(f"ruDALL-E version {self.version!r} given, v3 or v2 accepted")
        sizes = {item.name: getattr(self, item.name) for item in fields(self)[1:-2]}
        if bad := [f"{name} {size}" for name, size in sizes.items() if not isinstance(size, int) or size < 1]:
            raise UsageError(f"{', '.join(bad)} given, whole numbers from 1 accepted")
        if self.hidden % self.heads:
            raise UsageError(f"hidden size {self.hidden} given, a multiple of the {self.heads} heads accepted")
        if self.text_vocab <= self.text_length:
            raise UsageError(
                f"text vocabulary {self.text_vocab} given, more than the text length {self.text_length} accepted: "
                "its last ids stand for padding"
            )

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> TransformerConfig:
        """Read the reference implementation's names (``num_layers`` …); other keys are left alone."""
        if missing := [key for key in _META.values() if key not in meta and not key.startswith("cogview")]:
            raise UsageError(f"a transformer's configuration without {', '.join(missing)} given")
        # the reference's own defaults for the two flags are off
        return cls(**{name: meta.get(key, False) for name, key in _META.items()})

    @property
    def image_length(self) -> int:
        """D²: tokens of an image."""
        return self.image_side**2

    @property
    def length(self) -> int:
        """S: positions of the whole sequence."""
        return self.text_length + self.image_length

    @property
    def image_start(self) -> int:
        """The position at which the first image token is read: T, in v2 T + 1."""
        return self.text_length + (self.version == "v2")


@dataclass(frozen=True, slots=True, kw_only=True)
class VqganConfig:
    """Sizes of the Gumbel VQGAN.

    Attributes
    ----------
    dwt : bool
        The decoder gives the four bands of a Haar wavelet transform, so images have twice the size.
    embed_dim, codes : int
        Dimension and number of codebook vectors.
    latent, channels : int
        Channels of the latent and of the first level.
    multipliers : tuple of int
        Channels of each level as multiples; every level but the last halves the size.
    blocks : int
        Residual blocks a level (the decoder has one more).
    resolution : int
        Image side of training, which decides only at which levels ``attention`` stands.
    attention : tuple of int
        Sides at which residual blocks are followed by attention.
    """

    dwt: bool = False
    embed_dim: int = 256
    codes: int = 8192
    latent: int = 256
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 4)
    blocks: int = 2
    resolution: int = 256
    attention: tuple[int, ...] = (32,)

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> VqganConfig:
        """Read the reference implementation's names (``n_embed``, ``ddconfig`` …)."""
        try:
            parts = meta["ddconfig"]
            return cls(
                dwt=bool(meta.get("dwt", False)),
                embed_dim=meta["embed_dim"],
                codes=meta["n_embed"],
                latent=parts["z_channels"],
                channels=parts["ch"],
                multipliers=tuple(parts["ch_mult"]),
                blocks=parts["num_res_blocks"],
                resolution=parts["resolution"],
                attention=tuple(parts["attn_resolutions"]),
            )
        except KeyError as error:
            raise UsageError(f"a VQGAN's configuration without {error.args[0]} given") from error

    @property
    def factor(self) -> int:
        """Pixels of the input a latent cell: 8 for four levels."""
        return int(2 ** (len(self.multipliers) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file on the Hugging Face hub; ``others`` are repositories that hold the same file under another address."""

    repo: str
    filename: str
    others: tuple[str, ...] = ()

    @property
    def licence(self) -> str:
        """What is known of the file's licence. The pages hold it; the code that made the files is Apache-2.0."""
        return f"see https://huggingface.co/{self.repo} (the reference code: Apache-2.0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published transformer: its sizes and its file."""

    config: TransformerConfig
    file: HubFile


_MALEVICH = TransformerConfig()
_MALEVICH_V2 = TransformerConfig(version="v2")

MODELS: Mapping[str, Published] = {
    "malevich": Published(
        config=_MALEVICH, file=HubFile(repo="sberbank-ai/rudalle-Malevich", filename="pytorch_model_v3.bin")
    ),
    "malevich-v2": Published(
        config=_MALEVICH_V2, file=HubFile(repo="sberbank-ai/rudalle-Malevich", filename="pytorch_model_v2.bin")
    ),
    "emojich": Published(
        config=_MALEVICH_V2, file=HubFile(repo="sberbank-ai/rudalle-Emojich", filename="pytorch_model.bin")
    ),
    "surrealist-xl": Published(
        config=_MALEVICH, file=HubFile(repo="shonenkov-AI/rudalle-xl-surrealist", filename="pytorch_model.bin")
    ),
    "kandinsky": Published(
        config=replace(_MALEVICH, layers=64, hidden=3840, heads=60),
        file=HubFile(
            repo="sberbank-ai/rudalle-Kandinsky", filename="pytorch_model.bin", others=("shonenkov-AI/Kandinsky",)
        ),
    ),
}
"""The published transformers, by the names that the command line takes."""

DUMMY = replace(_MALEVICH, layers=12, hidden=768, heads=12)
"""The reference's size for smoke runs with random weights."""


VQGAN = VqganConfig()
VQGAN_DWT = replace(VQGAN, dwt=True)
"""The published VQGAN with its own decoder and with the wavelet one (images of twice the size)."""

_UTILS = "sberbank-ai/rudalle-utils"
VQGAN_FILES: Mapping[bool, HubFile] = {
    False: HubFile(repo=_UTILS, filename="vqgan.gumbelf8-sber.model.ckpt"),
    True: HubFile(repo=_UTILS, filename="vqgan.gumbelf8-sber-dwt.model.ckpt"),
}
"""The VQGAN's files, by ``dwt``."""

TOKENIZER = HubFile(repo="shonenkov/rudalle-utils", filename="bpe.model")

UPSCALERS: Mapping[int, HubFile] = {
    factor: HubFile(repo="sberbank-ai/Real-ESRGAN", filename=f"RealESRGAN_x{factor}.pth") for factor in (2, 4, 8)
}
"""Real-ESRGAN's files, by factor."""

RUCLIP: Mapping[str, str] = {
    name: f"ai-forever/{name}"
    for name in (
        "ruclip-vit-base-patch32-224",
        "ruclip-vit-base-patch16-224",
        "ruclip-vit-large-patch14-224",
        "ruclip-vit-large-patch14-336",
        "ruclip-vit-base-patch32-384",
        "ruclip-vit-base-patch16-384",
    )
}
"""ruCLIP's repositories; each holds ``config.json``, ``pytorch_model.bin`` and ``bpe.model``."""


def published(name: str) -> Published:
    """Return the published transformer called ``name``; case and ``_`` for ``-`` do not matter."""
    row = MODELS.get(name.lower().replace("_", "-"))
    if row is None:
        raise UsageError(f"model {name!r} given; choose one of {', '.join(MODELS)}")
    return row
