"""A model as ONNX, for onnxruntime and the QGIS plugin Deepness; and as a STAC item, for catalogues."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from geoseg.errors import ConfigError
from geoseg.files import check_output, write_json
from geoseg.models.model_file import load_model
from geoseg.models.onnx import deepness_size, write_onnx
from geoseg.models.stac import stac_item


def export(
    output: Path,
    *,
    model: Path | None = None,
    size: int | None = None,
    stac: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model as ONNX to `output`, and return it.

    The graph ends in a softmax and takes squares of `size` pixels (default: 512, or what leaves at most a
    quarter to margins), any number at a time. Its metadata are geoseg's card and what Deepness reads.
    `model` is a model file (default: the one geoseg ships with). `stac` names a JSON file for a STAC item
    that describes it. Raises ConfigError, ModelError,
    OutputError.
    """
    if output.suffix.lower() != ".onnx":
        raise ConfigError(f"{output}: is written as ONNX. give it a name in .onnx")
    check_output(output, overwrite=overwrite)
    if stac is not None:
        if stac.suffix.lower() != ".json":
            raise ConfigError(f"{stac}: is written as JSON. give it a name in .json")
        check_output(stac, overwrite=overwrite)
    opened = load_model(model)
    if size is None:
        size = deepness_size(opened.card)
    stride, margin = opened.card.stride, opened.card.margin
    if size % stride or size <= 2 * margin:
        raise ConfigError(
            f"--size {size}: must be a multiple of the model's stride, {stride}, and more than twice "
            f"its margin, {margin}. the default is {deepness_size(opened.card)}"
        )
    write_onnx(output, opened, size=size, overwrite=overwrite)
    if stac is not None:
        # a path as the item's folder sees it, with slashes
        href = Path(os.path.relpath(output.absolute(), stac.absolute().parent)).as_posix()
        item = stac_item(opened, name=output.stem, href=quote(f"./{href}"), size=size)
        write_json(stac, item)
    return output
