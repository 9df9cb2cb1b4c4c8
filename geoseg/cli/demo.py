"""``geoseg demo``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.cli import options
from geoseg.cli.command import command, options_of
from geoseg.cli.progress import report, tracker
from geoseg.options import DemoOptions

if TYPE_CHECKING:
    from geoseg.tools.demo import DemoResult


EXAMPLES = """
geoseg demo demo-output
"""


@command(EXAMPLES)
@click.argument("folder", metavar="FOLDER", type=options.PATH)
@options_of(DemoOptions, "tool_options")
@options.progress
def demo(*, folder: Path, tool_options: DemoOptions, progress: str) -> None:
    """Run every tool on synthetic scenes, in FOLDER.

    Draw synthetic aerial scenes in the format of DOTA, prepare them, train and score a small network,
    and segment an unseen scene. The demo needs no data and no network connection, and takes about
    five minutes.
    """
    from geoseg.cli.process import keep_freed_memory
    from geoseg.tools.demo import demo as tool

    keep_freed_memory()  # it trains
    result = tool(folder, options=tool_options, track=tracker(progress))
    if progress != "none":
        click.echo(summary(result), err=True)
    report(folder, progress)


def summary(result: DemoResult) -> str:
    """The scores, and what to open next."""
    from geoseg.report.tables import format_scores

    best = next((e for e in result.evaluations if e.layer == "outlines"), result.evaluations[0])
    return f"""
Scores on {len(best.scenes)} validation scenes, in percent ({best.layer}):

{format_scores(best)}

Open next:
  {result.picture}  the unseen scene, its objects outlined
  {result.polygons}  the same in QGIS: drag it in, with {result.scene.name} below
  {result.labels}  class of every pixel
  {result.classes}  class distribution
  {result.curves}  learning curves
Train it longer:
  geoseg train {result.config} -o {result.folder / "longer.safetensors"} --set training.steps=3000
"""
