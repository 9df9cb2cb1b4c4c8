"""``geoseg prepare``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker
from geoseg.errors import SkippedInputsError


@click.command()
@click.argument("folder", metavar="DOTA_DIR", type=options.EXISTING_FOLDER)
@options.output
@click.option(
    "--splits",
    metavar="NAME,...",
    help="Sub-folders to use, as splits of the dataset. [default: all that have images]",
)
@click.option(
    "--val-share",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the scenes that go to split val, where no sub-folders say so.",
)
@click.option(
    "--outlines",
    type=options.EXISTING_FILE,
    help="GeoParquet file of true outlines: columns image, category, geometry in pixels.",
)
@click.option(
    "--legend",
    metavar="NAME|FILE.json",
    help="dota-v1.0, dota-v1.5, dota-v2.0, or a list of id, name, colour."
    " [default: the smallest of DOTA that fits]",
)
@click.option(
    "--skip-bad", is_flag=True, help="Leave out images and labels at fault; exit code 6 then."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Files worked on at once. [default: cores]"
)
@options.overwrite
@options.progress
def prepare(
    *,
    folder: Path,
    output: Path,
    splits: str | None,
    val_share: float,
    outlines: Path | None,
    legend: str | None,
    skip_bad: bool,
    jobs: int | None,
    overwrite: bool,
    progress: str,
) -> None:
    """Turn a DOTA folder into a dataset.

    DOTA_DIR holds images/ (PNG, JPEG or TIFF) and labelTxt/ (DOTA v1.0, v1.5 or v2.0), or has
    sub-folders train/, val/ ... that do. OUTPUT becomes a folder of tiled GeoTIFFs and one
    annotations.gpkg, which lie upon each other in QGIS, and dataset.json.
    """
    from geoseg.prepare import prepare as tool

    skipped = None
    try:
        tool(
            folder,
            output,
            splits=[name.strip() for name in splits.split(",")] if splits else None,
            val_share=val_share,
            outlines=outlines,
            legend=legend,
            skip_bad=skip_bad,
            jobs=jobs,
            overwrite=overwrite,
            track=tracker(progress),
        )
    except SkippedInputsError as error:  # the product is there all the same
        skipped = error
    report(output, progress)
    if skipped:
        raise skipped
