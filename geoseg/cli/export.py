"""``geoseg export``"""

from __future__ import annotations

from pathlib import Path

from geoseg.cli import options
from geoseg.cli.command import command, options_of
from geoseg.cli.progress import report
from geoseg.options import ExportOptions

EXAMPLES = """
geoseg export -o model.onnx
geoseg export -o model.onnx -m model.safetensors --stac model.json
"""


@command(EXAMPLES)
@options.model
@options.output
@options_of(ExportOptions, "tool_options")
@options.progress
def export(
    *,
    output: Path,
    model: Path | None,
    tool_options: ExportOptions,
    progress: str,
) -> None:
    """Export a model to ONNX.

    The file runs in onnxruntime, OpenVINO and the QGIS plugin Deepness. Its output is compared with
    that of the model. Requires the extra geoseg[onnx].
    """
    from geoseg.tools.export import export as tool

    report(tool(output, model=model, options=tool_options), progress)
