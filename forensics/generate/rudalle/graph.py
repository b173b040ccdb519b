"""The decoder's step with its position on the device, so that one recorded graph serves every cell of every image.

:mod:`decode` reads as many rows as are in sight and picks them with Python's numbers. Here each layer reads its whole
window under a mask, and what depends on the position (where a key is written, which rows are copied, what is hidden,
the image's uniforms, its given tokens) is looked up in tables by a (1,) tensor. Shapes and addresses then never change,
drawing the token belongs to the step, and nothing waits for the host: a CUDA graph replays it all as one launch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from forensics.generate.rudalle.decode import Decoder, LayerCache
from forensics.generate.rudalle.sampling import Sampling, draw, probabilities, steered
from forensics.generate.rudalle.transformer import Rudalle

__all__ = ["ImageLoop", "StaticStep", "kept_loop", "recordable"]

_WARM_UPS = 3
_WAIT = 64
"""The host waits once in so many tokens, so that progress is true and an interrupt is heard."""


def recordable(model: Rudalle) -> bool:
    """Whether a model's steps can be recorded: all of it lies on one CUDA device, and stays there."""
    places = {layer.device for layer in model.layers} | {model.device}
    streamed = any(hasattr(module, "_hf_hook") for module in model.modules())
    return len(places) == 1 and model.device.type == "cuda" and not streamed


def kept_loop(model: Rudalle, lanes: Tensor, *, images: int, length: int, sampling: Sampling) -> ImageLoop:
    """Return a recorded loop, the model's last one where it was made for the same; recording costs dozens of steps."""
    key = (tuple(lanes.tolist()), images, length, sampling)
    if model.kept is None or model.kept[0] != key:
        model.kept = None  # its memory is free before the next one's is taken
        model.kept = key, ImageLoop(model, lanes, images=images, length=length, sampling=sampling)
    loop = model.kept[1]
    if not isinstance(loop, ImageLoop):
        raise TypeError(f"{type(loop).__name__} kept by a model, ImageLoop expected")
    return loop


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """What one kind of layer does at each of D² places.

    ``row`` is (D²,) int64 where the key is written, ``tail`` (D², n) int64 which rows of the store follow the text in
    the window, padded with 0, None for a ring; ``seen`` (D², rows of the window) bool what is read.
    """

    row: Tensor
    tail: Tensor | None
    seen: Tensor


def _tables(cache: LayerCache) -> _Tables:
    reach, device = cache.reach, cache.device
    rows = torch.arange(cache.window.shape[3], device=device)
    seen = rows < torch.tensor(reach.seen, device=device)[:, None]
    tail = None
    if reach.tail is not None:
        tail = torch.zeros((len(reach.tail), len(rows) - cache.text), dtype=torch.int64, device=device)
        for place, found in enumerate(reach.tail):
            tail[place, : len(found)] = found
    return _Tables(row=torch.tensor(reach.row, device=device), tail=tail, seen=seen)


class StaticStep:
    """:meth:`Decoder.step` for a decoder's caches, at a cell that a tensor names.

    Parameters
    ----------
    decoder : Decoder
        Filled by :meth:`Decoder.prefill`; of a model on one device.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        config = decoder.model.config
        self._ahead = config.image_start - config.text_length
        tables = {id(cache.reach): _tables(cache) for cache in decoder.caches}
        self._tables = [tables[id(cache.reach)] for cache in decoder.caches]

    def __call__(self, tokens: Tensor, cell: Tensor) -> Tensor:
        """Read (lanes,) tokens that stand in a cell, (1,) int64; return the (lanes, IV) logits of the next."""
        model = self.decoder.model
        place = cell + self._ahead
        states = model.image_embeddings(tokens) + self.decoder.places.index_select(0, cell)
        for cache, table, layer in zip(self.decoder.caches, self._tables, model.layers, strict=True):
            fused = layer.attention.query_key_value(layer.input_layernorm(states))
            states = layer.add(states, layer.attention.output(_attend(cache, table, fused, place)))
        return self.decoder.logits(states)


def _attend(cache: LayerCache, table: _Tables, fused: Tensor, place: Tensor) -> Tensor:
    """Do what :meth:`LayerCache.attend` does: (lanes, H) for the (lanes, 3 H) product."""
    window = cache.window
    _, lanes, heads, _, head = window.shape
    parts = fused.view(lanes, 3, heads, 1, head)
    fresh = parts[:, 1:].transpose(0, 1)
    row = table.row.index_select(0, place)
    if cache.store is None or table.tail is None:
        window.index_copy_(3, row, fresh)
    else:
        cache.store.index_copy_(3, row, fresh)
        tail = table.tail.index_select(0, place)[0]
        window.narrow(3, cache.text, len(tail)).copy_(cache.store.index_select(3, tail))
    seen = table.seen.index_select(0, place)[:, None, None]
    context = functional.scaled_dot_product_attention(parts[:, 0], window[0], window[1], attn_mask=seen)
    return context.reshape(lanes, heads * head)


class ImageLoop:
    """The loop over an image's tokens for one batch after another, without a wait until all are drawn.

    Parameters
    ----------
    model : Rudalle
        On one device, in evaluation mode.
    lanes : Tensor
        (lanes,) int64: the sequence that each lane computes, of ``images`` sequences and, with guidance, as many
        with the empty prompt after them.
    images : int
        Images a batch.
    length : int
        Tokens an image.
    sampling : Sampling
        How tokens are drawn.
    record : bool
        Record the step as a CUDA graph; otherwise it runs operation by operation, on any device.
    compiled : bool
        Let ``torch.compile`` fuse the step's small operations first, which takes a minute.
    """

    def __init__(
        self,
        model: Rudalle,
        lanes: Tensor,
        *,
        images: int,
        length: int,
        sampling: Sampling,
        record: bool = True,
        compiled: bool = False,
    ) -> None:
        device = model.device
        self.images, self.length, self.sampling = images, length, sampling
        self.read = 0
        """Given tokens that :meth:`begin` read along with the text."""
        self._lanes = lanes
        self.decoder = Decoder(model, len(lanes))
        self._source = (lanes % images).to(device)
        self._points = torch.zeros((images, length), dtype=torch.float64, device=device)
        self._given = torch.zeros((images, length), dtype=torch.int64, device=device)
        self._tokens = torch.zeros_like(self._given)
        self._log_probs = torch.zeros((images, length), device=device)
        self._cell = torch.zeros(1, dtype=torch.int64, device=device)
        step: Callable[[Tensor, Tensor], Tensor] = StaticStep(self.decoder)
        self._step = torch.compile(step, fullgraph=True, dynamic=False) if compiled else step
        self._first = torch.empty(0)
        self._record = record
        self._graph: torch.cuda.CUDAGraph | None = None

    @torch.inference_mode()
    def begin(self, ids: Tensor, given: Tensor, points: Tensor, read: int) -> None:
        """Read the prompts.

        Parameters
        ----------
        ids : Tensor
            (sequences, T) text ids.
        given : Tensor
            (images, length) tokens that are given, -1 where one is to be drawn.
        points : Tensor
            (images, length) float64 uniforms.
        read : int
            Given tokens of all images that are read along with the text.
        """
        self.read = read
        start = given[:, :read].repeat(len(ids) // self.images, 1)
        logits = self.decoder.prefill(torch.cat((ids, start), 1)[self._lanes])
        self._given.copy_(given)
        self._points.copy_(points)
        self._tokens[:, :read] = self._given[:, :read]
        before = logits[: self.images, :read].float().log_softmax(-1)
        self._log_probs[:, :read] = before.gather(2, self._tokens[:, :read, None])[..., 0]
        self._first = logits[:, read]

    @torch.inference_mode()
    def next(self, cell: int) -> None:
        """Draw the tokens of a cell: those from ``read`` on, in their order. The host goes on before it is done."""
        if cell == self.read:
            self._cell.fill_(cell)
            self._choose(self._first)
        elif not self._record:
            self._body()
        else:
            self._graph = self._graph or self._recorded()
            self._graph.replay()
            if cell % _WAIT == 0:
                torch.cuda.current_stream(self._cell.device).synchronize()

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the (images, length) tokens and their log-probabilities, on the CPU."""
        return self._tokens.cpu(), self._log_probs.cpu()

    def _body(self) -> None:
        read = self._tokens.index_select(1, self._cell)[:, 0]
        logits = self._step(read.index_select(0, self._source), self._cell)
        self._cell.add_(1)
        self._choose(logits)

    def _choose(self, logits: Tensor) -> None:
        """Write the token of the cell and its log-probability, from (lanes, IV) logits."""
        chances = probabilities(steered(logits, self.images, self.sampling), self.sampling)
        drawn = draw(chances, self._points.index_select(1, self._cell)[:, 0])
        given = self._given.index_select(1, self._cell)
        token = torch.where(given >= 0, given, drawn[:, None])
        self._tokens.index_copy_(1, self._cell, token)
        self._log_probs.index_copy_(1, self._cell, logits[: self.images].float().log_softmax(-1).gather(1, token))

    def _recorded(self) -> torch.cuda.CUDAGraph:
        """Run the step a few times where it stands, so that libraries set themselves up, then record it."""
        cell = self._cell.clone()
        side = torch.cuda.Stream(self._cell.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._cell.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._body()
                # a step further would write over what this one reads of the rings
                self._cell.copy_(cell)
        torch.cuda.current_stream(self._cell.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # of this thread alone: another one may be describing finished images on the same GPU
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._body()
        return graph
