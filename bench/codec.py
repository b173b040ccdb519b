"""What the embedded VQGAN keeps of a picture: no image that kvadrat makes can be a closer copy than that.

    python bench/codec.py [--vqgan index_data/kvadrat/vqgan] [--data DIR] [--json]

Of held-out pictures, which the VQGAN never saw, and of members: PSNR between picture and reconstruction (the mean over
pictures, and of all pixels pooled), the cosine of their SSCD descriptors (both enlarged to 256 pixels, bicubically),
and how many reconstructions are nearest to their own picture among those of the same role. Intervals are the
bootstrap's at 95 % over pictures; of the share, Wilson's, as a bootstrap of nothing but hits has no width.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from forensics.embed import create
from forensics.flows.world import embedded_corpus
from forensics.generate.rudalle.converted import load_converted
from forensics.generate.rudalle.vqgan import Vqgan
from forensics.metrics import wilson
from forensics.train.corpus import Role, read_corpus, read_pixels

ROLES: tuple[Role, ...] = ("held-out", "member")
_DRAWS = 2000
_AT_ONCE = 64
_DESCRIBED_AT_ONCE = 16
_ENLARGED = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqgan", type=Path, default=Path("index_data/kvadrat/vqgan"), help="a converted VQGAN")
    parser.add_argument("--data", type=Path, help="a corpus; the embedded one by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    vqgan = load_converted(given.vqgan)
    if not isinstance(vqgan, Vqgan):
        raise SystemExit(f"{given.vqgan} holds no VQGAN")
    corpus = read_corpus(given.data) if given.data else embedded_corpus()
    result: dict[str, dict[str, object]] = {}
    for role in ROLES:
        pixels = read_pixels(corpus.of((role,)), vqgan.config.resolution)
        result[role] = measured(pixels, reconstructed(vqgan, pixels))
    if given.json:
        json.dump(result, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    for role, figures in result.items():
        print(f"{role}, {figures.pop('pictures')} pictures")
        for name, (value, low, high) in figures.items():  # type: ignore[misc]
            print(f"  {name:28} {value:.3f}  [{low:.3f}, {high:.3f}]")


@torch.inference_mode()
def reconstructed(vqgan: Vqgan, pixels: np.ndarray) -> np.ndarray:
    """Return (n, S, S, 3) float32 RGB in [0, 1] of uint8 pictures, encoded and decoded."""
    parts = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(_AT_ONCE)
    decoded = torch.cat([vqgan.decode(vqgan.encode(part.float() / 255)) for part in parts])
    return decoded.clamp(0, 1).permute(0, 2, 3, 1).numpy()


def measured(pixels: np.ndarray, again: np.ndarray) -> dict[str, object]:
    """Return each figure with the ends of its interval."""
    errors = np.square(again - pixels.astype(np.float32) / 255).mean((1, 2, 3), dtype=np.float64)
    before, after = described(pixels), described((again * 255).round().astype(np.uint8))
    itself = (after @ before.T).argmax(1) == np.arange(len(before))
    return {
        "pictures": len(pixels),
        "PSNR, mean (dB)": bootstrap(decibels(errors), np.mean),
        "PSNR, pooled (dB)": bootstrap(errors, lambda some: decibels(np.mean(some))),
        "SSCD cosine, median": bootstrap((before * after).sum(1), np.median),
        "nearest picture is itself": [float(itself.mean()), *wilson(int(itself.sum()), len(itself))],
    }


def decibels(errors: np.ndarray) -> np.ndarray:
    return np.asarray(-10 * np.log10(errors))


def described(pictures: np.ndarray) -> np.ndarray:
    """Return (n, 512) float32 unit rows of SSCD."""
    sscd = create("sscd-int8")
    side = (_ENLARGED, _ENLARGED)
    large = [np.asarray(Image.fromarray(one).resize(side, Image.Resampling.BICUBIC)) for one in pictures]
    prepared = [sscd.prepare(one) for one in large]
    steps = range(0, len(prepared), _DESCRIBED_AT_ONCE)
    return np.concatenate([sscd.embed(prepared[i : i + _DESCRIBED_AT_ONCE]) for i in steps])


def bootstrap(values: np.ndarray, figure: Callable[[np.ndarray], object]) -> list[float]:
    """Return the figure of all pictures and the percentiles that bound 95 % of resamplings."""
    rng = np.random.default_rng(0)
    drawn = [figure(values[rng.integers(0, len(values), len(values))]) for _ in range(_DRAWS)]
    return [float(figure(values)), *np.percentile(drawn, [2.5, 97.5]).tolist()]  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
