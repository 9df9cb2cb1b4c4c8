"""``geoseg prepare``"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker
from geoseg.errors import ConfigError, SkippedInputsError
from geoseg.progress import Track


class _Common(TypedDict):
    val_share: float
    legend: str | None
    skip_bad: bool
    jobs: int | None
    overwrite: bool
    track: Track


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=options.EXISTING_FILE)
@options.output
@click.option(
    "--annotations",
    type=options.EXISTING_FILE,
    help="Vector file of polygons over scenes; SOURCE... are these scenes then.",
)
@click.option(
    "--class-column",
    default="class",
    show_default=True,
    metavar="NAME",
    help="Column of --annotations that tells what a polygon shows.",
)
@click.option("--layer", metavar="NAME", help="Layer of --annotations. [default: the only one]")
@click.option(
    "--format",
    "reader",
    default="vector",
    show_default=True,
    metavar="NAME",
    help="Format of --annotations: vector, or one that another package reads.",
)
@click.option(
    "--block",
    type=click.IntRange(min=32),
    metavar="PX",
    help="Cut scenes into blocks of about PX pixels before they are split into train and val. "
    "[default: about 16 blocks of few scenes; 8 or more scenes stay whole]",
)
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
    help="Share that goes to split val, where no sub-folders say so.",
)
@click.option(
    "--outlines",
    type=options.EXISTING_FILE,
    help="GeoParquet file of true outlines: columns image, category, geometry in pixels.",
)
@click.option(
    "--legend",
    metavar="NAME|FILE",
    help="dota-v1.0, dota-v1.5, dota-v2.0, a model file, shipped, or a .json list of id, name, colour."
    " [default: the smallest of DOTA that fits; for --annotations the classes found]",
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
    sources: tuple[Path, ...],
    output: Path,
    annotations: Path | None,
    class_column: str,
    layer: str | None,
    reader: str,
    block: int | None,
    splits: str | None,
    val_share: float,
    outlines: Path | None,
    legend: str | None,
    skip_bad: bool,
    jobs: int | None,
    overwrite: bool,
    progress: str,
) -> None:
    """Turn scenes and annotations into a dataset.

    SOURCE is a folder in DOTA's layout: it holds images/ (PNG, JPEG or TIFF) and labelTxt/ (DOTA v1.0,
    v1.5 or v2.0), or has sub-folders train/, val/ ... that do. With --annotations, SOURCE... are scenes,
    and polygons drawn over them in a GIS their annotations. OUTPUT becomes a folder of tiled
    GeoTIFFs and one annotations.gpkg, which lie upon each other in QGIS, and dataset.json.
    """
    common: _Common = {
        "val_share": val_share,
        "legend": legend,
        "skip_bad": skip_bad,
        "jobs": jobs,
        "overwrite": overwrite,
        "track": tracker(progress),
    }
    skipped = None
    try:
        if annotations:
            _refuse(splits=splits, outlines=outlines)
            from geoseg.prepare import prepare_drawn

            prepare_drawn(
                sources,
                output,
                annotations=annotations,
                format=reader,
                class_column=class_column,
                layer=layer,
                block=block,
                **common,
            )
        else:
            _refuse(layer=layer, block=block)
            if len(sources) > 1 or sources[0].is_file():
                raise ConfigError(
                    f"{sources[-1]}: scenes need what was drawn over them. name it with --annotations"
                )
            from geoseg.prepare import prepare as tool

            tool(
                sources[0],
                output,
                splits=[name.strip() for name in splits.split(",")] if splits else None,
                outlines=outlines,
                **common,
            )
    except SkippedInputsError as error:  # the product is there all the same
        skipped = error
    report(output, progress)
    if skipped:
        raise skipped


def _refuse(**options: object) -> None:
    """Raise ConfigError when one of these options was given."""
    for name, value in options.items():
        if value is not None:
            where = "with" if name in ("splits", "outlines") else "without"
            raise ConfigError(f"--{name}: has no meaning {where} --annotations. leave it out")
