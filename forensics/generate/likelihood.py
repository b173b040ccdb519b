"""From a model's name to what can be asked for likelihoods; see :mod:`forensics.types.likelihood`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.errors import UsageError
from forensics.generate import GENERATORS, create
from forensics.generate.options import GeneratorOptions

if TYPE_CHECKING:
    from forensics.types import AutoregressiveModel

__all__ = ["open_likelihood"]


def open_likelihood(
    name: str, options: GeneratorOptions | None = None, *, length: int | None = None
) -> AutoregressiveModel:
    """Return the model called ``name`` as one that can be asked.

    Parameters
    ----------
    name : str
        A ruDALL-E (a name of :data:`forensics.generate.GENERATORS` or a folder); ``transformers:FOLDER_OR_ID``, a
        causal language model; or ``module:attribute`` or ``FILE.py:attribute``, an object of the protocol
        :class:`forensics.types.AutoregressiveModel` or what makes one when called with nothing.
    options : GeneratorOptions, optional
        Where and in which type it runs, how much at once, and where its files are.
    length : int, optional
        Tokens of each text that are looked at, for models of text.

    Raises
    ------
    UsageError
        If there is no such model, or it has no likelihoods of tokens, as diffusion has none.
    WeightsError
        If its weights are missing or not what they claim.
    """
    options = options or GeneratorOptions()
    base, colon, rest = name.partition(":")
    plain = base.lower().replace("_", "-")
    if plain == "transformers" and colon:
        from forensics.generate.causal_lm import LENGTH, open_causal_lm
        from forensics.generate.rudalle.models import make_device

        return open_causal_lm(rest, options, device=make_device(options.device), length=length or LENGTH)
    if length is not None:
        raise UsageError(f"length {length} given, which models of text take; {name} has a length of its own")
    if plain == "diffusers":
        raise UsageError(
            f"{name} given: a diffusion pipeline has neither likelihoods of tokens nor prefixes, so membership and "
            "prefix extraction cannot be applied to it; `forensics generate` with `forensics audit` and "
            "`forensics extract --prompts` can"
        )
    if colon and plain not in GENERATORS.targets() and not Path(name).is_dir():
        return _from_python(name)
    made: Any = create(name, options)
    return _asked(made, name, options)


def _from_python(name: str) -> AutoregressiveModel:
    from forensics.generate.python import open_target

    found = open_target(name)
    if not isinstance(found, type) and _answers(found):
        return found  # type: ignore[no-any-return]
    if callable(found):
        try:
            made = found()
        except TypeError as error:
            raise UsageError(f"{name} cannot be called with nothing ({error}); {_NEEDED}") from error
        if _answers(made):
            return made  # type: ignore[no-any-return]
    raise UsageError(f"{name} is no autoregressive model; {_NEEDED}")


_NEEDED = "an object with spec, encode, log_probabilities and complete, or what makes one when called, accepted"


def _asked(made: Any, name: str, options: GeneratorOptions) -> AutoregressiveModel:
    if _answers(made):
        return made  # type: ignore[no-any-return]
    from forensics.generate.rudalle.generator import RudalleGenerator
    from forensics.generate.rudalle.likelihood import RudalleLikelihood

    if isinstance(made, RudalleGenerator):
        return RudalleLikelihood(made, batch=options.batch)
    raise UsageError(f"{name} makes images but cannot be asked for likelihoods; {_NEEDED}")


def _answers(found: object) -> bool:
    from forensics.types import AutoregressiveModel

    return isinstance(found, AutoregressiveModel)
