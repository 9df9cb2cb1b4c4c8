"""ONNX: export of a model, import of anyone's model, and other runtimes for the network.

An ONNX file holds a graph without code, for onnxruntime, OpenVINO and the QGIS plugin Deepness. Opset 17 and
IR version 8, which all recent onnxruntimes read, are those of the older of the two exporters of torch.

Deepness cuts square tiles of `size` pixels that overlap by a percentage of their side, keeps half of each
overlap, scales pixels by ``(pixel / 255 - mean) / std`` whatever their type, fills with 0 outside the raster,
and takes the class of the largest probability. It reads its settings from the metadata of the file, each
value as JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError, ModelError
from geoseg.files import input_file, replacing
from geoseg.legend import IGNORE, Legend, LegendClass
from geoseg.models.model_file import FORMAT, Model, ModelCard
from geoseg.models.objects import OBJECT_OUTPUTS
from geoseg.models.runtime import RuntimeNetwork
from geoseg.options import Backend, check_pixel_sizes
from geoseg.raster.tiles import round_up

OPSET = 17
INPUT, LOGITS, PROBABILITIES = "image", "logits", "probabilities"
OBJECTS = "objects"
"""Name of the second output of a model with object outputs: their logits."""

CARD, WEIGHTS, OUTPUT = "geoseg", "geoseg_sha256", "geoseg_output"
"""Metadata keys of geoseg: the model card as JSON, the sha256 of the weights, and the kind of output
(`LOGITS` or `PROBABILITIES`)."""

TOLERANCE = 1e-4
"""Largest accepted difference from the output of torch."""

_SMALLEST_SIZE, _LARGEST_SIZE = 512, 2048
_MARGINS_PER_SIDE = 8
"""Margins in the side of a tile for Deepness: a quarter of it is overlap."""

_COLOURS = (
    *("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45"),
    *("#469990", "#9a6324", "#800000", "#808000", "#000075", "#ffe119", "#aaffc3", "#fabed4"),
)


def onnx_graph(model: Model, *, softmax: bool, size: int | None = None) -> bytes:
    """Export the network as the bytes of an ONNX model without metadata.

    Parameters
    ----------
    model
        The model.
    softmax
        Output ``probabilities`` instead of ``logits``.
    size
        Height and width of the input; None: any multiple of the stride of the card.

    Returns
    -------
    bytes
        Graph with input ``image``, float32 (N, bands, H, W) scaled by ``(pixels - mean) / std``, and output
        float32 (N, classes, H, W). N is free. If the card has `objects`, a second output, ``objects``, has the logits
        of `geoseg.models.objects.OBJECT_OUTPUTS`, float32 (N, 2, H, W).

    Raises
    ------
    ConfigError
        If the extra *onnx* is not installed.
    ModelError
        If ONNX cannot express the architecture.
    """
    _import_onnx()
    outputs = [PROBABILITIES if softmax else LOGITS]
    outputs += [OBJECTS] if model.card.objects is not None else []
    network = _NamedOutputs(model, softmax=softmax)
    free = {0: "batch"} | ({2: "height", 3: "width"} if size is None else {})
    side = size or 2 * model.card.stride
    example = torch.zeros(1, model.card.bands, side, side, device=_device_of(model))
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # about the age and internals of the exporter
            torch.onnx.export(
                network.eval(),
                (example,),
                buffer,  # type: ignore[arg-type]  # the older exporter accepts it
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=outputs,
                dynamic_axes=dict.fromkeys([INPUT, *outputs], free),
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{model.path}: its architecture, {model.card.architecture}, cannot be exported to ONNX "
            f"opset {OPSET} ({why}). Use the model file itself"
        ) from error
    return buffer.getvalue()


class _NamedOutputs(nn.Module):
    """A network with its classes, as logits or probabilities, and its objects as separate outputs."""

    def __init__(self, model: Model, *, softmax: bool) -> None:
        super().__init__()
        self.network, self.softmax = model.network, softmax
        self.classes, self.objects = len(model.card.legend), model.card.objects is not None

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, bands, H, W) → (N, classes, H, W) and, if there are objects, (N, 2, H, W)."""
        outputs: Tensor = self.network(image)
        classes = outputs[:, : self.classes] if self.objects else outputs
        if self.softmax:
            classes = classes.softmax(dim=1)
        return (classes, outputs[:, self.classes :]) if self.objects else classes


class _ClassOutputs(nn.Module):
    """A network without its object outputs."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, image: Tensor) -> Tensor:
        """(N, bands, H, W) → (N, classes, H, W)."""
        outputs: Tensor = self.network(image)
        return outputs[:, : self.classes]


def omit_objects(model: Model) -> Model:
    """Return a model without its object outputs, for readers that accept a single output."""
    if model.card.objects is None:
        return model
    network = _ClassOutputs(model.network, len(model.card.legend))
    return replace(model, card=replace(model.card, objects=None), network=network)


def write_onnx(
    path: Path,
    model: Model,
    *,
    softmax: bool = True,
    size: int | None = None,
    overwrite: bool = False,
) -> float:
    """Write a model as an ONNX file, complete or not at all.

    The metadata contain the model card, and with `softmax` and `size` the settings of Deepness. The output
    of onnxruntime is compared with that of torch before the file is published.

    Parameters
    ----------
    path
        File to write.
    model, softmax, size
        See `onnx_graph`.
    overwrite
        Replace an existing file.

    Returns
    -------
    float
        Largest difference from the output of torch on random input.

    Raises
    ------
    ConfigError
        If the extra *onnx* is not installed.
    ModelError
        If ONNX cannot express the architecture, or the output differs by more than `TOLERANCE`.
    OutputError
        If the file cannot be written.
    """
    onnx, _ = _import_onnx()
    graph = onnx.load_from_string(onnx_graph(model, softmax=softmax, size=size))
    onnx.helper.set_model_props(graph, _metadata(model, softmax=softmax, size=size))
    graph.producer_name = "geoseg"
    onnx.checker.check_model(graph, full_check=True)
    content = graph.SerializeToString()
    difference = _difference(model, content, softmax=softmax, size=size)
    if difference > TOLERANCE:
        raise ModelError(
            f"{model.path}: as ONNX its output differs from torch's by {difference:.2g}, more than "
            f"{TOLERANCE:g}. Nothing was written; please report it"
        )
    with replacing(path, overwrite=overwrite) as scratch:
        scratch.write_bytes(content)
    return difference


def read_onnx_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of any ONNX file; raises ModelError if it is not one, ConfigError without the
    extra *onnx*."""
    onnx, _ = _import_onnx()
    file = input_file(path, ModelError)
    try:
        graph = onnx.load(file, load_external_data=False)  # external data could name any file
        return {entry.key: entry.value for entry in graph.metadata_props}
    except Exception as error:  # of protobuf's own classes
        raise ModelError(
            f"{file}: damaged, or not an ONNX file. Copy or export it again"
        ) from error


def read_onnx_card(path: Path) -> ModelCard:
    """Read the model card from an ONNX file that `write_onnx` wrote; raises ModelError or ConfigError."""
    metadata = read_onnx_metadata(path)
    try:
        return ModelCard.from_json(json.loads(metadata[CARD]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: not an ONNX file written by geoseg. Use geoseg export"
        ) from error


def _metadata(model: Model, *, softmax: bool, size: int | None) -> dict[str, str]:
    own = {
        CARD: json.dumps(model.card.to_json()),
        WEIGHTS: model.sha256,
        OUTPUT: PROBABILITIES if softmax else LOGITS,
    }
    return own | (deepness_metadata(model.card, size) if softmax and size else {})


@torch.inference_mode()
def _difference(model: Model, content: bytes, *, softmax: bool, size: int | None) -> float:
    """Return the largest difference between torch and onnxruntime, on noise with the spread of scaled
    pixels."""
    _, runtime = _import_onnx()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # if the size is free: an odd number of strides, other than the traced one
    side = size or round_up(256, model.card.stride) + model.card.stride
    noise = torch.Generator().manual_seed(0)
    image = torch.randn((1, model.card.bands, side, side), generator=noise)
    actual = session.run(None, {INPUT: image.numpy()})
    found = _NamedOutputs(model, softmax=softmax)(image.to(_device_of(model)))
    expected = found if isinstance(found, tuple) else (found,)
    pairs = zip(expected, map(torch.from_numpy, actual), strict=True)
    return max(float((theirs.cpu() - ours).abs().max()) for theirs, ours in pairs)


def _device_of(model: Model) -> torch.device:
    return next(model.network.parameters()).device


def _import_onnx() -> tuple[Any, Any]:
    """Import onnx and onnxruntime."""
    try:
        import onnx
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ConfigError(
            "ONNX support is not installed. Run pip install 'geoseg[onnx]'"
        ) from error
    return onnx, onnxruntime


def deepness_size(card: ModelCard) -> int:
    """Return the side of a tile for Deepness in pixels.

    At most a quarter of a tile overlaps its neighbour, unless tiles would exceed 2048 pixels.
    """
    side = min(max(_SMALLEST_SIZE, _MARGINS_PER_SIDE * card.margin), _LARGEST_SIZE)
    return round_up(max(side, 4 * card.margin), card.stride)


def deepness_metadata(card: ModelCard, size: int) -> dict[str, str]:
    """Return the metadata that Deepness reads, for tiles of `size` pixels with the margin of the card."""
    settings: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {str(c.id): c.name for c in card.legend},
        "standardization_mean": [mean / 255 for mean in card.mean],
        "standardization_std": [std / 255 for std in card.std],
        "tile_size": size,  # read by its code
        "tiles_size": size,  # named in its documentation
        "tiles_overlap": min(ceil(100 * 2 * card.margin / size), 80),
        "seg_thresh": 0.0,  # no threshold: pixels below it become background
        "seg_small_segment": 0,  # no median filter
    }
    if card.pixel_size_m:
        settings["resolution"] = round(
            100 * sqrt(card.pixel_size_m[0] * card.pixel_size_m[1]), 2
        )  # cm
    return {key: json.dumps(value) for key, value in settings.items()}


def load_onnx(path: Path, card: Path | None = None) -> Model:
    """Open an ONNX file as a model that onnxruntime computes.

    Parameters
    ----------
    path
        ONNX file of geoseg or of any other origin.
    card
        JSON file with what its metadata lack, see `docs/models.md`.

    Raises
    ------
    ModelError
        If it cannot be run, or legend and scaling are unknown.
    ConfigError
        If the extra *onnx* is not installed, or the card cannot be read.
    """
    file = input_file(path, ModelError)
    metadata = read_onnx_metadata(file)
    graph = file.read_bytes()
    try:
        network = RuntimeNetwork(graph, "onnx")
        bands, side = _input_shape(network)
        found = _resolve_card(file, metadata, card, bands, side)
    except ModelError as error:
        if str(file) in str(error):
            raise
        raise ModelError(f"{file}: {error}. Export it again, opset 17 or lower") from error
    if len(found.mean) != bands:
        raise ModelError(
            f"{file}: takes {bands} bands, but its card has {found.bands}. Correct the card"
        )
    network.objects = found.objects is not None
    network.probabilities = _outputs_probabilities(file, network, found, side, metadata.get(OUTPUT))
    return Model(file, found, network, hashlib.sha256(graph).hexdigest(), window=side)


def _input_shape(network: RuntimeNetwork) -> tuple[int, int | None]:
    """Return the bands, and the side of a window if it is fixed."""
    shape = network.input_shape
    if len(shape) != 4 or not isinstance(shape[1], int):
        raise ModelError(f"takes {shape} instead of images (N, bands, H, W)")
    height, width = shape[2:]
    if isinstance(height, int) != isinstance(width, int) or (
        isinstance(height, int) and height != width
    ):
        raise ModelError(f"takes windows of {width} x {height} pixels, which are not square")
    return shape[1], height if isinstance(height, int) else None


def _resolve_card(
    file: Path, metadata: Mapping[str, str], card: Path | None, bands: int, side: int | None
) -> ModelCard:
    if card is not None:
        return _read_user_card(card, bands, side)
    if CARD in metadata:
        found = ModelCard.from_json(json.loads(metadata[CARD]))
        return found if side is None else _limit_margin(found, side)
    if metadata.get("model_type") == json.dumps("Segmentor") or "class_names" in metadata:
        return _card_from_deepness(file, metadata, bands, side)
    raise ModelError(
        f"{file}: legend and scaling unknown: the file has no model card. Pass one with --card CARD.json"
    )


def _limit_margin(card: ModelCard, side: int) -> ModelCard:
    """Limit the margin to a quarter of a window of fixed size."""
    margin = min(card.margin, side // 4 // card.stride * card.stride)
    return replace(card, margin=margin, context=None)


def _read_user_card(path: Path, bands: int, side: int | None) -> ModelCard:
    try:
        given = json.loads(input_file(path, ConfigError).read_text(encoding="utf-8"))
        stride = max(1, int(given.get("stride", 1 if side else 32)))
        margin = given.get("margin", (side or 512) // 8 // stride * stride)
        plain = {
            "format": FORMAT, "architecture": "onnx", "parameters": {}, "bands": bands,
            "dtype": "uint8", "stride": stride, "margin": margin, "pixel_size_m": None,
            "training": {}, "scores": {},
        } | given  # fmt: skip
        plain["legend"] = _complete_legend(given["legend"])
        return ModelCard.from_json(plain)
    except KeyError as error:
        raise ConfigError(
            f"{path}: lacks {error}. A model card needs legend, mean and std"
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a model card ({error}). See docs/models.md") from error


def _complete_legend(names: Any) -> Any:
    """Return a legend as JSON data, also for a list of class names with the background first."""
    if names and all(isinstance(name, str) for name in names):
        return _create_legend(dict(enumerate(names))).to_json()
    return names


def _create_legend(names: Mapping[int, str]) -> Legend:
    """Assign default colours to class names; the first is the background."""
    return Legend(
        tuple(
            LegendClass(i, names[i], "#000000" if i == 0 else _COLOURS[(i - 1) % len(_COLOURS)])
            for i in range(len(names))
        )
    )


def _card_from_deepness(
    file: Path, metadata: Mapping[str, str], bands: int, side: int | None
) -> ModelCard:
    try:
        values = {key: json.loads(text) for key, text in metadata.items()}
        names = {int(number): str(name) for number, name in values["class_names"].items()}
        size = side or int(values.get("tile_size") or values.get("tiles_size") or 512)
        margin = int(values.get("tiles_overlap", 15) / 100 * size / 2)
        metres = float(values["resolution"]) / 100 if values.get("resolution") else None
        check_pixel_sizes((metres, metres) if metres else None)
        return ModelCard(
            architecture="onnx",
            parameters={},
            legend=_create_legend(names),
            bands=bands,
            dtype="uint8",
            mean=tuple(255 * float(v) for v in values.get("standardization_mean", [0.0] * bands)),
            std=tuple(255 * float(v) for v in values.get("standardization_std", [1.0] * bands)),
            stride=1 if side else 32,
            margin=margin if side else ceil(margin / 32) * 32,
            pixel_size_m=(metres, metres) if metres else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{file}: the metadata of Deepness cannot be read ({error}). Pass a model card with --card"
        ) from error


def _outputs_probabilities(
    file: Path, network: RuntimeNetwork, card: ModelCard, side: int | None, declared: str | None
) -> bool:
    """Return True if the metadata, or else an output that adds up to 1, show probabilities."""
    length = side or 4 * card.stride
    noise = np.random.default_rng(0).standard_normal((1, card.bands, length, length), np.float32)
    output, objects = network.run_graph(noise)
    classes = len(card.legend)
    if output.ndim != 4 or output.shape[2:] != noise.shape[2:]:
        raise ModelError(
            f"{file}: outputs {output.shape} for a window of {length} pixels instead of logits per pixel. "
            "Use a model for semantic segmentation"
        )
    expected = (1, len(OBJECT_OUTPUTS), *noise.shape[2:])
    if card.objects is not None and (objects is None or objects.shape != expected):
        raise ModelError(
            f"{file}: its card has object rules, but the graph has no output {OBJECTS}. "
            "Export it again with geoseg export --objects"
        )
    if output.shape[1] != classes and not (output.shape[1] == 1 and classes == 2):
        raise ModelError(
            f"{file}: outputs {output.shape[1]} classes, but its card names {classes}. "
            "Background counts as a class"
        )
    if classes > IGNORE:
        raise ModelError(
            f"{file}: has {classes} classes, more than {IGNORE}. Use a model with fewer"
        )
    if declared is not None:
        return declared == PROBABILITIES
    in_range = bool(output.min() >= 0 and output.max() <= 1 + 1e-3)
    return in_range and (output.shape[1] == 1 or bool(np.abs(output.sum(axis=1) - 1).max() < 1e-3))


def convert_to_backend(model: Model, backend: Backend) -> Model:
    """Return the model with its network computed by `backend`.

    *auto* is torch for a geoseg model and onnxruntime for an ONNX file.

    Raises
    ------
    ConfigError
        If the backend is not installed or cannot run the model.
    ModelError
        If ONNX cannot express the architecture.
    """
    if backend == "auto" or (backend == "onnx" and isinstance(model.network, RuntimeNetwork)):
        return model
    if isinstance(model.network, RuntimeNetwork):
        raise ConfigError(
            f"--backend {backend}: {model.path.name} is an ONNX file. Use --backend onnx, or auto"
        )
    if backend == "torch":
        return model
    graph = onnx_graph(model, softmax=False)
    network = RuntimeNetwork(graph, backend, objects=model.card.objects is not None)
    return replace(model, network=network)
