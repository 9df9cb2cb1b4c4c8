"""``geoseg compare``"""

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
@click.argument("a", type=options.PATH)
@click.argument("b", type=options.PATH)
@click.option(
    "--dataset",
    type=options.PATH,
    help="A and B are models, or folders of labels: compare how well they do on this dataset.",
)
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="TIF",
    help="Of two label rasters: also write where they differ, as a COG.",
)
@click.option("--json", "json_output", type=options.PATH, help="Also write the numbers here.")
@scoring
@options.device
@options.overwrite
@options.progress
def compare(
    *,
    a: Path,
    b: Path,
    dataset: Path | None,
    output: Path | None,
    json_output: Path | None,
    split: str,
    layers: tuple[str, ...],
    rules: Rules,
    device: str,
    overwrite: bool,
    progress: str,
) -> None:
    """Compare two label rasters, or two models on a dataset.

    Label rasters lie on one grid. The numbers are pixels and areas that change from one class in A
    to another in B.

    With --dataset both are evaluated on the same scenes, and the difference of each score gets an
    interval from resampling the scenes, which tells whether it is more than their choice.
    """
    from geoseg.report.tables import format_agreement, format_comparison
    from geoseg.tools.compare import compare as compare_labels
    from geoseg.tools.compare import compare_models

    track = tracker(progress)
    if dataset is None:
        if ".safetensors" in (a.suffix, b.suffix):
            raise click.UsageError("models are compared on a dataset. name one with --dataset")
        found = compare_labels(
            a, b, output=output, json_output=json_output, overwrite=overwrite, track=track
        )
        told, text = {"a": a.name, "b": b.name, **found.to_json()}, format_agreement(found)
    else:
        if {".tif", ".tiff"} & {a.suffix.lower(), b.suffix.lower()}:
            raise click.UsageError("label rasters are compared with each other, without --dataset")
        if output:
            raise click.UsageError("--output is of two label rasters, without --dataset")
        comparisons = compare_models(
            a,
            b,
            dataset,
            split=split,
            layers=layers,
            rules=rules,
            json_output=json_output,
            device=device,
            overwrite=overwrite,
            track=track,
        )
        told = {"comparisons": [comparison.to_json() for comparison in comparisons]}
        text = "\n".join(map(format_comparison, comparisons))
    if progress == "json":
        report(output or json_output or a, progress, **told)
    else:
        click.echo(text)
