"""``geoseg tune``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, options_of
from geoseg.cli.progress import report, tracker
from geoseg.options import TuneOptions

EXAMPLES = """
geoseg tune dataset -m model.safetensors --write
geoseg tune dataset -m model.safetensors --split train --held-out 0.05 --write
"""


@command(EXAMPLES)
@click.argument("dataset", type=options.PATH)
@options.model
@options_of(TuneOptions, "tool_options")
@options.device
@options.progress
def tune(
    dataset: Path,
    *,
    model: Path | None,
    tool_options: TuneOptions,
    device: str,
    progress: str,
) -> None:
    """Choose by which rules a model separates objects, on a DATASET.

    The rules of a class are the interior probability at which an object begins, the area from which
    on a part of a region is an object of its own, and the smallest area of an object. Those with
    the best F1 of all objects are chosen. Use scenes that were not trained on: scores on the same
    scenes are optimistic.
    """
    from geoseg.models.model_file import read_card, shipped_model
    from geoseg.tools.tune import rule_table
    from geoseg.tools.tune import tune as tool

    choice = tool(
        dataset, model=model, options=tool_options, device=device, track=tracker(progress)
    )
    legend = read_card(model or shipped_model()).legend
    if progress == "json":
        report(model or shipped_model(), progress, rules=choice.rules.to_json(legend))
        return
    click.echo(rule_table(choice, legend))
