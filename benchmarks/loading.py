"""Share of the wall time of a training that is spent in its steps, rather than waiting for windows.

    python -m benchmarks.loading DATASET [--config CONFIG] [--steps 12] [--set SECTION.KEY=VALUE] [--device auto]
        [--threads 2 | --workers N]

Reads windows of 512 pixels as `geoseg train` does: with threads, on a GPU with worker processes. With few cores,
threads compete with the network even if it never waits; the share of processor time is therefore reported too: that of
the process minus the time to read and scale the same windows. The exit status is 1 if a share is below 90 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, process_time

from geoseg.models.runtime import choose_device
from geoseg.tools.train import default_workers
from geoseg.training.config import read_config
from geoseg.training.run import TrainingRun
from geoseg.training.windows import SplitReader

CONFIG = Path(__file__).parent.parent / "configs" / "dota-mobile.toml"
MIN_SHARE = 0.90


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(words)
    settings = [
        f"data.dataset={args.dataset}",
        "data.window=512",
        "training.validate_every=1000000",
    ]
    config = read_config(args.config, [*settings, f"training.steps={args.steps + 2}", *args.set])
    workers = args.workers
    if workers is None:
        workers = default_workers(args.device, args.threads)
    run = TrainingRun(
        config, choose_device(args.device), threads=args.threads or 2, workers=workers
    )
    size = config.training.batch_size * config.training.accumulate
    for n in range(size):
        run.sampler(n)  # opens the scenes
    began = process_time()
    samples = [run.sampler(n) for n in range(size, 2 * size)]
    batch = run.scaling.make_batch(samples, run.trainer.device)
    reading = process_time() - began
    with run.load_steps() as steps:
        run.train_step(next(steps))  # allocates memory and selects algorithms
        began, used, computing = monotonic(), process_time(), 0.0
        for _ in range(args.steps):
            parts = next(steps)
            started = monotonic()
            run.trainer.train_step(parts)
            computing += monotonic() - started
        wall, used = monotonic() - began, process_time() - used
    began = monotonic()
    run.trainer.train_step([batch])
    undisturbed = monotonic() - began
    shares = {"wall time in the steps": computing / wall}
    if not workers:
        shares["processor time in the steps"] = 1 - args.steps * reading / used
    print(f"windows per second                 {args.steps * size / wall:.2f}")
    for name, share in shares.items():
        print(f"share of {name:<26}{100 * share:.1f} %")
    print(f"processor time to read a window    {1000 * reading / size:.0f} ms")
    print(f"step, while reading windows        {1000 * computing / args.steps:.0f} ms")
    print(f"step, without reading              {1000 * undisturbed:.0f} ms")
    kept, reopened = time_open_scenes(run, windows=8 * size)
    print(
        f"reading, scenes kept open          {kept:.1f} ms, {kept / reopened:.2f} of reopening them"
    )
    return 0 if min(shares.values()) >= MIN_SHARE else 1


def time_open_scenes(run: TrainingRun, windows: int) -> tuple[float, float]:
    """Return the processor time in ms to read a window with scenes kept open, and with scenes reopened."""
    readers = [
        SplitReader(run.dataset, "train", layer=run.layer, difficult="keep", max_open=most)
        for most in (128, 0)
    ]
    seconds = [0.0, 0.0]
    for n in range(windows):
        for which, reader in enumerate(readers):  # in turns, against drift
            began = process_time()
            reader.read(run.sampler.view(n), run.sampler.size)
            seconds[which] += process_time() - began
    kept, reopened = (1000 * total / windows for total in seconds)
    return kept, reopened


if __name__ == "__main__":
    sys.exit(main())
