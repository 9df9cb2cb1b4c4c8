"""``geoseg export``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.progress import report


@click.command()
@options.output
@options.model
@click.option(
    "--size",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Side of the squares the network takes. [default: 512, or more for a wide margin]",
)
@click.option(
    "--stac",
    type=options.PATH,
    metavar="FILE.json",
    help="Also write a STAC item that describes the model.",
)
@options.overwrite
@options.progress
def export(
    *,
    output: Path,
    model: Path | None,
    size: int | None,
    stac: Path | None,
    overwrite: bool,
    progress: str,
) -> None:
    """Export a model to ONNX.

    The result is compared with the model it was made from. Needs the extra: geoseg[onnx].
    """
    from geoseg.tools.export import export as tool

    report(tool(output, model=model, size=size, stac=stac, overwrite=overwrite), progress)
