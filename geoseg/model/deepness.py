"""What the QGIS plugin Deepness reads from an ONNX file's metadata.

It cuts square tiles of `size` pixels that overlap by a share of their side, keeps half of the overlap of each,
scales pixels by ``(pixel / 255 - mean) / std`` whatever their type, fills with 0 beyond the raster, and
takes the class of the largest probability. Every value is JSON, also that of a text.
"""

from __future__ import annotations

import json
from math import ceil, sqrt
from typing import Any

from geoseg.grid import round_up
from geoseg.model.file import ModelCard

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
