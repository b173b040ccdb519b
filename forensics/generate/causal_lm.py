"""A causal language model of transformers as :class:`forensics.types.AutoregressiveModel`: GPT-2 that recites Faust.

Named ``transformers:FOLDER_OR_ID``. Items are texts, of which the first L tokens are looked at. Where the tokenizer has
a begin token, it is read first, so that the first token of a text has a likelihood too; where it has none, that token
counts as given: its log-probability is 0, and ``first_evidence`` of the spec's settings is 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from forensics.errors import ForensicsError, UsageError, WeightsError
from forensics.generate.options import GeneratorOptions
from forensics.generate.rudalle.sampling import Sampling, draw, probabilities, uniforms
from forensics.types import AutoregressiveSpec, Progress, TokenLikelihoods
from forensics.weights import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forensics.types import FloatArray, TokenArray

__all__ = ["LENGTH", "CausalLm", "TextTokenizer", "open_causal_lm"]

LENGTH = 64
"""Tokens of each text that are looked at, where nothing else is asked for."""

_ROW = 8
_HUB_ID = r"[\w.-]+(/[\w.-]+)?"
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_KINDS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TextTokenizer(Protocol):
    """What is needed of a tokenizer of transformers."""

    bos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the ids of a text."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of ids."""
        ...


class CausalLm:
    """A causal language model, its tokenizer, and how much of each text is looked at.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Called as ``model(input_ids=…, past_key_values=…, use_cache=…)``; its ``config`` has ``vocab_size``.
    tokenizer : TextTokenizer
    name : str
    length, row : int
        Tokens a text; and those in which prefixes are counted.
    batch : int
        Texts at once.
    weights : mapping of str to str, optional
        File name to SHA-256.
    sampling : Sampling, optional
        How :meth:`complete` draws; temperature 1 from all tokens if not given.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: TextTokenizer,
        *,
        name: str,
        length: int = LENGTH,
        row: int = _ROW,
        batch: int = 8,
        weights: Mapping[str, str] | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        begins = tokenizer.bos_token_id is not None
        room = int(getattr(model.config, "max_position_embeddings", None) or length + 1) - begins
        if not 2 <= length <= room:
            raise UsageError(f"length {length} given, 2 to {room} tokens of a text accepted by {name}")
        if not 1 <= row <= length:
            raise UsageError(f"rows of {row} tokens given, 1 to {length} accepted")
        if batch < 1:
            raise UsageError(f"batch {batch} given, 1 or more accepted")
        self._model, self._tokenizer, self._batch = model.eval(), tokenizer, batch
        self._begin = tokenizer.bos_token_id
        self._sampling = sampling or Sampling(top_k=0, top_p=1.0)
        self._spec = AutoregressiveSpec(
            name=name,
            vocabulary=int(model.config.vocab_size),
            length=length,
            row=row,
            weights=dict(weights or {}),
            settings={
                "kind": "text",
                "first_evidence": int(not begins),
                "dtype": str(model.dtype).removeprefix("torch."),
                "device": model.device.type,
                "temperature": self._sampling.temperature,
                "top_k": self._sampling.top_k,
                "top_p": self._sampling.top_p,
            },
        )

    @property
    def spec(self) -> AutoregressiveSpec:
        """What it is."""
        return self._spec

    @property
    def memory(self) -> int:
        """Bytes: the weights, exactly, and about what the output layer needs of a batch."""
        weights = sum(parameter.nbytes for parameter in self._model.parameters())
        return int(weights + 16 * self._batch * self._spec.length * self._spec.vocabulary)

    def encode(self, items: Sequence[Any]) -> TokenArray:
        """Return the first L tokens of each text.

        Raises
        ------
        UsageError
            For something else than text, or a text with fewer tokens.
        """
        rows = []
        for number, text in enumerate(items, start=1):
            if not isinstance(text, str):
                raise UsageError(f"item {number} is {type(text).__name__}; {self._spec.name} reads text")
            ids = self._tokenizer.encode(text, add_special_tokens=False)
            if len(ids) < self._spec.length:
                raise UsageError(
                    f"text {number} ({text[:40]!r}) has {len(ids)} tokens, {self._spec.length} or more needed: "
                    "leave it out, or look at fewer tokens of each"
                )
            rows.append(ids[: self._spec.length])
        return np.array(rows, np.int64).reshape(len(items), self._spec.length)

    def decode(self, tokens: TokenArray) -> list[str]:
        """Return the texts of (n, k) tokens."""
        return [self._tokenizer.decode(row) for row in np.asarray(tokens).tolist()]

    def log_probabilities(
        self, tokens: TokenArray, captions: Sequence[str], *, progress: Progress | None = None
    ) -> TokenLikelihoods:
        """Return the likelihoods of (n, L) tokens; captions are empty, for there are none to read.

        Raises
        ------
        UsageError
            If a caption or tokens of another shape are given.
        ForensicsError
            If the numbers leave the type of the weights.
        """
        given = self._checked(tokens, captions, whole=True)
        found = np.zeros((3, *given.shape), np.float32)
        first = int(self._begin is None)
        for start in range(0, len(given), self._batch):
            part = slice(start, min(start + self._batch, len(given)))
            found[:, part, first:] = self._asked(given[part], first)
            if progress is not None:
                progress("asking for likelihoods", part.stop, len(given))
        if not np.isfinite(found).all():
            raise ForensicsError(
                f"{self._spec.name} computed numbers beyond {self._spec.settings['dtype']}, its likelihoods mean "
                "nothing; give --dtype bfloat16 or float32"
            )
        return TokenLikelihoods(log_probability=found[0], mean=found[1], deviation=found[2])

    @torch.inference_mode()
    def complete(
        self,
        prefixes: TokenArray,
        captions: Sequence[str],
        seeds: Sequence[int],
        *,
        greedy: bool = False,
        progress: Progress | None = None,
    ) -> TokenArray:
        """Return (n, L) tokens that begin with (n, k) prefixes; place t of item i is drawn at point t of seed i.

        Raises
        ------
        UsageError
            If there is not one seed a prefix, or nothing to begin with: no prefix, and no begin token.
        """
        given = self._checked(prefixes, captions, whole=False)
        count, known = given.shape
        if len(seeds) != count:
            raise UsageError(f"{count} prefixes and {len(seeds)} seeds given, one seed a prefix accepted")
        if not known and self._begin is None and count:
            raise UsageError(f"{self._spec.name} has no begin token; give a prefix of 1 token or more")
        found = torch.empty((count, self._spec.length), dtype=torch.int64)
        found[:, :known] = given
        for start in range(0, count, self._batch):
            part = slice(start, min(start + self._batch, count))
            points = None if greedy else torch.stack([uniforms(seed, self._spec.length) for seed in seeds[part]])
            self._go_on(found[part], known, points)
            if progress is not None:
                progress("completing", part.stop, count)
        return cast("TokenArray", found.numpy())

    def _go_on(self, tokens: Tensor, known: int, points: Tensor | None) -> None:
        """Fill (b, L) tokens from place ``known`` on; without points by the likeliest."""
        read, past = self._with_begin(tokens[:, :known]), None
        for place in range(known, self._spec.length):
            answer = self._model(input_ids=read.to(self._model.device), past_key_values=past, use_cache=True)
            logits, past = answer.logits[:, -1].float().cpu(), answer.past_key_values
            if points is None:
                tokens[:, place] = logits.argmax(-1)
            else:
                tokens[:, place] = draw(probabilities(logits, self._sampling), points[:, place])
            read = tokens[:, place : place + 1]

    @torch.inference_mode()
    def _asked(self, tokens: Tensor, first: int) -> FloatArray:
        """Return (3, b, L - first) log-probabilities, means and deviations."""
        read = self._with_begin(tokens[:, :-1]).to(self._model.device)
        scores = self._model(input_ids=read, use_cache=False).logits.float().log_softmax(-1)
        chances = scores.exp()
        mean = (chances * scores).sum(-1)
        deviation = (chances * (scores - mean[..., None]).square()).sum(-1).sqrt()
        found = scores.gather(-1, tokens[:, first:, None].to(scores.device))[..., 0]
        return cast("FloatArray", torch.stack((found, mean, deviation)).cpu().numpy())

    def _with_begin(self, tokens: Tensor) -> Tensor:
        return tokens if self._begin is None else torch.nn.functional.pad(tokens, (1, 0), value=self._begin)

    def _checked(self, tokens: TokenArray, captions: Sequence[str], *, whole: bool) -> Tensor:
        array, length = np.asarray(tokens), self._spec.length
        if (
            array.ndim != 2
            or array.dtype.kind not in "iu"
            or array.shape[1] > length
            or (whole and array.shape[1] < length)
        ):
            accepted = f"(n, {length})" if whole else f"(n, 0 to {length})"
            raise UsageError(f"tokens of shape {array.shape} {array.dtype} given, {accepted} whole numbers accepted")
        if array.size and not 0 <= int(array.min()) <= int(array.max()) < self._spec.vocabulary:
            raise UsageError(
                f"tokens from {int(array.min())} to {int(array.max())} given, 0 to {self._spec.vocabulary - 1} accepted"
            )
        if len(captions) != len(array) or any(captions):
            raise UsageError(
                f"{len(captions)} captions given, {len(array)} empty ones accepted: {self._spec.name} reads none"
            )
        return torch.from_numpy(np.array(array, dtype=np.int64))


def open_causal_lm(place: str, options: GeneratorOptions, *, device: str, length: int = LENGTH) -> CausalLm:
    """Return the model and tokenizer of a folder, or of a hub id, as ``save_pretrained`` writes them.

    Only safetensors are read, and no code that comes with a model is run.

    Raises
    ------
    WeightsError
        If files are missing or cannot be loaded.
    """
    folder = Path(place) if Path(place).is_dir() else _fetched(place, options)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WeightsError(f"{folder} holds no *.safetensors; save the model anew with save_pretrained()")
    dtype = options.dtype if options.dtype != "auto" else "float32" if device == "cpu" else "float16"
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _silent():
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=_KINDS[dtype], use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
            model = model.to(device)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the library raises whatever a file provokes
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{folder} cannot be loaded as a causal language model: {reason}") from error
    return CausalLm(
        model,
        tokenizer,
        name=f"transformers:{place}",
        length=length,
        batch=options.batch,
        weights={file.name: sha256_of(file) for file in files},
    )


def _fetched(place: str, options: GeneratorOptions) -> Path:
    if not re.fullmatch(_HUB_ID, place):
        raise UsageError(f"transformers model {place!r} given, a folder that exists or an id like OWNER/NAME accepted")
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                place,
                allow_patterns=list(_FILES),
                token=options.token,
                cache_dir=options.cache,
                local_files_only=options.offline,
            )
        )
    except Exception as error:  # the hub client raises its own, the network's and the system's errors
        reason = "no connection allowed" if options.offline else str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"{place} is no folder here, is not in the hub's cache and was not fetched ({reason}); fetch it on another "
            "machine and give the folder"
        ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the library's progress bars off the terminal: the program has its own."""
    from transformers.utils import logging as library_logging

    logging: Any = library_logging  # its switches have no types
    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()
