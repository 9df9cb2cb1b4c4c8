"""``geoseg stats``"""

from __future__ import annotations

import json
from pathlib import Path

import click

from geoseg.cli import options


@click.command()
@click.argument("dataset", type=options.EXISTING_FOLDER)
@click.option("--split", default="train", show_default=True, help="Which scenes.")
@click.option("--truth", "layer", metavar="LAYER", help="Outlines or quads. [default: the better]")
@click.option("--plot", type=options.NEW_FILE, metavar="PNG", help="Also draw it, in log scale.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
@options.overwrite
def stats(
    *,
    dataset: Path,
    split: str,
    layer: str | None,
    plot: Path | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Tell how unevenly the classes of a DATASET occur.

    Objects, pixels, sizes, and how many times as much as background each class weighting counts a pixel.
    """
    from geoseg.stats import stats as tool
    from geoseg.stats import stats_table

    found = tool(dataset, split=split, layer=layer, plot=plot, overwrite=overwrite)
    click.echo(json.dumps(found.to_json(), indent=1) if as_json else stats_table(found))
