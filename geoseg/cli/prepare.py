"""``geoseg prepare``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker
from geoseg.errors import ConfigError, SkippedInputsError

if TYPE_CHECKING:
    from geoseg.dataset.options import Common, Marked


_WITHOUT_COLOURS = ("vector", "coco", "yolo-obb", "yolo-seg")


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=options.PATH)
@options.output
@click.option(
    "--annotations",
    type=options.PATH,
    help="Vector file of polygons over scenes, or what else --format says; SOURCE... are these scenes then, "
    "or folders of them.",
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
    help="Format of --annotations: vector; coco (instances, also iSAID's); labels (rasters, in a folder or one "
    "for all scenes); yolo-obb or yolo-seg (a folder of text files); or one that another package reads.",
)
@click.option(
    "--colours",
    metavar="NAME|FILE",
    help="What colours of --format labels mean: isaid, potsdam, vaihingen, or a .toml or .json file of colour "
    "and class.",
)
@click.option(
    "--block",
    type=click.IntRange(min=32),
    metavar="PX",
    help="Cut scenes into blocks of about PX pixels before they are split into train and val. "
    "[default: about 16 blocks of few scenes; 8 or more scenes, and DOTA folders, stay whole]",
)
@click.option(
    "--gap",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="PX",
    help="Keep PX pixels between blocks of train and val out of both.",
)
@click.option(
    "--splits",
    metavar="NAME,...",
    help="Sub-folders to use, as splits of the dataset. [default: all that have images]",
)
@click.option(
    "--split-list",
    type=options.PATH,
    metavar="CSV",
    help="Columns scene and split: which scene is in which split.",
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
    type=options.PATH,
    help="GeoParquet file of true outlines: columns image, category, geometry in pixels.",
)
@click.option(
    "--legend",
    metavar="NAME|FILE",
    help="dota-v1.0, dota-v1.5, dota-v2.0, a model file, shipped, or a .json list of id, name, colour."
    " [default: the smallest of DOTA that fits; for --annotations the classes found]",
)
@click.option(
    "--classes",
    type=options.PATH,
    metavar="TOML",
    help='Rename, merge and drop classes: lines like "large-vehicle" = "vehicle", "helipad" = "".',
)
@click.option(
    "--difficult",
    type=click.Choice(["keep", "drop"]),
    default="keep",
    show_default=True,
    help="Objects marked as difficult, or as a crowd: keep them with their mark, or leave them out.",
)
@click.option(
    "--skip-bad", is_flag=True, help="Leave out images and labels at fault; exit code 6 then."
)
@options.jobs
@options.overwrite
@click.option(
    "--restart",
    is_flag=True,
    help="Write everything anew, also what has not changed or an interrupted run has left.",
)
@options.progress
def prepare(
    *,
    sources: tuple[Path, ...],
    output: Path,
    annotations: Path | None,
    class_column: str,
    layer: str | None,
    reader: str,
    colours: str | None,
    block: int | None,
    gap: int,
    splits: str | None,
    split_list: Path | None,
    val_share: float,
    outlines: Path | None,
    legend: str | None,
    classes: Path | None,
    difficult: Marked,
    skip_bad: bool,
    jobs: int | None,
    overwrite: bool,
    restart: bool,
    progress: str,
) -> None:
    """Build a dataset from scenes and annotations.

    SOURCE is a folder in DOTA's layout: it holds images/ (PNG, JPEG or TIFF) and labelTxt/ (DOTA v1.0,
    v1.5 or v2.0), or has sub-folders train/, val/ ... that do; or a dataset, to merge several. With
    --annotations, SOURCE... are scenes, and polygons drawn over them in a GIS their annotations. OUTPUT
    becomes a folder of tiled GeoTIFFs and one annotations.gpkg, which lie upon each other in QGIS,
    dataset.json, and report.json, which tells what was odd.

    After an interruption the same command goes on; with --overwrite it writes only what has changed.
    """
    common: Common = {
        "val_share": val_share,
        "split_list": split_list,
        "block": block,
        "gap": gap,
        "legend": legend,
        "classes": classes,
        "difficult": difficult,
        "skip_bad": skip_bad,
        "jobs": jobs,
        "overwrite": overwrite,
        "restart": restart,
        "track": tracker(progress),
    }
    skipped = None
    try:
        if annotations:
            _refuse(splits=splits, outlines=outlines)
            if colours and reader in _WITHOUT_COLOURS:
                raise ConfigError(f"--colours: has no meaning with --format {reader}. leave it out")
            from geoseg.tools.prepare import prepare_drawn

            prepare_drawn(
                sources,
                output,
                annotations=annotations,
                format=reader,
                class_column=class_column,
                layer=layer,
                colours=colours,
                **common,
            )
        else:
            _refuse(layer=layer, colours=colours)
            if files := [source for source in sources if source.is_file()]:
                raise ConfigError(
                    f"{files[0]}: scenes need what was drawn over them. name it with --annotations"
                )
            from geoseg.tools.prepare import prepare as tool

            tool(
                sources,
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
