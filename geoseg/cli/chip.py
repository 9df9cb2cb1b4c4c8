"""``geoseg chip``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.cli.progress import report, tracker
from geoseg.errors import SkippedInputsError
from geoseg.options import BatchOptions, ChipOptions

EXAMPLES = """
geoseg chip dataset -o chips
geoseg chip dataset -o chips --format coco --size 640 --overlap 64 --empty 0.1
geoseg chip dataset -o chips --format yolo-obb --split train --image jpg
"""


@command(EXAMPLES)
@click.argument("dataset", type=options.PATH)
@options.output
@options_of(ChipOptions, "chips")
@option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME",
    group="Input",
    help="Export only this split. May be repeated.",
)
@option(
    "--reference",
    "layer",
    metavar="LAYER",
    show_default="quads for yolo-obb and dota, else outlines where the dataset has them",
    group="Input",
    help="Use this layer of annotations: outlines or quads.",
)
@options_of(BatchOptions, "run")
@options.progress
def chip(dataset: Path, output: Path, *, progress: str, **tool_options: Any) -> None:
    """Export training chips of a DATASET for other tools.

    OUTPUT gets a folder per split with images/ and labels/ (labelTxt/ for DOTA; annotations/ for
    COCO), legend.json, classes.txt and chips.json, a manifest of all chips with their windows and
    objects. After an interruption, repeat the command to continue.
    """
    from geoseg.tools.chip import chip as tool

    try:
        chips = tool(dataset, output, track=tracker(progress), **tool_options)
    except SkippedInputsError:  # the product exists all the same
        report(output, progress)
        raise
    report(output, progress, **chips.to_json())
