"""Comparison of the values of a scene or dataset with those that a model was trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.models.model_file import ModelCard
from geoseg.raster.mosaic import Mosaic
from geoseg.raster.scene import Scene

_WINDOWS, _SIDE = 9, 128  # windows that are read of a scene, and their side in pixels
_MOSTLY = 0.5  # share of the range of a scene outside that of the training scenes
_NARROW = 0.01  # range of a scene as a share of that of the training scenes

log = logging.getLogger(__name__)


class PercentileRange(Protocol):
    """Range of the values of a band, such as `geoseg.raster.bands.BandStatistics`."""

    @property
    def p2(self) -> float:
        """2nd percentile."""
        ...

    @property
    def p98(self) -> float:
        """98th percentile."""
        ...


def warn_of_scene_values(scene: Scene | Mosaic, card: ModelCard) -> None:
    """Warn if the values of a scene lie mostly outside those of the training scenes.

    Nine windows of an open scene are read. Nothing is read or compared if the card has no statistics.
    """
    if not card.statistics:
        return
    values = _sample_values(scene)
    if not values.shape[1]:
        return
    low, high = np.percentile(values, (2, 98), axis=1)
    _warn(str(scene.info.path), low, high, card)


def warn_of_dataset_values(
    name: str, statistics: Sequence[PercentileRange], card: ModelCard
) -> None:
    """Warn if the values of a dataset lie mostly outside those of the training scenes of a model."""
    if len(statistics) == len(card.statistics) > 0:
        low = np.array([band.p2 for band in statistics])
        high = np.array([band.p98 for band in statistics])
        _warn(name, low, high, card)


def share_outside(
    low: NDArray[np.float64], high: NDArray[np.float64], training: Sequence[PercentileRange]
) -> float:
    """Return which share of the ranges of the bands lies outside those of the training scenes, on average.

    Parameters
    ----------
    low, high
        (bands,) 2nd and 98th percentile of each band.
    training
        The same of the training scenes. A range of less than 1 % of the length of theirs counts as outside.
    """
    least = np.array([band.p2 for band in training])
    most = np.array([band.p98 for band in training])
    length = high - low
    inside = np.minimum(high, most) - np.maximum(low, least)
    within = (low >= least) & (high <= most)
    share = np.where(length > 0, inside / np.where(length > 0, length, 1), within).clip(0, 1)
    share[length < _NARROW * (most - least)] = 0
    return float(1 - share.mean())


def _warn(name: str, low: NDArray[np.float64], high: NDArray[np.float64], card: ModelCard) -> None:
    if share_outside(low, high, card.statistics) <= _MOSTLY:
        return
    log.warning(
        "%s: most values are %s, those of the training scenes %s. Expect poor results unless they are scaled alike",
        name,
        _format_range(low.min(), high.max()),
        _format_range(
            min(band.p2 for band in card.statistics), max(band.p98 for band in card.statistics)
        ),
    )


def _sample_values(scene: Scene | Mosaic) -> NDArray[np.float64]:
    """Return (bands, n) valid values of windows spread evenly over a scene."""
    across, down = (
        np.unique(np.linspace(0, max(length - _SIDE, 0), round(_WINDOWS**0.5)).astype(int))
        for length in (scene.info.width, scene.info.height)
    )
    width, height = min(_SIDE, scene.info.width), min(_SIDE, scene.info.height)
    parts = []
    for top in down.tolist():
        for left in across.tolist():
            pixels, valid = scene.read(Window(left, top, width, height))
            parts.append(pixels[:, valid])
    return np.concatenate(parts, axis=1).astype(np.float64)


def _format_range(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"
