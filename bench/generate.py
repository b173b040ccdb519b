"""Image tokens per second: this decoder, ru-dalle's loop, and the bare matrix products, on the same random weights.

    python bench/generate.py [--parts loop small floor linear cuda memory] [--reference CHECKOUT] [--threads 1] [--json]

loop    8 M parameters, 8 layers, 128 text and 16 x 16 image tokens, the published vocabularies, batch 4, on the CPU:
        against the work of ru-dalle 1.1.3 (`reference_loop.py`; with --reference the published package itself runs
        beside it) and against the products of its weight matrices alone, one position a step. Equal logits and
        tokens are asserted first.
small   the same with 8 M parameters in wider layers and vocabularies of a few thousand: of all that ru-dalle repeats,
        the logits weigh least here.
floor   the same against the products at 300 M parameters, where they dominate.
linear  seconds a token for images of 16 x 16, 24 x 24 and 32 x 32 tokens.
memory  peak of a process that makes one image with Malevich's 1.3 B parameters in float32 on the CPU, VQGAN included:
        minutes, so it runs only when named. --memory-tokens draws fewer tokens (the cache is the same).
cuda    Malevich's size in float16 and bfloat16, batch 1, 8, 32, against the memory's bandwidth, measured by a copy.

Contestants take turns, a block of tokens each, round after round. A block's time is its median over the rounds, a
contestant's the sum of these; so what a busy machine does to one, it does to all.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from reference_loop import Published, draw_images, forward, multinomial
from torch import Tensor

from forensics.generate.rudalle.checkpoints import Dtype, random_transformer
from forensics.generate.rudalle.config import VQGAN, TransformerConfig
from forensics.generate.rudalle.decode import Decoder
from forensics.generate.rudalle.sampling import (
    Sampling,
    draw,
    generate_tokens,
    perplexity,
    probabilities,
    uniforms,
)
from forensics.generate.rudalle.transformer import Rudalle

EIGHT_MILLION = TransformerConfig(layers=8, hidden=128, heads=4, image_side=16)
SMALL_VOCABULARY = TransformerConfig(
    layers=8, hidden=256, heads=8, image_side=16, text_vocab=2048 + 128, image_vocab=1024
)
THREE_HUNDRED_MILLION = TransformerConfig(layers=20, hidden=1024, heads=16)
MALEVICH = TransformerConfig()
SAMPLING = Sampling()
TOLERANCE = 1e-4
Steps = Iterator[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["loop", "small", "floor", "linear", "cuda"])
    parser.add_argument("--reference", type=Path, help="a checkout of ru-dalle 1.1.3, to run it itself")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads; 0 leaves its default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block", type=int, default=32, help="tokens a turn")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to see that it runs")
    parser.add_argument("--compile", action="store_true", help="cuda: let torch.compile fuse the small operations")
    parser.add_argument("--memory-tokens", type=int, default=MALEVICH.image_length)
    parser.add_argument("--memory-child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # ru-dalle's torch.jit.script
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.memory_child:
        print(json.dumps(memory_child(given)))
        return
    results = {}
    for part in given.parts:
        results[part] = PARTS[part](given)
        if not given.json:
            print(f"{part}:")
            for name, value in results[part].items():
                print(f"  {name}: {value:.4g}" if isinstance(value, float) else f"  {name}: {value}")
    if given.json:
        print(json.dumps(results, indent=2))


def shrunk(config: TransformerConfig, given: argparse.Namespace) -> TransformerConfig:
    if not given.tiny:
        return config
    return TransformerConfig(
        layers=3, hidden=32, heads=2, text_length=8, image_side=5, text_vocab=40, image_vocab=30, sandwich=True
    )


def prompt(config: TransformerConfig, batch: int) -> Tensor:
    words = config.text_vocab - config.text_length
    text = torch.randint(4, words, (1, config.text_length), generator=torch.Generator().manual_seed(0))
    text[:, config.text_length // 4 :] = 0  # most of a prompt is padding
    return text.repeat(batch, 1)


# contestants: iterators that do one token's work a step


def ours(model: Rudalle, ids: Tensor) -> Steps:
    """Go through `generate_tokens`' own loop, handing over between tokens."""
    from forensics.generate.rudalle.sampling import _begin

    length = model.config.image_length
    given = torch.full((len(ids), length), -1)
    points = torch.stack([uniforms(seed, length) for seed in range(len(ids))])
    loop = _begin(model, ids, given, points, SAMPLING, 0)
    for cell in range(length):
        loop.next(cell)
        if cell == length - 1:
            perplexity(loop.result()[1])
        yield


def stand_in(model: Rudalle, ids: Tensor) -> Steps:
    for _ in draw_images(model, ids, multinomial(SAMPLING)):
        yield


@torch.inference_mode()
def products(model: Rudalle, batch: int) -> Steps:
    """Multiply `batch` rows with every weight matrix that a token needs; of the last one the image's part."""
    config = model.config
    hidden, wide = torch.randn(batch, config.hidden), torch.randn(batch, 4 * config.hidden)
    head = model.to_logits[1]
    chain = [
        (linear.bias, wide if linear.in_features > config.hidden else hidden, linear.weight.t())
        for layer in model.layers
        for linear in (
            layer.attention.query_key_value,
            layer.attention.dense,
            layer.mlp.dense_h_to_4h,
            layer.mlp.dense_4h_to_h,
        )
    ]
    chain.append((head.bias[config.text_vocab :], hidden, head.weight[config.text_vocab :].t()))
    for _ in range(config.image_length):
        for bias, rows, weight in chain:
            torch.addmm(bias, rows, weight)
        yield


def compete(contestants: dict[str, Callable[[], Steps]], tokens: int, given: argparse.Namespace) -> dict[str, float]:
    """Return each contestant's seconds for so many steps."""
    sizes = [min(given.block, tokens - start) for start in range(0, tokens, given.block)]
    times: dict[str, list[list[float]]] = {name: [[] for _ in sizes] for name in contestants}
    for _ in range(given.rounds):
        running = {name: start() for name, start in contestants.items()}
        for number, size in enumerate(sizes):
            for name, steps in running.items():
                start = time.perf_counter()
                for _ in range(size):
                    next(steps)
                times[name][number].append(time.perf_counter() - start)
    return {name: sum(statistics.median(block) for block in blocks) for name, blocks in times.items()}


def loop(given: argparse.Namespace, config: TransformerConfig = EIGHT_MILLION) -> dict[str, Any]:
    config = shrunk(config, given)
    model = random_transformer(config)
    published = Published(given.reference, model) if given.reference else None
    ids = prompt(config, given.batch)
    result: dict[str, Any] = {
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "threads": torch.get_num_threads(),
        "furthest logits": same(model, ids),
    }
    contestants: dict[str, Callable[[], Steps]] = {
        "bare products": lambda: products(model, given.batch),
        "this decoder": lambda: ours(model, ids),
        "ru-dalle's work": lambda: stand_in(model, ids),
    }
    seconds = compete(contestants, config.image_length, given)
    tokens = given.batch * config.image_length
    if published:
        result["furthest logits of the published code"] = same_published(model, published, ids)
        turns: dict[str, list[float]] = {"this decoder": [], "ru-dalle's work": [], "published code": []}
        runs: dict[str, Callable[[], object]] = {
            "this decoder": lambda: list(ours(model, ids)),
            "ru-dalle's work": lambda: list(stand_in(model, ids)),
            "published code": lambda: published.draw(ids, SAMPLING),
        }
        for _ in range(given.rounds):
            for name, run in runs.items():
                # whole runs of very different length: on a busy machine only the processor's time is comparable
                start = time.process_time()
                run()
                turns[name].append(time.process_time() - start)
        middle = {name: statistics.median(turn) for name, turn in turns.items()}
        result["published code / ru-dalle's work, CPU seconds"] = middle["published code"] / middle["ru-dalle's work"]
        result["this decoder / published code, rate by CPU seconds (asked: >= 15)"] = (
            middle["published code"] / middle["this decoder"]
        )
    result |= {f"{name}, tokens/s": tokens / taken for name, taken in seconds.items()}
    result["this decoder / ru-dalle's work (asked: >= 15)"] = seconds["ru-dalle's work"] / seconds["this decoder"]
    result["bare products / ru-dalle's work"] = seconds["ru-dalle's work"] / seconds["bare products"]
    result["this decoder / bare products"] = seconds["bare products"] / seconds["this decoder"]
    return result


def small(given: argparse.Namespace) -> dict[str, Any]:
    return loop(given, SMALL_VOCABULARY)


@torch.inference_mode()
def same(model: Rudalle, ids: Tensor) -> float:
    """Assert that both loops draw the same tokens from the same logits; return how far apart these are at most."""
    config = model.config
    length = config.image_length
    points = torch.stack([uniforms(seed, length) for seed in range(len(ids))])
    logits: list[Tensor] = []

    def pick(row: Tensor, cell: int) -> Tensor:
        logits.append(row.clone())
        return draw(probabilities(row, SAMPLING), points[:, cell])[:, None]

    *_, theirs = draw_images(model, ids, pick)
    tokens = generate_tokens(model, ids, range(len(ids)), sampling=SAMPLING, batch=len(ids)).tokens
    decoder = Decoder(model, len(ids))
    rows = [decoder.prefill(ids)[:, 0], *(decoder.step(tokens[:, cell]) for cell in range(length - 1))]
    far = (torch.stack(rows) - torch.stack(logits)).abs().max().item()
    if not torch.equal(theirs[:, config.text_length :], tokens) or far > TOLERANCE:
        raise SystemExit(f"the loops differ: logits by {far}")
    return far


@torch.inference_mode()
def same_published(model: Rudalle, published: Published, ids: Tensor) -> float:
    config = model.config
    tokens = generate_tokens(model, ids, range(len(ids)), sampling=SAMPLING, batch=len(ids)).tokens
    whole = torch.cat((ids, tokens), 1)
    allowed = torch.ones((len(ids), 1, config.length, config.length)).tril()
    theirs = mine = None
    far = 0.0
    for count in range(config.text_length, min(config.length, config.text_length + 32)):
        row, theirs = published.model(whole[:, :count], allowed, use_cache=True, cache=theirs, return_loss=False)
        other, mine = forward(model, whole[:, :count], allowed, mine)
        far = max(far, (row[:, -1] - other[:, -1]).abs().max().item())
    if far > TOLERANCE:
        raise SystemExit(f"the stand-in and the published code differ: logits by {far}")
    return far


def floor(given: argparse.Namespace) -> dict[str, Any]:
    config = shrunk(THREE_HUNDRED_MILLION, given)
    model = random_transformer(config)
    ids = prompt(config, given.batch)
    tokens = min(64, config.image_length)
    size = argparse.Namespace(**{**vars(given), "block": min(given.block, 8)})
    seconds = compete(
        {"bare products": lambda: products(model, given.batch), "this decoder": lambda: ours(model, ids)}, tokens, size
    )
    return {
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "threads": torch.get_num_threads(),
        **{f"{name}, tokens/s": given.batch * tokens / taken for name, taken in seconds.items()},
        "this decoder / bare products (asked: >= 0.6)": seconds["bare products"] / seconds["this decoder"],
    }


def linear(given: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import replace

    sides = (3, 4, 5) if given.tiny else (16, 24, 32)
    models = {side: random_transformer(replace(shrunk(EIGHT_MILLION, given), image_side=side)) for side in sides}
    times: dict[int, list[float]] = {side: [] for side in sides}
    for _ in range(given.rounds):
        for side, model in models.items():
            ids = prompt(model.config, given.batch)
            start = time.perf_counter()
            list(ours(model, ids))
            times[side].append(time.perf_counter() - start)
    seconds = {side: statistics.median(taken) for side, taken in times.items()}
    tokens = torch.tensor([float(side**2) for side in sides], dtype=torch.float64)
    taken = torch.tensor(list(seconds.values()), dtype=torch.float64)
    slope = ((tokens - tokens.mean()) * (taken - taken.mean())).sum() / ((tokens - tokens.mean()) ** 2).sum()
    left = taken - taken.mean() - slope * (tokens - tokens.mean())
    return {
        **{f"{side} x {side}, ms a token": 1e3 * seconds[side] / side**2 for side in sides},
        f"a token at {sides[-1]} x {sides[-1]} / at {sides[0]} x {sides[0]}, seconds": (
            seconds[sides[-1]] / sides[-1] ** 2 / (seconds[sides[0]] / sides[0] ** 2)
        ),
        "fit, ms a token": 1e3 * slope.item(),
        "fit, R2": 1 - ((left**2).sum() / ((taken - taken.mean()) ** 2).sum()).item(),
    }


def memory(given: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--memory-child", "--memory-tokens", str(given.memory_tokens)]
    command += ["--threads", "0", *(["--tiny"] if given.tiny else [])]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout))


def memory_child(given: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import replace

    from forensics.generate.rudalle.vqgan import Vqgan

    config = shrunk(MALEVICH, given)
    tokens = min(given.memory_tokens, config.image_length)
    model = random_transformer(config)
    vqgan = Vqgan(replace(VQGAN, channels=32) if given.tiny else VQGAN).eval()
    loaded = peak()
    start = time.perf_counter()
    drawn = generate_tokens(model, prompt(config, 1), [0], sampling=SAMPLING, stop=tokens).tokens
    seconds = time.perf_counter() - start
    whole = drawn.repeat(1, -(-config.image_length // tokens))[:, : config.image_length]
    with torch.inference_mode():
        image = vqgan.decode(whole.view(1, config.image_side, config.image_side))
    return {
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "tokens drawn": tokens,
        "seconds a token": seconds / tokens,
        "image": tuple(image.shape),
        "peak with the models loaded, GB": loaded,
        "peak, GB (asked: < 8)": peak(),
    }


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def cuda(given: argparse.Namespace) -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"measured": "no, there is no CUDA device"}
    result: dict[str, Any] = {"device": torch.cuda.get_device_name(), "bandwidth, GB/s": bandwidth() / 1e9}
    for dtype in ("float16", "bfloat16"):
        result |= on_cuda(given, dtype, result["bandwidth, GB/s"] * 1e9)
    return result


def bandwidth() -> float:
    """Return bytes a second of a large copy on the device, read and written."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / on_device(lambda: target.copy_(source), 20)


def on_cuda(given: argparse.Namespace, dtype: Dtype, bytes_a_second: float) -> dict[str, Any]:
    from forensics.generate.rudalle.graph import ImageLoop

    config = shrunk(MALEVICH, given)
    model = random_transformer(config, device="cuda", dtype=dtype)
    layers = sum(weights.nbytes for weights in model.transformer.parameters())
    needed = layers + config.image_vocab * config.hidden * model.dtype.itemsize
    result: dict[str, Any] = {f"{dtype}, GB of weights a step": needed / 1e9}
    for batch in (1, 8, 32):
        lanes = torch.arange(batch)
        loop = ImageLoop(
            model,
            lanes,
            images=batch,
            length=config.image_length,
            sampling=SAMPLING,
            compiled=given.compile,
        )
        points = torch.stack([uniforms(seed, config.image_length) for seed in range(batch)])
        free = torch.full((batch, config.image_length), -1)
        cells = range(2, config.image_length)
        taken = []
        for _ in range(3):
            loop.begin(prompt(config, batch), free, points, 0)
            loop.next(0)
            loop.next(1)  # records, the first time
            torch.cuda.synchronize()
            start = time.perf_counter()
            for cell in cells:
                loop.next(cell)
            torch.cuda.synchronize()
            taken.append((time.perf_counter() - start) / len(cells))
        step = statistics.median(taken)
        result[f"{dtype}, batch {batch}, ms a step"] = 1e3 * step
        result[f"{dtype}, batch {batch}, tokens/s"] = batch / step
        result[f"{dtype}, batch {batch}, of the bandwidth limit (asked: >= 0.6)"] = needed / bytes_a_second / step
        del loop
    result[f"{dtype}, peak, GB"] = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    return result


def on_device(run: Callable[[], object], times: int) -> float:
    """Return the seconds of one run on the device."""
    run()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(times):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / times


PARTS = {"loop": loop, "small": small, "floor": floor, "linear": linear, "cuda": cuda, "memory": memory}

if __name__ == "__main__":
    main()
