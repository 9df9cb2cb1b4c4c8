"""``geoseg preview``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker


@click.command()
@click.argument("config", type=options.PATH)
@options.output
@click.option(
    "--windows",
    type=click.IntRange(1, 200),
    default=24,
    show_default=True,
    help="How many: the first that the training would see.",
)
@options.settings
@options.overwrite
@options.progress
def preview(
    *,
    config: Path,
    output: Path,
    windows: int,
    settings: tuple[str, ...],
    overwrite: bool,
    progress: str,
) -> None:
    """Draw training windows of a CONFIG with their labels.

    OUTPUT is a PNG: each window bare and, beside it, with its labels in the legend's colours.
    """
    from geoseg.tools.preview import preview as tool
    from geoseg.training.config import read_config

    sheet = tool(
        read_config(config, settings),
        output,
        windows=windows,
        overwrite=overwrite,
        track=tracker(progress),
    )
    report(sheet, progress)
