"""Aspect ratios beyond the square, from a model of D x D image tokens (the idea of shonenkov-AI/rudalle-aspect-ratio).

The model sees a window of D x D cells, whose upper left part is known and whose rest it draws.

**Tall images**, ``height`` > D: the window slides down by rows. As published, row i of the image is drawn as row D·i /
height of the window, under as many rows of context: the picture that the model has learnt, its sky above and its ground
below, is stretched over the whole height. The first rows, which would have no context so, see all rows before them.
While the window stays, its cache of keys is used on; when it slides, what it then shows is read at once (a *prefill* of
text and up to D - 1 rows, a pass of its own for every image), which happens (height - D) / ``stride`` times. On a CPU
(8 and 90 M parameters, D = 16) twice the height took as long as 4 squares with stride 1, as 2 to 2.5 with stride 4.

**Wide images**, ``width`` > D: the window slides right by ``stride`` columns, D / 2 as published. Its left part is
known from the window before, the rest is drawn. The published code decodes the known part to pixels and encodes it
again by itself, which changes tokens; here they stay what they are. Every window costs as much as an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from forensics.errors import UsageError
from forensics.generate.rudalle.sampling import Sampling, generate_tokens, perplexity, uniforms
from forensics.generate.rudalle.transformer import Rudalle
from forensics.types import Progress

__all__ = ["Panorama", "TallWindow", "generate_panorama", "tall_windows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panorama:
    """Images as tokens, in the order of the seeds.

    Attributes
    ----------
    height, width : int
        In tokens.
    tokens : Tensor
        (n, height · width) int64, row by row of the image.
    log_probs : Tensor
        (n, height · width) float32: log-probability of each token in the window in which it was drawn, before
        temperature, filters and guidance.
    """

    height: int
    width: int
    tokens: Tensor
    log_probs: Tensor

    @property
    def codes(self) -> Tensor:
        """(n, height, width) int64, as :meth:`Vqgan.decode` takes them."""
        return self.tokens.view(-1, self.height, self.width)

    @property
    def perplexity(self) -> Tensor:
        """(n,) see :func:`sampling.perplexity`."""
        return perplexity(self.log_probs)


@dataclass(frozen=True, slots=True, kw_only=True)
class TallWindow:
    """Where a window stands (its first row's place in the image) and which rows of the image are drawn in it."""

    origin: int
    rows: range


def tall_windows(side: int, height: int, stride: int = 1) -> list[TallWindow]:
    """Return the windows of an image of ``height`` rows from top to bottom; each row is drawn in one of them."""
    origins = _origins(side, height, stride)
    rows: list[list[int]] = [[] for _ in origins]
    window = 0
    for row in range(height):
        # as published, where a slice from "minus no rows" on takes all that there are
        context = side * row // height or row
        while window + 1 < len(origins) and (
            origins[window + 1] <= row - context  # it would still have this much context after sliding
            or row - origins[window] >= side  # it has left the window
        ):
            window += 1
        rows[window].append(row)
    return [
        TallWindow(origin=origin, rows=range(drawn[0], drawn[-1] + 1))
        for origin, drawn in zip(origins, rows, strict=True)
        if drawn
    ]


def generate_panorama(
    model: Rudalle,
    ids: Tensor,
    seeds: Sequence[int],
    *,
    height: int,
    width: int,
    sampling: Sampling | None = None,
    batch: int = 8,
    stride: int | None = None,
    progress: Progress | None = None,
) -> Panorama:
    """Draw one image of height x width tokens a seed; at D x D these are the images of :func:`generate_tokens`.

    An image depends on its prompt, its seed, the settings and the stride, not on the batch.

    Parameters
    ----------
    model : Rudalle
        In evaluation mode.
    ids : Tensor
        (T,) or (1, T) text ids for all images, or (n, T) for each its own.
    seeds : sequence of int
        n seeds, each 0 to 2^63 - 1.
    height, width : int
        In tokens: one of them D, the other D or more.
    sampling : Sampling, optional
        How tokens are drawn.
    batch : int
        Images at once.
    stride : int, optional
        Rows or columns by which the window slides at once, 1 to D - 1. As published, and by default, 1 row in tall
        images and D / 2 columns in wide ones. More is faster and leaves less context: in tall images prefills become
        fewer, in wide ones windows do.
    progress : Progress, optional
        Called with tokens done and in all.
    """
    side = model.config.image_side
    if min(height, width) != side:
        raise UsageError(
            f"an image of {height} x {width} tokens (rows x columns) given; this model makes {side} x {side}, "
            f"{side} rows and more columns, or {side} columns and more rows"
        )
    tall = height > side
    stride = stride if stride is not None else 1 if tall else max(side // 2, 1)
    if not 1 <= stride <= max(side - 1, 1):
        raise UsageError(f"panorama stride {stride} given, 1 to {max(side - 1, 1)} tokens accepted")
    if bad := [seed for seed in seeds if not 0 <= seed < 2**63]:
        raise UsageError(f"seed {bad[0]} given, 0 to 2^63 - 1 accepted")
    streams = [uniforms(seed, height * width).view(height, width) for seed in seeds]
    points = torch.stack(streams) if streams else torch.empty((0, height, width))
    tokens = torch.full((len(seeds), height, width), -1)
    log_probs = torch.zeros((len(seeds), height, width))
    # of each window: the rows and columns of the image that it shows down to the last row it draws
    if tall:
        shown = [(slice(part.origin, part.rows.stop), slice(None)) for part in tall_windows(side, height, stride)]
    else:
        shown = [(slice(None), slice(left, left + side)) for left in _origins(side, width, stride)]
    drawn = 0
    for rows, columns in shown:
        seen = tokens[:, rows, columns]  # (n, at most D, D)
        fresh = seen < 0
        known = torch.full((len(seeds), side, side), -1)
        known[:, : seen.shape[1]] = seen
        found = generate_tokens(
            model,
            ids,
            seeds,
            sampling=sampling,
            batch=batch,
            known=known.flatten(1),
            points=points[:, rows, columns].flatten(1),
            stop=seen.shape[1] * side,
            progress=_share(progress, drawn, int(fresh.sum()), tokens.numel()),
        )
        tokens[:, rows, columns] = found.tokens.view_as(seen)
        log_probs[:, rows, columns] = torch.where(fresh, found.log_probs.view_as(seen), log_probs[:, rows, columns])
        drawn += int(fresh.sum())
    return Panorama(height=height, width=width, tokens=tokens.flatten(1), log_probs=log_probs.flatten(1))


def _origins(side: int, length: int, stride: int) -> list[int]:
    """Return where windows begin along the longer side: every ``stride`` cells, the last one at the end."""
    return [*range(0, length - side, stride), length - side]


def _share(progress: Progress | None, before: int, share: int, whole: int) -> Progress | None:
    """Return what reports a window's progress as that of ``share`` tokens of the whole, after ``before``."""
    if progress is None:
        return None

    def report(stage: str, done: int, total: int | None) -> None:
        progress(stage, before + (share * done // total if total else 0), whole)

    return report
