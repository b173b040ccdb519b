"""Speed and memory of the audit's parts, as ratios against named peers in one run.

    python bench/audit.py [--images 600] [--repeats 3] [--memory 20000] [--skip decode,search,build,memory]

decode   decode + resize to 320 x 320 against Pillow (bench/decode.py): asked 1.3 at 500 px, 2.5 at 2,000 px
search   exact search against faiss.knn on the same arrays (bench/search.py): asked 0.9
build    a whole index build with the default embedders against ONNX Runtime alone, at its best threads and batch
         size, on the same images already decoded and resized: asked at most 1.25 times its time
memory   peak memory of a build of 1,000 and of --memory images, main process and largest worker: asked < 50 MB
         more (without SSCD weights, or with --memory-hashes-only, by hashes alone)

Quote the ratios, never the times: they belong to the machine and the hour. Peers and program run in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PART_NAMES = ("decode", "search", "build", "memory")


def photographs(folder: Path, count: int) -> None:
    """Write ``count`` different JPEGs of 500 x 375: random crops of scikit-image's photographs."""
    from skimage import data

    rng = np.random.default_rng(0)
    sources = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field")]
    for number in range(count):
        image = Image.fromarray(sources[number % len(sources)])
        scale = rng.uniform(0.5, 1.0)
        w, h = int(image.width * scale), int(image.height * scale)
        x, y = rng.integers(0, image.width - w + 1), rng.integers(0, image.height - h + 1)
        crop = image.crop((int(x), int(y), int(x) + w, int(y) + h)).resize((500, 375), Image.Resampling.BILINEAR)
        crop.save(folder / f"{number:06d}.jpg", quality=85)


def bench_build(count: int, repeats: int) -> dict[str, Any]:
    """Time the build and ONNX Runtime alone, in turn."""
    import onnxruntime

    from forensics import build_index, weights
    from forensics.images import decode, resize

    found = weights.find("sscd-int8")
    if found is None:
        return {"skipped": "no weights; try: forensics weights fetch sscd-int8"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        photographs(folder / "images", count)
        files = sorted((folder / "images").iterdir())
        pixels = np.stack([resize(decode(file.read_bytes()).pixels, 320, 320) for file in files])

        def session(threads: int) -> Any:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            return onnxruntime.InferenceSession(str(found.path), options, providers=["CPUExecutionProvider"])

        def alone(runner: Any, batch: int, images: np.ndarray) -> float:
            start = time.perf_counter()
            for at in range(0, len(images), batch):
                runner.run(None, {"image": images[at : at + batch]})
            return time.perf_counter() - start

        cores = len(os.sched_getaffinity(0))
        tried = {}
        for threads in sorted({1, cores, 2 * cores}):
            runner = session(threads)
            for batch in (1, 8, 32):
                alone(runner, batch, pixels[:batch])
                tried[threads, batch] = min(alone(runner, batch, pixels[:96]) for _ in range(2))
        threads, batch = min(tried, key=lambda key: tried[key])
        runner = session(threads)
        peer, ours = [], []
        for repeat in range(repeats):
            peer.append(alone(runner, batch, pixels))
            start = time.perf_counter()
            build_index(folder / "images", folder / f"index{repeat}")
            ours.append(time.perf_counter() - start)
        ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    return {
        "images": count,
        "peer": f"ONNX Runtime, {threads} threads, batch {batch}",
        "ratios": [round(ratio, 3) for ratio in ratios],
        "median": round(statistics.median(ratios), 3),
        "asked": "at most 1.25",
    }


def bench_memory(most: int, *, hashes_only: bool) -> dict[str, Any]:
    """Peak memory of builds of 1,000 and ``most`` images, each in a process of its own."""
    script = (
        "import json, resource, sys; from forensics import build_index;"
        "more = {'embedders': ()} if sys.argv[3] == 'hashes' else {};"
        "build_index(sys.argv[1], sys.argv[2], **more);"
        "print(json.dumps([resource.getrusage(who).ru_maxrss / 1024 for who in "
        "(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]))"
    )
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "few").mkdir()
        photographs(folder / "few", 200)
        files = sorted((folder / "few").iterdir())
        for count in (1000, most):
            images = folder / f"images{count}"
            images.mkdir()
            for number in range(count):  # hard links: many files, little disk
                os.link(files[number % len(files)], images / f"{number:06d}.jpg")
            command = [sys.executable, "-c", script, str(images), str(folder / f"index{count}")]
            done = subprocess.run(
                [*command, "hashes" if hashes_only else "default"], capture_output=True, text=True, check=True, cwd=ROOT
            )
            peaks[count] = [round(value, 1) for value in json.loads(done.stdout.splitlines()[-1])]
            shutil.rmtree(images)
    growth = [round(b - a, 1) for a, b in zip(peaks[1000], peaks[most], strict=True)]
    return {
        "embedders": "hashes" if hashes_only else "default",
        "peak MB (main, largest worker)": peaks,
        "growth MB": growth,
        "asked": "less than 50",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, default=20_000)
    parser.add_argument("--memory-hashes-only", action="store_true")
    parser.add_argument("--skip", default="", help=f"comma list of {', '.join(PART_NAMES)}")
    given = parser.parse_args()
    skip = set(filter(None, given.skip.split(",")))
    if unknown := skip - set(PART_NAMES):
        parser.error(f"--skip {', '.join(sorted(unknown))} given; {', '.join(PART_NAMES)} accepted")
    for name in ("decode", "search"):
        if name not in skip:
            print(f"== {name}", flush=True)
            extra = ["--no-sscd"] if name == "decode" else []
            subprocess.run([sys.executable, str(ROOT / "bench" / f"{name}.py"), *extra], check=True)
    if "build" not in skip:
        print("== build\n" + json.dumps(bench_build(given.images, given.repeats), indent=1), flush=True)
    if "memory" not in skip:
        print("== memory\n" + json.dumps(bench_memory(given.memory, hashes_only=given.memory_hashes_only), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
