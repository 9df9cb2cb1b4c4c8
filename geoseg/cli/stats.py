"""``geoseg stats``"""

from __future__ import annotations

import json
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option

_STDOUT = "-"


EXAMPLES = """
geoseg stats dataset
geoseg stats dataset --split val --co-occurrence --plot classes.png
geoseg stats dataset --json stats.json
"""


@command(EXAMPLES)
@click.argument("dataset", type=options.PATH)
@option(
    "--split",
    default="train",
    show_default=True,
    metavar="NAME",
    group="Input",
    help="Count the scenes of this split.",
)
@options.reference
@option(
    "--co-occurrence",
    is_flag=True,
    group="Output",
    help="Print which classes occur in the same scenes.",
)
@option(
    "--plot",
    type=options.PATH,
    metavar="PNG",
    group="Output",
    help="Draw the class distribution on a logarithmic scale to this file.",
)
@option(
    "--json",
    "as_json",
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[FILE]",
    group="Output",
    help="Write all numbers as JSON to this file; without a name, print them instead of the table.",
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

    The table has objects, pixels and sizes per class, the share of its quads that a class fills, and
    the weight of a pixel relative to background for every class weighting.
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
