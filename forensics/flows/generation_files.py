"""What a generation folder holds, and how a file of it is written: the image first, its sidecar last.

The sidecar is the commit. Its ``key`` is a hash over everything that the image depends on: an image with the key that a
run wants is kept, and one with another key is never taken for it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forensics
from forensics.errors import UsageError
from forensics.flows.facts import fingerprint
from forensics.report.files import clean, dumps, write_bytes, write_json
from forensics.types import GeneratedImage, GeneratorSpec, Scalar

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["FORMAT", "IMAGES", "TABLE", "Folder", "GeneratedFile", "Planned", "load_pixels"]

FORMAT = "forensics-generated-1"
IMAGES = "images"
TABLE = "generated.csv"
_MANIFEST = "generation.json"
_RUN_FORMAT = "forensics-generation-1"
_LOCK = ".lock"
_PART = ".part"
_CHUNK = b"iTXtforensics\0"
_COMPARED = ("model", "weights", "settings", "sampling", "prompt", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedFile:
    """One finished image of a run.

    Attributes
    ----------
    path, sidecar : Path
        The PNG, and the JSON file that describes it.
    number : int
        Position of its prompt in the list, from 1.
    prompt : str
        As the user gave it.
    seed : int
    sha256 : str
        Of the PNG's bytes (hex).
    measurements : mapping
        What the generator said: ``perplexity``, …
    scores : mapping of str to float
        Scorer to score of image and prompt.
    scored_by : mapping of str to str
        Scorer to what it was, exactly: a score of another model under the same name is made again.
    metadata : mapping
        Further columns of the prompt's row.
    kept : bool
        Made by an earlier run.
    """

    path: Path
    sidecar: Path
    number: int
    prompt: str
    seed: int
    sha256: str
    measurements: Mapping[str, Scalar]
    scores: Mapping[str, float] = field(default_factory=dict)
    scored_by: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One image that a run wants.

    Attributes
    ----------
    number : int
        Position of its prompt in the list, from 1.
    prompt : str
    seed : int
    sampling : mapping
        The settings that a prompt may choose, all of them.
    metadata : mapping
        Further columns of the prompt's row.
    files : mapping of str to str
        Of the settings that name a file, its SHA-256: it counts by its bytes, wherever it lies.
    """

    number: int
    prompt: str
    seed: int
    sampling: Mapping[str, Scalar]
    metadata: Mapping[str, Scalar]
    files: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of its files, without ending."""
        return f"{self.number:05d}-seed{self.seed}"

    def key(self, spec: GeneratorSpec) -> str:
        """Return the hash (hex) over all that the image depends on."""
        return fingerprint(
            {
                "format": FORMAT,
                "kind": spec.kind,
                # weights say what a model is, its name and place do not
                "weights": sorted(spec.weights.values()) or spec.name,
                "settings": dict(spec.settings),
                "prompt": self.prompt,
                "seed": self.seed,
                "sampling": {**self.sampling, **self.files},
            }
        )


class Folder:
    """A generation folder that one process writes to.

    Parameters
    ----------
    out : Path
        Made where it is missing.
    spec : GeneratorSpec
        What makes the images.
    """

    def __init__(self, out: Path, spec: GeneratorSpec) -> None:
        self.out = out
        self.spec = spec
        self._images = out / IMAGES

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for as long as the block lasts; the kernel lets go when the process ends."""
        import fcntl

        self._images.mkdir(parents=True, exist_ok=True)
        with (self.out / _LOCK).open("ab") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(f"another process writes to {self.out}; wait until it has ended") from error
            yield

    def finished(self, planned: Sequence[Planned]) -> dict[str, GeneratedFile]:
        """Return the finished images of a plan by name, and clear away what a kill left half written.

        Raises
        ------
        UsageError
            If the folder holds images that are not of this plan: they are never mixed.
        """
        wanted = {image.name: image for image in planned}
        found: dict[str, GeneratedFile] = {}
        for path in sorted(self._images.iterdir()):
            if path.name.endswith(_PART):
                path.unlink()
            elif path.name.startswith("."):  # desktops leave such files
                continue
            elif path.stem not in wanted or path.suffix not in (".png", ".json"):
                raise UsageError(
                    f"{path} is not of this run: give another folder, or --replace to remove the images of the earlier "
                    "run (the same prompts with a larger n, and prompts added at the end, go on in the same folder)"
                )
            elif path.suffix == ".json":
                file = self._read(wanted[path.stem])
                if file is not None:
                    found[path.stem] = file
        return found

    def remove_all(self) -> None:
        """Remove the images of an earlier run, and nothing that this program has not written."""
        for path in list(self._images.iterdir()):
            if (
                path.name.endswith(_PART)
                or (path.suffix == ".json" and _load(path).get("format") == FORMAT)
                or (path.suffix == ".png" and _CHUNK in path.read_bytes())
            ):
                path.unlink()

    def write(
        self, planned: Planned, image: GeneratedImage, scores: Mapping[str, float], scored_by: Mapping[str, str]
    ) -> GeneratedFile:
        """Write one image and then its sidecar, each whole or not at all."""
        path = self._images / f"{planned.name}.png"
        facts: dict[str, Any] = {
            "prompt": planned.prompt,
            "model": self.spec.name,
            "weights": dict(self.spec.weights),
            "seed": planned.seed,
            "sampling": dict(planned.sampling),
            **image.measurements,
        }
        data = _png(image.pixels, planned.prompt, facts)
        write_bytes(path, data)
        height, width = image.pixels.shape[:2]
        file = GeneratedFile(
            path=path,
            sidecar=path.with_suffix(".json"),
            number=planned.number,
            prompt=planned.prompt,
            seed=planned.seed,
            sha256=hashlib.sha256(data).hexdigest(),
            measurements=dict(image.measurements),
            scores=dict(scores),
            scored_by={name: scored_by[name] for name in scores},
            metadata=planned.metadata,
        )
        sidecar = {
            "format": FORMAT,
            "key": planned.key(self.spec),
            "image": {"file": path.name, "sha256": file.sha256, "width": width, "height": height},
            "prompt": planned.prompt,
            "model": self.spec.name,
            "kind": self.spec.kind,
            "licence": self.spec.licence,
            "weights": dict(self.spec.weights),
            "settings": dict(self.spec.settings),
            "seed": planned.seed,
            "sampling": dict(planned.sampling),
            "sampling_files": dict(planned.files),
            "measurements": dict(image.measurements),
            "scores": dict(file.scores),
            "scored_by": dict(file.scored_by),
            "metadata": dict(planned.metadata),
            "program": f"forensics {forensics.__version__}",
            "tokens": list(image.tokens),
        }
        write_bytes(file.sidecar, _lines(sidecar))
        return file

    def add_scores(
        self, file: GeneratedFile, scores: Mapping[str, float], scored_by: Mapping[str, str]
    ) -> GeneratedFile:
        """Write further scores into the sidecar of a finished image."""
        file = replace(file, scores={**file.scores, **scores}, scored_by={**file.scored_by, **scored_by})
        sidecar = {**_load(file.sidecar), "scores": dict(file.scores), "scored_by": dict(file.scored_by)}
        write_bytes(file.sidecar, _lines(sidecar))
        return file

    @property
    def table(self) -> Path:
        """``generated.csv``."""
        return self.out / TABLE

    def write_lists(self, files: Sequence[GeneratedFile], facts: Mapping[str, Any], *, complete: bool) -> None:
        """Write ``generated.csv`` and ``generation.json`` for what is finished."""
        self._write_table(files)
        write_json(self.out / _MANIFEST, {"format": _RUN_FORMAT, "complete": complete, **facts})

    def _write_table(self, files: Sequence[GeneratedFile]) -> None:
        """Write one row an image in the order of the plan, with ranks within each prompt."""
        ranks = _ranks(files)
        rows = [
            {
                "path": file.path.relative_to(self.out).as_posix(),
                "prompt": file.prompt,
                "seed": file.seed,
                **file.measurements,
                **file.scores,
                **ranks[number],
                "number": file.number,
            }
            for number, file in enumerate(files)
        ]
        own = list(dict.fromkeys(["path", "prompt", "seed", *(name for row in rows for name in row)]))
        given = list(dict.fromkeys(name for file in files for name in file.metadata))
        text = io.StringIO(newline="")
        out = csv.writer(text, lineterminator="\n")
        out.writerow([*own, *(f"given_{name}" if name in own else name for name in given)])
        for row, file in zip(rows, files, strict=True):
            cells = [*(row.get(name, "") for name in own), *(file.metadata.get(name, "") for name in given)]
            out.writerow([clean(cell) for cell in cells])
        write_bytes(self.table, text.getvalue().encode("utf-8"))

    def _read(self, planned: Planned) -> GeneratedFile | None:
        """Return the finished image, None where it has to be made again."""
        path = self._images / f"{planned.name}.png"
        sidecar = _load(path.with_suffix(".json"))
        if sidecar.get("format") != FORMAT:
            return None
        if sidecar.get("key") != planned.key(self.spec):
            now: dict[str, Any] = {
                "model": self.spec.name,
                "weights": dict(self.spec.weights),
                "settings": dict(self.spec.settings),
                "sampling": dict(planned.sampling),
                "prompt": planned.prompt,
                "seed": planned.seed,
            }
            other = [name for name in _COMPARED if sidecar.get(name) != clean(now[name])] or ["image prompt"]
            if "settings" in other:
                before = dict(sidecar.get("settings") or {})
                differ = [key for key, value in clean(now["settings"]).items() if before.get(key) != value]
                told = ", ".join(f"{key} {before.get(key)}, now {now['settings'].get(key)}" for key in differ)
                other[other.index("settings")] = f"settings ({told}; lanes are the batch in half precision or on a GPU)"
            raise UsageError(
                f"{path} was made with another {' and '.join(other)}; give another folder, or --replace to remove the "
                "images of the earlier run"
            )
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except FileNotFoundError:
            return None
        if digest != sidecar["image"]["sha256"]:
            return None
        return GeneratedFile(
            path=path,
            sidecar=path.with_suffix(".json"),
            number=planned.number,
            prompt=planned.prompt,
            seed=planned.seed,
            sha256=digest,
            measurements=sidecar["measurements"],
            scores=sidecar["scores"],
            scored_by=sidecar["scored_by"],
            metadata=planned.metadata,
            kept=True,
        )


def load_pixels(file: GeneratedFile) -> UInt8Array:
    """Return the (H, W, 3) uint8 pixels of a finished image."""
    import numpy as np
    from PIL import Image

    with Image.open(file.path) as image:
        return np.asarray(image.convert("RGB"))


def _png(pixels: UInt8Array, prompt: str, facts: Mapping[str, Any]) -> bytes:
    """Return a PNG with its origin as text chunks (iTXt, UTF-8); the same image gives the same bytes."""
    from PIL import Image, PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_itxt("Description", prompt)
    text.add_itxt("Software", f"forensics {forensics.__version__}")
    text.add_itxt("forensics", dumps(facts))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def _lines(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object with one key a line: a thousand tokens stay on one."""
    inner = ",\n".join(f"  {dumps(key)}: {dumps(entry)}" for key, entry in value.items())
    return f"{{\n{inner}\n}}\n".encode()


def _load(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        value = json.loads(path.read_text("utf-8"))
        if isinstance(value, dict):
            return value
    return {}


def _ranks(files: Sequence[GeneratedFile]) -> list[dict[str, int]]:
    """Return each image's ranks among those of its prompt, 1 the best: lowest perplexity, highest scores."""
    ranks: list[dict[str, int]] = [{} for _ in files]
    groups: dict[int, list[int]] = defaultdict(list)
    for place, file in enumerate(files):
        groups[file.number].append(place)
    for places in groups.values():
        values: dict[str, dict[int, float]] = defaultdict(dict)
        for place in places:
            score = files[place].measurements.get("perplexity")
            if isinstance(score, (int, float)):
                values["perplexity"][place] = -float(score)
            for name, fit in files[place].scores.items():
                values[name][place] = fit
        for name, scores in values.items():
            for rank, place in enumerate(sorted(scores, key=lambda place: -scores[place]), start=1):
                ranks[place][f"{name}_rank"] = rank
    return ranks
