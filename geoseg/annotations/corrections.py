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

from geoseg.annotations.readers import NamedAnnotations
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


def apply_corrections(
    part: NamedAnnotations, file: Path, scene: str, report: ValidationReport
) -> NamedAnnotations:
    """Return the objects of a scene and its annotated area; unchanged without corrections.

    Accepted polygons are objects, and those of the frames that are not rejected. The annotated area is the union of the
    frames and of all accepted and rejected polygons, so a rejected polygon is annotated background.

    Parameters
    ----------
    part
        Polygons with their statuses. Its area is that of the frames, in which everything was reviewed; None: there are
        none.
    file, scene
        Annotation file and name of the scene, for the report.
    report
        Gets the numbers of accepted, rejected and other polygons.
    """
    if part.status is None:
        return part
    status, frames = part.status, part.area
    objects = status == ACCEPTED
    if frames is not None:
        inside = shapely.area(shapely.intersection(part.geometry, frames)) > 0
        objects |= (status == "") & inside
    for kind, action, which in (
        (IssueKind.ACCEPTED, Action.KEPT, status == ACCEPTED),
        (IssueKind.REJECTED, Action.KEPT, status == REJECTED),
        (IssueKind.NOT_REVIEWED, Action.LEFT_OUT, (status == "") & ~objects),
    ):
        report.add(kind, file, action, scene=scene, count=int(which.sum()))
    reviewed = part.geometry[status != ""].tolist()
    area = shapely.union_all(reviewed if frames is None else [*reviewed, frames])
    return NamedAnnotations(
        part.geometry[objects], part.name[objects], part.difficult[objects], area=area
    )
