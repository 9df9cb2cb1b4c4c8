"""Effect of huge pages and of keeping freed memory on a network on the CPU.

    python -m benchmarks.heap [--side 1280] [--passes 6] [--rounds 3]

Runs forward passes of the shipped model with default settings, on huge pages, and with freed memory kept
(`geoseg.cli.process`), each in a process of its own. Page faults, system time and peak memory explain the result.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

MODES = ("default", "huge pages", "kept")


def run_passes(side: int, count: int, how: str) -> None:
    """Print time, page faults and memory of `count` passes over a window of `side` pixels."""
    import torch

    from geoseg.cli.process import keep_freed_memory, request_huge_pages
    from geoseg.models.layers import fold_batch_norm
    from geoseg.models.model_file import load_model

    if how == "huge pages":
        request_huge_pages()
    if how == "kept":
        keep_freed_memory()
    network = fold_batch_norm(load_model().network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.rand(1, 3, side, side).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(image)
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for _ in range(count):
            network(image)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"| {how} | {wall:.2f} | {after.ru_utime - before.ru_utime:.2f} "
        f"| {after.ru_stime - before.ru_stime:.2f} | {after.ru_minflt - before.ru_minflt:,} "
        f"| {after.ru_maxrss / 1024:,.0f} |",
        flush=True,
    )


def main() -> None:
    """Measure each mode in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1280)
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_passes(options.side, options.passes, options.one)
        return
    print("| freed memory | wall, s | user, s | system, s | page faults | peak RSS, MB |")
    print("| :-- | --: | --: | --: | --: | --: |", flush=True)
    for _ in range(options.rounds):
        for one in MODES:
            command = [sys.executable, "-m", "benchmarks.heap", "--one", one]
            command += ["--side", str(options.side), "--passes", str(options.passes)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
