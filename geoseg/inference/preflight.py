"""Size and expected duration of a prediction, logged before the first tile of a scene."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter

import numpy as np
from rasterio.windows import Window

from geoseg.inference.plan import ScenePlan
from geoseg.inference.predictor import Predictor
from geoseg.inference.reader import TileInput, TileReader
from geoseg.progress import format_duration
from geoseg.raster.tiles import Tile, round_up

_SMALL = 4_000_000
"""Network pixels up to which a prediction is too short to be announced."""

_PROBE = 512
"""Side in pixels of the window that is timed."""

log = logging.getLogger(__name__)


def log_preflight(
    plan: ScenePlan, reader: TileReader, tiles: Sequence[Tile], predictor: Predictor | None
) -> None:
    """Log pixel sizes, number of tiles and expected duration of a prediction; nothing for a small one.

    Parameters
    ----------
    plan
        The scene.
    reader
        Reader of the scene.
    tiles
        Tiles to predict.
    predictor
        Computes the predictions in this process; None: others do, so the duration is unknown.

    Notes
    -----
    The record has the attribute `plan` with the same facts as JSON data.
    """
    forward = sum(tile.window.width * tile.window.height for tile in tiles)
    if forward <= _SMALL:
        return
    info, sides = plan.info, plan.info.pixel_sides_m
    scale = plan.scene.scale
    network = None if sides is None else sides[0] * scale[0]
    seconds = None if predictor is None else forward * _time_pixel(plan, predictor)
    text = f"{info.width:,} x {info.height:,} pixels"
    text += " of unknown size" if info.pixel_size_m is None else f" of {info.pixel_size_m:.3g} m"
    if scale != (1.0, 1.0):
        text += f", read as {reader.width:,} x {reader.height:,} of {network:.3g} m"
    text += f"; {len(tiles):,} {'tile' if len(tiles) == 1 else 'tiles'}"
    text += "" if seconds is None else f", about {format_duration(seconds)}"
    facts = {
        "scene": plan.name,
        "width": info.width,
        "height": info.height,
        "pixel_size_m": info.pixel_size_m,
        "network_width": reader.width,
        "network_height": reader.height,
        "network_pixel_size_m": network,
        "tiles": len(tiles),
        "seconds": None if seconds is None else round(seconds),
    }
    log.info("%s: %s", plan.name, text, extra={"plan": facts})


def _time_pixel(plan: ScenePlan, predictor: Predictor) -> float:
    """Return the seconds that a network pixel takes, by the second of two passes over a small window."""
    side = round_up(_PROBE, predictor.stride)
    window = Window(0, 0, side, side)
    pixels = np.zeros((predictor.bands, side, side), plan.scene.dtype or plan.info.dtype)
    valid = np.ones((side, side), bool)
    probe = TileInput(Tile(window, window), pixels, valid, window, valid)
    height, width = predictor.padded_shape(probe)
    if side > min(height, width):  # a network of a smaller fixed size
        window = Window(0, 0, width, height)
        valid = valid[:height, :width]
        probe = TileInput(Tile(window, window), pixels[:, :height, :width], valid, window, valid)
    predictor.predict([probe])
    start = perf_counter()
    predictor.predict([probe])
    return (perf_counter() - start) / (height * width)
