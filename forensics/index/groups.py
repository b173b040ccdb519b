"""Groups of near-duplicates: what they are, how pairs become groups, and the file that an index keeps of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import IndexFormatError
from forensics.index.kept import kept_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.index.reader import Index

    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float32]

__all__ = [
    "DUPLICATES_FOLDER",
    "DuplicateGroup",
    "DuplicateRule",
    "Duplicates",
    "encode_duplicates",
    "grouped",
    "read_duplicates",
]

DUPLICATES_FOLDER = "duplicates"
_FORMAT = "forensics-duplicates-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateRule:
    """When two references are near-duplicates.

    Attributes
    ----------
    at_least : mapping of str to float
        Embedder name to the score from which it calls a pair alike; one of them is enough.
    quality : float
        Hashes speak only of images of this quality, where they measure it (0 to 100).
    """

    at_least: Mapping[str, float]
    quality: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Images that are all alike to one of them.

    Attributes
    ----------
    centre : int
        Number of that image in the index.
    others : tuple of int
        The rest, ascending.
    scores : tuple of float
        How alike each of the others is to the centre, by the descriptor that says so most clearly.
    found_by : tuple of str
        Name of that descriptor.
    """

    centre: int
    others: tuple[int, ...]
    scores: tuple[float, ...]
    found_by: tuple[str, ...]

    @property
    def images(self) -> tuple[int, ...]:
        """All images, the centre first."""
        return (self.centre, *self.others)


class Duplicates:
    """The near-duplicates of an index.

    Parameters
    ----------
    fingerprint : str
        Of the index that was searched.
    rule : DuplicateRule
    compared : int
        Images that have a descriptor and so were compared.
    groups : sequence of DuplicateGroup
        The largest first.
    """

    def __init__(
        self, *, fingerprint: str, rule: DuplicateRule, compared: int, groups: Sequence[DuplicateGroup]
    ) -> None:
        self.fingerprint, self.rule, self.compared = fingerprint, rule, compared
        self.groups = tuple(groups)
        self._group_of = {image: place for place, group in enumerate(self.groups) for image in group.images}

    @property
    def images(self) -> int:
        """Images that are in some group."""
        return len(self._group_of)

    def group_of(self, image: int) -> tuple[int, ...]:
        """Return the images of an image's group, itself among them; itself alone where it has no near-duplicate."""
        place = self._group_of.get(image)
        return (image,) if place is None else self.groups[place].images

    def size_of(self, image: int) -> int:
        """Return how many images an image's group has, itself counted."""
        return len(self.group_of(image))


def grouped(
    left: IntArray, right: IntArray, score: FloatArray, *, more: Mapping[int, Sequence[tuple[int, float]]] | None = None
) -> list[tuple[int, list[tuple[int, float]]]]:
    """Group images without chaining.

    Parameters
    ----------
    left, right, score : (n,) int64, int64, float32
        Pairs of alike images, in one direction or both, equal pairs with several scores allowed.
    more : mapping of int to sequence of (image, score), optional
        For images whose pairs are not all among the given ones: all of them, looked at only if the image becomes a
        centre.

    Returns
    -------
    list of (centre, [(image, score), …])
        Every image that is alike to a free one is in exactly one group; the largest groups first, then by centre.
    """
    source, target = np.concatenate([left, right]), np.concatenate([right, left])
    strength = np.concatenate([score, score])
    order = np.lexsort((-strength, target, source))
    source, target, strength = source[order], target[order], strength[order]
    first = np.r_[True, (source[1:] != source[:-1]) | (target[1:] != target[:-1])][: len(source)]
    source, target, strength = source[first], target[first], strength[first]
    images, starts, counts = np.unique(source, return_index=True, return_counts=True)
    taken: set[int] = set()
    made: list[tuple[int, list[tuple[int, float]]]] = []
    for place in np.lexsort((images, -counts)):
        centre = int(images[place])
        if centre in taken:
            continue
        if more is not None and centre in more:
            pairs = list(more[centre])
        else:
            part = slice(int(starts[place]), int(starts[place] + counts[place]))
            pairs = list(zip(target[part].tolist(), strength[part].tolist(), strict=True))
        free = sorted((image, value) for image, value in pairs if image not in taken and image != centre)
        if free:
            made.append((centre, free))
            taken |= {centre, *(image for image, _ in free)}
    return sorted(made, key=lambda group: (-len(group[1]), group[0]))


def encode_duplicates(found: Duplicates) -> bytes:
    """Return the file that an index keeps: JSON, one line a group."""
    head = {
        "format": _FORMAT,
        "index": found.fingerprint,
        "at_least": dict(found.rule.at_least),
        "quality": found.rule.quality,
        "compared": found.compared,
    }
    lines = [json.dumps(head, sort_keys=True)]
    for group in found.groups:
        members = [[i, s, by] for i, s, by in zip(group.others, group.scores, group.found_by, strict=True)]
        lines.append(json.dumps({"centre": group.centre, "others": members}, separators=(",", ":")))
    return ("\n".join(lines) + "\n").encode()


def read_duplicates(index: Index) -> Duplicates | None:
    """Return the near-duplicates that an index keeps; None where none were looked for, or for another state of it.

    Raises
    ------
    IntegrityError
        If the file is missing or not the one that the manifest names.
    IndexFormatError
        If it cannot be understood.
    """
    path = kept_file(index, f"{DUPLICATES_FOLDER}/")
    if path is None:
        return None
    try:
        head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        if head["format"] != _FORMAT:
            raise ValueError(f"format {head['format']!r}")
        groups = [
            DuplicateGroup(
                centre=int(line["centre"]),
                others=tuple(int(member[0]) for member in line["others"]),
                scores=tuple(float(member[1]) for member in line["others"]),
                found_by=tuple(str(member[2]) for member in line["others"]),
            )
            for line in lines
        ]
        found = Duplicates(
            fingerprint=str(head["index"]),
            rule=DuplicateRule(at_least=dict(head["at_least"]), quality=float(head["quality"])),
            compared=int(head["compared"]),
            groups=groups,
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise IndexFormatError(f"{path} is damaged ({error}); run: forensics index duplicates again") from error
    return found if found.fingerprint == index.fingerprint else None
