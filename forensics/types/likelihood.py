"""The adapter through which the laboratory asks an autoregressive model: three methods and a spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from forensics.types.core import Progress, Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from forensics.types.core import FloatArray

    TokenArray: TypeAlias = NDArray[np.int64]

__all__ = ["AutoregressiveModel", "AutoregressiveSpec", "Decoder", "TokenArray", "TokenLikelihoods"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoregressiveSpec:
    """What is asked.

    Attributes
    ----------
    name : str
        As the user gave it.
    vocabulary : int
        Number of different tokens, so that ``1 / vocabulary`` is blind chance.
    length : int
        Tokens an item.
    row : int
        Tokens a row, for images; for text the number of tokens in which prefixes are counted.
    captions : bool
        Whether the model reads captions; where it does not, they are empty strings.
    weights : mapping of str to str
        File name to SHA-256.
    settings : mapping
        What else its answers depend on.
    """

    name: str
    vocabulary: int
    length: int
    row: int
    captions: bool = False
    weights: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLikelihoods:
    """What a model says of n given items of L tokens, teacher-forced; natural logarithms.

    Attributes
    ----------
    log_probability : ndarray
        (n, L) float32, log p(token t | caption, tokens before t), <= 0.
    mean, deviation : ndarray
        (n, L) float32: mean and standard deviation of log p(z | …) over all tokens z, weighted by p(z | …): what
        Min-K%++ (Zhang et al., 2024) normalises by.
    """

    log_probability: FloatArray
    mean: FloatArray
    deviation: FloatArray


@runtime_checkable
class AutoregressiveModel(Protocol):
    """A model of token sequences, asked for likelihoods and continuations."""

    @property
    def spec(self) -> AutoregressiveSpec:
        """What it is."""
        ...

    def encode(self, items: Sequence[Any]) -> TokenArray:
        """Return (n, L) tokens of items: (H, W, 3) uint8 RGB images, or texts for a model of text."""
        ...

    def log_probabilities(
        self, tokens: TokenArray, captions: Sequence[str], *, progress: Progress | None = None
    ) -> TokenLikelihoods:
        """Return the likelihoods of (n, L) tokens under n captions ("" for none)."""
        ...

    def complete(
        self,
        prefixes: TokenArray,
        captions: Sequence[str],
        seeds: Sequence[int],
        *,
        greedy: bool = False,
        progress: Progress | None = None,
    ) -> TokenArray:
        """Return (n, L) tokens that begin with the (n, k) prefixes, 0 <= k <= L; item i depends on seed i alone.

        ``greedy`` takes the most likely token at every place and reads no seed.
        """
        ...


@runtime_checkable
class Decoder(Protocol):
    """What a model of images has beside: its tokens can be looked at."""

    def decode(self, tokens: TokenArray) -> list[Any]:
        """Return what (n, L) tokens stand for: (H, W, 3) uint8 RGB images, or texts."""
        ...
