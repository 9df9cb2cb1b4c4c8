"""``geoseg view``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report


@click.command()
@click.argument("polygons", type=options.PATH)
@click.argument("scene", type=options.PATH, required=False)
@options.output
@click.option(
    "--layer", "layers", multiple=True, help="Show this layer only. May be repeated. [default: all]"
)
@click.option(
    "--class-column",
    metavar="COLUMN",
    help="Where the class stands. [default: what the file's QGIS style goes by, or a usual name]",
)
@click.option(
    "--size",
    type=click.IntRange(256, 4096),
    default=2048,
    show_default=True,
    metavar="PX",
    help="Longer side of the scene's picture in the page.",
)
@click.option(
    "--max-mb",
    type=click.FloatRange(min=1),
    default=20.0,
    show_default=True,
    metavar="MB",
    help="Simplify outlines until the page is no larger.",
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

    POLYGONS is a GeoPackage of geoseg's or any other, or a GeoParquet, FlatGeobuf, GeoJSON or
    Shapefile. OUTPUT is one HTML file with everything in it: classes to switch on and off, and a
    click tells what a polygon is.
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
