"""Asking ruDALL-E instead of drawing from it: how likely are these tokens, and how do they go on?

Likelihoods are teacher-forced: one pass over text and image computes those of all D² tokens, so an image costs the
same whatever others there are. They are normalised over the image vocabulary alone. That is how generation draws, and
how the reference trains: its loss of an image token is a cross-entropy over the image's part of the output layer,
beside a second one over the text's part (:meth:`Rudalle.losses`).

One token is no evidence. In v3 the reference trains the first image token as one of the text, so nothing taught the
logits from which it is drawn; see :attr:`AutoregressiveSpec.settings`, ``first_evidence``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from forensics.errors import ForensicsError, UsageError
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.generator import RudalleGenerator
from forensics.generate.rudalle.sampling import Sampling, generate_tokens
from forensics.generate.rudalle.tokenizer import BEGIN, END, PAD
from forensics.generate.rudalle.transformer import Rudalle
from forensics.types import AutoregressiveSpec, Progress, TokenLikelihoods

if TYPE_CHECKING:
    from forensics.types import FloatArray, TokenArray, UInt8Array

__all__ = ["RudalleLikelihood", "empty_ids", "image_likelihoods"]

_LOGITS_AT_ONCE = 1 << 24
"""Of float32: what the output layer and the three sums hold of one part of a batch."""
_COPIES_OF_LOGITS = 4
_WORK_STATES = 16  # as placement.estimate_memory counts them
_PIXELS_AT_ONCE = 1 << 20


class RudalleLikelihood:
    """A ruDALL-E as :class:`forensics.types.AutoregressiveModel` and :class:`forensics.types.Decoder`.

    Items are images as rows of D² tokens of its VQGAN. On a CPU in float32 likelihoods are those of the full forward
    pass to within rounding; on a GPU they are computed in the type of the weights, and only normalised in float32.

    Parameters
    ----------
    generator : RudalleGenerator
        Whose transformer, VQGAN and tokenizer are asked.
    batch : int
        Images at once.
    sampling : Sampling, optional
        How :meth:`complete` draws where it is not greedy; generation's defaults if not given.
    """

    def __init__(self, generator: RudalleGenerator, *, batch: int = 8, sampling: Sampling | None = None) -> None:
        if batch < 1:
            raise UsageError(f"batch {batch} given, 1 or more accepted")
        self._model, self._vqgan, self._tokenizer = generator.model, generator.vqgan, generator.tokenizer
        self._batch = batch
        self._sampling = sampling or Sampling()
        config = self._model.config
        # as in RudalleGenerator: elsewhere a product may depend on its number of rows
        self._exact = self._model.device.type == "cpu" and self._model.dtype == torch.float32
        self._spec = AutoregressiveSpec(
            name=generator.spec.name,
            vocabulary=config.image_vocab,
            length=config.image_length,
            row=config.image_side,
            captions=True,
            weights=dict(generator.spec.weights),
            settings={
                **{key: generator.spec.settings[key] for key in ("dtype", "device", "architecture")},
                "kind": "image",
                "pixels": self.side,
                "first_evidence": int(config.version == "v3"),
                "temperature": self._sampling.temperature,
                "top_k": self._sampling.top_k,
                "top_p": self._sampling.top_p,
                "guidance": self._sampling.guidance,
            },
        )

    @property
    def spec(self) -> AutoregressiveSpec:
        """What it is.

        Of its settings ``pixels`` is the side of the square that is encoded, ``first_evidence`` the first token whose
        likelihood says something (1 in v3, 0 in v2), the last four are how :meth:`complete` draws.
        """
        return self._spec

    @property
    def side(self) -> int:
        """Side of an image in pixels: D times the VQGAN's factor."""
        return self._model.config.image_side * self._vqgan.config.factor

    @property
    def memory(self) -> int:
        """Bytes: the weights, exactly, and about what :meth:`log_probabilities` holds of a batch."""
        parts: list[nn.Module] = [self._model, self._vqgan]
        weights = sum(parameter.nbytes for part in parts for parameter in part.parameters())
        config, size = self._model.config, self._model.dtype.itemsize
        work = self._batch * _WORK_STATES * config.length * config.hidden * size
        work += self._batch * config.heads * config.length**2 * size  # scores, where a kernel keeps them
        return weights + work + _COPIES_OF_LOGITS * 4 * max(_LOGITS_AT_ONCE, config.image_length * config.image_vocab)

    def encode(self, items: Sequence[Any]) -> TokenArray:
        """Return (n, D²) int64 tokens of (H, W, 3) uint8 RGB images of any size.

        The largest centred square of an image is scaled to the model's side (Lanczos, as training here does; an image
        of that size is taken as it is) and encoded by the VQGAN.

        Raises
        ------
        UsageError
            For something else than such images.
        """
        if not items:
            return np.empty((0, self._spec.length), np.int64)
        step = max(1, _PIXELS_AT_ONCE // self.side**2)
        rows = []
        for start in range(0, len(items), step):
            part = np.stack([_square(item, self.side) for item in items[start : start + step]])
            pixels = torch.from_numpy(part).permute(0, 3, 1, 2).float() / 255
            rows.append(self._vqgan.encode(pixels).flatten(1).cpu().numpy())
        return cast("TokenArray", np.concatenate(rows))

    def decode(self, tokens: TokenArray) -> list[UInt8Array]:
        """Return the (H, W, 3) uint8 RGB images of (n, D²) tokens, as generation makes them but for its upscaler."""
        pictures = []
        for row in _checked(tokens, self._model.config):
            image = self._vqgan.decode(row.view(1, self._spec.row, self._spec.row))[0]
            pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8)
            pictures.append(np.ascontiguousarray(pixels.cpu().numpy()))
        return pictures

    def log_probabilities(
        self, tokens: TokenArray, captions: Sequence[str], *, progress: Progress | None = None
    ) -> TokenLikelihoods:
        """Return the likelihoods of (n, D²) tokens; an empty caption is guidance's: begin, end, padding.

        Raises
        ------
        UsageError
            If tokens or captions have another shape or range.
        ForensicsError
            If the numbers leave the type of the weights, or the GPU is too small for a batch.
        """
        given = _checked(tokens, self._model.config)
        ids = self._ids(captions, len(given))
        found = np.empty((3, *given.shape), np.float32)
        for start in range(0, len(given), self._batch):
            part = slice(start, min(start + self._batch, len(given)))
            try:
                found[:, part] = image_likelihoods(self._model, ids[part], given[part])
            except torch.cuda.OutOfMemoryError as error:
                raise ForensicsError(
                    f"the GPU has too little memory for {self._spec.name} in {self._spec.settings['dtype']} with "
                    f"{self._batch} images at once; give a smaller batch, float16, or the CPU"
                ) from error
            if progress is not None:
                progress("asking for likelihoods", part.stop, len(given))
        if not np.isfinite(found).all():
            raise ForensicsError(
                f"{self._spec.name} computed numbers beyond {self._spec.settings['dtype']}, its likelihoods mean "
                "nothing; give --dtype bfloat16 or float32"
            )
        log_probability, mean, deviation = found
        return TokenLikelihoods(log_probability=log_probability, mean=mean, deviation=deviation)

    def complete(
        self,
        prefixes: TokenArray,
        captions: Sequence[str],
        seeds: Sequence[int],
        *,
        greedy: bool = False,
        progress: Progress | None = None,
    ) -> TokenArray:
        """Return (n, D²) tokens that begin with (n, k) prefixes.

        Cell t of item i is drawn at point t of the seed's stream, whatever k is, so that longer prefixes of one image
        differ by what they give away alone. ``greedy`` reads no seed; of tokens that tie the first one is taken.

        Raises
        ------
        UsageError
            If there are not as many prefixes as captions and seeds, or one is out of range.
        """
        config = self._model.config
        given = _checked(prefixes, config, whole=False)
        count, length = given.shape
        if len(seeds) != count:
            raise UsageError(f"{count} prefixes and {len(seeds)} seeds given, one seed a prefix accepted")
        ids = self._ids(captions, count)
        if length == config.image_length or not count:
            return given.numpy().copy()
        lanes, spare = list(range(count)), 0 if self._exact else -count % self._batch
        lanes += lanes[:1] * spare
        known = functional.pad(given, (0, config.image_length - length), value=-1)
        drawn = generate_tokens(
            self._model,
            ids[lanes],
            [0] * len(lanes) if greedy else [seeds[lane] for lane in lanes],
            sampling=Sampling(temperature=self._sampling.temperature, top_k=1, top_p=1.0) if greedy else self._sampling,
            batch=self._batch,
            known=known[lanes],
            # at point 0 the first token of any probability is drawn: the first of those that tie for the most
            points=torch.zeros((len(lanes), config.image_length), dtype=torch.float64) if greedy else None,
            progress=progress,
        )
        return cast("TokenArray", drawn.tokens[:count].numpy())

    def _ids(self, captions: Sequence[str], count: int) -> Tensor:
        """Return (n, T) text ids."""
        if len(captions) != count:
            raise UsageError(f"{count} items and {len(captions)} captions given, one caption an item accepted")
        length = self._model.config.text_length
        rows: dict[str, tuple[int, ...]] = {}
        for caption in captions:
            if caption not in rows:
                plain = caption.strip()
                rows[caption] = self._tokenizer.encode_prompt(caption, length).ids if plain else empty_ids(length)
        return torch.tensor([rows[caption] for caption in captions], dtype=torch.int64).reshape(count, length)


@torch.inference_mode()
def image_likelihoods(model: Rudalle, ids: Tensor, tokens: Tensor) -> FloatArray:
    """Return what a transformer says about images, in one pass.

    Parameters
    ----------
    model : Rudalle
        In evaluation mode; its layers may be on several devices.
    ids : Tensor
        (b, T) text ids.
    tokens : Tensor
        (b, D²) image tokens.

    Returns
    -------
    ndarray
        (3, b, D²) float32: log-probability of each token over the image vocabulary, and mean and deviation of that of
        all tokens in its place.
    """
    config = model.config
    # nothing comes after the last token, so it need not be read
    states = model.embed(torch.cat((ids, tokens[:, :-1]), 1).to(model.device))
    count = states.shape[1]
    for layer, kind in zip(model.layers, model.kinds, strict=True):
        device = layer.device
        states, _, _ = layer(states.to(device), model.mask(kind, device)[:count, :count])
    states = states[:, config.image_start - 1 :].to(model.device)
    final = cast(nn.Linear, model.to_logits[1])
    weight, bias = final.weight[config.text_vocab :], final.bias[config.text_vocab :]
    step = max(1, _LOGITS_AT_ONCE // (config.image_length * config.image_vocab))
    parts = []
    for some, told in zip(torch.split(states, step), torch.split(tokens, step), strict=True):
        normed = model.to_logits[0](model.transformer.final_layernorm(some))
        parts.append(_moments(functional.linear(normed, weight, bias), told))
    return cast("FloatArray", torch.cat(parts, 1).cpu().numpy())


def empty_ids(length: int) -> tuple[int, ...]:
    """Return the T ids of the empty caption: what guidance, and training without captions, reads."""
    return (BEGIN, END, *[PAD] * (length - 2))[:length]


def _moments(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return (3, b, n): log p of (b, n) tokens, and mean and deviation of log p(z) under p, of (b, n, IV) logits."""
    scores = logits.float().log_softmax(-1)
    chances = scores.exp()
    mean = (chances * scores).sum(-1)
    variance = chances.mul_((scores - mean[..., None]).square_()).sum(-1)
    found = scores.gather(-1, tokens.to(scores.device)[..., None])[..., 0]
    return torch.stack((found, mean, variance.sqrt()))


def _checked(tokens: TokenArray, config: TransformerConfig, *, whole: bool = True) -> Tensor:
    """Return tokens as a tensor once their shape and range are right."""
    length = config.image_length
    array = np.asarray(tokens)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not (array.shape[1] == length or not whole):
        accepted = f"(n, {length})" if whole else f"(n, 0 to {length})"
        raise UsageError(f"tokens of shape {array.shape} {array.dtype} given, {accepted} whole numbers accepted")
    if array.shape[1] > length:
        raise UsageError(f"prefixes of {array.shape[1]} tokens given, 0 to {length} accepted")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < config.image_vocab:
        raise UsageError(
            f"tokens from {int(array.min())} to {int(array.max())} given, 0 to {config.image_vocab - 1} accepted"
        )
    return torch.from_numpy(np.array(array, dtype=np.int64))


def _square(image: Any, side: int) -> UInt8Array:
    """Return the largest centred square of an image, scaled to (side, side, 3)."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(f"an image of {what} given, (H, W, 3) uint8 RGB accepted")
    height, width = image.shape[:2]
    if not (height and width):
        raise UsageError(f"an image of {width} x {height} pixels given, 1 x 1 or more accepted")
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    square = np.ascontiguousarray(image[top : top + least, left : left + least])
    if least == side:
        return square
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS))
