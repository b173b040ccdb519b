"""From a model's name to a generator: which files, where they are, in which type and on which device they run.

A model is a transformer, its VQGAN and its ``bpe.model``. They are looked for in one folder first: the one that the
user names, else ``rudalle/NAME`` in the program's cache of weights. It may hold a published file or a converted folder
for each: ``pytorch_model_v3.bin`` … or ``transformer/``; ``vqgan.gumbelf8-sber.model.ckpt`` or ``vqgan/``;
``bpe.model``; ``RealESRGAN_x2.pth``; and ``config.json``, the sizes of a model that is none of the published ones. What
it does not hold comes from the Hugging Face hub or its cache, if the model is a published one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

import forensics
from forensics.embed import runtime
from forensics.errors import UsageError, WeightsError
from forensics.generate.options import GeneratorOptions
from forensics.generate.rudalle.checkpoints import Dtype, load_transformer, load_vqgan, random_transformer
from forensics.generate.rudalle.config import (
    MODELS,
    TOKENIZER,
    UPSCALERS,
    VQGAN,
    VQGAN_FILES,
    HubFile,
    TransformerConfig,
    VqganConfig,
)
from forensics.generate.rudalle.converted import MANIFEST, read_config, read_manifest
from forensics.generate.rudalle.dummy import DUMMIES, character_tokenizer, random_vqgan
from forensics.generate.rudalle.generator import RudalleGenerator
from forensics.generate.rudalle.hub import locate
from forensics.generate.rudalle.placement import check_memory, load_placed
from forensics.generate.rudalle.tokenizer import Tokenizer
from forensics.generate.rudalle.transformer import Rudalle
from forensics.generate.rudalle.upscale import Upscaler
from forensics.weights import cache_dir, sha256_of

__all__ = ["EMBEDDED", "ModelFiles", "Part", "create", "find_model", "home", "make_device", "part_folder"]

EMBEDDED = "kvadrat"
"""The model that ships with the program."""

_CONFIG = "config.json"
_SEED = 0  # of random weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of weights with its sizes.

    Attributes
    ----------
    path : Path
        The file.
    config : TransformerConfig or VqganConfig
    name : str
        How records name the file: ``pytorch_model_v3.bin``, ``transformer/weights.safetensors``.
    sha256 : str
        Recorded when it was converted, and then checked; computed for a published file.
    dtype : str
        ``float32`` for a published file, else that of the conversion.
    licence : str
    origin : str
        Where it came from, for the manifest of a conversion.
    """

    path: Path
    config: Any
    name: str
    sha256: str
    dtype: Dtype = "float32"
    licence: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The files of one model on this machine."""

    transformer: Part
    vqgan: Part
    tokenizer: Path


def create(name: str, options: GeneratorOptions) -> RudalleGenerator:
    """Return the generator called ``name``; see :func:`forensics.generate.create`."""
    device = make_device(options.device)
    # fewer where the user wants fewer, never more than torch was given
    torch.set_num_threads(min(torch.get_num_threads(), runtime.threads()))
    upscaler, upscaler_weights = _upscaler(options, device)
    if name in DUMMIES:
        if options.offload:
            raise UsageError(f"--offload given, which models with weights in files take; {name} has none")
        sizes = DUMMIES[name]
        return RudalleGenerator(
            random_transformer(sizes.transformer, seed=_SEED, device=device, dtype=_dtype(options, device, "float32")),
            random_vqgan(sizes.vqgan, seed=_SEED, dwt=options.dwt, device=device),
            character_tokenizer(),
            name=name,
            weights=upscaler_weights,
            settings={"random_weights": name, "weights_seed": _SEED, "dwt": options.dwt},
            licence="random weights, made by this program",
            upscaler=upscaler,
            lanes=options.batch,
        )
    files = find_model(name, options)
    model = _transformer(files.transformer, options, device)
    return RudalleGenerator(
        model,
        load_vqgan(files.vqgan.path, files.vqgan.config, device=device),
        Tokenizer.open(files.tokenizer),
        name=name,
        weights={
            files.transformer.name: files.transformer.sha256,
            files.vqgan.name: files.vqgan.sha256,
            files.tokenizer.name: sha256_of(files.tokenizer),
            **upscaler_weights,
        },
        licence=files.transformer.licence,
        upscaler=upscaler,
        lanes=options.batch,
    )


def find_model(name: str, options: GeneratorOptions) -> ModelFiles:
    """Return where a model's files are, fetching published ones where that is allowed and needed.

    Raises
    ------
    UsageError
        If there is no such model.
    WeightsError
        If a file is missing; the message says where it was looked for and how to bring it by hand.
    """
    if name in MODELS:
        return _published(name, options)
    if name == EMBEDDED:
        folder = options.weights or home(EMBEDDED)
        if not (folder / "transformer" / MANIFEST).is_file():
            raise WeightsError(
                f"the embedded model {EMBEDDED} is not in {folder}; this build of the program ships without it. Give "
                f"its folder (transformer/, vqgan/, bpe.model) with --weights, or choose one of: "
                f"{', '.join((*DUMMIES, *MODELS))}"
            )
        return _local(name, folder, options)
    return _local(name, Path(name), options)


def home(name: str) -> Path:
    """Return the folder in which a model is looked for where none is named; it need not exist."""
    if name == EMBEDDED:
        package = Path(forensics.__file__).parent
        checkout = package.parent / "index_data" / EMBEDDED
        return checkout if checkout.is_dir() else package / f"_{EMBEDDED}"
    return cache_dir() / "rudalle" / name


def part_folder(kind: str, *, dwt: bool = False) -> str:
    """Return the name of the folder of one part's conversion."""
    return f"{kind}-dwt" if dwt and kind == "vqgan" else kind


def make_device(name: str) -> str:
    """Return ``cpu``, ``cuda`` or ``cuda:N`` for an option, once torch is known to see it.

    ``auto`` is what ``$FORENSICS_DEVICE`` says, by default CUDA where torch sees a device.
    """
    if name == "auto":
        return runtime.device()
    if name == "cpu":
        return name
    if not torch.cuda.is_available():
        raise UsageError(f"device {name} given, but torch sees no CUDA device; run `forensics doctor`, or give cpu")
    number = int(name.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise UsageError(f"device {name} given; torch sees {torch.cuda.device_count()} CUDA devices, numbered from 0")
    return name


def _dtype(options: GeneratorOptions, device: str, own: Dtype) -> Dtype:
    if options.dtype != "auto":
        return options.dtype  # type: ignore[return-value]  # checked by GeneratorOptions
    # half precision is slower than float32 on most CPUs
    return "float32" if device == "cpu" else own if own != "float32" else "float16"


def _transformer(part: Part, options: GeneratorOptions, device: str) -> Rudalle:
    dtype = _dtype(options, device, part.dtype)
    if options.offload:
        if device == "cpu":
            raise UsageError("--offload given, but the model runs on the CPU, whose memory holds all of it anyway")
        return load_placed(part.path, part.config, dtype=dtype, lanes=options.batch)
    if device != "cpu":
        check_memory(part.config, dtype, options.batch, torch.cuda.mem_get_info(device)[0])
    return load_transformer(part.path, part.config, device=device, dtype=dtype)


def _upscaler(options: GeneratorOptions, device: str) -> tuple[Upscaler | None, dict[str, str]]:
    if options.upscale == 1:
        return None, {}
    file = UPSCALERS[options.upscale]
    path = _file(file, f"Real-ESRGAN x{options.upscale}", (options.weights, cache_dir() / "rudalle"), options)
    return Upscaler(path, device=device), {file.filename: sha256_of(path)}


def _published(name: str, options: GeneratorOptions) -> ModelFiles:
    row = MODELS[name]
    given = options.weights
    if given is not None and not given.exists():
        raise UsageError(f"--weights {given} given, which does not exist; a folder or file of {name} accepted")
    folder = given.parent if given is not None and given.is_file() else given or home(name)
    sizes = _sizes(folder)
    # a file that was named is meant, whatever lies beside it
    transformer = None if given is not None and given.is_file() else _converted(folder, "transformer", name)
    if transformer is None:
        single = (given,) if given is not None and given.is_file() else ()
        path = _file(row.file, name, (*single, folder), options, only_here=given is not None)
        transformer = _raw(path, sizes.get("transformer", row.config), row.file)
    if given is not None and transformer.config != row.config and "transformer" not in sizes:
        found, wanted = cast(TransformerConfig, transformer.config), row.config
        raise WeightsError(
            f"{transformer.path} is another architecture than {name}: {found.version}, {found.layers} layers, "
            f"{found.hidden} wide given, {wanted.version}, {wanted.layers} layers, {wanted.hidden} wide needed; give a "
            "model of your own as a folder, --model FOLDER"
        )
    vqgan = _converted(folder, "vqgan", name, dwt=options.dwt)
    if vqgan is None:
        file = VQGAN_FILES[options.dwt]
        path = _file(file, f"the VQGAN of {name}", (folder, cache_dir() / "rudalle"), options)
        vqgan = _raw(path, sizes.get("vqgan", replace(VQGAN, dwt=options.dwt)), file)
    tokenizer = _file(TOKENIZER, f"the tokenizer of {name}", (folder, cache_dir() / "rudalle"), options)
    return ModelFiles(transformer=transformer, vqgan=vqgan, tokenizer=tokenizer)


def _local(name: str, folder: Path, options: GeneratorOptions) -> ModelFiles:
    """Return the files of a folder that stands for itself: converted, or with its sizes in ``config.json``."""
    sizes = _sizes(folder)
    parts: dict[str, Part] = {}
    for kind, endings in (("transformer", ("pytorch_model*.bin",)), ("vqgan", ("vqgan*.ckpt",))):
        found = _converted(folder, kind, name, dwt=options.dwt)
        if found is None and kind in sizes:
            files = sorted(file for ending in endings for file in folder.glob(ending))
            if len(files) != 1:
                raise WeightsError(f"{folder} holds {len(files)} files {endings[0]}, one needed beside {_CONFIG}")
            found = _raw(files[0], sizes[kind], None)
        if found is None:
            raise WeightsError(
                f"{folder} holds no {kind}: a converted folder {kind}/ needed, or {endings[0]} with its sizes in "
                f"{_CONFIG}. For the files of a published model give its name, --model {next(iter(MODELS))} (or "
                f"{', '.join(list(MODELS)[1:])}), and --weights {folder}"
            )
        parts[kind] = found
    if not (folder / TOKENIZER.filename).is_file():
        raise WeightsError(f"{folder} holds no {TOKENIZER.filename}; the model's YouTokenToMe file needed")
    return ModelFiles(transformer=parts["transformer"], vqgan=parts["vqgan"], tokenizer=folder / TOKENIZER.filename)


def _converted(folder: Path, kind: str, name: str, *, dwt: bool = False) -> Part | None:
    """Return a converted part of a folder, ``KIND/`` or the folder itself, whose bytes are those recorded."""
    part = folder / part_folder(kind, dwt=dwt)
    for place in (part, folder):
        if not (place / MANIFEST).is_file():
            continue
        manifest = read_manifest(place, check=True)
        if manifest["kind"] != kind:
            if place == part:
                raise WeightsError(f"{place} holds a {manifest['kind']}, the {kind} of {name} needed")
            continue
        weights = manifest["weights"]
        return Part(
            path=place / weights["file"],
            config=read_config(place, manifest),
            name=f"{part.name}/{weights['file']}",
            sha256=weights["sha256"],
            dtype=manifest["dtype"],
            licence=manifest["source"]["licence"],
            origin=manifest["source"]["origin"],
        )
    return None


def _raw(path: Path, config: Any, file: HubFile | None) -> Part:
    return Part(
        path=path,
        config=config,
        name=path.name,
        sha256=sha256_of(path),
        licence=file.licence if file else "",
        origin=f"https://huggingface.co/{file.repo}" if file else str(path),
    )


def _sizes(folder: Path) -> Mapping[str, Any]:
    """Return the configurations in a folder's ``config.json``, in the names of the reference implementation."""
    path = folder / _CONFIG
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text("utf-8"))
        known = {key: dict(read[key]) for key in ("transformer", "vqgan") if key in read}
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f'{path} cannot be read ({error}); {{"transformer": …, "vqgan": …}} needed') from error
    found: dict[str, Any] = {}
    if "transformer" in known:
        found["transformer"] = TransformerConfig.from_meta(known["transformer"])
    if "vqgan" in known:
        found["vqgan"] = VqganConfig.from_meta(known["vqgan"])
    return found


def _file(
    file: HubFile, what: str, places: tuple[Path | None, ...], options: GeneratorOptions, *, only_here: bool = False
) -> Path:
    """Return a published file from one of some places (folders, or the file itself), else from the hub."""
    looked = [place for place in places if place is not None]
    for place in looked:
        if place.is_file():
            return place
        if (place / file.filename).is_file():
            return place / file.filename
    where = " and ".join(dict.fromkeys(str(place) for place in looked))
    if only_here:
        raise WeightsError(
            f"{what}: {file.filename} is not in {where}; fetch it from https://huggingface.co/{file.repo} on any "
            "machine and put it there"
        )
    try:
        return locate(file, token=options.token, cache=options.cache, offline=options.offline)
    except WeightsError as error:
        raise WeightsError(f"{what}: not in {where}; {error}: {looked[0]}, or another one with --weights") from error
