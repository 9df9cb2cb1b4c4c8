"""What the QGIS plugin Deepness reads from an ONNX file's metadata.

It cuts square tiles of `size` pixels that overlap by a share of their side, keeps half of the overlap of each,
scales pixels by ``(pixel / 255 - mean) / std`` whatever their type, fills with 0 beyond the raster, and
takes the class of the largest probability. Every value is JSON, also that of a text.
"""

from __future__ import annotations

import io
import json
import warnings
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.files import input_file, replacing
from geoseg.models.model_file import Model, ModelCard
from geoseg.raster.tiles import round_up

_SMALLEST, _LARGEST = 512, 2048
_MARGINS = 8  # in a tile's side: a quarter of it is overlap


def deepness_size(card: ModelCard) -> int:
    """Side of a tile in pixels, of which a quarter at most overlaps its neighbour; more where that would
    make tiles larger than 2048 pixels.
    """
    side = min(max(_SMALLEST, _MARGINS * card.margin), _LARGEST)
    return round_up(max(side, 4 * card.margin), card.stride)


def deepness_metadata(card: ModelCard, size: int) -> dict[str, str]:
    """Its keys and their values, for tiles of `size` pixels that read the card's margin."""
    told: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {str(c.id): c.name for c in card.legend},
        "standardization_mean": [mean / 255 for mean in card.mean],
        "standardization_std": [std / 255 for std in card.std],
        "tile_size": size,  # what its code reads
        "tiles_size": size,  # what its documentation says
        "tiles_overlap": min(ceil(100 * 2 * card.margin / size), 80),
        "seg_thresh": 0.0,  # none: what is below becomes background
        "seg_small_segment": 0,  # no median filter
    }
    if card.pixel_size_m:
        told["resolution"] = round(100 * sqrt(card.pixel_size_m[0] * card.pixel_size_m[1]), 2)  # cm
    return {key: json.dumps(value) for key, value in told.items()}


# A network as ONNX: one file without code, for onnxruntime, OpenVINO and the QGIS plugin Deepness.
#
# Opset 17 and IR version 8 are what the onnxruntimes of the last years read, so the older of torch's two
# exporters is used: it writes these as they are.

OPSET = 17
INPUT, LOGITS, PROBABILITIES = "image", "logits", "probabilities"

CARD, WEIGHTS, OUTPUT = "geoseg", "geoseg_sha256", "geoseg_output"
"""Keys of geoseg's own metadata: the model's card as JSON, the sha256 of the weights it was made from, and
what comes out (`LOGITS` or `PROBABILITIES`)."""

TOLERANCE = 1e-4
"""How far a probability may be from torch's."""


def onnx_graph(model: Model, *, softmax: bool, size: int | None = None) -> bytes:
    """The network as the bytes of an ONNX model, without metadata.

    Input ``image``: float32 (N, bands, H, W), scaled as for the network, ``(pixels - mean) / std``. Output
    float32 (N, classes, H, W): ``probabilities`` with `softmax`, else ``logits``. H and W are `size`, or
    free multiples of the card's stride when it is None; N is free. Raises ConfigError without the extra
    *onnx*, ModelError when the architecture cannot be said in ONNX.
    """
    _extra()
    output = PROBABILITIES if softmax else LOGITS
    network = nn.Sequential(model.network, nn.Softmax(dim=1)) if softmax else model.network
    free = {0: "batch"} | ({2: "height", 3: "width"} if size is None else {})
    side = size or 2 * model.card.stride
    example = torch.zeros(1, model.card.bands, side, side, device=_device(model))
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of the exporter's age and its own inner life
            torch.onnx.export(
                network.eval(),
                (example,),
                buffer,  # type: ignore[arg-type]  # the older exporter takes it
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[output],
                dynamic_axes={INPUT: free, output: free},
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{model.path}: its architecture, {model.card.architecture}, cannot be written as ONNX "
            f"opset {OPSET} ({why}). use the model itself"
        ) from error
    return buffer.getvalue()


def write_onnx(
    path: Path,
    model: Model,
    *,
    softmax: bool = True,
    size: int | None = None,
    overwrite: bool = False,
) -> float:
    """Write a model as ONNX, complete or not at all, and return the largest difference from torch's output
    that was seen.

    `size` as for `onnx_graph`. The file's metadata carry geoseg's own card, from which `read_onnx_card`
    reads, and with `softmax` and a `size` also what Deepness wants to know. What onnxruntime makes of it
    is compared with torch before the file takes its name. Raises ConfigError without the extra *onnx*,
    ModelError when it cannot be written as ONNX or differs by more than `TOLERANCE`, OutputError.
    """
    onnx, _ = _extra()
    graph = onnx.load_from_string(onnx_graph(model, softmax=softmax, size=size))
    onnx.helper.set_model_props(graph, _metadata(model, softmax=softmax, size=size))
    graph.producer_name = "geoseg"
    onnx.checker.check_model(graph, full_check=True)
    made = graph.SerializeToString()
    difference = _difference(model, made, softmax=softmax, size=size)
    if difference > TOLERANCE:
        raise ModelError(
            f"{model.path}: as ONNX its output differs from torch's by {difference:.2g}, more than "
            f"{TOLERANCE:g}. nothing was written; please report it"
        )
    with replacing(path, overwrite=overwrite) as scratch:
        scratch.write_bytes(made)
    return difference


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file, whoever made it. Raises ModelError when it is none, ConfigError
    without the extra *onnx*."""
    onnx, _ = _extra()
    file = input_file(path, ModelError)
    try:
        graph = onnx.load(file, load_external_data=False)  # which could name any file
        return {entry.key: entry.value for entry in graph.metadata_props}
    except Exception as error:  # protobuf raises its own
        raise ModelError(f"{file}: is damaged, or no ONNX file. copy or export it again") from error


def read_onnx_card(path: Path) -> ModelCard:
    """The card of the geoseg model that an ONNX file was made from. Raises ModelError when it has none,
    ConfigError without the extra *onnx*."""
    told = read_onnx_metadata(path)
    try:
        return ModelCard.from_json(json.loads(told[CARD]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: is no ONNX file that geoseg wrote. use geoseg export") from error


def _metadata(model: Model, *, softmax: bool, size: int | None) -> dict[str, str]:
    """Geoseg's keys, and Deepness's where the graph is one for it."""
    own = {
        CARD: json.dumps(model.card.to_json()),
        WEIGHTS: model.sha256,
        OUTPUT: PROBABILITIES if softmax else LOGITS,
    }
    return own | (deepness_metadata(model.card, size) if softmax and size else {})


@torch.inference_mode()
def _difference(model: Model, made: bytes, *, softmax: bool, size: int | None) -> float:
    """The largest difference of an output value between torch and onnxruntime, on noise whose spread is
    that of scaled pixels."""
    _, runtime = _extra()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(made, options, providers=["CPUExecutionProvider"])
    # an odd number of strides, and not the one that was traced, where the size is free
    side = size or round_up(256, model.card.stride) + model.card.stride
    noise = torch.Generator().manual_seed(0)
    image = torch.randn((1, model.card.bands, side, side), generator=noise)
    theirs = torch.from_numpy(session.run(None, {INPUT: image.numpy()})[0])
    ours: Tensor = model.network(image.to(_device(model))).cpu()
    return float(((ours.softmax(dim=1) if softmax else ours) - theirs).abs().max())


def _device(model: Model) -> torch.device:
    return next(model.network.parameters()).device


def _extra() -> tuple[Any, Any]:
    """The modules onnx and onnxruntime."""
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ConfigError(
            "ONNX needs two packages that are not installed. pip install 'geoseg[onnx]'"
        ) from error
    return onnx, onnxruntime
