"""``geoseg view``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option
from geoseg.cli.progress import report

EXAMPLES = """
geoseg view objects.gpkg scene.tif -o map.html
geoseg view buildings.geojson -o map.html --class-column kind --max-mb 5
"""


@command(EXAMPLES)
@click.argument("polygons", type=options.PATH)
@click.argument("scene", type=options.PATH, required=False)
@option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    show_default="all layers",
    group="Input",
    help="Show this layer. May be repeated.",
)
@option(
    "--class-column",
    metavar="COLUMN",
    show_default="the column of the QGIS style, or a usual name",
    group="Input",
    help="Read the class from this column.",
)
@options.output
@option(
    "--size",
    type=click.IntRange(256, 4096),
    default=2048,
    show_default=True,
    metavar="PX",
    group="Output",
    help="Embed an image of the scene with this longer side.",
)
@option(
    "--max-mb",
    type=click.FloatRange(min=1),
    default=20.0,
    show_default=True,
    metavar="MB",
    group="Output",
    help="Simplify outlines until the file is no larger.",
)
@options.overwrite
@options.progress
def view(
    *,
    polygons: Path,
    scene: Path | None,
    output: Path,
    layers: tuple[str, ...],
    class_column: str | None,
    size: int,
    max_mb: float,
    overwrite: bool,
    progress: str,
) -> None:
    """Write an offline HTML map of POLYGONS over their SCENE.

    POLYGONS is a GeoPackage, GeoParquet, FlatGeobuf, GeoJSON or Shapefile, from geoseg or any other
    program. OUTPUT is one HTML file that embeds everything: layers per class that can be switched,
    and the attributes of a polygon on a click.
    """
    from geoseg.tools.view import view as tool

    tool(
        polygons,
        output,
        scene=scene,
        layers=layers,
        class_column=class_column,
        size=size,
        max_mb=max_mb,
        overwrite=overwrite,
    )
    report(output, progress)
