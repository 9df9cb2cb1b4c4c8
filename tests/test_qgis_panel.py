"""The commands that the panel of the QGIS plugin starts, without QGIS."""

from __future__ import annotations

import click
import pytest

from geoseg.cli import geoseg
from qgis_plugin.geoseg_qgis.panel_session import (
    Rasters,
    SceneArguments,
    fit_arguments,
    segment_arguments,
    suggest_arguments,
)

SCENE = SceneArguments("scene.tif", "own.safetensors", "1,2,3", 0.25)
RASTERS = Rasters.beside("objects-1.gpkg")
COMMANDS = {
    "fit": fit_arguments(
        SCENE,
        "new.safetensors",
        annotations="annotations.gpkg",
        area="frames.gpkg",
        stop_file="stop",
        minutes=4,
        resume=True,
    ),
    "segment": segment_arguments(SCENE, "objects.gpkg", rasters=RASTERS),
    "preview": segment_arguments(SCENE, "preview.gpkg", box=(-1.5, 2, 3, 4)),
    "suggest": suggest_arguments(SCENE, "frames.gpkg", frames=8, area="frames.gpkg"),
    "suggest again": suggest_arguments(SCENE, "frames.gpkg", frames=8, rasters=RASTERS),
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=list(COMMANDS))
def test_the_options_of_the_panel_exist(arguments: list[str]) -> None:
    command = geoseg.get_command(click.Context(geoseg), arguments[0])
    assert command is not None
    command.make_context(arguments[0], [*arguments[1:], "--progress", "json"])
