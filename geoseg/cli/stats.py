"""``geoseg stats``"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.options import StatsOptions

_STDOUT = Path("-")
"""File of `--json` without a name."""

EXAMPLES = """
geoseg stats dataset
geoseg stats dataset --split val --co-occurrence --plot classes.png
geoseg stats dataset --json stats.json
"""


@command(EXAMPLES)
@click.argument("dataset", type=options.PATH)
@options_of(StatsOptions, "tool_options")
@option(
    "--co-occurrence",
    is_flag=True,
    group="Output",
    help="Print which classes occur in the same scenes.",
)
def stats(dataset: Path, *, tool_options: StatsOptions, co_occurrence: bool) -> None:
    """Measure the class distribution of a DATASET.

    The table has objects, pixels and sizes per class, the share of its quads that a class fills, and
    the weight of a pixel relative to background for every class weighting. A second table has the
    range, percentiles, mean and standard deviation of every band over split train.
    """
    from geoseg.report.tables import format_co_occurrence, format_stats
    from geoseg.tools.stats import stats as tool

    print_json = tool_options.json == _STDOUT
    found = tool(dataset, options=replace(tool_options, json=None) if print_json else tool_options)
    if print_json:
        click.echo(json.dumps(found.to_json(), indent=1))
        return
    click.echo(format_stats(found))
    if co_occurrence:
        click.echo("\n" + format_co_occurrence(found))
