"""``geoseg segment``"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.cli.progress import report, tracker
from geoseg.errors import SkippedInputsError
from geoseg.options import (
    ComputeOptions,
    PolygonOptions,
    RunOptions,
    SceneOptions,
    SegmentOutputs,
    TilingOptions,
)

EXAMPLES = """
geoseg segment scene.tif -o objects.gpkg
geoseg segment scene.tif -o objects.gpkg -m model.safetensors --labels labels.tif --min-pixels 12
geoseg segment scene.tif -o objects.gpkg --split confidence --objects ids.tif
geoseg segment "scenes/*.tif" -o results/ --device cuda --batch-size 8
"""


@command(EXAMPLES)
@click.argument("scenes", metavar="SCENE...", nargs=-1, type=click.Path())
@option(
    "--list",
    "listed",
    type=options.PATH,
    metavar="FILE",
    group="Input",
    help="Read names of scenes from this text file, one per line.",
)
@option(
    "--allow-remote",
    is_flag=True,
    group="Input",
    help="Read GeoTIFFs at https:// and s3:// addresses, by range requests.",
)
@options.model
@options_of(SceneOptions, "scene")
@option(
    "-o",
    "--output",
    type=click.Path(),
    required=True,
    metavar="FILE|FOLDER/",
    group="Output",
    help="Write polygons to this file (.gpkg, .parquet, .fgb, .geojson), or one GeoPackage per scene "
    "to this folder.",
)
@options_of(SegmentOutputs, "outputs")
@options_of(RunOptions, "run")
@options_of(PolygonOptions, "polygons")
@options_of(TilingOptions, "tiling")
@options_of(ComputeOptions, "compute")
@options.progress
def segment(
    scenes: tuple[str, ...],
    listed: Path | None,
    *,
    allow_remote: bool,
    output: str,
    scene: SceneOptions,
    outputs: SegmentOutputs,
    progress: str,
    **tool_options: Any,
) -> None:
    """Segment SCENEs and write the objects as polygons.

    SCENE is a GeoTIFF, PNG, JPEG or JPEG 2000 of any size, or a pattern such as "scenes/*.tif".
    Several scenes are written to one GeoPackage if they share a coordinate reference system, or to
    one GeoPackage each. Files open in QGIS with a colour per class. An interrupted run continues
    when the command is repeated.

    With a model that has object outputs, each object of a countable class is a polygon of its own,
    also where objects touch; --merged writes connected pixels of a class as one polygon.
    """
    from geoseg.tools.segment import segment as segment_together
    from geoseg.tools.segment_each import segment_each

    sources = options.expand_names(scenes, listed, allow_remote=allow_remote)
    folder = not scene.mosaic and (
        output.endswith(("/", os.sep))
        or Path(output).is_dir()
        or (len(sources) > 1 and not Path(output).suffix)
    )
    skipped = None
    try:
        (segment_each if folder else segment_together)(
            sources,
            Path(output),
            scene=scene,
            outputs=replace(outputs, provenance={"command": options.command_line()}),
            track=tracker(progress),
            **tool_options,
        )
    except SkippedInputsError as error:  # the product exists all the same
        skipped = error
    report(Path(output), progress)
    if skipped:
        raise skipped
