"""``geoseg fit``"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.cli.progress import report, tracker
from geoseg.options import AnnotationOptions, FitOptions, PrepareOptions, option_fields

EXAMPLES = """
geoseg fit scene.tif --annotations roofs.gpkg -o roofs.safetensors
geoseg fit scene.tif --annotations roofs.gpkg -m roofs.safetensors -o roofs2.safetensors --minutes 5
geoseg fit scenes/ --annotations roofs.gpkg -o roofs.safetensors --class-column kind --dataset dataset
"""

_NOT_OFFERED = ("split_list", "block", "gap")


@command(EXAMPLES)
@click.argument("scenes", metavar="SCENE...", nargs=-1, required=True, type=options.PATH)
@option(
    "--annotations",
    type=options.PATH,
    required=True,
    metavar="PATH",
    group="Input",
    help="Read annotations from this vector file, or another --format.",
)
@options_of(AnnotationOptions, "source")
@options.model
@option(
    "--config",
    type=options.PATH,
    metavar="TOML",
    show_default="that of geoseg init",
    group="Input",
    help="Train by this configuration.",
)
@options.settings
@options.output
@options_of(
    PrepareOptions,
    "data",
    only={field.name for field, _ in option_fields(PrepareOptions)} - set(_NOT_OFFERED),
)
@options_of(
    FitOptions, "tool_options", only=("dataset", "minutes", "stop_file", "resume", "overwrite")
)
@options.device
@options.progress
def fit(
    scenes: tuple[Path, ...],
    output: Path,
    *,
    config: Path | None,
    settings: tuple[str, ...],
    tool_options: FitOptions,
    progress: str,
    **arguments: Any,
) -> None:
    """Teach a model the classes of some polygons on SCENEs, in minutes.

    Build a dataset, fine-tune a model on it, and write it to OUTPUT, NAME.safetensors, with a log and
    learning curves (NAME.curves.png) next to it. Without --model, training starts from the shipped model, whose
    terms then apply to the new one, too.
    """
    from geoseg.cli.process import keep_freed_memory
    from geoseg.models.runtime import choose_device
    from geoseg.tools.fit import fit as tool
    from geoseg.tools.init import TEMPLATES
    from geoseg.training.config import read_config

    if choose_device(arguments["device"]) == "cpu":
        keep_freed_memory()
    result = tool(
        scenes,
        output,
        options=tool_options,
        config=read_config(config or TEMPLATES["finetune"], settings),
        track=tracker(progress),
        **arguments,
    )
    polygons = result.model.with_suffix(".gpkg")
    following = ["geoseg", "segment", str(scenes[0]), "-m", str(result.model), "-o", str(polygons)]
    click.echo(
        f"best validation mIoU {100 * result.miou:.1f} %, see {result.curves}\n"
        f"next: {shlex.join(following)}",
        err=True,
    )
    report(result.model, progress, miou=result.miou)
