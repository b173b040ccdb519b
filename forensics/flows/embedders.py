"""Which embedders of an index this machine can run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forensics.embed import create
from forensics.errors import MissingExtraError, SpecMismatchError, UsageError, WeightsError
from forensics.types import Embedder

if TYPE_CHECKING:
    from forensics.index import Index

__all__ = ["AuditEmbedders", "embedders_of"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEmbedders:
    """The embedders of an index that run here.

    Attributes
    ----------
    usable : tuple of Embedder
    copy_descriptor : str or None
        Name of the SSCD among them.
    notes : tuple of str
        A sentence for each that does not run, and for each that a reader must know about.
    """

    usable: tuple[Embedder, ...]
    copy_descriptor: str | None
    notes: tuple[str, ...]


def embedders_of(index: Index) -> AuditEmbedders:
    """Create the embedders that an index was built with, as far as their weights are here and are the same.

    Raises
    ------
    SpecMismatchError
        If none of them can run.
    """
    usable: list[Embedder] = []
    notes: list[str] = []
    for name, spec in index.specs.items():
        try:
            embedder = create(name)
        except (WeightsError, MissingExtraError, UsageError) as error:
            notes.append(f"The index has {name}, which did not run: {error}")
            continue
        if embedder.spec.fingerprint != spec.fingerprint:
            notes.append(
                f"The index has {name} made with other weights or preprocessing than those here "
                f"({spec.fingerprint[:12]} there, {embedder.spec.fingerprint[:12]} here); it was not compared."
            )
            continue
        usable.append(embedder)
        if "proprietary" in spec.weights_licence.lower():
            notes.append(
                f"{name} is a proprietary build, used unmodified and not redistributed; its licence: "
                f"{spec.weights_licence}."
            )
    if not usable:
        raise SpecMismatchError(f"no embedder of the index {index.directory} can run here. {' '.join(notes)}")
    copy = next((e.spec.name for e in usable if e.spec.name.startswith("sscd")), None)
    if copy is None:
        notes.append(
            "No copy descriptor (SSCD) took part: hashes and geometry alone miss most crops, pastes and redraws. "
            "See: forensics weights"
        )
    return AuditEmbedders(usable=tuple(usable), copy_descriptor=copy, notes=tuple(notes))
