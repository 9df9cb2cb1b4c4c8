"""``geoseg evaluate``"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.cli.progress import report, tracker
from geoseg.options import EvaluateOutputs

EXAMPLES = """
geoseg evaluate dataset
geoseg evaluate dataset -m model.safetensors --report report.html --json scores.json
geoseg evaluate dataset --labels predictions/ --reference outlines --min-pixels 12
"""


@command(EXAMPLES)
@click.argument("dataset", type=options.PATH)
@options.model
@option(
    "--labels",
    type=options.PATH,
    metavar="FOLDER",
    group="Input",
    help="Score the label rasters of this folder, <scene>.tif or .png, instead of a model.",
)
@options_of(EvaluateOutputs, "outputs")
@options.scoring
@options.device
@options.progress
def evaluate(
    dataset: Path, *, outputs: EvaluateOutputs, progress: str, **tool_options: Any
) -> None:
    """Score a model on a DATASET, per pixel and per object.

    Scores are in percent. Pixels: IoU, boundary IoU, precision, recall and F1 of every class.
    Objects: F1, average precision, panoptic quality, kinds of error and numbers of the polygons that
    geoseg segment writes, compared with annotated polygons; --min-pixels, --fill-holes,
    --split-objects, --merged and --oriented-boxes apply to them and not to the pixel scores.
    """
    from geoseg.report.tables import format_evaluation
    from geoseg.tools.evaluate import evaluate as tool

    evaluations = tool(
        dataset,
        outputs=replace(outputs, command=options.command_line()),
        track=tracker(progress),
        **tool_options,
    )
    if progress == "json":
        product = Path(outputs.json or outputs.report or dataset)
        report(product, progress, scores=[e.to_json() for e in evaluations])
        return
    click.echo("\n".join(map(format_evaluation, evaluations)))
    if outputs.report:
        click.echo(outputs.report)
