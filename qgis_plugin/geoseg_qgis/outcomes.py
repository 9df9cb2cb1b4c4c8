"""Outcomes of an evaluation as polygons: matches, misses and false alarms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateTransform,
    QgsFeature,
    QgsFeatureRequest,
    QgsField,
    QgsFields,
    QgsFillSymbol,
    QgsGeometry,
    QgsProcessingException,
    QgsRendererCategory,
    QgsSpatialIndex,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QVariant

from .base import Run
from .i18n import tr

LEAST_IOU = 0.5
"""IoU from which a predicted and an annotated polygon of one class match, as in ``geoseg evaluate``."""

IGNORED_CLASS = "ignore"

OUTCOMES = {"match": "46,160,67", "miss": "215,38,61", "false alarm": "255,153,0"}
"""Outcome to the colour of its polygons."""

Shape = tuple[str, QgsGeometry]
"""Class and polygon."""


def write_outcomes(run: Run, path: str) -> bool:
    """Segment the SCENES, and write the outcomes of all objects to a styled GeoPackage; False if cancelled."""
    features: list[QgsFeature] = []
    fields, crs = outcome_fields(), None
    for number, scene in enumerate(run.layer_paths("SCENES")):
        output = os.path.join(run.folder, f"predicted-{number}.gpkg")
        options = {"MODEL": "-m", "PIXEL_SIZE": "--pixel-size", "DEVICE": "--device"}
        if run.geoseg(["segment", scene, *run.arguments(options), "-o", output], (99, 99)) is None:
            return False
        layer = QgsVectorLayer(f"{output}|layername=segments", "predicted", "ogr")
        crs = layer.crs()
        extent = QgsGeometry.fromRect(run.scene_extent(scene))
        predicted = [(str(f["class"]), f.geometry()) for f in layer.getFeatures()]
        reference = [
            shape for shape in read_shapes(run, "ANNOTATIONS", crs) if shape[1].intersects(extent)
        ]
        areas = (
            [area for _, area in read_shapes(run, "AREA", crs)]
            if run.parameters.get("AREA")
            else [extent]
        )
        predicted = leave_out_unannotated(predicted, reference, areas)
        reference = [
            s for s in reference if s[0] != IGNORED_CLASS and share_within(s[1], areas) >= 0.5
        ]
        name = os.path.splitext(os.path.basename(scene))[0]
        for outcome, class_name, geometry, iou in find_outcomes(reference, predicted):
            feature = QgsFeature(fields)
            feature.setGeometry(geometry)
            feature.setAttributes([outcome, class_name, iou, name])
            features.append(feature)
    write_layer(path, fields, crs, features, run)
    return True


def find_outcomes(
    reference: Sequence[Shape], predicted: Sequence[Shape]
) -> list[tuple[str, str, QgsGeometry, float | None]]:
    """Match predicted and annotated polygons of one class, each at most once, by falling IoU.

    Returns
    -------
    list of tuple
        Outcome, class, polygon and IoU: predicted polygons that match, annotated ones that are missed, and
        predicted ones that are false alarms.
    """
    index = QgsSpatialIndex()
    for number, (_, geometry) in enumerate(reference):
        index.addFeature(number, geometry.boundingBox())
    pairs = []
    for p, (class_name, geometry) in enumerate(predicted):
        for r in index.intersects(geometry.boundingBox()):
            if reference[r][0] == class_name:
                iou = measure_iou(geometry, reference[r][1])
                if iou >= LEAST_IOU:
                    pairs.append((-iou, r, p))
    matched_r: set[int] = set()
    matched_p: dict[int, float] = {}
    for negative, r, p in sorted(pairs):
        if r not in matched_r and p not in matched_p:
            matched_r.add(r)
            matched_p[p] = -negative
    outcomes: list[tuple[str, str, QgsGeometry, float | None]] = [
        ("match" if p in matched_p else "false alarm", *shape, matched_p.get(p))
        for p, shape in enumerate(predicted)
    ]
    missed = (shape for r, shape in enumerate(reference) if r not in matched_r)
    return [*outcomes, *(("miss", *shape, None) for shape in missed)]


def measure_iou(one: QgsGeometry, other: QgsGeometry) -> float:
    """Return the intersection over union of two polygons."""
    common = one.intersection(other).area()
    union = one.area() + other.area() - common
    return float(common / union) if union > 0 else 0.0


def share_within(geometry: QgsGeometry, areas: Iterable[QgsGeometry]) -> float:
    """Return the share of a polygon that lies in areas which do not overlap."""
    common = sum(geometry.intersection(area).area() for area in areas if area.intersects(geometry))
    return common / geometry.area() if geometry.area() > 0 else 0.0


def leave_out_unannotated(
    predicted: Sequence[Shape], reference: Sequence[Shape], areas: Sequence[QgsGeometry]
) -> list[Shape]:
    """Return the predicted polygons with more than half of their area in the annotated area and not ignored."""
    ignored = [geometry for class_name, geometry in reference if class_name == IGNORED_CLASS]
    return [
        shape
        for shape in predicted
        if share_within(shape[1], areas) > 0.5 and share_within(shape[1], ignored) < 0.5
    ]


def read_shapes(run: Run, name: str, crs: Any) -> list[Shape]:
    """Return class and valid polygon of the features of a vector parameter, in a CRS."""
    source = run.source(name)
    transform = QgsCoordinateTransform(source.sourceCrs(), crs, run.context.transformContext())
    column = run.string("CLASS") if name == "ANNOTATIONS" else ""
    shapes = []
    for feature in source.getFeatures(QgsFeatureRequest()):
        geometry = feature.geometry()
        geometry.transform(transform)
        class_name = str(feature[column]) if column else ""
        shapes.append((class_name, geometry if geometry.isGeosValid() else geometry.makeValid()))
    return shapes


def outcome_fields() -> QgsFields:
    """Return the fields of the layer."""
    fields = QgsFields()
    for name, kind in (
        ("outcome", QVariant.String),
        ("class", QVariant.String),
        ("iou", QVariant.Double),
        ("scene", QVariant.String),
    ):
        fields.append(QgsField(name, kind))
    return fields


def write_layer(
    path: str, fields: QgsFields, crs: Any, features: Sequence[QgsFeature], run: Run
) -> None:
    """Write polygons to a GeoPackage with a style by outcome."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName, options.fileEncoding = "GPKG", "outcomes", "UTF-8"
    writer = QgsVectorFileWriter.create(
        path, fields, QgsWkbTypes.Type.MultiPolygon, crs, run.context.transformContext(), options
    )
    for feature in features:
        geometry = feature.geometry()
        geometry.convertToMultiType()
        feature.setGeometry(geometry)
        if not writer.addFeature(feature):
            raise QgsProcessingException(writer.errorMessage())
    del writer
    layer = QgsVectorLayer(f"{path}|layername=outcomes", "outcomes", "ogr")
    labels = {"match": tr("match"), "miss": tr("miss"), "false alarm": tr("false alarm")}
    categories = []
    for outcome, colour in OUTCOMES.items():
        look = {"color": f"{colour},90", "outline_color": colour, "outline_width": "0.4"}
        symbol = QgsFillSymbol.createSimple(look)
        categories.append(QgsRendererCategory(outcome, symbol, labels[outcome]))
    layer.setRenderer(QgsCategorizedSymbolRenderer("outcome", categories))
    layer.saveStyleToDatabase("outcomes", "", True, "")
