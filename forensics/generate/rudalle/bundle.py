"""A whole model converted once: ``transformer/``, ``vqgan/`` and ``bpe.model`` in one folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forensics.errors import UsageError, WeightsError
from forensics.generate.options import GeneratorOptions
from forensics.generate.rudalle.checkpoints import Dtype
from forensics.generate.rudalle.config import TOKENIZER
from forensics.generate.rudalle.converted import MANIFEST, convert, read_manifest
from forensics.generate.rudalle.models import Part, find_model, home, part_folder
from forensics.weights import sha256_of

__all__ = ["Bundle", "convert_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A converted model.

    Attributes
    ----------
    folder : Path
    manifests : mapping of str to dict
        Folder of the part (``transformer``, ``vqgan``) to its manifest.
    """

    folder: Path
    manifests: dict[str, dict[str, Any]]


def convert_model(
    name: str, *, dtype: Dtype = "float32", out: Path | None = None, options: GeneratorOptions | None = None
) -> Bundle:
    """Convert a model's published files to safetensors with manifests; parts that are converted already are kept.

    Parameters
    ----------
    name : str
        A published name, or a folder with ``config.json``.
    dtype : {"float32", "float16", "bfloat16"}
        Of the transformer. The VQGAN, a tenth of it, stays float32, in which it runs.
    out : Path, optional
        Folder to write; by default that in which the program looks for the model.
    options : GeneratorOptions, optional
        Where the published files are, and which VQGAN is meant.
    """
    options = options or GeneratorOptions()
    files = find_model(name, options)
    target = out or home(Path(name).name)
    manifests = {}
    wanted: tuple[tuple[str, Part, Dtype], ...] = (
        ("transformer", files.transformer, dtype),
        (part_folder("vqgan", dwt=options.dwt), files.vqgan, "float32"),
    )
    for folder, part, kind in wanted:
        manifests[folder] = _part(part, target / folder, kind)
    _copy(files.tokenizer, target / TOKENIZER.filename)
    return Bundle(folder=target, manifests=manifests)


def _part(part: Part, target: Path, dtype: Dtype) -> dict[str, Any]:
    if part.path.parent == target:  # what is to be converted is what is there
        if part.dtype != dtype:
            raise UsageError(
                f"{target} is converted already, as {part.dtype}; give another folder for {dtype}, or remove this one"
            )
        return read_manifest(target)
    if (target / MANIFEST).is_file():
        there = read_manifest(target)
        if there["dtype"] == dtype and there["source"].get("sha256") == part.sha256:
            return there
    return convert(part.path, target, part.config, dtype=dtype, origin=part.origin, licence=part.licence)


def _copy(source: Path, target: Path) -> None:
    if target.is_file() and sha256_of(target) == sha256_of(source):
        return
    part = target.with_name(f"{target.name}.part")
    try:
        shutil.copyfile(source, part)
        os.replace(part, target)  # noqa: PTH105  atomic
    except OSError as error:
        raise WeightsError(f"{source} could not be copied to {target}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
