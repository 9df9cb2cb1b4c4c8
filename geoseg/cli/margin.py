"""``geoseg margin``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report, tracker


@click.command()
@click.argument("scenes", metavar="SCENE...", nargs=-1, required=True, type=click.Path())
@options.model
@click.option("--write", is_flag=True, help="Record what is found in the model's card.")
@options.device
@options.progress
def margin(
    *, scenes: tuple[str, ...], model: Path | None, write: bool, device: str, progress: str
) -> None:
    """Measure how labels of SCENEs change with the margin.

    A tile reads a margin around what it decides. The exact margin covers all that a network looks
    at, but may be dear; this tells what a smaller one costs in labels, and finds the smallest that
    changes at most 1 in 10,000. Use scenes of 2000 to 5000 pixels.
    """
    from geoseg.models.model_file import shipped_model
    from geoseg.tools.margin import margin_table, measure_margins

    trials = measure_margins(
        options.expand_names(scenes),
        model=model,
        write=write,
        device=device,
        track=tracker(progress),
    )
    if progress == "json":
        margins = [trial.to_json() for trial in trials]
        report(model or shipped_model(), progress, margins=margins)
        return
    click.echo(margin_table(trials))
