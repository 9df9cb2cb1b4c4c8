"""``geoseg suggest``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.command import command, options_of
from geoseg.cli.progress import report, tracker
from geoseg.options import (
    ComputeOptions,
    SceneOptions,
    SuggestOptions,
    TilingOptions,
    option_fields,
)

EXAMPLES = """
geoseg suggest scene.tif -m model.safetensors -o frames.gpkg
geoseg suggest scene.tif -m model.safetensors -o more.gpkg --frames 4 --annotated-area frames.gpkg
geoseg suggest scene.tif -o frames.gpkg --labels labels.tif --uncertainty uncertainty.tif
"""

_SCENE_OPTIONS = {field.name for field, _ in option_fields(SceneOptions)} - {"mosaic"}


@command(EXAMPLES)
@click.argument("scene", type=options.PATH)
@options.model
@options_of(SceneOptions, "source", only=_SCENE_OPTIONS)
@options.output
@options_of(SuggestOptions, "options")
@options_of(TilingOptions, "tiling")
@options_of(ComputeOptions, "compute")
@options.progress
def suggest(*, scene: Path, output: Path, progress: str, **tool_options: Any) -> None:
    """Suggest which frames of a SCENE to annotate next.

    OUTPUT is a GeoPackage with a layer of frames, ranked: those come first in which the model is
    uncertain, which differ from each other and from what is annotated, and which have classes that
    those lack. Annotate every object in a frame, then pass the frames as --annotated-area.
    """
    from geoseg.tools.suggest import suggest as tool

    tool(scene, output, track=tracker(progress), **tool_options)
    report(output, progress)
