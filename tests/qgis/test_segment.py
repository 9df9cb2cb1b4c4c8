"""Segment scene and Vectorize labels in PyQGIS: parameters, results, styles and options."""

import json
import os
import shlex
import sqlite3
from contextlib import closing

import pytest

pytest.importorskip("qgis.core", reason="needs PyQGIS: apt install qgis")

from algorithms import (
    SCRIPTS,
    create_context,
    list_hidden,
    load_script,
    run_script,
    segment,
)
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProcessing,
    QgsProcessingException,
    QgsRasterLayer,
    QgsRectangle,
    QgsReferencedRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

NAMES = sorted(path.stem for path in SCRIPTS.glob("geoseg_*.py"))
COLOURS = {1: (255, 136, 0), 2: (0, 136, 255)}
QUARTER = QgsRectangle(500_000, 5_799_872, 500_128, 5_800_000)
"""The upper left quarter of the scene."""

# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm_and_every_parameter_has_a_description_and_help(qgis, name):
    algorithm = load_script(name)
    for parameter in algorithm.parameterDefinitions():
        assert len(parameter.help()) > 20, parameter.name()
        assert parameter.description()
    assert algorithm.shortHelpString().startswith("<p>")
    assert algorithm.shortDescription()
    assert algorithm.name() == algorithm.name().lower()
    assert algorithm.groupId() == "geoseg"
    assert algorithm.createInstance() is not algorithm
    assert algorithm.flags() & algorithm.FlagCanCancel
    assert algorithm.flags() & algorithm.FlagSupportsBatch


IDENTIFIERS = {
    "geoseg_evaluate": (
        "evaluatemodel: MODEL DATASET SPLIT SCENES ANNOTATIONS CLASS AREA PIXEL_SIZE OUTPUT REPORT OUTCOMES "
        "OVERWRITE DEVICE PYTHON"
    ),
    "geoseg_segment": (
        "segmentscene: INPUT MOSAIC MODEL CARD EXTENT MASK BANDS GSD PIXEL_SIZE EXACT TTA MIN_AREA MIN_CONFIDENCE "
        "CLASSES MIN_PIXELS FILL_HOLES SIMPLIFY SMOOTH REGULARIZE BOXES SEPARATION STYLE OUTPUT LABELS CONFIDENCE "
        "PROBABILITIES INTERIOR UNCERTAINTY OBJECTS OVERWRITE DEVICE PYTHON"
    ),
    "geoseg_suggest": (
        "suggestframes: INPUT MODEL AREA FRAMES SIZE EXTENT MASK GSD PIXEL_SIZE OUTPUT OVERWRITE DEVICE PYTHON"
    ),
    "geoseg_train": (
        "trainmodel: SCENES ANNOTATIONS CLASS AREA MODEL MINUTES BANDS PIXEL_SIZE STEPS WINDOW BATCH VAL_SHARE OUTPUT "
        "DATASET OVERWRITE DEVICE PYTHON"
    ),
    "geoseg_vectorize": (
        "vectorizelabels: INPUT CONFIDENCE INTERIOR UNCERTAINTY MIN_AREA MIN_CONFIDENCE CLASSES MIN_PIXELS FILL_HOLES "
        "SIMPLIFY SMOOTH REGULARIZE BOXES SEPARATION STYLE OUTPUT OBJECTS OVERWRITE PYTHON"
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_identifiers_in_saved_models_stay(qgis, name):
    algorithm = load_script(name)
    parameters = " ".join(p.name() for p in algorithm.parameterDefinitions())
    assert f"{algorithm.name()}: {parameters}" == IDENTIFIERS[name]


def test_the_model_designer_gets_numeric_outputs(qgis):
    algorithm = load_script("geoseg_segment")  # the definitions live as long as it does
    outputs = {o.name(): o.type() for o in algorithm.outputDefinitions()}
    assert outputs["COUNT"] == outputs["COUNT_1"] == "outputNumber"
    assert outputs["OUTPUT"] == "outputVector"


# --- results ------------------------------------------------------------------------------------


def test_polygons_labels_and_counts_match_the_scene(folder, python, project):
    results, feedback = segment(
        folder, python, project, LABELS=str(folder / "l.tif"), CONFIDENCE=str(folder / "c.tif")
    )
    layer = QgsVectorLayer(results["OUTPUT"], "polygons", "ogr")
    by_class = {1: 0, 2: 0}
    for feature in layer.getFeatures():
        by_class[feature["class_id"]] += 1
    assert layer.featureCount() == results["COUNT"] == 100
    assert {n: results[f"COUNT_{n}"] for n in (1, 2)} == by_class
    assert results["COUNT_3"] == 0
    assert f'"roof": {by_class[1]}' in results["COUNTS"]
    scene = QgsRasterLayer(str(folder / "my scene.tif"), "scene")
    labels = QgsRasterLayer(results["LABELS"], "labels")
    reference = QgsRasterLayer(str(folder / "labels.tif"), "reference")
    assert labels.crs() == layer.crs() == scene.crs()
    assert labels.extent() == scene.extent()
    block, reference_block = (
        raster.dataProvider().block(1, scene.extent(), 512, 512) for raster in (labels, reference)
    )
    assert block.data() == reference_block.data()
    assert QgsRasterLayer(results["CONFIDENCE"], "confidence").isValid()
    assert list_hidden(folder) == []
    (command,) = feedback.commands
    assert command.startswith(shlex.quote(python) + " -m geoseg segment '")
    assert "Flächen.gpkg" in command
    assert ".geoseg-" not in command
    with closing(sqlite3.connect(results["OUTPUT"])) as database:
        ((record,),) = database.execute("SELECT metadata FROM gpkg_metadata").fetchall()
    assert command.endswith(json.loads(record)["command"].split("geoseg ", 1)[1])


def test_products_of_an_image_without_georeference_lie_on_it(folder, python, project):
    products = {name: str(folder / f"{name}.tif") for name in ("LABELS", "CONFIDENCE", "OBJECTS")}
    image = str(folder / "plain.png")
    results, _ = segment(folder, python, project, INPUT=image, SEPARATION="confidence", **products)
    extent = QgsRasterLayer(image, "image").extent()
    assert extent.height() == 512
    for name in products:
        assert QgsRasterLayer(results[name], name).extent() == extent
    polygons = QgsVectorLayer(results["OUTPUT"], "polygons", "ogr")
    assert polygons.featureCount() == results["COUNT"] == 100
    assert extent.contains(polygons.extent())


def test_progress_increases_to_100_percent(folder, python, project):
    _, feedback = segment(folder, python, project)
    assert feedback.percents == sorted(feedback.percents)
    assert feedback.percents[-1] == 100
    assert len(set(feedback.percents)) > 3
    assert feedback.stages == ["segment", "vectorize"]


@pytest.mark.parametrize("style", [True, False])
def test_results_load_in_the_colours_of_the_legend_if_requested(folder, python, project, style):
    import processing

    parameters = {
        "INPUT": str(folder / "my scene.tif"),
        "MODEL": str(folder / "colours.safetensors"),
        "OUTPUT": QgsProcessing.TEMPORARY_OUTPUT,
        "LABELS": QgsProcessing.TEMPORARY_OUTPUT,
        "STYLE": style,
        "DEVICE": "cpu",
        "PYTHON": python,
    }
    algorithm, context = load_script("geoseg_segment"), create_context(project)
    processing.runAndLoadResults(algorithm, parameters, context=context)
    layers = {type(layer).__name__: layer for layer in project.mapLayers().values()}
    renderer = layers["QgsVectorLayer"].renderer()
    if not style:
        assert renderer.type() == "singleSymbol"
        return
    assert renderer.type() == "categorizedSymbol"
    categories = {
        int(c.value()): (c.label(), c.symbol().color().getRgb()[:3]) for c in renderer.categories()
    }
    assert categories == {1: ("roof", COLOURS[1]), 2: ("pond", COLOURS[2])}
    palette = {c.value: c.color.getRgb()[:3] for c in layers["QgsRasterLayer"].renderer().classes()}
    assert {n: palette[n] for n in (1, 2)} == COLOURS


def test_a_map_of_the_polygons_has_the_right_colour_at_the_right_place(folder, python, project):
    results, _ = segment(folder, python, project)
    reference = QgsRasterLayer(str(folder / "labels.tif"), "reference")
    image = render(QgsVectorLayer(results["OUTPUT"], "polygons", "ogr"), reference)
    image.save(str(folder / "map.png"))
    if os.environ.get("GEOSEG_KEEP_MAP"):
        image.save(os.environ["GEOSEG_KEEP_MAP"])
    block = reference.dataProvider().block(1, reference.extent(), 512, 512)
    counts = {0: 0, 1: 0, 2: 0}
    for row in range(2, 510, 5):
        for column in range(2, 510, 5):
            neighbours = {
                int(block.value(r, c))
                for r in (row - 2, row, row + 2)
                for c in (column - 2, column, column + 2)
            }
            if len(neighbours) > 1:
                continue  # an outline may pass here
            (number,) = neighbours
            half = [round((255 + part) / 2) for part in COLOURS.get(number, (255, 255, 255))]
            colour = image.pixelColor(column, row).getRgb()[:3]
            close = all(abs(a - b) <= 3 for a, b in zip(colour, half, strict=False))
            assert close, (row, column, number)
            counts[number] += 1
    assert min(counts.values()) > 200


def render(layer, reference):
    """Render a layer on white, with the extent and CRS of a reference layer."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(reference.crs())
    settings.setExtent(reference.extent())
    settings.setOutputSize(QSize(512, 512))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    return job.renderedImage()


def test_vectorize_writes_the_polygons_of_a_labels_raster(folder, python, project):
    output = str(folder / "v.gpkg")
    results, _ = run_script(
        "geoseg_vectorize",
        project,
        INPUT=str(folder / "labels.tif"),
        OUTPUT=output,
        PYTHON=python,
    )
    assert results["COUNT"] == 100
    features = QgsVectorLayer(results["OUTPUT"], "polygons", "ogr").getFeatures()
    area = sum(feature.geometry().area() for feature in features)
    assert area == pytest.approx((22800 + 20790) * 0.25)


# --- options ------------------------------------------------------------------------------------


def test_polygons_with_few_pixels_are_omitted(folder, python, project):
    layer = QgsVectorLayer(segment(folder, python, project)[0]["OUTPUT"], "all", "ogr")
    large = sum(f["pixels"] >= 400 for f in layer.getFeatures())
    assert 0 < large < 100
    del layer
    output = str(folder / "large.gpkg")
    results, _ = segment(folder, python, project, MIN_PIXELS=400, OUTPUT=output)
    assert results["COUNT"] == large


def test_polygons_with_a_small_area_are_omitted(folder, python, project):
    layer = QgsVectorLayer(segment(folder, python, project)[0]["OUTPUT"], "all", "ogr")
    large = sum(f["area_m2"] >= 100 for f in layer.getFeatures())
    output = str(folder / "large.gpkg")
    results, _ = segment(folder, python, project, MIN_AREA=100, OUTPUT=output)
    assert results["COUNT"] == large


def test_objects_are_separated_and_numbered(qgis, folder, python, project):
    objects = str(folder / "objects.tif")
    results, feedback = segment(folder, python, project, SEPARATION="confidence", OBJECTS=objects)
    assert "--split confidence" in feedback.commands[0]
    raster = QgsRasterLayer(objects, "objects")
    assert raster.dataProvider().bandStatistics(1).maximumValue == results["COUNT"]
    layer = QgsVectorLayer(results["OUTPUT"], "all", "ogr")
    numbers = sorted(feature["id"] for feature in layer.getFeatures())
    assert numbers == list(range(1, results["COUNT"] + 1))
    merged, _ = segment(folder, python, project, SEPARATION="none", OUTPUT=str(folder / "m.gpkg"))
    assert merged["COUNT"] == 100


def test_simplified_polygons_are_complete(folder, python, project):
    results, _ = segment(folder, python, project, SIMPLIFY=1.5)
    assert results["COUNT"] == 100


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326"])
def test_an_extent_in_any_crs_limits_the_segmented_area(folder, python, project, crs):
    scene_crs, crs = QgsCoordinateReferenceSystem("EPSG:32631"), QgsCoordinateReferenceSystem(crs)
    transform = QgsCoordinateTransform(scene_crs, crs, project)
    extent = QgsReferencedRectangle(transform.transformBoundingBox(QUARTER), crs)
    results, feedback = segment(folder, python, project, EXTENT=extent)
    assert "--bbox" in feedback.commands[0]
    assert 20 <= results["COUNT"] <= 40


def add_polygon(project, geometry):
    """Add a memory layer with one polygon to the project."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631", "corner", "memory")
    feature = QgsFeature()
    feature.setGeometry(geometry)
    layer.dataProvider().addFeatures([feature])
    layer.updateExtents()
    project.addMapLayer(layer)
    return layer


def test_the_extent_of_a_layer_limits_the_segmented_area(folder, python, project):
    layer = add_polygon(project, QgsGeometry.fromRect(QUARTER))
    assert 20 <= segment(folder, python, project, EXTENT=layer.id())[0]["COUNT"] <= 40


def test_a_polygon_layer_limits_the_segmented_area(folder, python, project):
    corners = "500000 5800000, 500128 5800000, 500000 5799872, 500000 5800000"
    layer = add_polygon(project, QgsGeometry.fromWkt(f"POLYGON(({corners}))"))
    results, _ = segment(folder, python, project, MASK=layer)
    assert 5 <= results["COUNT"] <= 25
    assert list_hidden(folder) == []


def test_a_layer_of_the_project_can_be_segmented(folder, python, project):
    layer = QgsRasterLayer(str(folder / "my scene.tif"), "a layer")
    project.addMapLayer(layer)
    assert segment(folder, python, project, INPUT=layer.id())[0]["COUNT"] == 100


# --- destinations and legends -------------------------------------------------------------------


def test_memory_gives_a_styled_layer_in_memory(folder, python, project):
    import processing

    parameters = {
        "INPUT": str(folder / "my scene.tif"),
        "MODEL": str(folder / "colours.safetensors"),
        "OUTPUT": "memory:objects",
        "DEVICE": "cpu",
        "PYTHON": python,
    }
    algorithm = load_script("geoseg_segment")
    results = processing.run(algorithm, parameters, context=create_context(project))
    layer = results["OUTPUT"]
    assert layer.providerType() == "memory"
    assert layer.name() == "objects"
    assert layer.featureCount() == results["COUNT"] == 100
    assert layer.renderer().type() == "categorizedSymbol"
    processing.runAndLoadResults(algorithm, parameters, context=create_context(project))
    (loaded,) = project.mapLayers().values()
    assert loaded.providerType() == "memory"
    assert loaded.name() == "my scene: Polygons"
    assert loaded.featureCount() == 100


def test_a_raster_in_memory_is_an_error(folder, python, project):
    parameters = {
        "INPUT": str(folder / "my scene.tif"),
        "OUTPUT": "memory:",
        "LABELS": "memory:",
        "PYTHON": python,
    }
    algorithm = load_script("geoseg_segment")
    valid, message = algorithm.checkParameterValues(parameters, create_context(project))
    assert not valid
    assert message == "Labels: cannot be kept in memory. Choose a file."


def test_layers_have_the_name_of_the_scene_and_the_classes_that_occur(folder, python, project):
    import processing

    parameters = {
        "INPUT": str(folder / "my scene.tif"),
        "MODEL": str(folder / "colours.safetensors"),
        "CLASSES": "roof",
        "OUTPUT": QgsProcessing.TEMPORARY_OUTPUT,
        "LABELS": QgsProcessing.TEMPORARY_OUTPUT,
        "CONFIDENCE": QgsProcessing.TEMPORARY_OUTPUT,
        "UNCERTAINTY": QgsProcessing.TEMPORARY_OUTPUT,
        "DEVICE": "cpu",
        "PYTHON": python,
    }
    algorithm, context = load_script("geoseg_segment"), create_context(project)
    processing.runAndLoadResults(algorithm, parameters, context=context)
    layers = {layer.name(): layer for layer in project.mapLayers().values()}
    kinds = ["Confidence", "Labels", "Polygons", "Uncertainty"]
    assert sorted(layers) == [f"my scene: {kind}" for kind in kinds]
    categories = layers["my scene: Polygons"].renderer().categories()
    assert [category.label() for category in categories] == ["roof"]
    assert "uncertainty" in layers["my scene: Polygons"].fields().names()
    legend = layers["my scene: Labels"].renderer().classes()
    assert {int(one.value): one.label for one in legend if one.value} == {1: "roof", 2: "pond"}
    for kind in ("Confidence", "Uncertainty"):
        assert layers[f"my scene: {kind}"].renderer().type() == "singlebandpseudocolor"


def test_existing_files_are_kept_if_they_must_not_be_replaced(folder, python, project):
    output = folder / "o.gpkg"
    output.write_text("mine")
    parameters = {
        "INPUT": str(folder / "my scene.tif"),
        "OUTPUT": str(output),
        "OVERWRITE": False,
        "PYTHON": python,
    }
    algorithm = load_script("geoseg_segment")
    valid, message = algorithm.checkParameterValues(parameters, create_context(project))
    assert not valid
    assert "exists" in message


def test_errors_name_the_label_of_a_parameter(folder, python, project):
    with pytest.raises(QgsProcessingException, match="“Classes”: unknown class 'house'"):
        segment(folder, python, project, CLASSES="house")


def test_frames_to_annotate_are_suggested(folder, python, project):
    results, _ = run_script(
        "geoseg_suggest",
        project,
        INPUT=str(folder / "my scene.tif"),
        MODEL=str(folder / "colours.safetensors"),
        FRAMES=3,
        SIZE=128,
        OUTPUT=str(folder / "frames.gpkg"),
        DEVICE="cpu",
        PYTHON=python,
    )
    layer = QgsVectorLayer(results["OUTPUT"], "frames", "ogr")
    assert layer.featureCount() == results["COUNT"] == 3
    assert sorted(feature["rank"] for feature in layer.getFeatures()) == [1, 2, 3]
