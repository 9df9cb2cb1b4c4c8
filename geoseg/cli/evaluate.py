"""``geoseg evaluate``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker
from geoseg.polygons.cleaning import Cleaning


@click.command()
@click.argument("dataset", type=options.EXISTING_FOLDER)
@options.model
@click.option(
    "--labels",
    type=options.EXISTING_FOLDER,
    metavar="FOLDER",
    help="Instead of a model, score label rasters that are there: <scene>.tif or .png for each scene.",
)
@click.option("--split", default="val", show_default=True, help="Which scenes.")
@click.option(
    "--truth",
    "layers",
    multiple=True,
    metavar="LAYER",
    help="Score against this layer only: outlines or quads. [default: every one there is]",
)
@click.option(
    "--difficult",
    type=click.Choice(["keep", "ignore", "drop"]),
    default="keep",
    show_default=True,
    help="Objects marked as difficult: score them, leave their pixels out, or see background.",
)
@click.option(
    "--boundary",
    type=click.IntRange(1, 255),
    default=5,
    show_default=True,
    metavar="PX",
    help="Boundary IoU looks at pixels up to PX from a contour.",
)
@click.option(
    "--match",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    metavar="IOU",
    help="A polygon that was found is an annotated one if their IoU is at least this.",
)
@options.min_pixels
@options.fill_holes
@click.option(
    "--split-objects",
    is_flag=True,
    help="Separate objects of a class that touch, at narrow necks, before they are matched.",
)
@options.oriented_boxes
@click.option("--json", "json_output", type=options.NEW_FILE, help="Also write the scores here.")
@click.option(
    "--report",
    "page",
    type=options.NEW_FILE,
    metavar="HTML",
    help="Also write a page for a browser: tables, curves, and the best and worst scenes.",
)
@click.option(
    "--keep",
    type=options.NEW_FOLDER,
    metavar="FOLDER",
    help="Also write the model's labels and their confidence here, as --labels reads them.",
)
@options.device
@options.overwrite
@options.progress
def evaluate(
    *,
    dataset: Path,
    model: Path | None,
    labels: Path | None,
    split: str,
    layers: tuple[str, ...],
    difficult: Any,
    boundary: int,
    match: float,
    min_pixels: int,
    fill_holes: int,
    split_objects: bool,
    oriented_boxes: bool,
    json_output: Path | None,
    page: Path | None,
    keep: Path | None,
    device: str,
    overwrite: bool,
    progress: str,
) -> None:
    """Score a model on a DATASET, pixel by pixel and object by object; scores are in percent.

    Pixels: IoU, boundary IoU, precision, recall and F1 of every class. Objects: the polygons that
    geoseg segment would write, matched with the annotated ones; --min-pixels, --fill-holes,
    --split-objects and --oriented-boxes shape them and leave the pixels alone.
    """
    from geoseg.evaluate import evaluate as tool
    from geoseg.score.scene import Rules
    from geoseg.score.table import report_text

    cleaning = Cleaning(
        min_pixels=min_pixels,
        fill_holes=fill_holes,
        split=split_objects,
        oriented_boxes=oriented_boxes,
    )
    evaluations = tool(
        dataset,
        model=model,
        labels=labels,
        split=split,
        layers=layers,
        rules=Rules(difficult=difficult, boundary=boundary, match=match, cleaning=cleaning),
        keep=keep,
        json_output=json_output,
        page=page,
        command=options.command_line(),
        device=device,
        overwrite=overwrite,
        track=tracker(progress),
    )
    if progress == "json":
        report(json_output or page or dataset, progress, scores=[e.to_json() for e in evaluations])
        return
    click.echo("\n".join(map(report_text, evaluations)))
    if page:
        click.echo(page)
