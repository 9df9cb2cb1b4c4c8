"""Review of segmented polygons: accept, reject, and the annotations that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from qgis.core import (
    NULL,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsProject,
    QgsSpatialIndex,
    QgsVectorLayer,
)

from .panel_session import ACCEPTED, REJECTED

Annotation = tuple[QgsGeometry, Sequence[object]]
"""Polygon, and its class and status."""

SAME_OBJECT = 0.3
"""Share of a segmented polygon that lies in drawn ones, from which on it is the same object."""


def set_status(layer: QgsVectorLayer, features: Iterable[int], status: str | None) -> None:
    """Set the status of some features, or remove it."""
    set_value(layer, features, "status", NULL if status is None else status)


def set_value(layer: QgsVectorLayer, features: Iterable[int], field: str, value: object) -> None:
    """Set a field of some features.

    The change joins the edits of a layer that is being edited; otherwise it is saved at once.
    """
    index = layer.fields().lookupField(field)
    changes = {number: {index: value} for number in features}
    if layer.isEditable():
        layer.beginEditCommand("geoseg")
        for number in changes:
            layer.changeAttributeValue(number, index, value)
        layer.endEditCommand()
    elif changes:
        layer.dataProvider().changeAttributeValues(changes)
        layer.dataChanged.emit()
    layer.triggerRepaint()


def is_reviewed(feature: QgsFeature) -> bool:
    """Return True if a polygon has been accepted or rejected."""
    return feature["status"] in (ACCEPTED, REJECTED)


def count_status(layer: QgsVectorLayer) -> dict[str, int]:
    """Count the polygons of a result by status; those not reviewed have the key ""."""
    counts = {"": 0, ACCEPTED: 0, REJECTED: 0}
    request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
    request.setSubsetOfAttributes(["status"], layer.fields())
    for feature in layer.getFeatures(request):
        counts[feature["status"] if is_reviewed(feature) else ""] += 1
    return counts


def order_unreviewed(layer: QgsVectorLayer) -> list[int]:
    """List polygons that are not reviewed, the most uncertain first.

    They are ordered by falling `uncertainty`, or by rising `confidence` where there is none.
    """
    has_uncertainty = layer.fields().lookupField("uncertainty") >= 0
    field = "uncertainty" if has_uncertainty else "confidence"
    names = [name for name in (field, "status") if layer.fields().lookupField(name) >= 0]
    request = QgsFeatureRequest().setFlags(QgsFeatureRequest.Flag.NoGeometry)
    request.setSubsetOfAttributes(names, layer.fields())
    keys = []
    for feature in layer.getFeatures(request):
        if not is_reviewed(feature):
            value = feature[field] if field in names else NULL
            number = 0.0 if value in (None, NULL) else float(value)
            keys.append((-number if has_uncertainty else number, feature.id()))
    return [number for _, number in sorted(keys)]


def choose_neighbour(order: Sequence[int], current: int | None, step: int) -> int | None:
    """Return the entry `step` places after the current one, which wraps around; None if there is none.

    A current entry that is no longer in the order stands before the first, or after the last.
    """
    if not order:
        return None
    if current not in order:
        return order[0 if step > 0 else -1]
    return order[(order.index(current) + step) % len(order)]


def find_in_area(layer: QgsVectorLayer, area: QgsGeometry) -> list[int]:
    """List polygons that are not reviewed and have a point on their surface in an area."""
    request = QgsFeatureRequest().setFilterRect(area.boundingBox())
    return [
        feature.id()
        for feature in layer.getFeatures(request)
        if not is_reviewed(feature) and area.contains(feature.geometry().pointOnSurface())
    ]


# --- annotations that follow -------------------------------------------------------------------------


def join_frames(frames: QgsVectorLayer, crs: QgsCoordinateReferenceSystem) -> QgsGeometry:
    """Return the union of all frames in another CRS."""
    to_crs = make_transform(frames, crs)
    return QgsGeometry.unaryUnion([to_crs(f.geometry()) for f in frames.getFeatures()])


def make_transform(
    layer: QgsVectorLayer, crs: QgsCoordinateReferenceSystem
) -> Callable[[QgsGeometry], QgsGeometry]:
    """Return a function that transforms geometries of a layer; they are copied if a CRS is unknown."""
    transform = QgsCoordinateTransform(layer.crs(), crs, QgsProject.instance())

    def apply(geometry: QgsGeometry) -> QgsGeometry:
        copy = QgsGeometry(geometry)
        copy.transform(transform)
        return copy

    return apply


def collect_annotations(
    drawn: QgsVectorLayer, result: QgsVectorLayer | None
) -> Iterator[Annotation]:
    """Yield the drawn polygons, and the reviewed polygons of a result, in the CRS of the drawn ones.

    Drawn polygons count as accepted, so that those outside the frames are objects, too. Their class is "" if they have
    none. Accepted polygons of which more than `SAME_OBJECT` is drawn are left out.

    Parameters
    ----------
    drawn
        Layer of annotations; its unsaved edits are included.
    result
        Layer of segmented polygons, or None.
    """
    index = QgsSpatialIndex()
    shapes: dict[int, QgsGeometry] = {}
    for feature in drawn.getFeatures():
        if feature.geometry().isEmpty():
            continue
        name = "" if feature["class"] in (None, NULL) else feature["class"]
        index.addFeature(feature)
        shapes[feature.id()] = feature.geometry()
        yield feature.geometry(), [name, ACCEPTED]
    if result is None:
        return
    to_crs = make_transform(result, drawn.crs())
    for feature in result.getFeatures():
        if not is_reviewed(feature) or feature.geometry().isEmpty():
            continue
        shape = to_crs(feature.geometry())
        near = [shapes[number] for number in index.intersects(shape.boundingBox())]
        if feature["status"] == ACCEPTED and _is_drawn(shape, near):
            continue
        yield shape, [feature["class"], feature["status"]]


def _is_drawn(shape: QgsGeometry, drawn: Sequence[QgsGeometry]) -> bool:
    common = sum(max(0.0, shape.intersection(other).area()) for other in drawn)
    return bool(common > SAME_OBJECT * shape.area())
