"""At which pixel size a scene is shown to the network."""

from __future__ import annotations

import logging
from math import inf
from typing import Literal

from geoseg.errors import ConfigError, SceneError
from geoseg.model.file import ModelCard
from geoseg.scene import SceneInfo

Gsd = float | Literal["auto", "none"]
"""Ground sampling distance: metres on the ground that a pixel measures for the network."""

_TOLERANCE = 1.5

log = logging.getLogger(__name__)


def network_pixel(info: SceneInfo, card: ModelCard, gsd: Gsd = "auto") -> tuple[float, float]:
    """What a pixel of the network measures in the scene's pixels, along a row and along a column.

    *none* shows the scene as it is; a number resamples it to square pixels of so many metres.
    *auto* leaves a scene alone that is within 1.5 times the pixel sizes the model was trained at,
    and else resamples to the nearest of them. Raises ConfigError for a number of 0 or less,
    SceneError when a number is asked of a scene whose pixel size is not known.
    """
    if gsd not in ("auto", "none") and not (isinstance(gsd, float | int) and 0 < gsd < inf):
        raise ConfigError(f"--gsd: must be auto, none, or more than 0 metres, got {gsd}")
    sides, sizes = info.pixel_sides_m, card.pixel_size_m
    if sides is None:
        if not isinstance(gsd, str):
            raise SceneError(
                f"{info.path}: its pixel size is not known, so it cannot be brought to {gsd:g} m. "
                "georeference it, or use --gsd none"
            )
        if sizes and gsd == "auto":
            log.warning(
                "%s: its pixel size is not known; the model was trained on %.3g to %.3g m. "
                "results may be poor",
                *(info.path, *sizes),
            )
        return 1.0, 1.0
    if isinstance(gsd, str):
        if sizes is None or _alike(sides, sizes):
            return 1.0, 1.0
        learned = f"the model was trained on {sizes[0]:.3g} to {sizes[1]:.3g} m"
        measures = " x ".join(dict.fromkeys(f"{side:.3g}" for side in sides))
        if gsd == "none":
            log.warning(
                "%s: a pixel is %s m on the ground, %s. expect poor results, or use --gsd auto",
                *(info.path, measures, learned),
            )
            return 1.0, 1.0
        metres = min(max((sides[0] * sides[1]) ** 0.5, sizes[0]), sizes[1])
        log.info(
            "%s: a pixel is %s m on the ground, %s: it is read at %.3g m",
            *(info.path, measures, learned, metres),
        )
    else:
        metres = gsd
    return metres / sides[0], metres / sides[1]


def _alike(sides: tuple[float, float], sizes: tuple[float, float]) -> bool:
    """True for pixels about square and about as large as those the model was trained at."""
    smallest, largest = sizes[0] / _TOLERANCE, sizes[1] * _TOLERANCE
    return smallest <= min(sides) and max(sides) <= min(largest, _TOLERANCE * min(sides))
