"""Class, confidence, uncertainty and probabilities of the pixels of a tile, from one pass of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor, nn

from geoseg.errors import ConfigError
from geoseg.inference.reader import TileInput
from geoseg.legend import IGNORE
from geoseg.models.layers import fold_batch_norm
from geoseg.models.model_file import Model, load_model
from geoseg.models.objects import interior_probability
from geoseg.models.onnx import convert_to_backend, load_onnx
from geoseg.models.runtime import RuntimeNetwork
from geoseg.options import Backend
from geoseg.raster.tiles import Tile, round_up

FULL_CONFIDENCE = 200
"""Value of a confidence of 1 in uint8 rasters; IGNORE is nodata."""

_ROWS = 256
"""Rows of logits converted to labels at once, which bounds the memory of the softmax."""

Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model computes predictions, where and how. Plain data, for workers too."""

    path: Path | None = None
    """Model file; None: the shipped model."""

    card: Path | None = None
    """Model card of an ONNX file without one."""

    device: str = "cpu"

    backend: Backend = "auto"

    tta: bool = False
    """Average the softmax over 8 orientations."""

    objects: bool = False
    """Also predict the interior of objects; needs a model with object outputs."""

    uncertainty: bool = False
    """Also predict the normalised entropy of the classes."""

    probabilities: bool = False
    """Also predict the probability of every class."""


def open_model(spec: ModelSpec) -> Model:
    """Open the model file of `spec`; raises ModelError or ConfigError."""
    if spec.path is not None and spec.path.suffix.lower() == ".onnx":
        return load_onnx(spec.path, spec.card)
    if spec.card is not None:
        raise ConfigError(
            f"--card {spec.card}: only ONNX files take a card; a geoseg model contains its own. "
            "Leave it out"
        )
    return load_model(spec.path)


def create_predictor(spec: ModelSpec, model: Model | None = None) -> Predictor:
    """Create the predictor of `spec`; pass its `model` if it is open already."""
    return Predictor(
        convert_to_backend(model or open_model(spec), spec.backend),
        spec.device,
        tta=spec.tta,
        objects=spec.objects,
        uncertainty=spec.uncertainty,
        probabilities=spec.probabilities,
    )


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted values of the scene pixels that a tile covers."""

    tile: Tile
    """In network pixels."""

    window: Window
    """In scene pixels."""

    planes: NDArray[np.uint8]
    """(planes, h, w) of `window`: class ID; confidence (softmax of the winning class, times 200); with objects the
    probability of the interior of an object, times 200; with uncertainty the normalised entropy, times 200; with
    probabilities the softmax of each class, times 200. IGNORE outside data and area of interest."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(h, w) class IDs."""
        labels: NDArray[np.uint8] = self.planes[0]
        return labels

    @property
    def confidence(self) -> NDArray[np.uint8]:
        """(h, w) from 0 to 200."""
        confidence: NDArray[np.uint8] = self.planes[1]
        return confidence


class Predictor:
    """A model prepared for inference on a device.

    Parameters
    ----------
    model
        The model; its network is copied.
    device
        Device of the network. On a GPU it computes in half precision.
    tta
        Average the probabilities over 8 orientations of every window (test-time augmentation).
    objects
        Add a plane for the interior of objects; the model has object outputs.
    uncertainty
        Add a plane for the normalised entropy of the classes, see `normalized_entropy`.
    probabilities
        Add a plane for the probability of each class.
    """

    def __init__(
        self,
        model: Model,
        device: str = "cpu",
        *,
        tta: bool = False,
        objects: bool = False,
        uncertainty: bool = False,
        probabilities: bool = False,
    ) -> None:
        if objects and model.card.objects is None:
            raise ValueError(f"{model.path}: the model has no object outputs")
        self._device, self._tta = device, tta
        self._uncertainty, self._probabilities = uncertainty, probabilities
        self._classes, self._objects = len(model.card.legend), objects
        self.stride = model.card.stride
        """Windows of the network are multiples of this many pixels."""
        self.bands = model.card.bands
        """Bands of the input."""
        self._window = model.window
        self._network = _prepare_network(model.network, device)
        self._mean = torch.tensor(model.card.mean, device=device).reshape(-1, 1, 1)
        self._std = torch.tensor(model.card.std, device=device).reshape(-1, 1, 1)

    def padded_shape(self, tile: TileInput) -> tuple[int, int]:
        """Return height and width of a tile's window for the network: multiples of its stride, or the only
        size that it takes."""
        if self._window is not None:
            return self._window, self._window
        height, width = tile.valid.shape
        return round_up(height, self.stride), round_up(width, self.stride)

    def predict(self, batch: Sequence[TileInput]) -> list[Prediction]:
        """Predict tiles of one padded shape; raises ConfigError if the memory does not suffice."""
        with torch.inference_mode(), _out_of_memory_hint(self.padded_shape(batch[0]), len(batch)):
            return [
                self._to_prediction(tile, logits)
                for tile, logits in zip(batch, self.compute_logits(batch), strict=True)
            ]

    @torch.inference_mode()
    def compute_logits(self, batch: Sequence[TileInput]) -> Tensor:
        """Return (N, outputs, h, w) logits of windows of one padded shape: classes, then object outputs.

        Pixels without data, and padding beyond the edge of the scene, are 0 after scaling, as in training.
        """
        image = self._stack(batch)
        if self._tta:
            return self._average_orientations(image)
        with self._autocast():
            logits: Tensor = self._network(image)
        return logits.float()

    def _average_orientations(self, image: Tensor) -> Tensor:
        """Return the logits of the mean probabilities over 8 orientations."""
        total: Tensor | None = None
        for rotate, restore in _orientations():
            with self._autocast():
                logits: Tensor = self._network(rotate(image))
            logits = restore(logits.float())
            classes, objects = self._separate_outputs(logits)
            classes.copy_(classes.softmax(dim=1))
            objects.sigmoid_()
            total = logits if total is None else total.add_(logits)
        assert total is not None
        classes, objects = self._separate_outputs(total)
        classes.clamp_min_(torch.finfo(total.dtype).tiny).log_()
        objects.div_(8).logit_(eps=1e-7)
        return total

    def _separate_outputs(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return views of the classes and of the object outputs of (N, outputs, h, w)."""
        return outputs[:, : self._classes], outputs[:, self._classes :]

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cuda", torch.float16, enabled=self._device == "cuda")

    def _stack(self, batch: Sequence[TileInput]) -> Tensor:
        """Return (N, bands, h, w) scaled and padded windows."""
        height, width = self.padded_shape(batch[0])
        image = torch.empty(
            (len(batch), self.bands, height, width),
            device=self._device,
            memory_format=torch.channels_last,
        ).zero_()
        for index, tile in enumerate(batch):
            pixels = self._to_device(tile.pixels).float()
            valid = self._to_device(tile.valid)
            rows, columns = tile.valid.shape
            image[index, :, :rows, :columns] = ((pixels - self._mean) / self._std).where(valid, 0)
        return image

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._device == "cuda":  # pinned memory is copied while the GPU computes
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _to_prediction(self, tile: TileInput, logits: Tensor) -> Prediction:
        inner = logits[:, *tile.tile.inner].permute(1, 2, 0)  # (h, w, outputs)
        parts = [self._to_planes(part) for part in torch.split(inner, _ROWS)]
        planes = tile.resample_core(torch.cat(parts, dim=1).numpy())
        if not tile.selected.all():
            planes[:, ~tile.selected] = IGNORE
        return Prediction(tile.tile, tile.window, planes)

    def _to_planes(self, logits: Tensor) -> Tensor:
        """Convert (h, w, outputs) logits to (planes, h, w) uint8 on the CPU."""
        probabilities = logits[..., : self._classes].softmax(dim=-1)
        confidence, label = probabilities.max(dim=-1)
        planes = [label, _quantize(confidence)]
        if self._objects:
            objects = logits[..., self._classes :].movedim(-1, 0)
            planes.append(_quantize(interior_probability(objects)))
        if self._uncertainty:
            planes.append(_quantize(normalized_entropy(probabilities)))
        if self._probabilities:
            planes += _quantize(probabilities).unbind(dim=-1)
        return torch.stack([plane.to(torch.uint8) for plane in planes]).cpu()


def predict_tiles(
    predictor: Predictor, tiles: Iterable[TileInput], *, batch_size: int = 1
) -> Iterator[Prediction | None]:
    """Predict tiles in order; None for one without data.

    Consecutive tiles of one padded shape share a forward pass, up to `batch_size` of them.
    """
    for batch in _batch_tiles(tiles, batch_size, predictor.padded_shape):
        if batch[0].empty:
            yield None
        else:
            yield from predictor.predict(batch)


def _batch_tiles(
    tiles: Iterable[TileInput], size: int, shape: Callable[[TileInput], tuple[int, int]]
) -> Iterator[list[TileInput]]:
    """Group consecutive tiles of one shape; a tile without data is a group of its own."""
    batch: list[TileInput] = []
    for tile in tiles:
        if batch and (tile.empty or shape(batch[0]) != shape(tile)):
            yield batch
            batch = []
        batch.append(tile)
        if tile.empty or len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _prepare_network(network: nn.Module, device: str) -> nn.Module:
    if isinstance(network, RuntimeNetwork):
        return network
    return fold_batch_norm(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def normalized_entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of the classes divided by that of a uniform distribution, 0 to 1.

    Parameters
    ----------
    probabilities
        (..., classes), two classes or more.

    Notes
    -----
    -Σ p log p / log(classes), the uncertainty of entropy sampling (Settles 2009, Active Learning Literature Survey,
    section 3.1). The least confidence is 1 minus the raster of the confidence; the margin of the two best classes
    does not distinguish doubt between two classes from doubt among all.

    Examples
    --------
    >>> normalized_entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([0., 1.])
    """
    entropy: Tensor = torch.special.entr(probabilities).sum(dim=-1)
    return (entropy / log(probabilities.shape[-1])).clamp_(0, 1)


def _quantize(probability: Tensor) -> Tensor:
    return (probability * FULL_CONFIDENCE).round_()


def _orientations() -> Iterator[tuple[Transform, Transform]]:
    """Yield the 8 symmetries of the square for (..., h, w) images, each with its inverse."""
    for turns in range(4):
        for flip in (False, True):

            def rotate(image: Tensor, turns: int = turns, flip: bool = flip) -> Tensor:
                rotated = torch.rot90(image, turns, (-2, -1))
                rotated = rotated.flip(-1) if flip else rotated
                return rotated.contiguous(memory_format=torch.channels_last)

            def restore(image: Tensor, turns: int = turns, flip: bool = flip) -> Tensor:
                return torch.rot90(image.flip(-1) if flip else image, -turns, (-2, -1))

            yield rotate, restore


@contextmanager
def _out_of_memory_hint(shape: tuple[int, int], batch_size: int) -> Iterator[None]:
    """Turn an allocation failure into a ConfigError that names the options to lower."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "alloc" not in str(error):
            raise
        height, width = shape
        raise ConfigError(
            f"not enough memory for {batch_size} x {width} x {height} pixels per forward pass. "
            "Lower --memory, --core or --batch-size"
        ) from error
