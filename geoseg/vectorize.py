"""Labels to polygons: a raster of class ids in, a GeoPackage out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import geoseg
from geoseg.errors import ConfigError, SceneError
from geoseg.files import check_output, replacing
from geoseg.ground import map_transform
from geoseg.legend import IGNORE, Legend
from geoseg.polygons.geopackage import write_polygons
from geoseg.polygons.labels import Confidence, Labels, open_confidence, open_labels
from geoseg.polygons.raster_legend import read_legend
from geoseg.polygons.trace import trace
from geoseg.progress import Track, silent

Strip = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


def vectorize(
    labels: Path,
    output: Path,
    *,
    confidence: Path | None = None,
    legend: Legend | None = None,
    min_pixels: int = 0,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    track: Track = silent,
) -> Path:
    """Outline the 4-connected regions of equal class id and write them to a GeoPackage.

    `labels` has one band of integers: 0 is background, 1 to 254 are classes, 255 and its nodata
    value are nothing. It is read by strips, never whole. `confidence` is uint8 on the same grid,
    0 to 200 meaning 0 to 1. Without a `legend` that of the raster counts (tag GEOSEG_LEGEND,
    category names, colour table), else classes are called class_<id>. Regions of fewer than
    `min_pixels` are left out. `provenance` is recorded in the file, beside the version of geoseg
    and the date. Returns `output`. Raises SceneError, OutputError, and ConfigError for an output
    that is no ``.gpkg``.
    """
    if output.suffix.lower() != ".gpkg":
        raise ConfigError(f"{output}: polygons go into a GeoPackage. give it a name in .gpkg")
    check_output(output, overwrite=overwrite)
    with ExitStack() as stack:
        source = stack.enter_context(open_labels(labels))
        sureness = stack.enter_context(open_confidence(confidence, source)) if confidence else None
        legend = legend or read_legend(source)
        scratch = stack.enter_context(replacing(output, overwrite=overwrite))
        write_polygons(
            scratch,
            trace(_strips(source, sureness, legend, track)),
            legend=legend,
            crs=source.dataset.crs or None,
            transform=map_transform(source.dataset.transform),
            scene=labels.name,
            min_pixels=min_pixels,
            provenance={**origin(), **(provenance or {"labels": labels.name})},
        )
    return output


def origin() -> dict[str, str]:
    """What the provenance of a product begins with: this geoseg, and the time in UTC."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return {"geoseg": geoseg.__version__, "date": now.isoformat(timespec="seconds") + "Z"}


def _strips(
    labels: Labels, confidence: Confidence | None, legend: Legend, track: Track
) -> Iterator[Strip]:
    for window in track(labels.strips(), "vectorize"):
        ids = labels.read(window)
        largest = int(ids.max(where=ids != IGNORE, initial=0))
        if largest >= len(legend):
            raise SceneError(
                f"{labels.path}: holds class {largest}, but its legend ends at {len(legend) - 1}. "
                "use the legend of the model that made the labels"
            )
        yield ids, confidence.read(window) if confidence else None
