"""Which embedders an index is built with when none is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forensics import weights

__all__ = ["DEFAULT_CLIP", "DefaultEmbedders", "default_embedders"]

DEFAULT_CLIP = "clip:{}/{}".format(*weights.CLIP_DEFAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultEmbedders:
    """The embedders that this machine can run, and those that it lacks.

    Attributes
    ----------
    names : tuple of str
        For :func:`forensics.embed.create`, cheapest first.
    missing : mapping of str to str
        Name to one sentence that says what is lost and which command brings it.
    """

    names: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)


def default_embedders() -> DefaultEmbedders:
    """Return pHash and PDQ, one SSCD (Meta's weights before the int8 build) and CLIP, as far as weights are present."""
    names = ["phash", "pdq"]
    missing: dict[str, str] = {}
    if weights.find("sscd-disc-mixup") is not None:
        names.append("sscd-disc-mixup")
    else:
        missing["sscd-disc-mixup"] = weights.missing_sentence("sscd-disc-mixup")
        if weights.find("sscd-int8") is not None:
            names.append("sscd-int8")
        else:
            missing["sscd-int8"] = weights.missing_sentence("sscd-int8")
    if weights.find("clip") is not None:
        names.append(DEFAULT_CLIP)
    else:
        missing["clip"] = weights.missing_sentence("clip")
    return DefaultEmbedders(names=tuple(names), missing=missing)
