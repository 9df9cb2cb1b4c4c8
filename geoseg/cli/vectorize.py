"""``geoseg vectorize``"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.cli.progress import report, tracker
from geoseg.options import PolygonOptions, VectorizeOutputs, WriteOptions

EXAMPLES = """
geoseg vectorize labels.tif -o polygons.gpkg
geoseg vectorize labels.tif -o polygons.parquet --confidence confidence.tif --min-area 2
geoseg vectorize labels.tif -o objects.gpkg --confidence confidence.tif --split confidence
geoseg vectorize labels.tif -o polygons.gpkg --simplify 1 --picture polygons.png --scene scene.tif
"""


@command(EXAMPLES)
@click.argument("labels", type=options.PATH)
@option(
    "--confidence",
    type=options.PATH,
    metavar="TIF",
    group="Input",
    help="Read the confidence of every polygon from this raster of the same run.",
)
@option(
    "--interior",
    type=options.PATH,
    metavar="TIF",
    group="Input",
    help="Separate objects by this raster of the interior of objects, of the same run.",
)
@option(
    "--uncertainty",
    type=options.PATH,
    metavar="TIF",
    group="Input",
    help="Read the uncertainty of every polygon from this raster of the same run.",
)
@options.output
@options_of(VectorizeOutputs, "outputs")
@options_of(WriteOptions, "run")
@options_of(PolygonOptions, "polygons")
@options.progress
def vectorize(
    labels: Path,
    output: Path,
    confidence: Path | None,
    interior: Path | None,
    uncertainty: Path | None,
    outputs: VectorizeOutputs,
    polygons: PolygonOptions,
    run: WriteOptions,
    progress: str,
) -> None:
    """Vectorize a LABELS raster into polygons.

    LABELS is a raster of class IDs with 0 for background, from `geoseg segment --labels` or any
    other source. OUTPUT is a GeoPackage with QGIS styles or, by its suffix, GeoParquet (.parquet),
    FlatGeobuf (.fgb) or GeoJSON (.geojson, in WGS 84).
    """
    from geoseg.tools.vectorize import vectorize as tool

    provenance = {"labels": labels.name, "command": options.command_line()}
    tool(
        labels,
        output,
        confidence=confidence,
        interior=interior,
        uncertainty=uncertainty,
        polygons=polygons,
        outputs=replace(outputs, provenance=provenance),
        run=run,
        track=tracker(progress),
    )
    report(output, progress)
