"""Train model and Evaluate model in PyQGIS: from annotations to a model and its scores."""

import os
import shutil

import pytest

pytest.importorskip("qgis.core", reason="needs PyQGIS: apt install qgis")

from algorithms import list_hidden, run_script, segment
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingException,
    QgsRasterLayer,
    QgsVectorLayer,
)


def test_annotations_become_a_model_that_finds_their_objects(folder, python, project):
    layer = QgsVectorLayer("Polygon?crs=EPSG:4326&field=what:string", "annotations", "memory")
    saved = QgsVectorLayer(str(folder / "annotations.gpkg"), "saved", "ogr")
    layer.startEditing()  # and never saved
    for feature in saved.getFeatures():
        copy = QgsFeature(layer.fields())
        copy.setGeometry(feature.geometry())
        copy.setAttribute("what", feature["what"])
        layer.addFeature(copy)
    project.addMapLayer(layer)
    results, feedback = run_script(
        "geoseg_train",
        project,
        SCENES=[str(folder / "my scene.tif")],
        ANNOTATIONS=layer,
        CLASS="what",
        STEPS=40,
        START="shipped",
        WINDOW=128,
        BATCH=2,
        OUTPUT=str(folder / "mine.safetensors"),
        DATASET=str(folder / "dataset"),
        DEVICE="cpu",
        PYTHON=python,
    )
    assert results["MIOU"] > 0.5
    assert feedback.percents == sorted(feedback.percents)
    names = set(os.listdir(str(folder)))
    assert {"mine.safetensors", "mine.curves.png", "mine.log.jsonl", "dataset"} <= names
    assert list_hidden(folder) == []

    polygons, _ = segment(folder, python, project, MODEL=results["OUTPUT"], MIN_PIXELS=20)
    assert 70 <= polygons["COUNT"] <= 140

    scores, feedback = run_script(
        "geoseg_evaluate",
        project,
        MODEL=results["OUTPUT"],
        DATASET=results["DATASET"],
        DEVICE="cpu",
        PYTHON=python,
    )
    assert scores["MIOU"] > 0.5
    assert scores["IOU_1"] > 0.3
    assert any("roof" in line for line in feedback.infos)


def test_a_polygon_without_a_class_is_reported_with_the_name_of_its_layer(folder, python, project):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631&field=what:string", "Meine Flächen", "memory")
    feature = QgsFeature(layer.fields())
    crossing = (
        "POLYGON((500010 5799990, 500050 5799950, 500050 5799990, 500010 5799950, 500010 5799990))"
    )
    feature.setGeometry(QgsGeometry.fromWkt(crossing))
    layer.dataProvider().addFeatures([feature])
    project.addMapLayer(layer)
    with pytest.raises(QgsProcessingException, match=r"^Meine Flächen: 1 polygons have no class"):
        run_script(
            "geoseg_train",
            project,
            SCENES=[str(folder / "my scene.tif")],
            ANNOTATIONS=layer,
            CLASS="what",
            OUTPUT=str(folder / "mine.safetensors"),
            PYTHON=python,
        )
    assert list_hidden(folder) == []


# centre and radius, in pixels, of the roofs of the tanks, annotated by hand
TANKS = (
    (99, 80, 30), (254, 83, 30), (390, 137, 30), (527, 190, 31), (668, 233, 29),
    (200, 229, 31), (335, 276, 30), (473, 333, 31), (616, 372, 31),
)  # fmt: skip


def annotate_tanks(raster):
    """Return a layer with a circle for each tank, in the CRS of the scene, and their geometries."""
    box, pixel = raster.extent(), raster.rasterUnitsPerPixelX()
    layer = QgsVectorLayer("Polygon?crs=EPSG:3857&field=class:string", "annotations", "memory")
    circles = []
    for x, y, radius in TANKS:
        centre = QgsPointXY(
            box.xMinimum() + x * pixel, box.yMaximum() - y * raster.rasterUnitsPerPixelY()
        )
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromPointXY(centre).buffer(radius * pixel, 16))
        feature.setAttribute("class", "tank")
        layer.dataProvider().addFeatures([feature])
        circles.append(feature.geometry())
    return layer, circles


def test_circles_on_a_real_scene_become_a_model_that_finds_the_tanks(python, project, tmp_path):
    data = os.environ.get("GEOSEG_DATA")
    if not data:
        pytest.skip("needs real scenes: GEOSEG_DATA is not set")
    scene = tmp_path / "tanks.tif"
    shutil.copyfile(os.path.join(data, "scenes", "storage_tanks_rgba_epsg3857.tif"), str(scene))
    raster = QgsRasterLayer(str(scene), "tanks")
    layer, circles = annotate_tanks(raster)
    project.addMapLayers([raster, layer])
    trained, _ = run_script(
        "geoseg_train",
        project,
        SCENES=[raster],
        ANNOTATIONS=layer,
        CLASS="class",
        STEPS=40,
        WINDOW=128,
        BATCH=2,
        OUTPUT=str(tmp_path / "tanks.safetensors"),
        DEVICE="cpu",
        PYTHON=python,
    )
    assert trained["MIOU"] > 0.5
    results, _ = run_script(
        "geoseg_segment",
        project,
        INPUT=raster,
        MODEL=trained["OUTPUT"],
        MIN_PIXELS=500,
        OUTPUT=str(tmp_path / "polygons.gpkg"),
        DEVICE="cpu",
        PYTHON=python,
    )
    polygons = QgsVectorLayer(results["OUTPUT"], "polygons", "ogr")
    assert polygons.crs() == raster.crs()
    union = QgsGeometry.unaryUnion([f.geometry() for f in polygons.getFeatures()])
    shares = [union.intersection(circle).area() / circle.area() for circle in circles]
    assert sum(share > 0.7 for share in shares) >= 8, shares
    assert union.area() < 2 * sum(circle.area() for circle in circles)
    if os.environ.get("GEOSEG_KEEP_MAP"):
        shutil.copyfile(results["OUTPUT"], os.environ["GEOSEG_KEEP_MAP"] + ".gpkg")


def test_a_model_is_evaluated_on_annotations_over_a_scene(folder, python, project):
    scores, _ = run_script(
        "geoseg_evaluate",
        project,
        MODEL=str(folder / "colours.safetensors"),
        SCENES=[str(folder / "my scene.tif")],
        ANNOTATIONS=str(folder / "annotations.gpkg"),
        CLASS="what",
        OUTPUT=str(folder / "scores.json"),
        REPORT=str(folder / "report.html"),
        OUTCOMES=str(folder / "outcomes.gpkg"),
        DEVICE="cpu",
        PYTHON=python,
    )
    assert scores["MIOU"] > 0.99
    assert (folder / "scores.json").is_file()
    assert (folder / "report.html").is_file()
    layer = QgsVectorLayer(scores["OUTCOMES"], "outcomes", "ogr")
    assert [feature["outcome"] for feature in layer.getFeatures()] == ["match"] * 100
    assert [one.value() for one in layer.renderer().categories()] == [
        "match",
        "miss",
        "false alarm",
    ]
