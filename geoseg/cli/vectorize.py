"""``geoseg vectorize``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.light import pyogrio_without_pandas
from geoseg.cli.progress import report, tracker
from geoseg.options import PolygonOptions


@click.command()
@click.argument("labels", type=options.EXISTING_FILE)
@options.output
@click.option(
    "--confidence",
    type=options.EXISTING_FILE,
    help="Confidence raster of the same run, for the confidence of every polygon.",
)
@click.option(
    "--scene",
    type=options.EXISTING_FILE,
    metavar="SCENE",
    help="The raster that LABELS are of: its name stands in every row, and --picture shows it.",
)
@options.polygons
@options.overwrite
@options.progress
def vectorize(
    *,
    labels: Path,
    output: Path,
    confidence: Path | None,
    scene: Path | None,
    cleaning: PolygonOptions,
    layer_per_class: bool,
    append: bool,
    dota_results: Path | None,
    picture: Path | None,
    overwrite: bool,
    progress: str,
) -> None:
    """Turn a LABELS raster into polygons.

    LABELS is a raster of class ids, 0 for background, made by `geoseg segment --labels` or by
    anything else. OUTPUT is a GeoPackage that opens in QGIS with a colour for every class, or, by
    its suffix, GeoParquet (.parquet), FlatGeobuf (.fgb) or GeoJSON (.geojson, in WGS 84).
    """
    pyogrio_without_pandas()
    from geoseg.tools.vectorize import vectorize as tool

    tool(
        labels,
        output,
        confidence=confidence,
        name=scene.name if scene else None,
        cleaning=cleaning,
        layer_per_class=layer_per_class,
        append=append,
        dota_results=dota_results,
        picture=picture,
        picture_of=scene,
        overwrite=overwrite,
        provenance={
            "labels": labels.name,
            "command": options.command_line(),
        },
        track=tracker(progress),
    )
    report(output, progress)
