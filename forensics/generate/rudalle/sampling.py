"""Drawing image tokens: filters, one random stream an image, and the loop that makes a batch.

An image depends on its prompt, its seed and the settings. Its uniforms come from a generator of its own, its prompt is
read on its own, and at least four lanes are computed even for one image: below that, matrix products on a CPU take
another path and round differently, from there on each row of a product comes out the same whatever the others are. In
half precision or on a GPU the path may change with the number of lanes; keep that number for bitwise repetition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from forensics.errors import UsageError
from forensics.generate.rudalle.decode import Decoder
from forensics.generate.rudalle.tokenizer import BEGIN, END, PAD
from forensics.generate.rudalle.transformer import Rudalle
from forensics.types import Progress

if TYPE_CHECKING:
    from forensics.generate.rudalle.graph import ImageLoop

__all__ = [
    "Generated",
    "Sampling",
    "draw",
    "filtered",
    "generate_tokens",
    "perplexity",
    "probabilities",
    "steered",
    "uniforms",
]

_LEAST_LANES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn.

    Attributes
    ----------
    temperature : float
        Divides the logits first; above 0.
    top_k : int
        Only the k likeliest tokens, with all that tie with the last of them; 0 keeps all.
    top_p : float
        Of these the fewest likeliest whose probabilities exceed p in sum; 1 keeps all.
    guidance : float
        Classifier-free guidance: logits = u + guidance · (c - u), with u the logits for an empty prompt. 1 is off and
        costs nothing; any other value computes two sequences an image.
    """

    temperature: float = 1.0
    top_k: int = 2048
    top_p: float = 0.995
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise UsageError(f"temperature {self.temperature} given, a number above 0 accepted")
        if self.top_k < 0:
            raise UsageError(f"top-k {self.top_k} given, 0 (all tokens) or more accepted")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p {self.top_p} given, a number above 0 and up to 1 accepted")
        if not 0 <= self.guidance < float("inf"):
            raise UsageError(f"guidance {self.guidance} given, 0 or more accepted (1 is off)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Images as tokens, in the order of the seeds.

    Attributes
    ----------
    tokens : Tensor
        (n, D²) int64, row by row of the image.
    log_probs : Tensor
        (n, D²) float32: log-probability of each token under the model as it is, before temperature, filters and
        guidance; equal to :meth:`Rudalle.token_log_probs` of the finished sequence.
    """

    tokens: Tensor
    log_probs: Tensor

    @property
    def perplexity(self) -> Tensor:
        """(n,) see :func:`perplexity`."""
        return perplexity(self.log_probs)


def filtered(logits: Tensor, *, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Return (b, IV) logits with -inf for the tokens that top-k, and then top-p among what it left, take out."""
    # torch sorts on the CPU forty times slower than NumPy; what is recorded for a GPU may not ask for values
    if logits.is_cpu and logits.dtype == torch.float32 and not torch.compiler.is_compiling():
        found = _filtered_by_value(logits, top_k, top_p)
        if found is not None:
            return found
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1.0:
        ordered, order = logits.sort(descending=True, stable=True)
        beyond = _beyond(ordered, top_p)
        logits = logits.masked_fill(beyond.scatter(-1, order, beyond), float("-inf"))
    return logits


def _filtered_by_value(logits: Tensor, top_k: int, top_p: float) -> Tensor | None:
    """Do what :func:`filtered` does without knowing which token has which place; None where the nucleus splits a tie.

    Each step works on the same numbers in the same order, so results are equal to the last bit.
    """
    if top_p >= 1.0 and not 0 < top_k < logits.shape[-1]:
        return logits
    ordered = torch.from_numpy(np.sort(logits.detach().numpy(), axis=-1)).flip(-1)
    least = ordered[..., -1:]
    if 0 < top_k < logits.shape[-1]:
        least = ordered[..., top_k - 1 : top_k]
    if top_p < 1.0:
        kept = (~_beyond(ordered.masked_fill(ordered < least, float("-inf")), top_p)).sum(-1, keepdim=True)
        least = torch.maximum(least, ordered.gather(-1, kept - 1))
        # tokens that tie with the last one go too, from a certain index on
        if bool(((logits >= least).sum(-1, keepdim=True) > kept).any()):
            return None
    return logits.masked_fill(logits < least, float("-inf"))


def _beyond(ordered: Tensor, top_p: float) -> Tensor:
    """Return which of descending logits are no longer of the nucleus."""
    mass = ordered.softmax(-1).cumsum(-1)
    # a token goes when those before it have passed p already, so the likeliest one always stays
    beyond = mass.roll(1, -1) > top_p
    beyond[..., 0] = False
    return beyond


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return the (b, IV) float32 probabilities with which tokens are drawn from logits."""
    tempered = logits.float() / sampling.temperature
    return filtered(tempered, top_k=sampling.top_k, top_p=sampling.top_p).softmax(-1)


def steered(logits: Tensor, images: int, sampling: Sampling) -> Tensor:
    """Return the (images, IV) float32 logits to draw from, of (lanes, IV): guidance's stand after the images' own."""
    plain = logits[:images].float()
    if sampling.guidance == 1.0:
        return plain
    empty = logits[images : 2 * images].float()
    return empty + sampling.guidance * (plain - empty)


def draw(chances: Tensor, points: Tensor) -> Tensor:
    """Return the (b,) tokens at which the cumulative sum of (b, IV) probabilities passes (b,) points in [0, 1)."""
    total = chances.double().cumsum(-1)
    whole = total[:, -1:]
    token = (total <= points[:, None] * whole).sum(-1)
    # rounding may reach the sum itself: then it is the last token of any probability
    return torch.minimum(token, (total < whole).sum(-1))


def uniforms(seed: int, count: int) -> Tensor:
    """Return (count,) float64 in [0, 1): the stream of one image, from Philox with the seed as its key.

    Not torch's generator, which on a CPU takes 32 bits of a seed, nor NumPy's floats, whose stream may change.
    """
    raw = np.random.Philox(key=seed).random_raw(count)
    return torch.from_numpy((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def perplexity(log_probs: Tensor) -> Tensor:
    """Return (n,) the reference's score of images, lower is likelier: the mean inverse probability of their tokens.

    The first token is left out, and so are tokens of probability 1. In v2 the reference compares each prediction with
    the token after the one it is for, so its v2 scores rank by chance; here both versions are compared rightly.
    """
    later = log_probs[:, 1:]
    counted = later != 0
    return torch.where(counted, (-later).exp(), 0.0).sum(1) / counted.sum(1).clamp(min=1)


def generate_tokens(
    model: Rudalle,
    ids: Tensor,
    seeds: Sequence[int],
    *,
    sampling: Sampling | None = None,
    batch: int = 8,
    known: Tensor | None = None,
    points: Tensor | None = None,
    stop: int | None = None,
    progress: Progress | None = None,
) -> Generated:
    """Draw one image a seed.

    Parameters
    ----------
    model : Rudalle
        In evaluation mode.
    ids : Tensor
        (T,) or (1, T) text ids for all images, or (n, T) for each its own.
    seeds : sequence of int
        n seeds, each 0 to 2^63 - 1. A seed gives the same stream of uniforms for every prompt.
    sampling : Sampling, optional
        How tokens are drawn.
    batch : int
        Images at once.
    known : Tensor, optional
        (D²,) or (n, D²) image prompts: tokens that are given, -1 where one is to be drawn.
    points : Tensor, optional
        (n, stop) float64 in [0, 1), used in the place of the seeds' :func:`uniforms`: a larger image's own part.
    stop : int, optional
        Tokens an image, D² by default: with fewer the lower rest is left out, and results are (n, stop).
    progress : Progress, optional
        Called with tokens done and in all, prompts' given tokens included.
    """
    config = model.config
    count = len(seeds)
    if bad := [seed for seed in seeds if not 0 <= seed < 2**63]:
        raise UsageError(f"seed {bad[0]} given, 0 to 2^63 - 1 accepted")
    if batch < 1:
        raise UsageError(f"batch {batch} given, 1 or more accepted")
    ids = _rows(ids, count, config.text_length, config.text_vocab, "text ids", least=0)
    free = torch.full((config.image_length,), -1)
    given = _rows(free if known is None else known, count, config.image_length, config.image_vocab, "image prompts")
    length = config.image_length if stop is None else stop
    if not 1 <= length <= config.image_length:
        raise UsageError(f"stop after {length} tokens given, 1 to {config.image_length} accepted")
    given = given[:, :length]
    if points is None:
        points = torch.stack([uniforms(seed, length) for seed in seeds]) if count else torch.empty((0, length))
    if points.shape != (count, length):
        raise UsageError(f"points of shape {tuple(points.shape)} given, ({count}, {length}) accepted")
    tokens = torch.empty((count, length), dtype=torch.int64)
    log_probs = torch.empty((count, length))
    # what all images have of their prompts from the start on is read at once; of all, so that no batch differs
    leading = int((given >= 0).all(0).int().cumprod(0).sum()) if count else 0
    for start in range(0, count, batch):
        part = slice(start, min(start + batch, count))
        done, total = start * length, count * length
        loop = _begin(model, ids[part], given[part], points[part], sampling or Sampling(), min(leading, length - 1))
        for cell in range(loop.read, length):
            loop.next(cell)
            if progress is not None:
                progress("drawing tokens", done + (cell + 1) * (part.stop - part.start), total)
        tokens[part], log_probs[part] = loop.result()
    return Generated(tokens=tokens, log_probs=log_probs)


def _begin(
    model: Rudalle, ids: Tensor, given: Tensor, points: Tensor, sampling: Sampling, read: int
) -> _Loop | ImageLoop:
    """Read a batch's prompts: into lanes, of which the first are the images', and after them the guidance's."""
    from forensics.generate.rudalle.graph import kept_loop, recordable

    images, length = given.shape
    if sampling.guidance != 1.0:
        empty = torch.full_like(ids, PAD)
        empty[:, 0], empty[:, 1] = BEGIN, END
        ids = torch.cat((ids, empty))
    lanes = torch.arange(len(ids))
    if len(ids) < _LEAST_LANES:
        lanes = torch.cat((lanes, lanes.new_zeros(_LEAST_LANES - len(ids))))
    if recordable(model):
        kept = kept_loop(model, lanes, images=images, length=length, sampling=sampling)
        kept.begin(ids, given, points, read)
        return kept
    return _Loop(model, ids, lanes, given, points, sampling, read)


class _Loop:
    """One batch, a step at a time; :class:`graph.ImageLoop` is the same for a GPU."""

    def __init__(
        self, model: Rudalle, ids: Tensor, lanes: Tensor, given: Tensor, points: Tensor, sampling: Sampling, read: int
    ) -> None:
        self.read = read
        self._images = len(given)
        self._given, self._points, self._sampling = given, points, sampling
        self._source = lanes % self._images
        self._device = model.device
        self._decoder = Decoder(model, len(lanes))
        start = given[:, :read].repeat(len(ids) // self._images, 1)
        self._first = self._decoder.prefill(torch.cat((ids, start), 1)[lanes])
        self._tokens = given.clone()
        self._log_probs = torch.empty(given.shape)
        before = self._first[: self._images, :read].float().log_softmax(-1)
        self._log_probs[:, :read] = before.cpu().gather(2, given[:, :read, None])[..., 0]

    def next(self, cell: int) -> None:
        """Draw the tokens of a cell: those from ``read`` on, in their order."""
        if cell == self.read:
            logits = self._first[:, cell]
        else:
            logits = self._decoder.step(self._tokens[:, cell - 1].index_select(0, self._source).to(self._device))
        token, given = self._tokens[:, cell], self._given[:, cell]
        plain = logits[: self._images].float()
        if (given < 0).any():
            points = self._points[:, cell].to(plain.device)
            drawn = draw(probabilities(steered(logits, self._images, self._sampling), self._sampling), points)
            token.copy_(torch.where(given >= 0, given, drawn.cpu()))
        scores = plain.log_softmax(-1).gather(1, token[:, None].to(plain.device))
        self._log_probs[:, cell] = scores[:, 0].cpu()

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the (images, length) tokens and their log-probabilities."""
        return self._tokens, self._log_probs


def _rows(given: Tensor, count: int, length: int, vocabulary: int, what: str, *, least: int = -1) -> Tensor:
    rows = given.cpu().to(torch.int64)
    rows = rows[None] if rows.dim() == 1 else rows
    if rows.dim() != 2 or rows.shape[1] != length or rows.shape[0] not in (1, count):
        raise UsageError(f"{what} of shape {tuple(given.shape)} given, ({length},) or ({count}, {length}) accepted")
    if rows.numel() and not least <= int(rows.min()) <= int(rows.max()) < vocabulary:
        raise UsageError(
            f"{what} from {int(rows.min())} to {int(rows.max())} given, {least} to {vocabulary - 1} accepted"
        )
    return rows.expand(count, length)
