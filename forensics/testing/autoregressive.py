"""What every autoregressive model keeps to, tried on one: for the tests of adapters.

::

    def test_my_adapter_keeps_the_contract() -> None:
        model = MyModel(...)
        check_autoregressive(model, model.encode(items))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from forensics.types import AutoregressiveModel

if TYPE_CHECKING:
    from forensics.types import TokenArray

__all__ = ["check_autoregressive"]

_PLAIN = (str, int, float, bool, type(None))
_SEEDS = 5


def check_autoregressive(
    model: AutoregressiveModel,
    tokens: TokenArray,
    *,
    captions: Sequence[str] | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Raise :class:`AssertionError`, saying what is wrong, unless a model keeps the contract.

    Parameters
    ----------
    model : AutoregressiveModel
    tokens : ndarray
        (n, L) tokens of two or more different items.
    captions : sequence of str, optional
        n of them; empty ones if not given.
    tolerance : float
        By which a log-probability may differ with the items beside it; 0.1 is fair for half precision.

    Notes
    -----
    Checked are the spec; that log-probabilities are such, finite, and of the right shape; that those of earlier tokens
    do not depend on later ones, nor an item's on the others; that the mean and deviation are those of a distribution
    over ``vocabulary`` tokens; and that completions begin with their prefixes, are repeated by their seeds, and depend
    on them alone.
    """
    spec = model.spec
    words = [""] * len(tokens) if captions is None else list(captions)
    _true(isinstance(model, AutoregressiveModel), "it lacks spec, encode(), log_probabilities() or complete()")
    _true(len(tokens) > 1 and tokens.shape == (len(words), spec.length), "the check itself needs (2 or more, L) tokens")
    _true(spec.vocabulary > 1 and 1 <= spec.row <= spec.length, f"its spec is no spec: {spec}")
    for key, value in spec.settings.items():
        _true(isinstance(value, _PLAIN), f"settings[{key!r}] of its spec is {type(value).__name__}, no plain value")
    json.dumps(dict(spec.settings), allow_nan=False)

    calls: list[tuple[int, int | None]] = []
    found = model.log_probabilities(tokens, words, progress=lambda _, done, total: calls.append((done, total)))
    for name in ("log_probability", "mean", "deviation"):
        part = getattr(found, name)
        _true(part.shape == tokens.shape, f"{name} has shape {part.shape}, {tokens.shape} needed")
        _true(bool(np.isfinite(part).all()), f"{name} holds what is no number")
    for done, total in calls:
        _true(done >= 0 and (total is None or done <= total), f"progress told {done} of {total}")
    _true(bool((found.log_probability <= tolerance).all()), "a log-probability is above 0")
    least = -np.log(spec.vocabulary) - tolerance
    _true(bool(((found.mean <= tolerance) & (found.mean >= least)).all()), "a mean lies outside -log(vocabulary) and 0")
    _true(bool((found.deviation >= 0).all()), "a deviation is below 0")

    changed = tokens.copy()
    changed[:, -1] = (changed[:, -1] + 1) % spec.vocabulary
    later = model.log_probabilities(changed, words).log_probability
    _near(found.log_probability[:, :-1], later[:, :-1], tolerance, "tokens before the last change with the last")
    alone = model.log_probabilities(tokens[:1], words[:1]).log_probability
    _near(found.log_probability[:1], alone, tolerance, "an item's likelihood changes with the items beside it")
    order = slice(None, None, -1)
    turned = model.log_probabilities(tokens[order], words[order]).log_probability
    _near(found.log_probability, turned[order], tolerance, "likelihoods change with the order of the items")

    length = spec.length // 2
    seeds = list(range(len(tokens)))
    drawn = model.complete(tokens[:, :length], words, seeds)
    _true(drawn.shape == tokens.shape, f"completions have shape {drawn.shape}, {tokens.shape} needed")
    _true(bool((drawn[:, :length] == tokens[:, :length]).all()), "a completion does not begin with its prefix")
    _true(bool(((drawn >= 0) & (drawn < spec.vocabulary)).all()), "a completion holds tokens outside the vocabulary")
    again = model.complete(tokens[order, :length], words[order], seeds[order])[order]
    _true(bool((drawn == again).all()), "a completion changes with the order of the items")
    single = np.concatenate([model.complete(tokens[:1, :length], words[:1], [seed]) for seed in range(_SEEDS)])
    _true(bool((single[0] == drawn[0]).all()), "a completion changes with the items beside it")
    greedy = [model.complete(tokens[:, :length], words, [seed] * len(tokens), greedy=True) for seed in (0, 1)]
    _true(bool((greedy[0] == greedy[1]).all()), "a greedy completion changes with the seed")
    _true(bool((model.complete(tokens, words, seeds) == tokens).all()), "a whole prefix was changed")
    _true(model.spec == spec, "its spec changed while it was asked")


def _true(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _near(first: object, other: object, tolerance: float, message: str) -> None:
    worst = float(np.abs(np.asarray(first, np.float64) - np.asarray(other, np.float64)).max(initial=0.0))
    _true(worst <= tolerance, f"{message}, by {worst:.3g}")
