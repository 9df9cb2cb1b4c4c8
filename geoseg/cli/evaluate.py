"""``geoseg evaluate``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker
from geoseg.cli.scoring import scoring

if TYPE_CHECKING:
    from geoseg.metrics.evaluation import Rules


@click.command()
@click.argument("dataset", type=options.PATH)
@options.model
@click.option(
    "--labels",
    type=options.PATH,
    metavar="FOLDER",
    help="Instead of a model, score label rasters that are there: <scene>.tif or .png for each scene.",
)
@scoring
@click.option("--json", "json_output", type=options.PATH, help="Also write the scores here.")
@click.option(
    "--report",
    "page",
    type=options.PATH,
    metavar="HTML",
    help="Also write a page for a browser: tables, curves, and the best and worst scenes.",
)
@click.option(
    "--keep",
    type=options.PATH,
    metavar="FOLDER",
    help="Also write the model's labels and their confidence here, as --labels reads them.",
)
@click.option("--write", is_flag=True, help="Record the scores in the model's card.")
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
    rules: Rules,
    json_output: Path | None,
    page: Path | None,
    keep: Path | None,
    write: bool,
    device: str,
    overwrite: bool,
    progress: str,
) -> None:
    """Score a model on a DATASET, per pixel and per object.

    Scores are in percent. Pixels: IoU, also of borders alone, precision, recall and F1 of every class. Objects: the
    polygons that geoseg segment would write, matched with the annotated ones; --min-pixels,
    --fill-holes, --split-objects and --oriented-boxes shape them and leave the pixels alone.
    """
    from geoseg.report.tables import format_evaluation
    from geoseg.tools.evaluate import evaluate as tool

    evaluations = tool(
        dataset,
        model=model,
        labels=labels,
        split=split,
        layers=layers,
        rules=rules,
        keep=keep,
        write=write,
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
    click.echo("\n".join(map(format_evaluation, evaluations)))
    if page:
        click.echo(page)
