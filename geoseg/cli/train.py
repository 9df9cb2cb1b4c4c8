"""``geoseg train``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker
from geoseg.errors import ConfigError


@click.command()
@click.argument("config", type=options.PATH)
@options.output
@click.option("--resume", is_flag=True, help="Go on from the checkpoint of an interrupted run.")
@options.settings
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="How many threads read windows. [default: as many as cores, at most 16]",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="How many processes read them instead; 0: none. [default: on a GPU, without --threads, as many as cores, at "
    "most 16; else 0]",
)
@click.option(
    "--tensorboard",
    type=options.PATH,
    metavar="FOLDER",
    help="Also write events for TensorBoard here.",
)
@options.device
@options.overwrite
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

    Writes OUTPUT.safetensors, and beside it a log (.log.jsonl, .log.csv) and learning curves
    (.curves.png). Under torchrun its processes share the run.
    """
    from geoseg.cli.process import keep_freed_memory
    from geoseg.models.runtime import choose_device
    from geoseg.tools.train import default_workers
    from geoseg.tools.train import train as tool
    from geoseg.training.config import read_config
    from geoseg.training.distributed import is_leader

    if threads and workers:
        raise ConfigError("--threads and --workers: either the ones or the others. leave one out")
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
