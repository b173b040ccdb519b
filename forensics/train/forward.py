"""The transformer's losses as training computes them: equal to :meth:`Rudalle.losses`, at a third of the cost.

Layers see all text, and of the image's D² positions one or two rows, one column, or a window of six rows. Here scores
are computed for these alone, in blocks of D queries, instead of for all S² pairs. The output layer is computed for the
text's positions in the text vocabulary and for the image's in the image vocabulary, which is all that losses look at.

=========  ==============================================
symbol     meaning
=========  ==============================================
b, h, e    batch, heads, H / heads
T, D, S    text tokens; side of the image; T + D²
=========  ==============================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from forensics.errors import UsageError
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.masks import KERNEL, Kind, mask
from forensics.generate.rudalle.transformer import IMAGE_LOSS_WEIGHT, Losses, Rudalle

__all__ = ["FirstImage", "local_attention", "losses"]

FirstImage = Literal["image", "text"]


def losses(model: Rudalle, ids: Tensor, *, first_image: FirstImage = "image") -> Losses:
    """Return the training losses of (b, S) ids; gradients flow.

    Parameters
    ----------
    model : Rudalle
        In any type; under autocast the scores are in its type, softmax and losses in float32.
    ids : Tensor
        (b, S) text and image tokens.
    first_image : {"image", "text"}
        What the first image token of a v3 model counts as. ``text`` is the reference, and :meth:`Rudalle.losses`: it
        is read as an id of the text vocabulary, so the image logits from which it is drawn are never learnt, and
        generation begins with a token that nothing taught. ``image`` counts it among the image's. v2 has no such
        choice.

    Raises
    ------
    UsageError
        If ids have another shape, or the first image tokens do not fit the text vocabulary they are read in.
    """
    config = model.config
    text_length = config.text_length
    if ids.dim() != 2 or ids.shape[1] != config.length:
        raise UsageError(f"token ids of shape {tuple(ids.shape)} given, (batch, {config.length}) accepted")
    # which position's logits are compared with which label: text from position 0 on, the image right after
    text, image = model.text_ids(ids)[:, 1:], ids[:, text_length:]
    if config.version == "v3" and first_image == "text":
        if config.text_vocab < config.image_vocab:
            raise UsageError(
                f"a text vocabulary of {config.text_vocab} given, at least the image's {config.image_vocab} accepted "
                'where first_image is "text"'
            )
        text, image = torch.cat((text, image[:, :1]), dim=1), image[:, 1:]
    states = model.embed(ids)
    for layer, kind in zip(model.layers, model.kinds, strict=True):
        query, key, value = layer.attention.project(layer.input_layernorm(states))
        context = local_attention(config, kind, query, key, value)
        # not merge(): what it keeps from overflowing is float16
        states = layer.add(states, layer.attention.dense(context.transpose(1, 2).flatten(2)))
    states = model.to_logits[0](model.transformer.final_layernorm(states))
    final = cast(nn.Linear, model.to_logits[1])
    middle, vocab = text.shape[1], config.text_vocab
    text_loss = _cross_entropy(states[:, :middle], final.weight[:vocab], final.bias[:vocab], text)
    image_loss = _cross_entropy(
        states[:, middle : middle + image.shape[1]], final.weight[vocab:], final.bias[vocab:], image
    )
    total = (text_loss + IMAGE_LOSS_WEIGHT * image_loss) / (IMAGE_LOSS_WEIGHT + 1)
    return Losses(text=text_loss, image=image_loss, total=total)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """How a layer's mask falls into blocks of D queries: the image's rows, or its columns.

    Attributes
    ----------
    columns : bool
        Blocks are columns.
    reach : int
        How many blocks before its own a query sees.
    bias : Tensor
        (D, D, (reach + 1) D) of 0 and -inf, to add to scores: block, query, key.
    """

    columns: bool
    reach: int
    bias: Tensor


_REACH: Mapping[Kind, int] = {"row": 1, "column": 0, "conv": KERNEL // 2}


def local_attention(config: TransformerConfig, kind: Kind, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the (b, h, S, e) weighted values of (b, h, S, e) queries, keys and values under a layer's mask.

    What it computes is ``scaled_dot_product_attention(query, key, value, attn_mask=masks.mask(config, kind))``.
    """
    text, side = config.text_length, config.image_side
    plan = _blocks(config, kind, query.device)
    if plan is None:
        seen = mask(config, kind).to(query.device)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    query = query * query.shape[-1] ** -0.5
    text_query, text_key, text_value = (part[:, :, :text] for part in (query, key, value))
    # (b, h, D, D, e): block, place in the block
    blocks = [_split(part[:, :, text:], side) for part in (query, key, value)]
    if plan.columns:
        blocks = [part.transpose(2, 3) for part in blocks]
    image_query, near_key, near_value = blocks[0], *(_with_earlier(part, plan.reach) for part in blocks[1:])

    later = torch.full((text, text), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
    weights = (torch.matmul(text_query, text_key.transpose(-1, -2)) + later).softmax(-1).to(value.dtype)
    upper = torch.matmul(weights, text_value)

    far = _split(torch.matmul(image_query.flatten(2, 3), text_key.transpose(-1, -2)), side)
    near = torch.matmul(image_query, near_key.transpose(-1, -2)) + plan.bias.to(query.dtype)
    weights = torch.cat((far, near), dim=-1).softmax(-1).to(value.dtype)
    lower = _split(torch.matmul(weights[..., :text].flatten(2, 3), text_value), side)
    lower = lower + torch.matmul(weights[..., text:], near_value)
    if plan.columns:
        lower = lower.transpose(2, 3)
    return torch.cat((upper, lower.flatten(2, 3)), dim=2)


def _split(positions: Tensor, side: int) -> Tensor:
    """Return (b, h, D², e) of positions as (b, h, D, D, e)."""
    return positions.reshape(*positions.shape[:2], side, side, positions.shape[-1])


def _with_earlier(blocks: Tensor, reach: int) -> Tensor:
    """Return, for (b, h, D, D, e) blocks, those up to ``reach`` before each and itself: (b, h, D, (reach + 1) D, e)."""
    if not reach:
        return blocks
    count = blocks.shape[2]
    padded = functional.pad(blocks, (0, 0, 0, 0, reach, 0))
    return torch.cat([padded[:, :, start : start + count] for start in range(reach + 1)], dim=3)


@cache
def _blocks(config: TransformerConfig, kind: Kind, device: torch.device) -> _Blocks | None:
    """Return a mask's plan, read off the mask itself; None where it does not fall into blocks (v2's window wraps)."""
    side, reach = config.image_side, _REACH[kind]
    seen = mask(config, kind)
    image = seen[config.text_length :, config.text_length :].reshape(side, side, side, side)
    if kind == "column":
        image = image.permute(1, 0, 3, 2)
    # image is (block, query, block of the key, key)
    parts = torch.zeros((side, side, reach + 1, side), dtype=torch.bool)
    for back in range(reach + 1):
        for block in range(back, side):
            parts[block, :, reach - back] = image[block, :, block - back]
    if parts.sum() != image.sum():
        return None
    bias = torch.zeros(parts.shape).masked_fill_(~parts, float("-inf")).flatten(2)
    return _Blocks(columns=kind == "column", reach=reach, bias=bias.to(device))


def _cross_entropy(states: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    logits = functional.linear(states, weight, bias).float()
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
