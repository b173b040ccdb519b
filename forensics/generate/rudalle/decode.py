"""Incremental decoding: one position a step, with a preallocated cache of which only the keys in sight are read.

Every layer keeps a *window* of keys and values, which attention reads from its first row to the last one in sight: the
text, then those of the image that its mask allows. A row layer sees the last D + 1 image positions, so the rows behind
the text are a ring of these, and nothing else is kept. Columns and convolution windows are copied there, a dozen rows
a step, from a *store* of all the image's positions. What a step costs therefore grows with the text and a row or two of
the image, not with the image.

A step computes (b, H) states; b is the number of *lanes*. See :mod:`sampling` for the loop over image tokens, and
:mod:`graph` for the same step with its position on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from forensics.errors import UsageError
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.masks import Kind, mask
from forensics.generate.rudalle.transformer import Rudalle

__all__ = ["Decoder", "KeyPlan", "LayerCache", "key_plan"]

_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """Where one kind of layer keeps the keys of each position, and which rows each position reads.

    Attributes
    ----------
    rows : int
        Rows that are kept, the text's T first.
    row : tuple of int
        (S,) where each position's key is written.
    reads : tuple of (int or Tensor)
        (S,) what a position reads: so many rows from the first on, or the (n,) int64 indices of rows.
    """

    rows: int
    row: tuple[int, ...]
    reads: tuple[int | Tensor, ...]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """A plan from the image's first position on, as a step needs it; rows of the store are counted from the text's end.

    ``row`` is (D²,) where a cell's key is written in window (rings) or store, ``tail`` (D²,) the (n,) store rows that
    are copied behind the window's text, None for a ring, and ``seen`` (D²,) the rows of the window to be read.
    """

    row: tuple[int, ...]
    tail: tuple[Tensor, ...] | None
    seen: tuple[int, ...]

    @property
    def widest(self) -> int:
        return max(self.seen)


def _reach(config: TransformerConfig, kind: Kind, device: torch.device) -> _Reach:
    text = config.text_length
    plan = key_plan(config, kind, device)
    reads = plan.reads[text:]
    if kind == "row":
        return _Reach(row=plan.row[text:], tail=None, seen=tuple(cast(int, read) for read in reads))
    tails = tuple(torch.arange(r - text, device=device) if isinstance(r, int) else r[text:] - text for r in reads)
    return _Reach(
        row=tuple(row - text for row in plan.row[text:]), tail=tails, seen=tuple(text + len(tail) for tail in tails)
    )


class LayerCache:
    """Keys and values of one layer for all lanes, on the layer's device.

    Attributes
    ----------
    window : Tensor
        (2, lanes, heads, T + n, H / heads): keys, values; the text's, then up to n of the image.
    store : Tensor or None
        (2, lanes, heads, D², H / heads): those of all image positions, where the window is no ring.
    """

    def __init__(
        self, config: TransformerConfig, reach: _Reach, lanes: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.text = config.text_length
        self.reach = reach
        self.device = device
        # masks of whole eights need no copy on a GPU
        rows = -(-reach.widest // _ROWS) * _ROWS
        shape = (2, lanes, config.heads, rows, config.hidden // config.heads)
        # zeros, for rows that a mask hides must still be numbers
        self.window = torch.zeros(shape, dtype=dtype, device=device)
        self.store: Tensor | None = None
        if reach.tail is not None:
            self.store = torch.zeros((*shape[:3], config.image_length, shape[4]), dtype=dtype, device=device)

    @property
    def nbytes(self) -> int:
        """Size of both."""
        return self.window.nbytes + (0 if self.store is None else self.store.nbytes)

    def fill(self, lanes: list[int], pair: Tensor) -> None:
        """Write (2, heads, n, H / heads) keys and values of positions 0 to n - 1, n >= T, to some lanes."""
        text = self.text
        target = self.window if self.store is None else self.store
        # of the cells that share a row of a ring, the last one stays
        last = {self.reach.row[cell]: text + cell for cell in range(pair.shape[2] - text)}
        rows, positions = list(last), list(last.values())
        for lane in lanes:
            self.window[:, lane, :, :text] = pair[:, :, :text]
            target[:, lane, :, rows] = pair[:, :, positions]

    def attend(self, fused: Tensor, cell: int) -> Tensor:
        """Keep the keys and values of a cell and return what its queries make of all in sight.

        ``fused`` is the (lanes, 3 H) product of queries, keys and values; the result is (lanes, H).
        """
        window, text = self.window, self.text
        _, lanes, heads, _, head = window.shape
        parts = fused.view(lanes, 3, heads, 1, head)
        fresh = parts[:, 1:].transpose(0, 1)
        row, seen = self.reach.row[cell], self.reach.seen[cell]
        if self.reach.tail is None:
            window.narrow(3, row, 1).copy_(fresh)
        else:
            store = cast(Tensor, self.store)
            store.narrow(3, row, 1).copy_(fresh)
            window.narrow(3, text, seen - text).copy_(store.index_select(3, self.reach.tail[cell]))
        keys, values = window.narrow(3, 0, seen).unbind(0)
        return functional.scaled_dot_product_attention(parts[:, 0], keys, values).reshape(lanes, heads * head)


class Decoder:
    """One batch of sequences as they grow.

    Parameters
    ----------
    model : Rudalle
        In evaluation mode. Its layers may be on different devices, or be brought to one when they are needed, as
        :func:`placement.load_placed` leaves them; each layer's cache is where it is computed.
    lanes : int
        Sequences at once; the cache is allocated for them here.
    """

    def __init__(self, model: Rudalle, lanes: int) -> None:
        config = model.config
        self.model = model
        self.lanes = lanes
        self.position = 0
        """Positions computed so far."""
        reaches: dict[tuple[Kind, torch.device], _Reach] = {}
        self.caches: list[LayerCache] = []
        """One a layer."""
        for layer, kind in zip(model.layers, model.kinds, strict=True):
            device = layer.device
            if (kind, device) not in reaches:
                reaches[kind, device] = _reach(config, kind, device)
            self.caches.append(LayerCache(config, reaches[kind, device], lanes, model.dtype, device))
        final = cast(torch.nn.Linear, model.to_logits[1])
        # text can no longer follow: two thirds of the largest matrix need not be read
        self._head = final.weight[config.text_vocab :], final.bias[config.text_vocab :]
        with torch.inference_mode():
            cells = torch.arange(config.image_length, device=model.device)
            self.places = model.embed_places(cells)
            """(D², H) what is added to an image token's embedding for its place."""

    @property
    def nbytes(self) -> int:
        """Size of the cache."""
        return sum(cache.nbytes for cache in self.caches)

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
        for cache, layer, kind in zip(self.caches, model.layers, model.kinds, strict=True):
            seen = model.mask(kind, cache.device)[:count, :count]
            states, key, value = layer(states.to(cache.device), seen)
            cache.fill(lanes.tolist(), torch.cat((key, value)))
        return self.logits(states[:, model.config.image_start - 1 :])

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Read one image token a lane, (lanes,) int64; return the (lanes, IV) logits of the next."""
        model = self.model
        config = model.config
        cell = self.position - config.image_start
        if not 0 <= cell < config.image_length - 1:
            raise UsageError(
                f"a step at position {self.position} given; fill in the text first, the last token has none"
            )
        place = self.position - config.text_length
        states = model.image_embeddings(tokens) + self.places[cell]
        for cache, layer in zip(self.caches, model.layers, strict=True):
            states = states.to(cache.device)
            fused = layer.attention.query_key_value(layer.input_layernorm(states))
            states = layer.add(states, layer.attention.output(cache.attend(fused, place)))
        self.position += 1
        return self.logits(states)

    def logits(self, states: Tensor) -> Tensor:
        """Return the (…, IV) image logits of the last layer's (…, H) states."""
        model = self.model
        states = states.to(model.device)
        return functional.linear(model.to_logits[0](model.transformer.final_layernorm(states)), *self._head)
