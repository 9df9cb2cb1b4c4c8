"""Export a model as ONNX for onnxruntime, OpenVINO and the Deepness QGIS plugin, and as a STAC item."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from geoseg.errors import ConfigError
from geoseg.files import check_output, write_json
from geoseg.models.model_file import load_model
from geoseg.models.onnx import deepness_size, omit_objects, write_onnx
from geoseg.models.stac import stac_item
from geoseg.options import ExportOptions, StrPath, as_path


def export(
    output: StrPath,
    *,
    model: StrPath | None = None,
    options: ExportOptions = ExportOptions(),
) -> Path:
    """Write a model as ONNX.

    The graph takes any number of square images and ends in a softmax. Its metadata hold the model card and
    the keys that Deepness reads.

    Parameters
    ----------
    output
        ONNX file.
    model
        Model file; default: the shipped model.
    options
        Side of the images, object outputs, STAC item, and treatment of existing files. The default side is 512 pixels,
        or the size of which margins take at most a quarter.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    ConfigError
        If a file name or the size is invalid, or the model has no object outputs to export.
    ModelError
        If the model cannot be read.
    OutputError
        If a file exists or cannot be written.
    """
    output, model, stac = Path(output), as_path(model), as_path(options.stac)
    if output.suffix.lower() != ".onnx":
        raise ConfigError(
            f"{output}: models are written as ONNX. Use a file name that ends in .onnx"
        )
    check_output(output, overwrite=options.overwrite)
    if stac is not None:
        if stac.suffix.lower() != ".json":
            raise ConfigError(
                f"{stac}: STAC items are written as JSON. Use a file name that ends in .json"
            )
        check_output(stac, overwrite=options.overwrite)
    opened = load_model(model)
    if options.objects and opened.card.objects is None:
        raise ConfigError(f"--objects: {opened.path.name} has no object outputs. Leave it out")
    if not options.objects:
        opened = omit_objects(opened)
    size = deepness_size(opened.card) if options.size is None else options.size
    stride, margin = opened.card.stride, opened.card.margin
    if size % stride or size <= 2 * margin:
        raise ConfigError(
            f"--size {size}: must be a multiple of the model's stride, {stride}, and more than twice "
            f"its margin, {margin}. The default is {deepness_size(opened.card)}"
        )
    write_onnx(output, opened, size=size, overwrite=options.overwrite)
    if stac is not None:
        # path relative to the folder of the item, with slashes
        href = Path(os.path.relpath(output.absolute(), stac.absolute().parent)).as_posix()
        item = stac_item(opened, name=output.stem, href=quote(f"./{href}"), size=size)
        write_json(stac, item)
    return output
