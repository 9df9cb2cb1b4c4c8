"""``geoseg tile``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker
from geoseg.errors import SkippedInputsError

_FORMATS = ("png", "tif", "coco", "yolo-seg", "yolo-obb", "dota")


def _share(_ctx: click.Context, _option: click.Parameter, value: str) -> float:
    """``keep``, ``drop``, or a number from 0 to 1."""
    try:
        share = {"keep": 1.0, "drop": 0.0}.get(value)
        return float(value) if share is None else share
    except ValueError as fault:
        raise click.BadParameter(f"{value!r} is not keep, drop, or a share from 0 to 1") from fault


@click.command()
@click.argument("dataset", type=options.PATH)
@click.option(
    "-o", "--output", type=options.PATH, required=True, metavar="DIR", help="Folder to write."
)
@click.option(
    "--format",
    type=click.Choice(_FORMATS),
    default="png",
    show_default=True,
    help="Label images (png, tif), COCO's JSON, YOLO's text of outlines or oriented boxes, "
    "DOTA's of quads.",
)
@click.option(
    "--size",
    type=click.IntRange(0, 16_384),
    default=1024,
    show_default=True,
    metavar="PX",
    help="Side of a window; 0 for scenes uncut.",
)
@click.option("--whole", is_flag=True, help="Scenes uncut, as --size 0.")
@click.option(
    "--overlap",
    type=click.IntRange(0),
    metavar="PX",
    help="What neighbours share, at least. [default: 200, or a fifth of small windows]",
)
@click.option(
    "--edge",
    type=click.Choice(["shift", "pad", "crop"]),
    default="shift",
    show_default=True,
    help="The last window of a row is moved inward, sticks out into black, or ends with the scene. "
    "With shift, scenes smaller than a window are filled up.",
)
@click.option(
    "--split", "splits", multiple=True, metavar="NAME", help="Only these scenes. Repeatable."
)
@click.option("--truth", "layer", metavar="LAYER", help="Outlines or quads. [default: what suits]")
@click.option(
    "--min-visible",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Of an object's area: what a window shows less of is --hardly-visible there.",
)
@click.option(
    "--hardly-visible",
    type=click.Choice(["drop", "difficult"]),
    default="drop",
    show_default=True,
    help="Leave such objects out of the window, or mark them difficult. In label images they are 255.",
)
@click.option(
    "--difficult",
    type=click.Choice(["keep", "ignore", "drop"]),
    default="keep",
    show_default=True,
    help="Objects marked difficult: as any other, 255 in label images, or nowhere. COCO "
    "and DOTA keep the mark.",
)
@click.option(
    "--empty",
    default="keep",
    show_default=True,
    metavar="keep|drop|SHARE",
    callback=_share,
    help="Windows without objects, or the share of them to keep.",
)
@click.option(
    "--image",
    type=click.Choice(["png", "jpg", "tif"]),
    help="Format of images. [default: tif with --format tif, else png]",
)
@click.option(
    "--jpeg-quality",
    "quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    help="Of --image jpg.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out scenes at fault; exit code 6 then.")
@options.jobs
@options.restart
@options.overwrite
@options.progress
def chip(
    *,
    dataset: Path,
    output: Path,
    format: str,
    size: int,
    whole: bool,
    overlap: int | None,
    layer: str | None,
    splits: tuple[str, ...],
    image: str | None,
    quality: int,
    skip_bad: bool,
    jobs: int | None,
    restart: bool,
    overwrite: bool,
    progress: str,
    **tiling: Any,
) -> None:
    """Export training chips of a DATASET for other tools.

    DIR gets a folder for each split with images/ and labels/ (labelTxt/ for DOTA; COCO has annotations/
    beside them), legend.json, classes.txt and tiles.json, which tells of every window where it lies and
    what it shows. The same command goes on after an interruption.
    """
    from geoseg.dataset.chips import Tiling
    from geoseg.tools.chip import tile as tool

    if whole or not size:
        tiling["size"] = None
    else:
        tiling |= {"size": size, "overlap": min(200, size // 5) if overlap is None else overlap}
    try:
        how = Tiling(**tiling)
    except ValueError as fault:
        raise click.UsageError(str(fault).replace("_", "-")) from fault
    try:
        tiles = tool(
            dataset,
            output,
            format=format,
            tiling=how,
            splits=splits,
            layer=layer,
            image=image,
            quality=quality,
            skip_bad=skip_bad,
            jobs=jobs,
            restart=restart,
            overwrite=overwrite,
            track=tracker(progress),
        )
    except SkippedInputsError:  # the product is there all the same
        report(output, progress)
        raise
    report(output, progress, **tiles.to_json())
