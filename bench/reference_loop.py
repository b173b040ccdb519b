"""What ru-dalle 1.1.3 computes to draw a batch of images with its cache, on the weights of a `Rudalle`.

Written anew from reading that package, operation by operation, with nothing left out that it repeats at every token:
the embeddings of the whole sequence, the masks of every layer, the norms, sums and copies over all positions, and the
logits of all positions over both vocabularies. Its cache saves the products of earlier positions inside the layers,
no more. With `--reference` bench/generate.py runs the published package itself beside it.
"""

from __future__ import annotations

import importlib
import math
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from forensics.generate.rudalle.masks import KINDS
from forensics.generate.rudalle.sampling import Sampling, filtered
from forensics.generate.rudalle.transformer import Layer, Rudalle

Cache = dict[int, tuple[Tensor, ...]]
Pick = Callable[[Tensor, int], Tensor]
_HIDDEN_SCORE = 10000.0
_RELAX = 32


def multinomial(sampling: Sampling) -> Pick:
    """Return the published way to draw: filter, softmax, multinomial."""

    def pick(logits: Tensor, _: int) -> Tensor:
        logits = filtered(logits / sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p)
        return torch.multinomial(logits.softmax(-1), 1)

    return pick


@torch.no_grad()
def draw_images(model: Rudalle, ids: Tensor, pick: Pick) -> Iterator[Tensor]:
    """Yield the (b, T + n) ids after each of D² tokens; `pick` gives (b, 1) tokens for (b, IV) logits and the cell."""
    config = model.config
    allowed = torch.ones((len(ids), 1, config.length, config.length)).tril()
    out, cache = ids, None
    for cell in range(config.image_length):
        logits, cache = forward(model, out, allowed, cache)
        out = torch.cat((out, pick(logits[:, -1, config.text_vocab :], cell)), dim=-1)
        if cell == config.image_length - 1:
            # the perplexity: a pass over everything, without the cache
            logits, _ = forward(model, out, allowed, None)
            image = logits.transpose(1, 2)[:, config.text_vocab :, -config.image_length : -1].contiguous()
            functional.cross_entropy(image, out[:, -config.image_length + 1 :], reduction="none")
        yield out


def forward(model: Rudalle, ids: Tensor, allowed: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
    """Return the (b, n, V + IV) logits of all positions so far, and the cache with the new ones."""
    cache = {} if cache is None else cache
    states = model.embed(ids)
    states = states * 0.1 + states.detach() * 0.9
    count = states.shape[1]
    allowed = allowed[:, :, :count, :count]
    masks = {kind: model.mask(kind, states.device) for kind in KINDS}
    last = len(model.layers) - 1
    for number, (layer, kind) in enumerate(zip(model.layers, model.kinds, strict=True)):
        seen = allowed * masks[kind][:count, :count]
        states, cache[number] = _layer(layer, states, seen, cache.get(number), number == last)
    return model.to_logits(model.transformer.final_layernorm(states)), cache


def _layer(
    layer: Layer, states: Tensor, seen: Tensor, cache: tuple[Tensor, ...] | None, last: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    attended, kept = _attention(layer, layer.input_layernorm(states), seen, cache)
    if layer.sandwich:
        attended = layer.before_first_addition_layernorm(attended)
    states = states + attended
    normed = layer.post_attention_layernorm(states)
    if cache is None:
        output = _mlp(layer, normed)
    else:
        old = cache[0].shape[-2]
        # what earlier positions would have is wrong in all layers but the last, where it is kept; nobody reads it
        output = torch.cat((cache[-1] if last else normed[:, :old], _mlp(layer, normed[:, old:])), dim=-2)
    # as published, the first pass keeps attention's output in this place
    if last and cache is not None:
        kept = (*kept, output)
    if layer.sandwich:
        output = layer.before_second_addition_layernorm(output)
    return states + output, kept


def _attention(
    layer: Layer, states: Tensor, seen: Tensor, cache: tuple[Tensor, ...] | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    part = layer.attention
    old = 0 if cache is None else cache[0].shape[-2]
    batch, _, hidden = states.shape
    head = hidden // part.heads
    fused = part.query_key_value(states[:, old:]).split(hidden, dim=-1)
    query, key, value = (one.view(batch, -1, part.heads, head).permute(0, 2, 1, 3) for one in fused)
    if cache is not None:
        key, value = torch.cat((cache[0], key), dim=-2), torch.cat((cache[1], value), dim=-2)
    scores = torch.matmul(query / math.sqrt(head), key.transpose(-1, -2))
    seen = seen[:, :, -scores.shape[-2] :]
    scores = scores * seen - _HIDDEN_SCORE * (1.0 - seen)
    scaled = scores / _RELAX
    largest = scaled.detach().view(batch, part.heads, -1).max(dim=-1)[0][..., None, None].expand_as(scaled)
    weights = ((scaled - largest) * _RELAX).softmax(-1)
    context = torch.matmul(weights, value).permute(0, 2, 1, 3).contiguous().view(batch, -1, hidden)
    output = part.dense(context).clamp(min=-65504, max=65504)
    if cache is not None:
        output = torch.cat((cache[2], output), dim=-2)
    return output, (key, value, output)


def _mlp(layer: Layer, states: Tensor) -> Tensor:
    states = layer.mlp.dense_h_to_4h(states)
    states = 0.5 * states * (1.0 + torch.tanh(0.7978845608028654 * states * (1.0 + 0.044715 * states * states)))
    return layer.mlp.dense_4h_to_h(states)


class Published:
    """The published package itself, of a checkout: its model with our weights, and its loop.

    What its modules import and no longer exists, or is not needed here, is put in its place: the filter that left
    transformers, `more_itertools.chunked`, `matplotlib`, and packages whose `__init__` would load everything.
    """

    def __init__(self, root: Path, model: Rudalle) -> None:
        if not (root / "rudalle" / "dalle" / "model.py").is_file():
            raise SystemExit(f"{root} given, a checkout of ru-dalle needed: it has no rudalle/dalle/model.py")
        for name in ("rudalle", "rudalle.dalle"):
            package = types.ModuleType(name)
            package.__path__ = [str(root.joinpath(*name.split(".")))]
            sys.modules[name] = package
        before = {name: sys.modules.get(name) for name in _SHIMS}
        sys.modules |= {name: _shim(name, parts) for name, parts in _SHIMS.items()}
        self._pipelines: Any = importlib.import_module("rudalle.pipelines")
        self._pipelines.tqdm = lambda cells: cells
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        config = model.config
        self.model: Any = importlib.import_module("rudalle.dalle.model").DalleModel(
            device="cpu",
            num_layers=config.layers,
            vocab_size=config.text_vocab,
            hidden_size=config.hidden,
            num_attention_heads=config.heads,
            embedding_dropout_prob=0.1,
            attention_dropout_prob=0.1,
            output_dropout_prob=0.1,
            text_seq_length=config.text_length,
            image_tokens_per_dim=config.image_side,
            image_vocab_size=config.image_vocab,
            cogview_sandwich_layernorm=config.sandwich,
            cogview_pb_relax=config.pb_relax,
            hf_version=config.version,
        )
        left = self.model.load_state_dict(model.state_dict(), strict=False)
        if left.unexpected_keys or any(not name.endswith("_mask") for name in left.missing_keys):
            raise SystemExit(f"{root} is another version of ru-dalle: its model differs in {left}")
        self.model.eval()

    def draw(self, ids: Tensor, sampling: Sampling) -> None:
        """Run its `generate_images` for as many images as there are (b, T) ids, all the same."""
        tokenizer = types.SimpleNamespace(encode_text=lambda text, text_seq_length: ids[0])
        vae = types.SimpleNamespace(decode=lambda tokens: torch.zeros((len(tokens), 3, 8, 8)))
        self._pipelines.generate_images(
            "",
            tokenizer,
            self.model,
            vae,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            temperature=sampling.temperature,
            images_num=len(ids),
            bs=len(ids),
        )


_SHIMS: dict[str, dict[str, Any]] = {
    "transformers": {
        "top_k_top_p_filtering": lambda logits, top_k, top_p: filtered(logits, top_k=top_k, top_p=top_p),
    },
    "more_itertools": {
        "chunked": lambda items, size: (items[start : start + size] for start in range(0, len(items), size)),
    },
    "matplotlib": {},
    "matplotlib.pyplot": {},
}


def _shim(name: str, parts: dict[str, Any]) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(parts)
    return module
