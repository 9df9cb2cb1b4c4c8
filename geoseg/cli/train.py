"""``geoseg train``"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, options_of
from geoseg.cli.progress import report, tracker
from geoseg.errors import ConfigError
from geoseg.options import TrainOptions

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
@options_of(TrainOptions, "tool_options")
@options.device
@options.progress
def train(
    *,
    config: Path,
    output: Path,
    settings: tuple[str, ...],
    tool_options: TrainOptions,
    device: str,
    progress: str,
) -> None:
    """Train a model from a CONFIG file.

    OUTPUT is a model file, NAME.safetensors; a log (NAME.log.jsonl, NAME.log.csv) and learning curves
    (NAME.curves.png) are written next to it. Processes started by torchrun train one model together.
    """
    from geoseg.cli.process import keep_freed_memory
    from geoseg.models.runtime import choose_device
    from geoseg.tools.train import default_workers
    from geoseg.tools.train import train as tool
    from geoseg.training.config import read_config
    from geoseg.training.distributed import is_leader

    if tool_options.threads and tool_options.workers:
        raise ConfigError("--threads and --workers exclude each other. Leave one out")
    if tool_options.workers is None:
        tool_options = replace(tool_options, workers=default_workers(device, tool_options.threads))
    if choose_device(device) == "cpu":
        keep_freed_memory()
    result = tool(
        read_config(config, settings),
        output,
        options=tool_options,
        device=device,
        track=tracker(progress),
    )
    if not is_leader():
        return
    click.echo(f"best validation mIoU {100 * result.miou:.1f} %, see {result.curves}", err=True)
    report(result.model, progress, miou=result.miou)
