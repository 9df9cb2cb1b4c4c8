"""``geoseg segment``"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker


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


@click.command()
@click.argument("scenes", metavar="SCENE...", nargs=-1, required=True, type=options.EXISTING_FILE)
@options.output
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
    "--bands",
    callback=_bands,
    metavar="N,N,…",
    help="Bands of the scene that the model gets, numbered from 1. [default: all but alpha]",
)
@click.option(
    "--min-pixels",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Leave out polygons of fewer pixels.",
)
@click.option(
    "--core",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Side of the square of pixels that a tile decides: less takes less memory, more time. "
    "[default: fitted to the scene]",
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
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Tiles that go through the network at a time; more than 1 only helps a GPU.",
)
@options.device
@options.overwrite
@options.progress
def segment(
    *,
    scenes: tuple[Path, ...],
    output: Path,
    model: Path | None,
    labels: Path | None,
    confidence: Path | None,
    bands: tuple[int, ...] | None,
    min_pixels: int,
    core: int | None,
    margin: int | str,
    batch_size: int,
    device: str,
    overwrite: bool,
    progress: str,
) -> None:
    """Find the objects in a SCENE and outline them.

    SCENE is a GeoTIFF, PNG, JPEG or JPEG 2000 of any size; several need the same coordinate
    reference system. OUTPUT is a GeoPackage that opens in QGIS with a colour for every class.
    """
    from geoseg.segment import segment as tool

    tool(
        scenes,
        output,
        model=model,
        labels=labels,
        confidence=confidence,
        bands=bands,
        min_pixels=min_pixels,
        core=core,
        margin=margin,  # type: ignore[arg-type]
        batch_size=batch_size,
        device=device,
        overwrite=overwrite,
        provenance={"command": shlex.join(["geoseg", *sys.argv[1:]])},
        track=tracker(progress),
    )
    report(output, progress)
