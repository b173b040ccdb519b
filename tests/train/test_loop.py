"""The training loop: exact resumption, checkpoints, curves, and what it refuses."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from forensics.errors import ForensicsError, UsageError
from forensics.train.loop import LoopConfig, learning_rate, sample_order, step_generator, train

CONFIG = LoopConfig(steps=12, batch=4, lr=0.01, warmup=3, seed=5, log_every=5, checkpoints_at=(0, 8))
REPEATS = (1, 2, 1, 3)


def line() -> nn.Module:
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.fill_(0.1)
        model.bias.zero_()
    return model


def run(
    out: Path,
    *,
    config: LoopConfig = CONFIG,
    after: Callable[[int], None] = lambda step: None,
    about: Mapping[str, str] | None = None,
    restart: bool = False,
) -> nn.Module:
    """Fit a plane to four noisy points, with chance in every step."""
    model, inputs = line(), torch.arange(12.0).reshape(4, 3) / 10
    targets = inputs @ torch.tensor([[1.0], [-2.0], [0.5]])
    done = 0

    def step_loss(chosen: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        nonlocal done
        done += 1
        after(done)
        noise = 0.01 * torch.randn((len(chosen), 3), generator=generator)
        loss = (model(inputs[chosen] + noise) - targets[chosen]).square().mean()
        return {"total": loss, "root": loss.sqrt()}

    train(model, step_loss, repeats=REPEATS, config=config, out=out, about=about, restart=restart)
    return model


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "losses.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_by_a_signal_goes_on_exactly(tmp_path: Path, number: signal.Signals) -> None:
    whole = run(tmp_path / "whole")
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", after=lambda step: os.kill(os.getpid(), number) if step == 7 else None)
    assert signal.getsignal(number) is before
    state = torch.load(tmp_path / "parts/state.pt", weights_only=True)
    assert state["step"] == 7  # the step at hand is finished
    steps: list[int] = []
    parts = run(tmp_path / "parts", after=steps.append)
    assert len(steps) == 5
    assert all(torch.equal(left, right) for left, right in zip(whole.parameters(), parts.parameters(), strict=True))
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    kept = [load_file(tmp_path / name / "checkpoints/step-000008.safetensors") for name in ("whole", "parts")]
    assert torch.equal(kept[0]["weight"], kept[1]["weight"])


def test_a_run_that_is_killed_goes_on_from_its_last_state(tmp_path: Path) -> None:
    config = replace(CONFIG, save_every_seconds=1e-9, log_every=1)

    def die(step: int) -> None:
        if step == 9:
            raise SystemExit  # nothing is saved on the way out

    with pytest.raises(SystemExit):
        run(tmp_path / "parts", config=config, after=die)
    with open(tmp_path / "parts/losses.csv", "a") as file:
        file.write("9,0.1,0.01,9,9\n10,0.")  # written after the last state, the second one not to its end
    parts = run(tmp_path / "parts", config=config)
    whole = run(tmp_path / "whole", config=replace(CONFIG, log_every=1))
    assert all(torch.equal(left, right) for left, right in zip(whole.parameters(), parts.parameters(), strict=True))
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert [row["step"] for row in rows(tmp_path / "parts")] == [str(step) for step in range(1, 13)]


def test_the_run_folder_holds_checkpoints_curves_and_their_picture(tmp_path: Path) -> None:
    model = run(tmp_path)
    start = load_file(tmp_path / "checkpoints/step-000000.safetensors")
    assert start["weight"].dtype == torch.float16
    assert torch.equal(start["weight"], line().state_dict()["weight"].half())
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-000000.safetensors",
        "step-000008.safetensors",
    ]
    found = rows(tmp_path)
    assert [row["step"] for row in found] == ["5", "10", "12"]
    assert list(found[0]) == ["step", "lr", "total", "root"]
    assert float(found[-1]["total"]) < float(found[0]["total"])
    with Image.open(tmp_path / "losses.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert {(0x1F, 0x5F, 0xA8), (0xC8, 0x50, 0x2A)} <= colours  # both curves are drawn
    assert not model.training


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    steps: list[int] = []
    again = run(tmp_path, after=steps.append)
    assert not steps
    assert torch.equal(first.weight, again.weight)


def test_another_run_in_the_folder_is_refused_unless_restarted(tmp_path: Path) -> None:
    run(tmp_path, about={"tokens": "one"})
    with pytest.raises(UsageError, match=r"tokens one, two given.*--restart"):
        run(tmp_path, about={"tokens": "two"})
    with pytest.raises(UsageError, match=r"lr 0\.01, 0\.02 given"):
        run(tmp_path, about={"tokens": "one"}, config=replace(CONFIG, lr=0.02))
    run(tmp_path, about={"tokens": "one"}, config=replace(CONFIG, log_every=6))  # changes nothing that is learnt
    run(tmp_path, config=replace(CONFIG, checkpoints_at=(2,)), restart=True)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000002.safetensors"]


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(ForensicsError, match=r"state\.pt is damaged .*--restart"):
        run(tmp_path)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    model = line()
    with pytest.raises(ForensicsError, match="the loss is nan at step 5"):
        train(
            model,
            lambda chosen, generator: {"total": model.weight.sum() * float("nan")},
            repeats=REPEATS,
            config=CONFIG,
            out=tmp_path,
        )


def test_samples_come_in_epochs_each_as_often_as_it_is_repeated() -> None:
    length, seen = sum(REPEATS), []
    for step in range(length):
        seen += sample_order(REPEATS, seed=1, step=step, batch=4).tolist()
    epochs = [seen[start : start + length] for start in range(0, 4 * length, length)]
    assert all(sorted(epoch) == [0, 1, 1, 2, 3, 3, 3] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert sample_order((0, 5), seed=1, step=0, batch=8).tolist() == [1] * 8
    with pytest.raises(UsageError, match="at least one"):
        sample_order((0, 0), seed=1, step=0, batch=1)


def test_chance_depends_on_seed_and_step_alone() -> None:
    draws = [torch.rand(3, generator=step_generator(seed, step)) for seed, step in ((1, 2), (1, 2), (1, 3), (2, 2))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])


def test_the_learning_rate_grows_and_falls() -> None:
    config = LoopConfig(steps=110, batch=1, lr=1.0, warmup=10, final=0.1)
    rates = [learning_rate(config, step) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert learning_rate(replace(config, schedule="constant"), 100) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps 0 given"),
        ({"lr": float("nan")}, "lr nan"),
        ({"checkpoints_at": (13,)}, "step 13 given, 0 to 12"),
    ],
)
def test_settings_that_make_no_run_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(CONFIG, **change)
