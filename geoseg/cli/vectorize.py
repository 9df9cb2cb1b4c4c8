"""``geoseg vectorize``"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker


@click.command()
@click.argument("labels", type=options.EXISTING_FILE)
@options.output
@click.option(
    "--confidence",
    type=options.EXISTING_FILE,
    help="Confidence raster of the same run, for the confidence of every polygon.",
)
@click.option(
    "--min-pixels",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Leave out polygons of fewer pixels.",
)
@options.overwrite
@options.progress
def vectorize(
    *,
    labels: Path,
    output: Path,
    confidence: Path | None,
    min_pixels: int,
    overwrite: bool,
    progress: str,
) -> None:
    """Turn a LABELS raster into polygons.

    LABELS is a raster of class ids, 0 for background, made by `geoseg segment --labels` or by
    anything else. OUTPUT is a GeoPackage that opens in QGIS with a colour for every class.
    """
    from geoseg.vectorize import vectorize as tool

    tool(
        labels,
        output,
        confidence=confidence,
        min_pixels=min_pixels,
        overwrite=overwrite,
        provenance={
            "labels": labels.name,
            "command": shlex.join(["geoseg", *sys.argv[1:]]),
        },
        track=tracker(progress),
    )
    report(output, progress)
