"""DOTA label text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import shapely

from geoseg.dota import dota_text
from geoseg.tile.pair import Format, Line, Pair

RESHAPED = "objects are no quads and became their smallest rotated rectangles"


class DotaText(Format):
    """Quads as they were annotated, also where they reach out of the window."""

    folder = "labelTxt"

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write a line for each object."""
        whole, scene = pair.objects.whole, pair.scene
        text = dota_text(
            whole, self.legend, gsd=scene.pixel_size_m, image_source=scene.image_source
        )
        path.write_text(text, encoding="utf-8")
        pair.noted[RESHAPED] += sum(len(shapely.get_coordinates(g)) != 5 for g in whole.geometry)
        return ()
