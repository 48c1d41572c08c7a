"""Ours on a GPU against torchvision, and ``train`` against its bare step: everything in about four minutes.

    python benchmarks/gpu.py [--device cuda] [--only parity ops steps train] [--rounds 15] [--json FILE]

- parity: matching, mining, losses and NMS on the device give what they give on the CPU.
- ops: milliseconds and waits for the device (torch's sync debug mode counts them) of single calls.
- steps: images/s, memory and waits of whole training steps, in float32 (TF32 allowed) and bf16, channels_last on both
  sides; and the share of ours that lies outside the network.
- train: images/s of ``boxwright.train`` over made JPEG files, once its loaders are warm, against the bare step of the
  same recipe, batch and precision; validation and checkpoints apart.

Times are of the wall, medians, with the device synchronized: nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gpu_ops import parity, time_ops
from gpu_steps import time_steps
from gpu_train import time_train
from turns import Row, write

from boxwright.environment import environment, environment_line

SECTIONS = {"parity": parity, "ops": time_ops, "steps": time_steps, "train": time_train}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", type=torch.device)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--search", action="store_true", help="cuDNN tries its kernels out, on both sides: a slow start"
    )
    parser.add_argument("--json", type=Path, help="where the figures go too")
    arguments = parser.parse_args()
    if arguments.device.type == "cuda":
        torch.backends.cudnn.benchmark = arguments.search
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        print(torch.cuda.get_device_name(arguments.device))
    print(environment_line())
    rows: list[Row] = []
    for name in arguments.only:
        start = time.perf_counter()
        print(f"\n{name}", flush=True)
        rows += ROWS[name](SECTIONS[name](arguments.device, arguments.rounds))
        print(f"({time.perf_counter() - start:.0f} s)", flush=True)
        if arguments.json:
            write(arguments.json, rows, _machine(arguments.device))


def rows_of_parity(same: Mapping[str, bool]) -> list[Row]:
    return [Row("calls that give what they give on the CPU", sum(same.values()), unit=f"of {len(same)}")]


def rows_of_ops(figures: Mapping[str, Mapping[str, float]]) -> list[Row]:
    rows = []
    for name, of in figures.items():
        ours, peer = of["ours ms"], of.get("torchvision ms")
        note = f"waits {of['waits']}" + (f", torchvision {of['torchvision waits']}" if peer else "")
        rows.append(Row(name, ours, peer, (peer / ours,) * 3 if peer else None, note=note))
    return rows


def rows_of_steps(figures: Mapping[str, Mapping[str, float]]) -> list[Row]:
    rows = []
    for name, of in figures.items():
        ours, peer = of["images/s"], of["torchvision images/s"]
        note = (
            f"{of['GiB']:.1f} GiB, torchvision {of['torchvision GiB']:.1f}; waits {of['waits']:.0f}, torchvision "
            f"{of['torchvision waits']:.0f}; {of['outside the network']:.0%} outside the network"
        )
        rows.append(Row(f"step, {name}", ours, peer, (ours / peer,) * 3, "images/s", note=note))
    return rows


def rows_of_train(figures: Mapping[str, Mapping[str, float]]) -> list[Row]:
    return [
        Row(
            f"`train`, {name}, against its bare step",
            of["images/s"],
            of["bare step images/s"],
            (of["share"],) * 3,
            "images/s",
            note=f"{of['between steps']:.0%} of the time between the steps; {of['first step s']:.0f} s to the first",
        )
        for name, of in figures.items()
    ]


ROWS = {"parity": rows_of_parity, "ops": rows_of_ops, "steps": rows_of_steps, "train": rows_of_train}


def _machine(device: torch.device) -> dict[str, Any]:
    found = environment()
    if device.type == "cuda":
        found |= {"processor": torch.cuda.get_device_name(device), "cpu_flags": []}
    return found


if __name__ == "__main__":
    main()
