"""What of a training run outlives the process: the state to go on from, checkpoints, and loss curves."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from forensics.errors import ForensicsError, UsageError
from forensics.train.curves import draw_curves

__all__ = ["Session", "checkpoint_path", "save_weights", "write_tensors"]

_STATE = "state.pt"
_CHECKPOINTS = "checkpoints"
_LARGEST_HALF = 65504.0


class Session:
    """What of a run outlives the process, and the means since the last row of the curves."""

    def __init__(self, out: Path, identity: Mapping[str, str]) -> None:
        self.path = out / _STATE
        self.curves = out / "losses.csv"
        self.identity = dict(identity)
        self.step = 0
        self.seconds = 0.0
        self.fresh = False
        """Whether anything happened that is not saved."""
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def forget(self) -> None:
        """Delete what an earlier run left."""
        for path in (self.path, self.curves, self.curves.with_suffix(".png")):
            path.unlink(missing_ok=True)
        for path in (self.path.parent / _CHECKPOINTS).glob("step-*.safetensors"):
            path.unlink()

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Go on where an earlier run stopped, if there is one and it is the same; drop rows past its state."""
        if not self.path.is_file():
            self.curves.unlink(missing_ok=True)
            return
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            before = dict(state["identity"])
        except Exception as error:  # unpickling raises whatever it meets
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ForensicsError(f"{self.path} is damaged ({reason}); begin anew with --restart") from error
        if changed := [name for name in {**before, **self.identity} if before.get(name) != self.identity.get(name)]:
            name = changed[0]
            raise UsageError(
                f"{self.path.parent} holds a run with {name} {before.get(name)}, {self.identity.get(name)} given; "
                "give another folder, or begin anew with --restart"
            )
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self._sums, self._count = dict(state["sums"]), int(state["count"])
        if rows := [row for row in self._rows() if int(row["step"]) <= self.step]:
            self._write(rows, "w")
        else:
            self.curves.unlink(missing_ok=True)

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write the state, whole or not at all, and draw the curves."""
        part = self.path.with_name(f"{_STATE}.part")
        with open(part, "wb") as file:
            torch.save(
                {
                    "identity": self.identity,
                    "step": self.step,
                    "seconds": self.seconds,
                    "sums": {name: value.cpu() for name, value in self._sums.items()},
                    "count": self._count,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
                file,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)  # noqa: PTH105  atomic
        self.fresh = False
        if rows := self._rows():
            draw_curves(rows, self.curves.with_suffix(".png"))

    def add(self, losses: Mapping[str, Tensor], seconds: float) -> None:
        """Count a step."""
        self.step, self.seconds, self.fresh = self.step + 1, self.seconds + seconds, True
        for name, value in losses.items():
            # no .item(): a GPU would be waited for
            fresh = value.detach().double()
            self._sums[name] = self._sums[name].to(fresh.device) + fresh if name in self._sums else fresh
        self._count += 1

    def log(self, lr: float) -> None:
        """Write a row of means since the last one."""
        means = {name: float(value) / self._count for name, value in self._sums.items()}
        if not all(math.isfinite(mean) for mean in means.values()):
            raise ForensicsError(f"the loss is {means['total']} at step {self.step}: lower lr and restart")
        row = {"step": str(self.step), "seconds": f"{self.seconds:.1f}", "lr": f"{lr:.6g}"}
        self._write([row | {name: f"{mean:.6g}" for name, mean in means.items()}], "a")
        self._sums, self._count = {}, 0

    def last_row(self) -> dict[str, float]:
        """Return the last row of the curves; empty where there is none."""
        rows = self._rows()
        return {name: float(value) for name, value in rows[-1].items()} if rows else {}

    def _rows(self) -> list[dict[str, str]]:
        if not self.curves.is_file():
            return []
        with open(self.curves, newline="", encoding="utf-8") as file:
            # a row that was being written when the process died is cut
            return [row for row in csv.DictReader(file) if None not in row.values()]

    def _write(self, rows: Sequence[Mapping[str, str]], mode: Literal["w", "a"]) -> None:
        header = mode == "w" or not self.curves.is_file()
        with open(self.curves, mode, newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            if header:
                writer.writeheader()
            writer.writerows(rows)


def checkpoint_path(out: Path, step: int) -> Path:
    """Return where a run folder keeps the weights after a step."""
    return out / _CHECKPOINTS / f"step-{step:06d}.safetensors"


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's state dict as float16 safetensors, whole or not at all.

    Raises
    ------
    ForensicsError
        If a weight is beyond float16's range.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        # a NaN does not compare either
        if tensor.is_floating_point() and not float(tensor.abs().max()) <= _LARGEST_HALF:
            raise ForensicsError(f"{name} has values beyond float16's range after training; lower lr and restart")
        state[name] = (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
    write_tensors(state, path, metadata={"format": "pt"})


def write_tensors(tensors: dict[str, Tensor], path: Path, *, metadata: dict[str, str]) -> None:
    """Write safetensors that every user may read, whole or not at all; the folder is made."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    save_file(tensors, part, metadata=metadata)
    part.chmod(0o644)  # save_file leaves it to its owner alone, whatever the umask
    os.replace(part, path)  # noqa: PTH105  atomic
