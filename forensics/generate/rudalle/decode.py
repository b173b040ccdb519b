"""Incremental decoding: one position a step, with a preallocated cache of which only the keys in sight are read.

Each kind of layer keeps its keys where they can be read cheaply. A row layer sees the text and the last D + 1 image
positions: these stand in a ring behind the text, so that what it reads is one block and what it keeps is T + D + 1 rows
instead of S. Columns and windows are gathered by index from rows in the order of their positions. What a step costs
therefore grows with the text and a row or two of the image, not with the image.

A step computes (b, 1, H) states; b is the number of *lanes*. See :mod:`sampling` for the loop over image tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from forensics.errors import UsageError
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.masks import KINDS, Kind, mask
from forensics.generate.rudalle.transformer import Rudalle

__all__ = ["Decoder", "KeyPlan", "key_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """Where one kind of layer keeps the keys of each position, and which rows each position reads.

    Attributes
    ----------
    rows : int
        Rows of the cache.
    row : tuple of int
        (S,) where each position's key is written.
    reads : tuple of (int or Tensor)
        (S,) what a position reads: so many rows from the first on, or the (n,) int64 indices of rows.
    """

    rows: int
    row: tuple[int, ...]
    reads: tuple[int | Tensor, ...]

    def held(self, count: int) -> tuple[list[int], list[int]]:
        """Return rows and, for each, the last position below ``count`` that was written there."""
        last = {self.row[position]: position for position in range(count)}
        return list(last), list(last.values())


def key_plan(config: TransformerConfig, kind: Kind, device: torch.device) -> KeyPlan:
    """Return the plan of one kind of layer."""
    text, length = config.text_length, config.length
    if kind == "row":
        ring = config.image_side + 1
        rows = min(text + ring, length)
        place = tuple(p if p < text else text + (p - text) % ring for p in range(length))
        return KeyPlan(rows=rows, row=place, reads=tuple(min(p + 1, rows) for p in range(length)))
    seen = mask(config, kind)
    reads: list[int | Tensor] = []
    for position in range(length):
        found = seen[position].nonzero()[:, 0]
        everything = int(found[-1]) + 1 == len(found)
        reads.append(len(found) if everything else found.to(device))
    return KeyPlan(rows=length, row=tuple(range(length)), reads=tuple(reads))


class Decoder:
    """One batch of sequences as they grow.

    Parameters
    ----------
    model : Rudalle
        In evaluation mode, on one device.
    lanes : int
        Sequences at once; the cache is allocated for them here.
    """

    def __init__(self, model: Rudalle, lanes: int) -> None:
        config = model.config
        self.model = model
        self.lanes = lanes
        self.position = 0
        """Positions computed so far."""
        self._plans = {kind: key_plan(config, kind, model.device) for kind in KINDS}
        head = config.hidden // config.heads
        self._keys, self._values = (
            [
                torch.empty((lanes, config.heads, self._plans[kind].rows, head), dtype=model.dtype, device=model.device)
                for kind in model.kinds
            ]
            for _ in range(2)
        )
        final = cast(torch.nn.Linear, model.to_logits[1])
        # text can no longer follow: two thirds of the largest matrix need not be read
        self._head = final.weight[config.text_vocab :], final.bias[config.text_vocab :]

    @property
    def nbytes(self) -> int:
        """Size of the cache."""
        return sum(part.nbytes for part in (*self._keys, *self._values))

    @torch.inference_mode()
    def prefill(self, ids: Tensor) -> Tensor:
        """Read the text and any image tokens already known, all at once; what was there before is forgotten.

        Each different row is computed once and on its own, so equal prompts cost one pass and a lane's cache does not
        depend on its neighbours.

        Parameters
        ----------
        ids : Tensor
            (lanes, T + n) ids, n < D².

        Returns
        -------
        Tensor
            (lanes, n + 1, IV) logits of image tokens 0 to n.
        """
        config = self.model.config
        if (
            ids.dim() != 2
            or ids.shape[0] != self.lanes
            or not 0 <= ids.shape[1] - config.text_length < config.image_length
        ):
            raise UsageError(
                f"token ids of shape {tuple(ids.shape)} given, "
                f"({self.lanes}, {config.text_length} to {config.length - 1}) accepted"
            )
        different, which = torch.unique(ids.to(self.model.device), dim=0, return_inverse=True)
        logits: list[Tensor] = []
        for number, row in enumerate(different):
            logits.append(self._fill(row[None], (which == number).nonzero()[:, 0]))
        self.position = config.image_start + ids.shape[1] - config.text_length
        return torch.cat(logits)[which]

    def _fill(self, ids: Tensor, lanes: Tensor) -> Tensor:
        """Compute one sequence's (1, T + n) ids into the cache of some lanes; return (1, n + 1, IV) logits."""
        model = self.model
        states = model.embed(ids)
        count = states.shape[1]
        held = {kind: self._plans[kind].held(count) for kind in KINDS}
        for number, (layer, kind) in enumerate(zip(model.layers, model.kinds, strict=True)):
            seen = model.mask(kind, states.device)[:count, :count]
            states, key, value = layer(states, seen)
            rows, positions = held[kind]
            for cache, fresh in ((self._keys[number], key), (self._values[number], value)):
                for lane in lanes.tolist():
                    cache[lane, :, rows] = fresh[0, :, positions]
        return self._logits(states[:, model.config.image_start - 1 :])

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Read one image token a lane, (lanes,) int64; return the (lanes, IV) logits of the next."""
        model, position = self.model, self.position
        cell = position - model.config.image_start
        if not 0 <= cell < model.config.image_length - 1:
            raise UsageError(f"a step at position {position} given; fill in the text first, the last token has none")
        states = model.embed_image(tokens[:, None], torch.tensor([cell], device=tokens.device))
        for number, (layer, kind) in enumerate(zip(model.layers, model.kinds, strict=True)):
            plan = self._plans[kind]
            query, key, value = layer.attention.project(layer.input_layernorm(states))
            keys, values = self._keys[number], self._values[number]
            keys[:, :, plan.row[position]] = key[:, :, 0]
            values[:, :, plan.row[position]] = value[:, :, 0]
            read = plan.reads[position]
            if isinstance(read, int):
                keys, values = keys[:, :, :read], values[:, :, :read]
            else:
                keys, values = keys.index_select(2, read), values.index_select(2, read)
            context = functional.scaled_dot_product_attention(query, keys, values)
            states = layer.add(states, layer.attention.merge(context))
        self.position += 1
        return self._logits(states)[:, 0]

    def _logits(self, states: Tensor) -> Tensor:
        """Return the (b, n, IV) image logits of (b, n, H) states."""
        model = self.model
        return functional.linear(model.to_logits[0](model.transformer.final_layernorm(states)), *self._head)
