"""``geoseg train``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option
from geoseg.cli.progress import report, tracker
from geoseg.errors import ConfigError

EXAMPLES = """
geoseg train train.toml -o model.safetensors
geoseg train train.toml -o model.safetensors --set training.steps=500 --device cuda
geoseg train train.toml -o model.safetensors --resume
torchrun --nproc-per-node 4 -m geoseg train train.toml -o model.safetensors
"""


@command(EXAMPLES)
@click.argument("config", type=options.PATH)
@options.settings
@options.output
@option(
    "--tensorboard",
    type=options.PATH,
    metavar="FOLDER",
    group="Output",
    help="Write event files for TensorBoard to this folder.",
)
@options.overwrite
@option(
    "--resume",
    is_flag=True,
    group="Output",
    help="Continue an interrupted run from its checkpoint.",
)
@option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="number of cores, at most 16",
    group="Performance",
    help="Read windows with this many threads.",
)
@option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    show_default="on a GPU, without --threads, number of cores, at most 16; else 0",
    group="Performance",
    help="Read windows with this many processes instead; 0 for none.",
)
@options.device
@options.progress
def train(
    *,
    config: Path,
    output: Path,
    resume: bool,
    settings: tuple[str, ...],
    threads: int | None,
    workers: int | None,
    tensorboard: Path | None,
    device: str,
    overwrite: bool,
    progress: str,
) -> None:
    """Train a model from a CONFIG file.

    OUTPUT is a model file, OUTPUT.safetensors; a log (.log.jsonl, .log.csv) and learning curves
    (.curves.png) are written next to it. Processes that torchrun starts train together.
    """
    from geoseg.cli.process import keep_freed_memory
    from geoseg.models.runtime import choose_device
    from geoseg.tools.train import default_workers
    from geoseg.tools.train import train as tool
    from geoseg.training.config import read_config
    from geoseg.training.distributed import is_leader

    if threads and workers:
        raise ConfigError("--threads and --workers exclude each other. Leave one out")
    if workers is None:
        workers = default_workers(device, threads)
    if choose_device(device) == "cpu":
        keep_freed_memory()
    result = tool(
        read_config(config, settings),
        output,
        resume=resume,
        overwrite=overwrite,
        device=device,
        threads=threads,
        workers=workers,
        tensorboard=tensorboard,
        track=tracker(progress),
    )
    if not is_leader():
        return
    click.echo(f"best validation mIoU {100 * result.miou:.1f} %, see {result.curves}", err=True)
    report(result.model, progress, miou=result.miou)
