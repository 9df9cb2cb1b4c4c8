"""``geoseg evaluate``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker


@click.command()
@click.argument("dataset", type=options.EXISTING_FOLDER)
@options.model
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
@click.option("--json", "json_output", type=options.NEW_FILE, help="Also write the scores here.")
@options.device
@options.overwrite
@options.progress
def evaluate(
    *,
    dataset: Path,
    model: Path | None,
    split: str,
    layers: tuple[str, ...],
    difficult: str,
    json_output: Path | None,
    device: str,
    overwrite: bool,
    progress: str,
) -> None:
    """Score a model on a DATASET: IoU, precision and recall of every class, in percent."""
    from geoseg.evaluate import evaluate as tool
    from geoseg.evaluate import score_table

    evaluations = tool(
        dataset,
        model=model,
        split=split,
        layers=layers,
        difficult=difficult,  # type: ignore[arg-type]
        json_output=json_output,
        device=device,
        overwrite=overwrite,
        track=tracker(progress),
    )
    if progress == "json":
        report(json_output or dataset, progress, scores=[e.to_json() for e in evaluations])
        return
    for evaluation in evaluations:
        scenes = len(evaluation.scenes)
        click.echo(f"{evaluation.split}, {scenes} scenes, truth: {evaluation.layer}\n")
        click.echo(score_table(evaluation) + "\n")
