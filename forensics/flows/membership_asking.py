"""Images to a model's answers, part by part: what is read, altered, asked, and kept so that a run goes on."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError
from forensics.flows.membership_items import Item, Seen, read_item
from forensics.lab.blind import features, text_features
from forensics.lab.membership import STATISTICS, Answers, statistics
from forensics.report.files import write_bytes
from forensics.types import AutoregressiveModel, Decoder, ImageState, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, TokenArray, UInt8Array

__all__ = ["NEIGHBOURS", "Asked", "Asking", "Estimate", "Kept", "ask", "fingerprint", "measure"]

NEIGHBOURS: Mapping[str, str] = {
    "right": "shifted right by one of the model's pixels",
    "down": "shifted down by one of the model's pixels",
    "jpeg": "saved as JPEG of quality 80",
    "codec": "as the model's own codebook gives it back, encoded again",
}
"""Altered copies whose likelihood is compared with the image's own."""

_VERSION = 1
"""Of what is kept: raise it where a statistic or a feature changes."""
_PART = 32
_THUMBNAIL = 64
_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of one item.

    Attributes
    ----------
    item : Item
    sha256 : str
        Of the file's bytes, or of the text.
    state, reason, width, height, format
        As in :class:`~forensics.types.Decoded`.
    scores : mapping of str to float
        Statistic to its value; empty where there is no image.
    features : ndarray or None
        (d,) of the blind control.
    """

    item: Item
    sha256: str
    state: ImageState
    reason: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    features: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How items are asked about.

    Attributes
    ----------
    captions : bool
    neighbours : tuple of str
        Of :data:`NEIGHBOURS`.
    """

    captions: bool
    neighbours: tuple[str, ...]

    @property
    def passes(self) -> int:
        """Times that the model reads each item."""
        return 1 + self.captions + len(self.neighbours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will take, measured on its first items.

    Attributes
    ----------
    items, kept : int
        All items, and those that an earlier run answered.
    passes : int
        Times that the model reads each.
    seconds_each : float
        One reading of one item, encoding included.
    seconds : float
        About what is left to do.
    memory : int or None
        Bytes; None where the model does not say.
    """

    items: int
    kept: int
    passes: int
    seconds_each: float
    seconds: float
    memory: int | None

    @property
    def text(self) -> str:
        """One line for a person."""
        memory = "" if self.memory is None else f"about {self.memory / 1e9:.1f} GB of memory, "
        kept = f" ({self.kept:,} kept from an earlier run)" if self.kept else ""
        return (
            f"{memory}{self.items:,} items{kept}, each read {self.passes} times by the model at "
            f"{self.seconds_each:.2g} s: about {_duration(self.seconds)}"
        )


def fingerprint(model: AutoregressiveModel, asking: Asking) -> str:
    """Return what tells answers apart that must not be mixed."""
    facts = {"version": _VERSION, "model": asdict(model.spec), "asking": asdict(asking)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def measure(model: AutoregressiveModel, items: Sequence[Item], asking: Asking, *, kept: int) -> Estimate:
    """Return what asking about items will take, by asking about the first that can be read, twice."""
    seconds = 0.0
    for item in items[:_PART]:
        seen = read_item(item)
        if seen.content is None:
            continue
        for _ in range(2):  # the first time libraries set themselves up
            started = time.perf_counter()
            model.log_probabilities(model.encode([seen.content]), [""])
            seconds = time.perf_counter() - started
        break
    left = max(len(items) - kept, 0)
    memory = getattr(model, "memory", None)
    return Estimate(
        items=len(items),
        kept=kept,
        passes=asking.passes,
        seconds_each=seconds,
        seconds=left * asking.passes * seconds,
        memory=None if memory is None else int(memory),
    )


class Kept:
    """The answers of a folder, in parts of 32: each is written whole or not at all; an unreadable one is made anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, tuple[dict[str, float], NDArray[np.float64]]] = {}
        for path in sorted(folder.glob("part-*.npz")):
            try:
                # from memory: what breaks off is then no open file
                with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as part:
                    names, keys = part["names"].tolist(), part["keys"].tolist()
                    scores, described = part["scores"], part["features"]
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):
                continue
            for key, row, feature in zip(keys, scores.tolist(), described, strict=True):
                self._rows[key] = (dict(zip(names, row, strict=True)), feature)

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str) -> tuple[dict[str, float], NDArray[np.float64]] | None:
        """Return scores and features kept under a key."""
        return self._rows.get(key)

    def add(self, keys: Sequence[str], scores: Mapping[str, NDArray[np.float64]], described: Sequence[Any]) -> None:
        """Keep the answers of some items."""
        names = list(scores)
        table = np.stack([scores[name] for name in names], 1)
        data = io.BytesIO()
        np.savez(data, keys=np.array(keys), names=np.array(names), scores=table, features=np.stack(described))
        # named by what it holds: parts of runs that were interrupted and resumed do not collide
        digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._folder / f"part-{digest}.npz", data.getvalue())
        for number, key in enumerate(keys):
            row = {name: float(table[number, column]) for column, name in enumerate(names)}
            self._rows[key] = (row, described[number])


def ask(
    model: AutoregressiveModel,
    items: Sequence[Item],
    asking: Asking,
    kept: Kept,
    *,
    progress: Progress,
) -> Iterator[Asked]:
    """Yield what became of each item, in order; answers are kept as soon as a part is done."""
    progress("asking about images", 0, len(items))
    for start in range(0, len(items), _PART):
        yield from _part(model, items[start : start + _PART], asking, kept)
        progress("asking about images", min(start + _PART, len(items)), len(items))


def _part(model: AutoregressiveModel, items: Sequence[Item], asking: Asking, kept: Kept) -> list[Asked]:
    seen = [read_item(item) for item in items]
    keys = [_key(one, asking) for one in seen]
    todo = {key: one for key, one in zip(keys, seen, strict=True) if one.content is not None and kept.get(key) is None}
    if todo:
        given = list(todo.values())
        scores = _answers(model, [one.content for one in given], [one.item.caption for one in given], asking)
        kept.add(list(todo), scores, [_features(one, asking) for one in given])
    found = []
    for key, one in zip(keys, seen, strict=True):
        answer = kept.get(key) if one.content is not None else None
        found.append(
            Asked(
                item=one.item,
                sha256=one.sha256,
                state=one.state,
                reason=one.reason,
                width=one.width,
                height=one.height,
                format=one.format,
                scores={} if answer is None else answer[0],
                features=None if answer is None else answer[1],
            )
        )
    return found


def _answers(
    model: AutoregressiveModel, contents: list[Any], captions: list[str], asking: Asking
) -> dict[str, NDArray[np.float64]]:
    """Return the statistics of some items."""
    tokens = model.encode(contents)
    none = [""] * len(tokens)
    told = captions if asking.captions else none
    columns = []
    for name in asking.neighbours:
        near = model.encode(_altered(model, name, contents, tokens))
        columns.append(model.log_probabilities(near, told).log_probability.astype(np.float64).mean(1))
    answers = Answers(
        tokens=tokens,
        empty=_stacked(model, tokens, none),
        captioned=_stacked(model, tokens, captions) if asking.captions else None,
        neighbours=np.stack(columns, 1).astype(np.float32) if columns else None,
    )
    found = statistics(answers, first=int(model.spec.settings.get("first_evidence") or 0))
    return {name: found[name] for name in STATISTICS if name in found}


def _stacked(model: AutoregressiveModel, tokens: TokenArray, captions: list[str]) -> FloatArray:
    found = model.log_probabilities(tokens, captions)
    return np.stack((found.log_probability, found.mean, found.deviation))


def _altered(model: AutoregressiveModel, name: str, images: list[UInt8Array], tokens: TokenArray) -> list[UInt8Array]:
    if name == "codec":
        if not isinstance(model, Decoder):
            raise UsageError(f"{model.spec.name} cannot decode its tokens; leave out the neighbour {name!r}")
        return model.decode(tokens)
    side = int(model.spec.settings.get("pixels") or 0)
    return [_shifted(image, name, side) if name in ("right", "down") else _jpeg(image) for image in images]


def _shifted(image: UInt8Array, name: str, side: int) -> UInt8Array:
    """Return the image moved by one of the model's pixels; the border that comes in repeats the edge."""
    step = max(1, round(min(image.shape[:2]) / side)) if side else 1
    axis = 1 if name == "right" else 0
    step = min(step, image.shape[axis] - 1)
    if not step:
        return image
    edge = np.take(image, [0] * step, axis)
    rest = np.take(image, range(image.shape[axis] - step), axis)
    return np.ascontiguousarray(np.concatenate((edge, rest), axis))


def _jpeg(image: UInt8Array) -> UInt8Array:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=_QUALITY)
    return np.asarray(Image.open(data).convert("RGB"))


def _key(seen: Seen, asking: Asking) -> str:
    caption = seen.item.caption if asking.captions else ""
    return hashlib.sha256(f"{seen.sha256}\0{caption}".encode("utf-8", "replace")).hexdigest()


def _features(seen: Seen, asking: Asking) -> NDArray[np.float64]:
    if isinstance(seen.content, str):
        return text_features(seen.content)
    from PIL import Image

    small = np.asarray(Image.fromarray(seen.content).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX))
    found = features(small, width=seen.width, height=seen.height, size=seen.size, kind=seen.format)
    return np.concatenate((found, text_features(seen.item.caption if asking.captions else "")))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 2):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
