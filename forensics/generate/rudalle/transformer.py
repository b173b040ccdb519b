"""ruDALL-E's transformer: all positions at once, with its losses and per-token log-probabilities.

=========  ==================================================================
symbol     meaning
=========  ==================================================================
b          batch
T, D       text tokens; side of the image in tokens
S          positions: T + D²
H, L       hidden size; layers
V, IV      text and image vocabulary; logits are (b, S, V + IV), text first
=========  ==================================================================

Module names are those of the published state dicts, so that these load as they are. Attention is computed without the
reference's -10000 for hidden scores and without the subtraction of PB relaxation: softmax cancels both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from forensics.errors import UsageError
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.masks import KINDS, Kind, layer_kind, mask

__all__ = ["IMAGE_LOSS_WEIGHT", "Attention", "Layer", "Losses", "Rudalle", "TokenLogProbs"]

IMAGE_LOSS_WEIGHT = 7
"""How much the image loss counts in the total; the text loss counts 1."""

_EPSILON = 1e-5
_LARGEST_HALF = 65504.0
_BEGIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Mean cross-entropies in nats, as the reference trains on them; scalars.

    In v3 the reference counts the first image token among the text, read as an id of the text vocabulary; so does
    ``text`` here. ``total`` is (text + 7 image) / 8.
    """

    text: Tensor
    image: Tensor
    total: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogProbs:
    """Natural-log probability of each token given all before it, float32.

    Attributes
    ----------
    text : Tensor
        (b, T) in v2, (b, T - 1) in v3, whose first token nothing predicts; over the text vocabulary alone, the
        padding tokens included.
    image : Tensor
        (b, D²), over the image vocabulary alone, as tokens are drawn.
    """

    text: Tensor
    image: Tensor


class Attention(nn.Module):
    """Self-attention of one layer; queries, keys and values come from one product."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query_key_value = nn.Linear(config.hidden, 3 * config.hidden)
        self.dense = nn.Linear(config.hidden, config.hidden)

    def project(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys, values of (b, n, H) states: (b, heads, n, H / heads) each."""
        batch, count, hidden = states.shape
        parts = self.query_key_value(states).view(batch, count, 3, self.heads, hidden // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def merge(self, context: Tensor) -> Tensor:
        """Return the layer's (b, n, H) output for (b, heads, n, H / heads) weighted values."""
        return self.output(context.transpose(1, 2).flatten(2))

    def output(self, context: Tensor) -> Tensor:
        """Return the layer's (…, H) output for (…, H) weighted values, head after head."""
        output: Tensor = self.dense(context)
        # only half precision can reach this bound
        return output if output.dtype == torch.float32 else output.clamp(-_LARGEST_HALF, _LARGEST_HALF)

    def forward(self, states: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return output, keys and values for (b, n, H) states under an (n, n) bool mask."""
        query, key, value = self.project(states)
        context = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self.merge(context), key, value


class _Mlp(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(hidden, 4 * hidden)
        self.dense_4h_to_h = nn.Linear(4 * hidden, hidden)

    def forward(self, states: Tensor) -> Tensor:
        return cast(Tensor, self.dense_4h_to_h(functional.gelu(self.dense_h_to_4h(states), approximate="tanh")))


class Layer(nn.Module):
    """One block: attention and MLP, each between layer norms ("sandwich") and added to what came in."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden, eps=_EPSILON)
        self.attention = Attention(config)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden, eps=_EPSILON)
        self.mlp = _Mlp(config.hidden)
        self.sandwich = config.sandwich
        if config.sandwich:
            self.before_first_addition_layernorm = nn.LayerNorm(config.hidden, eps=_EPSILON)
            self.before_second_addition_layernorm = nn.LayerNorm(config.hidden, eps=_EPSILON)

    @property
    def device(self) -> torch.device:
        """Where the block is computed; accelerate may keep its weights elsewhere until then."""
        hook = getattr(self, "_hf_hook", None)
        return self.input_layernorm.weight.device if hook is None else torch.device(hook.execution_device)

    def forward(self, states: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the block's (b, n, H) output and its keys and values."""
        output, key, value = self.attention(self.input_layernorm(states), seen)
        return self.add(states, output), key, value

    def add(self, states: Tensor, attended: Tensor) -> Tensor:
        """Return the block's output from what came in and what attention gave, both (b, n, H)."""
        if self.sandwich:
            attended = self.before_first_addition_layernorm(attended)
        states = states + attended
        output = self.mlp(self.post_attention_layernorm(states))
        if self.sandwich:
            output = self.before_second_addition_layernorm(output)
        return cast(Tensor, states + output)


class _Trunk(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.final_layernorm = nn.LayerNorm(config.hidden, eps=_EPSILON)


class Rudalle(nn.Module):
    """The transformer with its embeddings and its output layer.

    Parameters
    ----------
    config : TransformerConfig
        Its sizes. Weights are torch's defaults until a state dict is loaded; there is no dropout.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.text_embeddings = nn.Embedding(config.text_vocab, config.hidden)
        self.image_embeddings = nn.Embedding(config.image_vocab, config.hidden)
        self.text_pos_embeddings = nn.Embedding(config.text_length + 1, config.hidden)
        self.image_row_embeddings = nn.Embedding(config.image_side, config.hidden)
        self.image_col_embeddings = nn.Embedding(config.image_side, config.hidden)
        self.to_logits = nn.Sequential(
            nn.LayerNorm(config.hidden, eps=_EPSILON), nn.Linear(config.hidden, config.text_vocab + config.image_vocab)
        )
        self.transformer = _Trunk(config)
        self.kinds: tuple[Kind, ...] = tuple(layer_kind(config, layer) for layer in range(config.layers))
        self.kept: tuple[object, object] | None = None
        """What :mod:`graph` records for a batch, and its key; a later batch of the same shape replays it."""
        self._masks: dict[tuple[Kind, torch.device], Tensor] = {}

    @property
    def layers(self) -> list[Layer]:
        """The L blocks in order."""
        return cast(list[Layer], list(self.transformer.layers))

    @property
    def device(self) -> torch.device:
        """Where the embeddings are, which is where ids go in."""
        return self.text_embeddings.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self.text_embeddings.weight.dtype

    def mask(self, kind: Kind, device: torch.device) -> Tensor:
        """Return :func:`masks.mask` on a device; it is made once."""
        if (kind, device) not in self._masks:
            self._masks[kind, device] = mask(self.config, kind).to(device)
        return self._masks[kind, device]

    def text_ids(self, ids: Tensor) -> Tensor:
        """Return the text tokens of (b, ≥ T) ids as they are read: (b, T), in v2 (b, T + 1).

        Padding at place i is id V - T + i, and v2 begins with token 2.
        """
        config = self.config
        text = ids[:, : config.text_length]
        padding = torch.arange(config.text_vocab - config.text_length, config.text_vocab, device=ids.device)
        text = torch.where(text == 0, padding, text)
        return functional.pad(text, (1, 0), value=_BEGIN) if config.version == "v2" else text

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input of the first layer for (b, T + n) ids, n ≤ D² of them image tokens: (b, positions, H)."""
        config = self.config
        count = ids.shape[1] - config.text_length
        if ids.dim() != 2 or not 0 <= count <= config.image_length:
            raise UsageError(
                f"token ids of shape {tuple(ids.shape)} given, "
                f"(batch, {config.text_length} to {config.length}) accepted"
            )
        text = self.text_ids(ids)
        embedded = self.text_embeddings(text) + self.text_pos_embeddings.weight[: text.shape[1]]
        if count:
            image = self.embed_image(ids[:, config.text_length :], torch.arange(count, device=ids.device))
            embedded = torch.cat((embedded, image), dim=1)
        return cast(Tensor, embedded[:, : config.length])  # v2 leaves the last image token out: nothing comes after it

    def embed_image(self, tokens: Tensor, cells: Tensor) -> Tensor:
        """Return (b, n, H) inputs for (b, n) image tokens that stand in (n,) cells, counted row by row."""
        return cast(Tensor, self.image_embeddings(tokens) + self.embed_places(cells))

    def embed_places(self, cells: Tensor) -> Tensor:
        """Return what is added to the embedding of a token in each of (n,) cells: (n, H)."""
        side = self.config.image_side
        return cast(Tensor, self.image_row_embeddings(cells // side) + self.image_col_embeddings(cells % side))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits (b, positions, V + IV) of (b, T + n) ids."""
        states = self.embed(ids)
        count = states.shape[1]
        seen = {kind: self.mask(kind, states.device)[:count, :count] for kind in KINDS}
        for layer, kind in zip(self.layers, self.kinds, strict=True):
            states, _, _ = layer(states, seen[kind])
        return cast(Tensor, self.to_logits(self.transformer.final_layernorm(states)))

    def image_rows(self, logits: Tensor) -> Tensor:
        """Return, of full (b, S, V + IV) logits, those from which each image token is drawn: (b, D², IV)."""
        start = self.config.image_start - 1
        return logits[:, start : start + self.config.image_length, self.config.text_vocab :]

    def losses(self, ids: Tensor, logits: Tensor | None = None) -> Losses:
        """Return the training losses of (b, S) ids; ``logits`` saves the forward pass where it was made already."""
        config = self.config
        self._whole(ids)
        logits = (self(ids) if logits is None else logits).float()
        labels = torch.cat((self.text_ids(ids)[:, 1:], ids[:, config.text_length :]), dim=1)
        text_end, image_end = config.text_length, labels.shape[1]
        text = functional.cross_entropy(logits[:, :text_end, : config.text_vocab].transpose(1, 2), labels[:, :text_end])
        image = functional.cross_entropy(
            logits[:, text_end:image_end, config.text_vocab :].transpose(1, 2), labels[:, text_end:]
        )
        return Losses(text=text, image=image, total=(text + IMAGE_LOSS_WEIGHT * image) / (IMAGE_LOSS_WEIGHT + 1))

    def token_log_probs(self, ids: Tensor, logits: Tensor | None = None) -> TokenLogProbs:
        """Return the log-probability of every token of (b, S) ids."""
        config = self.config
        self._whole(ids)
        logits = (self(ids) if logits is None else logits).float()
        labels = self.text_ids(ids)[:, 1:]
        text = logits[:, : labels.shape[1], : config.text_vocab].log_softmax(-1)
        image = self.image_rows(logits).log_softmax(-1)
        return TokenLogProbs(
            text=text.gather(2, labels[..., None])[..., 0],
            image=image.gather(2, ids[:, config.text_length :, None])[..., 0],
        )

    def _whole(self, ids: Tensor) -> None:
        if ids.dim() != 2 or ids.shape[1] != self.config.length:
            raise UsageError(f"token ids of shape {tuple(ids.shape)} given, (batch, {self.config.length}) accepted")
