"""Corrections of predicted polygons: accepted, rejected, redrawn, with another class.

An edited result layer is an annotation file. Its column ``status`` has what was reviewed; what was not is no
annotation, unless it lies in a frame in which everything was reviewed.
"""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.errors import AnnotationError

STATUS = "status"
"""Column with the status of a polygon."""

ACCEPTED, REJECTED = "accepted", "rejected"
"""Values of the column; empty: not reviewed."""


def read_statuses(path: Path, table: gpd.GeoDataFrame) -> NDArray[np.object_] | None:
    """Return the (n,) statuses of polygons; None if there is no such column, or all of it is empty.

    Raises AnnotationError for another value.
    """
    if STATUS not in table.columns:
        return None
    values = table[STATUS]
    statuses = np.where(values.isna(), "", values.astype(str).str.strip().str.lower())
    unknown = ~np.isin(statuses.astype(str), ("", ACCEPTED, REJECTED))
    if unknown.any():
        first = int(unknown.argmax())
        raise AnnotationError(
            f"{path}: column {STATUS} of {int(unknown.sum())} polygons is neither {ACCEPTED} nor {REJECTED} nor empty, "
            f"first {str(values.iloc[first])!r} of feature {first + 1}. Correct it, or rename the column if it "
            "has another meaning"
        )
    return statuses.astype(object) if (statuses != "").any() else None


def reviewed_area(
    geometry: NDArray[np.object_],
    statuses: NDArray[np.object_],
    frames: shapely.Geometry | None,
) -> shapely.Geometry:
    """Return the annotated area of a scene: the union of its frames and of all accepted and rejected polygons.

    Parameters
    ----------
    geometry
        (n,) polygons in pixels of the scene.
    statuses
        (n,) their statuses.
    frames
        Area in which everything was reviewed; None: there is none.
    """
    reviewed = geometry[statuses != ""]
    parts = [*reviewed] if frames is None else [*reviewed, frames]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def select_objects(
    geometry: NDArray[np.object_],
    statuses: NDArray[np.object_],
    frames: shapely.Geometry | None,
) -> NDArray[np.bool_]:
    """Return (n,) True for polygons that are objects: accepted ones, and in the frames all that are not rejected."""
    objects: NDArray[np.bool_] = statuses == ACCEPTED
    if frames is not None:
        objects |= (statuses == "") & shapely.intersects(geometry, frames)
    return objects


def report_corrections(
    statuses: NDArray[np.object_],
    objects: NDArray[np.bool_],
    file: Path,
    scene: str,
    report: ValidationReport,
) -> None:
    """Add the numbers of accepted, rejected and other polygons of a scene to the report."""
    for kind, action, which in (
        (IssueKind.ACCEPTED, Action.KEPT, statuses == ACCEPTED),
        (IssueKind.REJECTED, Action.KEPT, statuses == REJECTED),
        (IssueKind.NOT_REVIEWED, Action.LEFT_OUT, (statuses == "") & ~objects),
    ):
        report.add(kind, file, action, scene=scene, count=int(which.sum()))
