"""``geoseg export``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option
from geoseg.cli.progress import report

EXAMPLES = """
geoseg export -o model.onnx
geoseg export -o model.onnx -m model.safetensors --stac model.json
"""


@command(EXAMPLES)
@options.model
@option(
    "--size",
    type=click.IntRange(min=1),
    metavar="PX",
    show_default="512, or more for a wide margin",
    group="Output",
    help="Fix the input of the network to squares of this side.",
)
@options.output
@option(
    "--stac",
    type=options.PATH,
    metavar="JSON",
    group="Output",
    help="Write a STAC item that describes the model (extension MLM).",
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

    The file runs in onnxruntime, OpenVINO and the QGIS plugin Deepness. Its output is compared with
    that of the model. Requires the extra geoseg[onnx].
    """
    from geoseg.tools.export import export as tool

    report(tool(output, model=model, size=size, stac=stac, overwrite=overwrite), progress)
