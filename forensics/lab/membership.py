"""What a model's likelihoods say about having seen an item: one number an item and statistic, higher is more like seen.

=========  =========================================================================================
symbol     meaning
=========  =========================================================================================
n, L       items; tokens an item
l_t        log p(token t | caption, tokens before t), natural logarithm
e_t        the same with an empty caption
mu, sigma  mean and deviation of log p(z) over all tokens z at place t, weighted by p(z)
=========  =========================================================================================

=====================  ===============================================  ==========================================
name                   value                                            source
=====================  ===============================================  ==========================================
``loss``               mean l_t                                         Yeom et al., CSF 2018
``loss_empty``         mean e_t                                         the same
``caption_ratio``      - (mean l_t) / (mean e_t): how much of the       after Kowalczuk et al., ICML 2025, who take
                       loss is left once the caption is told            the difference of the two, guidance's own
``min_k_K``            mean of the K % lowest l_t                       Shi et al., ICLR 2024 (Min-K% Prob)
``min_k_plus_K``       mean of the K % lowest (l_t - mu) / sigma        Zhang et al., ICLR 2025 (Min-K%++)
``zlib``               mean l_t, over the bytes of the zlib-compressed  Carlini et al., USENIX Security 2021
                       tokens
``neighbourhood``      mean l_t, less its mean over altered copies      Mattern et al., Findings of ACL 2023
``slope``              slope of l_t over t / L, least squares           one signal of Chang et al., EMNLP 2025 (CAMIA)
=====================  ===============================================  ==========================================

Where no captions are given, the first, the Min-K and the last three take e_t. For images zlib compresses the tokens,
not pixels: they are the sequence whose likelihood is measured, and Kowalczuk et al. do the same; pixels hold noise that
the codebook drops.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, TokenArray

    Scores = NDArray[np.float64]

__all__ = [
    "AGGREGATED",
    "DEFAULT",
    "MIN_K",
    "STATISTICS",
    "Answers",
    "false_positive_share",
    "statistics",
]

MIN_K = (10, 20, 30, 40, 50)
"""Percent of tokens."""

DEFAULT = "min_k_plus_20"
"""The statistic by which single items are ranked where no other is asked for: the paper's own choice of K."""

STATISTICS: Mapping[str, str] = {
    "loss": "mean log-probability of the tokens",
    "loss_empty": "mean log-probability of the tokens with an empty caption",
    "caption_ratio": "share of the loss that is left once the caption is told, negated",
    **{f"min_k_{k}": f"mean of the {k} % least likely tokens (Min-K%)" for k in MIN_K},
    **{f"min_k_plus_{k}": f"mean of the {k} % least likely tokens, each against its place (Min-K%++)" for k in MIN_K},
    "zlib": "mean log-probability over the size of the compressed tokens",
    "neighbourhood": "mean log-probability less that of shifted and re-encoded copies",
    "slope": "how much likelier the tokens become from the first to the last (CAMIA's slope)",
}
"""Name to what it is, in words."""

AGGREGATED = ("loss", "caption_ratio", "min_k_20", "min_k_plus_20", "zlib", "neighbourhood")
"""What dataset inference adds up, as far as it was measured; fixed beforehand, so that nothing has to be fitted."""

_SMALLEST = 1e-6
"""In nats: less is rounding of float32, and nothing may be divided by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a model said about n items of L tokens.

    Attributes
    ----------
    tokens : ndarray
        (n, L) int64.
    empty : ndarray
        (3, n, L) float32: e_t and its mu and sigma.
    captioned : ndarray or None
        (3, n, L) float32: l_t and its mu and sigma; None where there were no captions.
    neighbours : ndarray or None
        (n, m) float32: mean log-probability of m altered copies, with the caption where there are captions; None where
        none were asked about.
    """

    tokens: TokenArray
    empty: FloatArray
    captioned: FloatArray | None = None
    neighbours: FloatArray | None = None

    def __post_init__(self) -> None:
        shape = (3, *self.tokens.shape)
        if self.tokens.ndim != 2 or self.tokens.shape[1] < 2:
            raise UsageError(f"tokens of shape {self.tokens.shape} given, (n, 2 or more) accepted")
        for name, part in (("empty", self.empty), ("captioned", self.captioned)):
            if part is not None and part.shape != shape:
                raise UsageError(f"{name} of shape {part.shape} given, {shape} accepted")
        if self.neighbours is not None and (self.neighbours.ndim != 2 or len(self.neighbours) != len(self.tokens)):
            raise UsageError(f"neighbours of shape {self.neighbours.shape} given, ({len(self.tokens)}, m) accepted")


def statistics(answers: Answers, *, first: int = 0) -> dict[str, Scores]:
    """Return (n,) float64 of each statistic that the answers allow, in the order of :data:`STATISTICS`.

    Parameters
    ----------
    answers : Answers
    first : int
        Tokens before this one are left out: ``first_evidence`` of an :class:`~forensics.types.AutoregressiveSpec`.
    """
    if not 0 <= first < answers.tokens.shape[1] - 1:
        raise UsageError(f"first token {first} given, 0 to {answers.tokens.shape[1] - 2} accepted")
    empty = answers.empty[:, :, first:].astype(np.float64)
    captioned = None if answers.captioned is None else answers.captioned[:, :, first:].astype(np.float64)
    told, centre, spread = empty if captioned is None else captioned
    loss = told.mean(1)
    found = {"loss": loss}
    if captioned is not None:
        found["loss_empty"] = empty[0].mean(1)
        found["caption_ratio"] = -np.minimum(loss, 0) / np.minimum(found["loss_empty"], -_SMALLEST)
    ordered = np.sort(told, axis=1)
    found |= {f"min_k_{k}": ordered[:, : _count(k, told.shape[1])].mean(1) for k in MIN_K}
    # where one token is certain, there is nothing to be surprised at: difference and deviation are both rounding
    normed = np.sort((told - centre) / np.maximum(spread, _SMALLEST) * (spread > _SMALLEST), axis=1)
    found |= {f"min_k_plus_{k}": normed[:, : _count(k, told.shape[1])].mean(1) for k in MIN_K}
    found["zlib"] = loss / _compressed(answers.tokens)
    if answers.neighbours is not None and answers.neighbours.shape[1]:
        found["neighbourhood"] = loss - answers.neighbours.astype(np.float64).mean(1)
    found["slope"] = _slope(told)
    return found


def false_positive_share(scores: Scores, nonmembers: Scores) -> Scores:
    """Return for each of (n,) scores its p-value against (m,) scores of non-members: (1 + how many reach it) / (m + 1).

    With it an item that is drawn like the non-members falls at or below p with probability p at most, ties included
    (Phipson and Smyth, *Statistical Applications in Genetics and Molecular Biology* 9, 2010).
    """
    ordered = np.sort(nonmembers)
    reaching = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray((1 + reaching) / (len(ordered) + 1), np.float64)


def _count(percent: int, length: int) -> int:
    return max(1, length * percent // 100)


def _compressed(tokens: TokenArray) -> Scores:
    """Return (n,) bytes of each item's tokens, two bytes each where that holds them all, compressed by zlib."""
    kind = "<u2" if tokens.size == 0 or int(tokens.max()) < 1 << 16 else "<u4"
    return np.array([len(zlib.compress(row.astype(kind).tobytes(), 9)) for row in tokens], np.float64)


def _slope(values: Scores) -> Scores:
    """Return (n,) least-squares slopes of (n, L) values over places from 0 to 1."""
    places = np.linspace(0.0, 1.0, values.shape[1])
    places -= places.mean()
    return np.asarray(values @ places / (places @ places), np.float64)
