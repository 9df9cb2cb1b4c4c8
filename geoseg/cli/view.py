"""``geoseg view``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, options_of
from geoseg.cli.progress import report
from geoseg.options import ViewOptions

EXAMPLES = """
geoseg view objects.gpkg scene.tif -o map.html
geoseg view buildings.geojson -o map.html --class-column kind --max-mb 5
"""


@command(EXAMPLES)
@click.argument("polygons", type=options.PATH)
@click.argument("scene", type=options.PATH, required=False)
@options.output
@options_of(ViewOptions, "tool_options")
@options.progress
def view(
    *,
    polygons: Path,
    scene: Path | None,
    output: Path,
    tool_options: ViewOptions,
    progress: str,
) -> None:
    """Write an offline HTML map of POLYGONS over their SCENE.

    POLYGONS is a GeoPackage, GeoParquet, FlatGeobuf, GeoJSON or Shapefile, from geoseg or any other
    program. OUTPUT is one HTML file that embeds everything: layers per class that can be switched,
    and the attributes of a polygon on a click.
    """
    from geoseg.tools.view import view as tool

    tool(polygons, output, scene=scene, options=tool_options)
    report(output, progress)
