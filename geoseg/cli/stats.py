"""``geoseg stats``"""

from __future__ import annotations

import json
from pathlib import Path

import click

from geoseg.cli import options

_STDOUT = "-"


@click.command()
@click.argument("dataset", type=options.PATH)
@click.option("--split", default="train", show_default=True, help="Which scenes.")
@click.option("--truth", "layer", metavar="LAYER", help="Outlines or quads. [default: the better]")
@click.option(
    "--co-occurrence", is_flag=True, help="Also tell which classes are in the same scenes."
)
@click.option("--plot", type=options.PATH, metavar="PNG", help="Also draw it, in log scale.")
@click.option(
    "--json",
    "as_json",
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[FILE]",
    help="Write all numbers as JSON; without a name print them instead of the table.",
)
@options.overwrite
def stats(
    *,
    dataset: Path,
    split: str,
    layer: str | None,
    co_occurrence: bool,
    plot: Path | None,
    as_json: str | None,
    overwrite: bool,
) -> None:
    """Measure the class distribution of a DATASET.

    Objects, pixels, sizes, how much of its quads a class fills, and how many times as much as background each
    class weighting counts a pixel.
    """
    from geoseg.report.tables import format_co_occurrence, format_stats
    from geoseg.tools.stats import stats as tool

    file = Path(as_json) if as_json and as_json != _STDOUT else None
    found = tool(dataset, split=split, layer=layer, plot=plot, json=file, overwrite=overwrite)
    if as_json == _STDOUT:
        click.echo(json.dumps(found.to_json(), indent=1))
        return
    click.echo(format_stats(found))
    if co_occurrence:
        click.echo("\n" + format_co_occurrence(found))
