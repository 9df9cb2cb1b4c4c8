"""``geoseg compare``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.cli.progress import report, tracker
from geoseg.options import CompareOutputs

EXAMPLES = """
geoseg compare labels_2023.tif labels_2024.tif -o changes.tif
geoseg compare old.safetensors new.safetensors --dataset dataset --json comparison.json
"""


@command(EXAMPLES)
@click.argument("a", type=options.PATH)
@click.argument("b", type=options.PATH)
@option(
    "--dataset",
    type=options.PATH,
    metavar="FOLDER",
    group="Input",
    help="Compare A and B, models or folders of label rasters, by their scores on this dataset.",
)
@option(
    "-o",
    "--output",
    type=options.PATH,
    metavar="TIF",
    group="Output",
    help="Write the pixels that differ between two label rasters to this Cloud Optimized GeoTIFF.",
)
@options_of(CompareOutputs, "outputs")
@options.scoring
@options.device
@options.progress
def compare(
    a: Path,
    b: Path,
    *,
    dataset: Path | None,
    output: Path | None,
    outputs: CompareOutputs,
    progress: str,
    **tool_options: Any,
) -> None:
    """Compare two label rasters, or two models on a dataset.

    Two label rasters share one grid. The result is the number of pixels, and their area, that change
    from one class in A to another in B.

    With --dataset, both models are evaluated on the same scenes, and every difference of a score
    has a confidence interval from resampling the scenes (bootstrap).
    """
    from geoseg.report.tables import format_agreement, format_comparison
    from geoseg.tools.compare import compare as compare_labels
    from geoseg.tools.compare import compare_models

    track = tracker(progress)
    if dataset is None:
        if ".safetensors" in (a.suffix, b.suffix):
            raise click.UsageError("models are compared on a dataset. Name one with --dataset")
        found = compare_labels(a, b, output=output, outputs=outputs, track=track)
        result, text = {"a": a.name, "b": b.name, **found.to_json()}, format_agreement(found)
    else:
        if {".tif", ".tiff"} & {a.suffix.lower(), b.suffix.lower()}:
            raise click.UsageError("label rasters are compared with each other, without --dataset")
        if output:
            raise click.UsageError("--output is of two label rasters, without --dataset")
        comparisons = compare_models(a, b, dataset, outputs=outputs, track=track, **tool_options)
        result = {"comparisons": [comparison.to_json() for comparison in comparisons]}
        text = "\n".join(map(format_comparison, comparisons))
    if progress == "json":
        report(Path(output or outputs.json or a), progress, **result)
    else:
        click.echo(text)
