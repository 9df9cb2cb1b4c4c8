"""``geoseg preview``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, options_of
from geoseg.cli.progress import report, tracker
from geoseg.options import PreviewOptions

EXAMPLES = """
geoseg preview train.toml -o windows.png
geoseg preview train.toml -o windows.png --windows 60 --set augment.scale=[0.5,2]
"""


@command(EXAMPLES)
@click.argument("config", type=options.PATH)
@options.settings
@options.output
@options_of(PreviewOptions, "tool_options")
@options.progress
def preview(
    *,
    config: Path,
    output: Path,
    settings: tuple[str, ...],
    tool_options: PreviewOptions,
    progress: str,
) -> None:
    """Draw training windows of a CONFIG with their labels.

    OUTPUT is a PNG, a contact sheet of windows with their augmentations, each without and with its
    labels in the colours of the legend.
    """
    from geoseg.tools.preview import preview as tool
    from geoseg.training.config import read_config

    sheet = tool(
        read_config(config, settings), output, options=tool_options, track=tracker(progress)
    )
    report(sheet, progress)
