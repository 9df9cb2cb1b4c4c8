"""``geoseg segment``"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker
from geoseg.errors import SkippedInputsError
from geoseg.options import PolygonOptions


def _margin(_ctx: click.Context, _param: click.Parameter, value: str) -> int | str:
    if value in ("auto", "exact"):
        return value
    if value.isdecimal():
        return int(value)
    raise click.BadParameter(f"{value!r} is not auto, exact or a number of pixels")


def _bands(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers = value.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise click.BadParameter(f"{value!r} is not a list of band numbers such as 1,2,3")
    return tuple(map(int, numbers))


def _gsd(_ctx: click.Context, _param: click.Parameter, value: str) -> float | str:
    if value in ("auto", "none"):
        return value
    try:
        return float(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not auto, none or a number of metres") from error


def _bbox(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        west, south, east, north = map(float, value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not four numbers: west,south,east,north") from error
    return west, south, east, north


def _memory(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", value.strip().lower())
    if not found:
        raise click.BadParameter(f"{value!r} is not a size such as 1500MB or 2GB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit or " "))


@click.command()
@click.argument("scenes", metavar="SCENE...", nargs=-1, type=click.Path())
@click.option(
    "--list",
    "listed",
    type=options.EXISTING_FILE,
    help="Text file that names a scene on each line.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    required=True,
    help="File to write (.gpkg, .parquet, .fgb, .geojson), or a folder for a GeoPackage of each scene.",
)
@options.model
@click.option(
    "--labels", type=options.NEW_FILE, help="Also write the class of every pixel, as a COG."
)
@click.option(
    "--confidence",
    type=options.NEW_FILE,
    help="Also write how sure the model is, as a COG: 0 to 200 meaning 0 to 1.",
)
@click.option(
    "--probabilities",
    type=options.NEW_FILE,
    help="Also write how likely each class is, a band each, likewise.",
)
@click.option("--mosaic", is_flag=True, help="Read the scenes as one: they lie on one pixel grid.")
@click.option(
    "--bands",
    callback=_bands,
    metavar="N,N,…",
    help="Bands of the scene that the model gets, numbered from 1. [default: all but alpha]",
)
@click.option(
    "--gsd",
    callback=_gsd,
    metavar="METRES|auto|none",
    default="auto",
    show_default=True,
    help="Pixel size at which the network sees the scene; labels come back on the scene's own "
    "pixels. auto: what the model knows; none: as it is.",
)
@click.option(
    "--bbox",
    callback=_bbox,
    metavar="W,S,E,N",
    help="Only what lies in this rectangle, in coordinates of the scene.",
)
@click.option(
    "--aoi",
    type=options.EXISTING_FILE,
    help="Only what lies in the polygons of this vector file, of any coordinate system.",
)
@click.option(
    "--tta", is_flag=True, help="Look at everything in 8 orientations: steadier, 8 times slower."
)
@options.polygons
@click.option(
    "--core",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Side of the square of pixels that a tile decides: less takes less memory, more time. "
    "[default: fitted to the scene and --memory]",
)
@click.option(
    "--margin",
    callback=_margin,
    metavar="PX|auto|exact",
    default="auto",
    show_default=True,
    help="Pixels around a core that a tile reads. exact: labels are those of the whole scene in one "
    "piece.",
)
@click.option(
    "--memory",
    callback=_memory,
    metavar="SIZE",
    help="Keep the process within so much, for example 1500MB. [default: 2GB, or what a GPU has left]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Tiles that go through the network at a time; more than 1 only helps a GPU.",
)
@options.device
@click.option(
    "--backend",
    type=click.Choice(["auto", "torch", "onnx", "openvino"]),
    default="auto",
    show_default=True,
    help="What computes the network. auto: torch, or onnx for an ONNX file.",
)
@click.option(
    "--card",
    type=options.EXISTING_FILE,
    help="JSON file with what an ONNX model made elsewhere does not say: legend, mean, std.",
)
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Read GeoTIFFs from https:// and s3:// addresses, piece by piece.",
)
@options.restart
@options.overwrite
@options.progress
def segment(
    *,
    scenes: tuple[str, ...],
    listed: Path | None,
    output: str,
    model: Path | None,
    labels: Path | None,
    confidence: Path | None,
    probabilities: Path | None,
    mosaic: bool,
    bands: tuple[int, ...] | None,
    gsd: Any,
    bbox: tuple[float, float, float, float] | None,
    aoi: Path | None,
    tta: bool,
    cleaning: PolygonOptions,
    layer_per_class: bool,
    append: bool,
    dota_results: Path | None,
    picture: Path | None,
    core: int | None,
    margin: Any,
    memory: int | None,
    batch_size: int,
    device: str,
    backend: Any,
    card: Path | None,
    allow_remote: bool,
    restart: bool,
    overwrite: bool,
    progress: str,
) -> None:
    """Find the objects in a SCENE and outline them.

    SCENE is a GeoTIFF, PNG, JPEG or JPEG 2000 of any size, or a pattern such as "scenes/*.tif".
    Several go into one GeoPackage if they have the same coordinate reference system, or into one
    each. It opens in QGIS with a colour for every class. A run that was interrupted goes on when it
    is repeated.
    """
    from geoseg.cli.options import expanded
    from geoseg.tools.segment import segment as segment_together
    from geoseg.tools.segment import segment_each

    sources = expanded(scenes, listed, allow_remote=allow_remote)
    folder = not mosaic and (
        output.endswith(("/", os.sep))
        or Path(output).is_dir()
        or (len(sources) > 1 and not Path(output).suffix)
    )
    tool = segment_each if folder else partial(segment_together, mosaic=mosaic)
    left_out = None
    try:
        tool(
            sources,
            Path(output),
            model=model,
            labels=labels,
            confidence=confidence,
            probabilities=probabilities,
            bands=bands,
            gsd=gsd,
            bbox=bbox,
            aoi=aoi,
            augmented=tta,
            cleaning=cleaning,
            layer_per_class=layer_per_class,
            append=append,
            dota_results=dota_results,
            picture=picture,
            core=core,
            margin=margin,
            memory=memory,
            batch_size=batch_size,
            device=device,
            backend=backend,
            card=card,
            restart=restart,
            overwrite=overwrite,
            provenance={"command": options.command_line()},
            track=tracker(progress),
        )
    except SkippedInputsError as error:
        left_out = error
    report(Path(output), progress)
    if left_out:
        raise left_out
