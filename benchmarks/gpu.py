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
import json
import time
from pathlib import Path

import torch
from gpu_ops import parity, time_ops
from gpu_steps import time_steps
from gpu_train import time_train

from boxwright.environment import environment_line

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
    figures = {}
    for name in arguments.only:
        start = time.perf_counter()
        print(f"\n{name}", flush=True)
        figures[name] = SECTIONS[name](arguments.device, arguments.rounds)
        print(f"({time.perf_counter() - start:.0f} s)", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
