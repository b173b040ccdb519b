"""Any text-to-image pipeline of the ``diffusers`` library as a generator: ``diffusers:FOLDER`` or ``diffusers:HUB_ID``.

Only safetensors are read, and code that comes with a model never runs. Every image has a random generator of its own on
the CPU, seeded with its seed, so that an image is what ``pipe(prompt, generator=torch.Generator().manual_seed(seed))``
gives.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics import weights
from forensics.errors import ForensicsError, MissingExtraError, UsageError, WeightsError
from forensics.generate.options import GeneratorOptions
from forensics.generate.settings import with_defaults
from forensics.types import GeneratedImage, GeneratorSpec, Progress, Scalar

if TYPE_CHECKING:
    import torch

__all__ = ["DiffusersGenerator", "create"]

_HUB_ID = r"[\w.-]+/[\w.-]+"
_WEIGHTS = r"(diffusion_pytorch_)?model(-\d+-of-\d+)?\.safetensors"
_PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".h5", ".msgpack")
_SIZES = ("height", "width")
# parameters of pipelines that change a picture; what else they need shows at the first call, in their own words
_CHANGING = {"strength", "mask_image"}
_SETTINGS = ("num_inference_steps", "guidance_scale", "negative_prompt", *_SIZES)


def create(name: str, options: GeneratorOptions | None = None) -> DiffusersGenerator:
    """Return the generator called ``diffusers:FOLDER`` or ``diffusers:HUB_ID``; see :class:`DiffusersGenerator`."""
    from forensics.embed import runtime

    options = options or GeneratorOptions()
    device = runtime.device() if options.device == "auto" else options.device
    cuda = device.startswith("cuda")
    dtype = options.dtype if options.dtype != "auto" else "float16" if cuda else "float32"
    return DiffusersGenerator(
        name.partition(":")[2] if name.startswith("diffusers:") else name,
        device=device,
        dtype=dtype,
        lanes=options.batch if cuda else 1,
        token=options.token,
        cache=options.cache,
        offline=options.offline,
    )


class DiffusersGenerator:
    """A pipeline that makes images from prompts.

    Parameters
    ----------
    place : str
        A folder of ``save_pretrained``, or an id on the hub, whose files are fetched where they are not in its cache.
    device : str
        Torch device.
    dtype : str
        ``float32``, ``float16`` or ``bfloat16``.
    lanes : int
        Images computed at once. Calls are cut into parts of so many, the last one filled up with repeated prompts, so
        that what is computed has one shape and an image does not depend on what else is in its call. With 1 an image
        is bit by bit what it is alone; on a GPU more is faster.
    token, cache, offline
        For the hub.

    Raises
    ------
    MissingExtraError
        If diffusers is not installed.
    UsageError
        If there is no such folder, or the pipeline does not make images from prompts alone.
    WeightsError
        If files are missing, damaged, or not safetensors, or the model brings code of its own.
    """

    def __init__(
        self,
        place: str,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        lanes: int = 1,
        token: str | None = None,
        cache: Path | None = None,
        offline: bool = False,
    ) -> None:
        if lanes < 1:
            raise UsageError(f"{lanes} images at once given, 1 or more accepted")
        if Path(place).is_dir():
            folder = Path(place)
        elif re.fullmatch(_HUB_ID, place):
            folder = _fetched(place, token=token, cache=cache, offline=offline)
        else:
            raise UsageError(f"diffusers model {place!r} given, a folder that exists or an id like OWNER/NAME accepted")
        files = _weight_files(folder)
        self._lanes = lanes
        self._pipe, version = _loaded(folder, device, dtype)
        defaults = _defaults(self._pipe, place)
        self._spec = GeneratorSpec(
            name=f"diffusers:{place}",
            kind="diffusers",
            weights={str(file.relative_to(folder).as_posix()): weights.sha256_of(file) for file in files},
            settings={
                "pipeline": type(self._pipe).__name__,
                "scheduler": type(getattr(self._pipe, "scheduler", None)).__name__,
                "diffusers": version,
                "dtype": dtype,
                "device": device.partition(":")[0],
                "lanes": lanes,
            },
            defaults=defaults,
        )

    @property
    def spec(self) -> GeneratorSpec:
        """What this generator is. A height or width of 0 is the pipeline's own."""
        return self._spec

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        settings: Mapping[str, Scalar],
        progress: Progress | None = None,
    ) -> list[GeneratedImage]:
        """Return one image a (prompt, seed), in order; seeds are 0 to 2^32 - 1, as torch's generator tells apart.

        Where the pipeline has a safety checker, the measurement ``withheld`` says whether it blackened the image.
        """
        if len(prompts) != len(seeds):
            raise UsageError(f"{len(prompts)} prompts and {len(seeds)} seeds given, one seed a prompt accepted")
        if bad := [seed for seed in seeds if not 0 <= seed < 2**32]:
            raise UsageError(f"seed {bad[0]} given, 0 to 2^32 - 1 accepted by a diffusers model")
        chosen = with_defaults(self._spec, settings)
        height, width = (chosen.get(name) for name in _SIZES)
        if bool(height) != bool(width):  # pipelines quietly take their own for both
            raise UsageError(
                f"height {height} and width {width} given, both or neither accepted (0: the pipeline's own)"
            )
        images: list[GeneratedImage] = []
        for start in range(0, len(prompts), self._lanes):
            part = slice(start, start + self._lanes)
            images += self._batch(prompts[part], seeds[part], chosen, _Steps(progress, start, len(prompts)))
        return images

    def _batch(
        self, prompts: Sequence[str], seeds: Sequence[int], settings: Mapping[str, Scalar], steps: _Steps
    ) -> list[GeneratedImage]:
        import torch

        count, spare = len(prompts), self._lanes - len(prompts)
        arguments: dict[str, Any] = {
            key: value for key, value in settings.items() if value != "" and not (key in _SIZES and value == 0)
        }
        if "negative_prompt" in arguments:
            arguments["negative_prompt"] = [arguments["negative_prompt"]] * self._lanes
        if "callback_on_step_end" in inspect.signature(self._pipe.__call__).parameters:
            arguments["callback_on_step_end"] = steps.of(count)
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in (*seeds, *[seeds[-1]] * spare)]
        try:
            with torch.inference_mode():
                made = self._pipe(
                    prompt=[*prompts, *[prompts[-1]] * spare], generator=generators, output_type="pil", **arguments
                )
        except torch.cuda.OutOfMemoryError as error:
            raise ForensicsError(
                f"the GPU has too little memory for {self._spec.name} with {self._lanes} images at once; "
                "give a smaller batch, float16, or the CPU"
            ) from error
        except ValueError as error:  # what pipelines raise for arguments that they do not take
            raise UsageError(f"{self._spec.name} refuses its settings: {_first_line(error)}") from error
        withheld = getattr(made, "nsfw_content_detected", None) or [None] * count
        return [
            GeneratedImage(
                pixels=np.array(image.convert("RGB")),
                measurements={} if hidden is None else {"withheld": bool(hidden)},
            )
            for image, hidden in zip(made.images[:count], withheld[:count], strict=True)
        ]


class _Steps:
    """Progress of one call, counted in denoising steps of single images."""

    def __init__(self, progress: Progress | None, before: int, images: int) -> None:
        self._progress, self._before, self._images = progress, before, images

    def of(self, count: int) -> Any:
        """Return the callback for a batch in which ``count`` images are wanted."""

        def report(pipe: Any, step: int, _: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            total = getattr(pipe, "num_timesteps", None)
            if self._progress is not None and total:
                self._progress("denoising", self._before * total + count * (step + 1), self._images * total)
            return tensors

        return report


def _library() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError(
            "diffusers models need the diffusers package; run: pip install 'forensics[diffusers]'"
        ) from error
    return diffusers


def _fetched(place: str, *, token: str | None, cache: Path | None, offline: bool) -> Path:
    """Return the folder of a hub id's files in the hub's cache, fetching what is needed and allowed."""
    library = _library()
    try:
        with _silent():
            return Path(
                library.DiffusionPipeline.download(
                    place,
                    use_safetensors=True,
                    trust_remote_code=False,
                    local_files_only=offline,
                    token=token,
                    cache_dir=cache,
                )
            )
    except Exception as error:  # the hub client raises its own, the network's and the system's errors
        raise WeightsError(
            f"{place} is no folder here, and its safetensors are not in the hub's cache and were not fetched "
            f"({'no connection allowed' if offline else _first_line(error)}); fetch them on another machine and give "
            "the folder"
        ) from error


def _weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a pipeline's folder, once it is known to hold nothing that would run or be unpickled.

    Raises
    ------
    WeightsError
        If it is no such folder, brings code, or a part's weights are not safetensors.
    """
    index = folder / "model_index.json"
    try:
        parts = json.loads(index.read_text("utf-8"))
        named = isinstance(parts["_class_name"], str)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder} is no folder of a diffusers pipeline: model_index.json is missing or unreadable ({error})"
        ) from error
    code = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.py"))
    if code or not named:
        raise WeightsError(
            f"{folder} brings Python code of its own ({code[0] if code else parts['_class_name']}), which is never "
            "run; only pipelines of the diffusers library itself are accepted"
        )
    files: list[Path] = []
    for part in sorted(key for key, value in parts.items() if isinstance(value, list) and value and value[0]):
        held = sorted(file for file in (folder / part).glob("*") if file.is_file())
        safe = [file for file in held if re.fullmatch(_WEIGHTS, file.name)]
        pickled = [file for file in held if file.suffix in _PICKLED]
        if pickled and not safe:
            raise WeightsError(
                f"{pickled[0]} is no safetensors file, and others are never read; save the pipeline anew with "
                "save_pretrained()"
            )
        files += safe
    return files


def _loaded(folder: Path, device: str, dtype: str) -> tuple[Any, str]:
    """Return the pipeline of a folder on a device, and the library's version."""
    import torch

    library = _library()
    kinds = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype not in kinds:
        raise UsageError(f"type {dtype!r} given, one of {', '.join(kinds)} accepted")
    try:
        with _silent():
            pipe = library.DiffusionPipeline.from_pretrained(
                folder, dtype=kinds[dtype], use_safetensors=True, trust_remote_code=False, local_files_only=True
            )
            pipe.to(device)
    except Exception as error:  # each part's library raises its own
        raise WeightsError(f"{folder} cannot be loaded as a diffusers pipeline: {_first_line(error)}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe, str(library.__version__)


def _defaults(pipe: Any, place: str) -> dict[str, Scalar]:
    """Return the settings that a pipeline takes, with its own defaults."""
    parameters = inspect.signature(pipe.__call__).parameters
    needed = {name for name, item in parameters.items() if item.default is item.empty and name != "kwargs"}
    if not {"prompt", "generator"} <= set(parameters) or needed - {"prompt"} or _CHANGING & set(parameters):
        raise UsageError(
            f"{place} holds a {type(pipe).__name__}, which does not make images from prompts alone; "
            "a text-to-image pipeline accepted"
        )
    own = {name: parameters[name].default for name in _SETTINGS if name in parameters}
    empty: dict[str, Scalar] = {"negative_prompt": "", "height": 0, "width": 0}
    known = {name: empty.get(name) if value is None else value for name, value in own.items()}
    return {name: value for name, value in known.items() if isinstance(value, (str, int, float))}


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the libraries' progress bars off the terminal: the program has its own."""
    from diffusers.utils import logging as first
    from transformers.utils import logging as second

    before = [module for module in (first, second) if module.is_progress_bar_enabled()]
    for module in before:
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module in before:
            module.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
