"""The loop that trains every model: AdamW, a schedule, checkpoints at set steps, a state to go on from, loss curves.

What a run folder holds: ``state.pt`` (model, optimizer, step), ``losses.csv`` and ``losses.png``, and
``checkpoints/step-NNNNNN.safetensors`` (float16). Which samples a step sees, and the random generator it is given, are
functions of the seed and the step alone, so a run that was interrupted ends in the same weights as one that was not.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from forensics.errors import UsageError
from forensics.train.session import Session, checkpoint_path, save_weights
from forensics.types import Progress

__all__ = [
    "LoopConfig",
    "StepLoss",
    "Trained",
    "learning_rate",
    "sample_order",
    "step_generator",
    "train",
]

# settings that do not change what is learnt
_FREE = frozenset({"checkpoints_at", "save_every_seconds", "log_every"})
_ORDER, _STEP = 0, 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How a model is trained.

    Attributes
    ----------
    steps, batch : int
        Updates in all, and samples in each.
    lr : float
        Learning rate after ``warmup`` steps of linear growth.
    schedule : {"cosine", "constant"}
        What it does then; cosine falls to ``lr * final`` at the last step.
    weight_decay : float
        Of matrices; biases, norms and other vectors have none.
    betas : tuple of two floats
        AdamW's.
    clip : float
        Largest norm of the gradient; 0 for no limit.
    seed : int
        Of initial weights, the order of samples and every random choice.
    precision : {"float32", "bf16"}
        bf16 computes matrix products in bfloat16 (autocast); weights and optimizer stay float32.
    checkpoints_at : tuple of int
        Steps after which the weights are kept; 0 is before the first.
    save_every_seconds : float
        How often the state is saved.
    log_every : int
        Steps a row of ``losses.csv``, which holds their means.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 0
    schedule: Literal["cosine", "constant"] = "cosine"
    final: float = 0.05
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    seed: int = 0
    precision: Literal["float32", "bf16"] = "float32"
    checkpoints_at: tuple[int, ...] = ()
    save_every_seconds: float = 180.0
    log_every: int = 20

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "log_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} given, 1 or more accepted")
        if not self.lr > 0 or self.warmup < 0 or self.seed < 0 or not self.save_every_seconds > 0:
            raise UsageError(
                f"lr {self.lr}, warmup {self.warmup}, seed {self.seed}, save_every_seconds {self.save_every_seconds} "
                "given; a positive lr and interval, warmup and seed from 0 accepted"
            )
        if wrong := [step for step in self.checkpoints_at if not 0 <= step <= self.steps]:
            raise UsageError(f"a checkpoint at step {wrong[0]} given, 0 to {self.steps} accepted")


class StepLoss(Protocol):
    """What a model adds to the loop."""

    def __call__(self, chosen: Tensor, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Return scalar losses of one batch by name; ``total`` is minimised, the others are logged.

        ``chosen`` are the (batch,) int64 indices of samples; ``generator`` (on the CPU) is the only source of chance.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished run.

    Attributes
    ----------
    steps : int
        Updates made, those of earlier sessions included.
    seconds : float
        Time they took, likewise.
    losses : mapping of str to float
        The last row of ``losses.csv``; empty where there is none.
    checkpoints : tuple of Path
        Those that lie in the run folder, in the order of their steps.
    """

    steps: int
    seconds: float
    losses: Mapping[str, float]
    checkpoints: tuple[Path, ...]


def _chosen(repeats: Sequence[int], config: LoopConfig, step: int, *, in_order: bool) -> Tensor:
    """Return the numbers of the samples of one step, (batch,) int64."""
    if in_order:
        return torch.arange(step * config.batch, (step + 1) * config.batch) % len(repeats)
    return sample_order(repeats, seed=config.seed, step=step, batch=config.batch)


def train(
    model: nn.Module,
    step_loss: StepLoss,
    *,
    repeats: Sequence[int],
    config: LoopConfig,
    out: Path,
    in_order: bool = False,
    about: Mapping[str, str] | None = None,
    stage: str = "training",
    restart: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train ``model`` in place, going on where an earlier run in ``out`` stopped.

    SIGINT (Ctrl-C) and SIGTERM save the state after the step at hand and raise ``KeyboardInterrupt``.

    Parameters
    ----------
    model : Module
        With its initial weights, on the device where it is to run.
    step_loss : StepLoss
        Computes the losses of a batch with ``model``.
    repeats : sequence of int
        (n,) how often each sample is seen in an epoch.
    config : LoopConfig
    out : Path
        Run folder; made.
    in_order : bool
        Take samples by their numbers, epoch after epoch, instead of shuffled: for samples that are made as they come.
    about : mapping of str to str, optional
        What else the weights depend on (digests of data, sizes of the model): a run goes on only where it is the same.
    stage : str
        Name for ``progress``.
    restart : bool
        Begin anew where ``out`` holds an earlier run.
    progress : Progress, optional
        Called with steps done and in all.

    Raises
    ------
    UsageError
        If the earlier run in ``out`` was another one.
    ForensicsError
        If the loss is no longer a number, or the state cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(_groups(model, config.weight_decay), lr=config.lr, betas=config.betas, fused=True)
    identity = _identity(config, repeats, about or {})
    session = Session(out, identity)
    if restart:
        session.forget()
    session.load(model, optimizer)
    if session.step == 0 and 0 in config.checkpoints_at:
        save_weights(model, checkpoint_path(out, 0))
    model.train()
    saved = time.monotonic()
    with _stopping() as stop:
        while session.step < config.steps and not stop.is_set():
            began = time.monotonic()
            chosen = _chosen(repeats, config, session.step, in_order=in_order)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, session.step)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                losses = step_loss(chosen, step_generator(config.seed, session.step))
            torch.autograd.backward(losses["total"])
            if config.clip:
                nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            session.add(losses, time.monotonic() - began)
            if session.step % config.log_every == 0 or session.step == config.steps:
                session.log(learning_rate(config, session.step - 1))
            if session.step in config.checkpoints_at:
                save_weights(model, checkpoint_path(out, session.step))
            if time.monotonic() - saved > config.save_every_seconds:
                session.save(model, optimizer)
                saved = time.monotonic()
            if progress is not None:
                progress(stage, session.step, config.steps)
        if session.fresh:
            session.save(model, optimizer)
        if stop.is_set() and session.step < config.steps:
            _log.info("stopped after step %d of %d; the state is saved in %s", session.step, config.steps, out)
            raise KeyboardInterrupt
    model.eval()
    return Trained(
        steps=session.step,
        seconds=session.seconds,
        losses=session.last_row(),
        checkpoints=tuple(sorted(checkpoint_path(out, 0).parent.glob("step-*.safetensors"))),
    )


def learning_rate(config: LoopConfig, step: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.lr * (config.final + (1 - config.final) * (1 + math.cos(math.pi * done)) / 2)


def sample_order(repeats: Sequence[int], *, seed: int, step: int, batch: int) -> Tensor:
    """Return the (batch,) int64 indices that a step sees: epochs, each in an order of its own, one after the other.

    Parameters
    ----------
    repeats : sequence of int
        (n,) how often each sample occurs in an epoch; 0 leaves one out.
    seed, step, batch : int
        Nothing else decides.
    """
    counts = tuple(int(count) for count in repeats)
    length = sum(counts)
    if length < 1 or min(counts) < 0:
        raise UsageError(f"{len(counts)} samples given that occur {length} times an epoch; at least one accepted")
    first = step * batch
    places = range(first, first + batch)
    chosen = [_epoch(counts, seed, place // length)[place % length] for place in places]
    return torch.tensor(chosen, dtype=torch.int64)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the random generator of a step, on the CPU."""
    return torch.Generator().manual_seed(_number(seed, _STEP, step))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    learnt = [weights for weights in model.parameters() if weights.requires_grad]
    matrices = [weights for weights in learnt if weights.dim() > 1]
    vectors = [weights for weights in learnt if weights.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _identity(config: LoopConfig, repeats: Sequence[int], about: Mapping[str, str]) -> dict[str, str]:
    settings = {name: str(value) for name, value in asdict(config).items() if name not in _FREE}
    samples = f"{len(repeats)} samples, {sum(repeats)} an epoch"
    return {**settings, "samples": samples, **about}


def _number(*parts: int) -> int:
    # torch's generator on a CPU keeps 32 bits of a seed
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


@lru_cache(maxsize=4)
def _epoch(counts: tuple[int, ...], seed: int, epoch: int) -> Any:
    samples = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(samples)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; the second does what it did before."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals arrive in the main thread only
        yield stop
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        stop.set()
        restore()

    handler: Callable[[int, Any], None] = handle
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handler)
    try:
        yield stop
    finally:
        restore()
