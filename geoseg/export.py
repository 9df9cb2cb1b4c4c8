"""A model as ONNX: for onnxruntime, and for the QGIS plugin Deepness."""

from __future__ import annotations

from pathlib import Path

from geoseg.errors import ConfigError
from geoseg.files import check_output
from geoseg.model.deepness import deepness_size
from geoseg.model.file import load_model
from geoseg.model.onnx_file import write_onnx


def export(
    output: Path, *, model: Path | None = None, size: int | None = None, overwrite: bool = False
) -> Path:
    """Write a model as ONNX to `output`, and return it.

    The graph ends in a softmax and takes squares of `size` pixels (default: 512, or what leaves at most a
    quarter to margins), any number at a time. Its metadata are geoseg's card and what Deepness reads.
    `model` is a model file (default: the one geoseg ships with). Raises ConfigError, ModelError,
    OutputError.
    """
    if output.suffix.lower() != ".onnx":
        raise ConfigError(f"{output}: is written as ONNX. give it a name in .onnx")
    check_output(output, overwrite=overwrite)
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
    return output
