"""The Processing algorithms inside PyQGIS: what they ask, show, load and leave."""

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("qgis.core", reason="needs PyQGIS: apt install qgis")

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsPointXY,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

sys.path.insert(0, str(Path(__file__).parent))
from conftest import SCRIPTS, load

NAMES = sorted(path.stem for path in SCRIPTS.glob("geoseg_*.py"))
COLOURS = {1: (255, 136, 0), 2: (0, 136, 255)}


class Heard(QgsProcessingFeedback):
    """Keeps what an algorithm says."""

    def __init__(self):
        super().__init__(False)
        self.commands, self.infos, self.warnings, self.percents, self.stages = [], [], [], [], []
        self.progressChanged.connect(self.percents.append)

    def pushCommandInfo(self, text):
        self.commands.append(text)

    def pushConsoleInfo(self, text):
        self.infos.append(text)

    def pushInfo(self, text):
        self.infos.append(text)

    def pushWarning(self, text):
        self.warnings.append(text)

    def setProgressText(self, text):
        self.stages.append(text)


def context_of(project):
    context = QgsProcessingContext()
    context.setProject(project)
    return context


def run(name, project, **parameters):
    """Run an algorithm of geoseg; its results, what it said, and its context."""
    heard, context = Heard(), context_of(project)
    algorithm = load(name)
    good, message = algorithm.checkParameterValues(parameters, context)
    assert good, message
    results, good = algorithm.run(parameters, context, heard, catchExceptions=False)
    assert good
    return results, heard, context


def segmented(folder, python, project, **more):
    """Run Segment scene on the drawn scene."""
    settings = {
        "INPUT": str(folder / "my scene.tif"),
        "MODEL": str(folder / "colours.safetensors"),
        "OUTPUT": str(folder / "Flächen.gpkg"),
        "DEVICE": "cpu",
        "PYTHON": python,
    }
    return run("geoseg_segment", project, **dict(settings, **more))


def knows(python, option):
    """Skip where `geoseg segment` has no such option."""
    import subprocess

    shown = subprocess.run(
        [python, "-I", "-m", "geoseg", "segment", "--help"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    ).stdout
    if option not in shown:
        pytest.skip(f"this geoseg segment has no {option}")


def left(folder):
    """Hidden files and folders, which nobody may leave."""
    return [name for name in os.listdir(str(folder)) if name.startswith(".")]


# --- the form -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_help_and_every_algorithm_says_what_it_is(qgis, name):
    algorithm = load(name)
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


def test_the_model_designer_gets_numbers(qgis):
    algorithm = load("geoseg_segment")  # the definitions live as long as it does
    outputs = {o.name(): o.type() for o in algorithm.outputDefinitions()}
    assert outputs["COUNT"] == outputs["COUNT_1"] == "outputNumber"
    assert outputs["OUTPUT"] == "outputVector"


# --- what comes out -----------------------------------------------------------------------------


def test_polygons_labels_and_counts_are_those_of_the_scene(folder, python, project):
    results, heard, _ = segmented(
        folder, python, project, LABELS=str(folder / "l.tif"), CONFIDENCE=str(folder / "c.tif")
    )
    layer = QgsVectorLayer(results["OUTPUT"], "found", "ogr")
    by_class = {1: 0, 2: 0}
    for feature in layer.getFeatures():
        by_class[feature["class_id"]] += 1
    assert layer.featureCount() == results["COUNT"] == 100
    assert {n: results[f"COUNT_{n}"] for n in (1, 2)} == by_class
    assert results["COUNT_3"] == 0
    assert f'"roof": {by_class[1]}' in results["COUNTS"]
    scene = QgsRasterLayer(str(folder / "my scene.tif"), "scene")
    labels, truth = (
        QgsRasterLayer(results["LABELS"], "l"),
        QgsRasterLayer(str(folder / "labels.tif"), "t"),
    )
    assert labels.crs() == layer.crs() == scene.crs()
    assert labels.extent() == scene.extent()
    block, true_block = (
        r.dataProvider().block(1, scene.extent(), 512, 512) for r in (labels, truth)
    )
    assert block.data() == true_block.data()
    assert QgsRasterLayer(results["CONFIDENCE"], "c").isValid()
    assert left(folder) == []
    (command,) = heard.commands
    assert command.startswith(python + " -m geoseg segment '")
    assert "Flächen.gpkg" in command
    assert ".geoseg-" not in command


def test_progress_moves_and_never_back(folder, python, project):
    _, heard, _ = segmented(folder, python, project)
    assert heard.percents == sorted(heard.percents)
    assert heard.percents[-1] == 100
    assert len(set(heard.percents)) > 3
    assert heard.stages == ["segment", "vectorize"]


@pytest.mark.parametrize("style", [True, False])
def test_results_load_in_the_colours_of_the_legend_if_wanted(folder, python, project, style):
    import processing

    context = context_of(project)
    parameters = {
        "INPUT": str(folder / "my scene.tif"),
        "MODEL": str(folder / "colours.safetensors"),
        "OUTPUT": QgsProcessing.TEMPORARY_OUTPUT,
        "LABELS": QgsProcessing.TEMPORARY_OUTPUT,
        "STYLE": style,
        "DEVICE": "cpu",
        "PYTHON": python,
    }
    processing.runAndLoadResults(load("geoseg_segment"), parameters, context=context)
    layers = {type(layer).__name__: layer for layer in project.mapLayers().values()}
    renderer = layers["QgsVectorLayer"].renderer()
    if not style:
        assert renderer.type() == "singleSymbol"
        return
    assert renderer.type() == "categorizedSymbol"
    found = {
        int(c.value()): (c.label(), c.symbol().color().getRgb()[:3]) for c in renderer.categories()
    }
    assert found == {1: ("roof", COLOURS[1]), 2: ("pond", COLOURS[2])}
    palette = {c.value: c.color.getRgb()[:3] for c in layers["QgsRasterLayer"].renderer().classes()}
    assert {n: palette[n] for n in (1, 2)} == COLOURS


def test_a_map_of_the_polygons_has_the_right_colour_at_the_right_place(folder, python, project):
    results, _, _ = segmented(folder, python, project)
    polygons = QgsVectorLayer(results["OUTPUT"], "found", "ogr")
    truth = QgsRasterLayer(str(folder / "labels.tif"), "truth")
    settings = QgsMapSettings()
    settings.setLayers([polygons])
    settings.setDestinationCrs(truth.crs())
    settings.setExtent(truth.extent())
    settings.setOutputSize(QSize(512, 512))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    image.save(str(folder / "map.png"))
    if os.environ.get("GEOSEG_KEEP_MAP"):
        image.save(os.environ["GEOSEG_KEEP_MAP"])
    block = truth.dataProvider().block(1, truth.extent(), 512, 512)
    seen = {0: 0, 1: 0, 2: 0}
    for row in range(2, 510, 5):
        for column in range(2, 510, 5):
            around = {
                int(block.value(r, c))
                for r in (row - 2, row, row + 2)
                for c in (column - 2, column, column + 2)
            }
            if len(around) > 1:
                continue  # an outline may be there
            (number,) = around
            half = [round((255 + part) / 2) for part in COLOURS.get(number, (255, 255, 255))]
            colour = image.pixelColor(column, row).getRgb()[:3]
            assert all(abs(a - b) <= 3 for a, b in zip(colour, half, strict=False)), (
                row,
                column,
                number,
            )
            seen[number] += 1
    assert min(seen.values()) > 200


def test_vectorize_gives_the_polygons_of_a_labels_raster(folder, python, project):
    results, _, _ = run(
        "geoseg_vectorize",
        project,
        INPUT=str(folder / "labels.tif"),
        OUTPUT=str(folder / "v.gpkg"),
        PYTHON=python,
    )
    assert results["COUNT"] == 100
    area = sum(
        f.geometry().area() for f in QgsVectorLayer(results["OUTPUT"], "v", "ogr").getFeatures()
    )
    assert area == pytest.approx((22800 + 20790) * 0.25)


# --- what may be asked for ----------------------------------------------------------------------


def test_small_polygons_are_left_out(folder, python, project):
    layer = QgsVectorLayer(segmented(folder, python, project)[0]["OUTPUT"], "v", "ogr")
    large = sum(f["pixels"] >= 400 for f in layer.getFeatures())
    assert 0 < large < 100
    del layer
    results, _, _ = segmented(
        folder, python, project, MIN_PIXELS=400, OUTPUT=str(folder / "large.gpkg")
    )
    assert results["COUNT"] == large


def test_small_areas_are_left_out(folder, python, project):
    knows(python, "--min-area")
    layer = QgsVectorLayer(segmented(folder, python, project)[0]["OUTPUT"], "v", "ogr")
    large = sum(f["area_m2"] >= 100 for f in layer.getFeatures())
    results, _, _ = segmented(
        folder, python, project, MIN_AREA=100, OUTPUT=str(folder / "large.gpkg")
    )
    assert results["COUNT"] == large


def test_outlines_become_simpler(folder, python, project):
    knows(python, "--simplify")
    results, _, _ = segmented(folder, python, project, SIMPLIFY=1.5)
    assert results["COUNT"] == 100


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326"])
def test_an_extent_in_any_crs_limits_the_search(folder, python, project, crs):
    knows(python, "--bbox")
    from qgis.core import QgsCoordinateTransform, QgsReferencedRectangle

    here = QgsCoordinateReferenceSystem("EPSG:32631")
    box = QgsRectangle(500_000, 5_799_872, 500_128, 5_800_000)  # the upper left quarter
    there = QgsCoordinateTransform(
        here, QgsCoordinateReferenceSystem(crs), project
    ).transformBoundingBox(box)
    wanted = QgsReferencedRectangle(there, QgsCoordinateReferenceSystem(crs))
    results, heard, _ = segmented(folder, python, project, EXTENT=wanted)
    assert "--bbox" in heard.commands[0]
    assert 20 <= results["COUNT"] <= 40


def test_a_qgis_layer_s_extent_can_be_named(folder, python, project):
    knows(python, "--bbox")
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631", "corner", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500_000, 5_799_872, 500_128, 5_800_000)))
    layer.dataProvider().addFeatures([feature])
    layer.updateExtents()
    project.addMapLayer(layer)
    assert 20 <= segmented(folder, python, project, EXTENT=layer.id())[0]["COUNT"] <= 40


def test_a_mask_layer_limits_the_search(folder, python, project):
    knows(python, "--aoi")
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631", "corner", "memory")
    feature = QgsFeature()
    feature.setGeometry(
        QgsGeometry.fromWkt(
            "POLYGON((500000 5800000, 500128 5800000, 500000 5799872, 500000 5800000))"
        )
    )
    layer.dataProvider().addFeatures([feature])
    project.addMapLayer(layer)
    results, _, _ = segmented(folder, python, project, MASK=layer)
    assert 5 <= results["COUNT"] <= 25
    assert left(folder) == []


def test_a_scene_that_is_a_layer_of_the_project_is_taken_with_its_file(folder, python, project):
    layer = QgsRasterLayer(str(folder / "my scene.tif"), "a layer")
    project.addMapLayer(layer)
    assert segmented(folder, python, project, INPUT=layer.id())[0]["COUNT"] == 100


# --- what goes wrong ----------------------------------------------------------------------------


def problem(project, python, name="geoseg_segment", **parameters):
    """What the check before the start says."""
    parameters.setdefault("PYTHON", python)
    good, message = load(name).checkParameterValues(parameters, context_of(project))
    assert not good
    return message


def test_mistakes_are_told_before_the_start(folder, python, project, monkeypatch):
    scene, output = str(folder / "my scene.tif"), str(folder / "o.gpkg")
    assert "writes .gpkg" in problem(project, python, INPUT=scene, OUTPUT=str(folder / "o.shp"))
    assert "qgis-install" in problem(project, "", INPUT=scene, OUTPUT=output)
    assert "no such Python" in problem(project, "/none/python", INPUT=scene, OUTPUT=output)
    web = QgsRasterLayer("type=xyz&url=http://localhost/{z}/{x}/{y}.png", "web", "wms")
    if web.isValid():
        project.addMapLayer(web)
        assert "Export" in problem(project, python, INPUT=web.id(), OUTPUT=output)


def test_a_result_that_is_open_in_the_project_is_not_replaced(folder, python, project):
    results, _, _ = segmented(folder, python, project)
    project.addMapLayer(QgsVectorLayer(results["OUTPUT"], "Objekte", "ogr"))
    told = problem(project, python, INPUT=str(folder / "my scene.tif"), OUTPUT=results["OUTPUT"])
    assert "is open in this project" in told
    assert "Objekte" in told


def test_an_error_of_geoseg_is_shown_in_its_own_one_line(folder, python, project):
    (folder / "bad.safetensors").write_text("no model")
    before = sorted(os.listdir(str(folder)))
    with pytest.raises(QgsProcessingException) as caught:
        segmented(folder, python, project, MODEL=str(folder / "bad.safetensors"))
    told = str(caught.value)
    assert told.startswith(str(folder / "bad.safetensors") + ": is damaged")
    assert "\n" not in told
    assert [n for n in sorted(os.listdir(str(folder))) if not n.endswith(".aux.xml")] == before


def test_a_python_without_geoseg_is_named(folder, python, project):
    with pytest.raises(QgsProcessingException, match="/usr/bin/python3: has no geoseg"):
        segmented(folder, "/usr/bin/python3", project)


def alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def cancelled(folder, python, project, **parameters):
    """Cancel a run when its first progress comes; the seconds that takes, and the child's process id."""
    heard, context = Heard(), context_of(project)
    started = {}

    def cancel_soon():
        while not heard.stages and time.monotonic() < started["begin"] + 60:
            time.sleep(0.05)
        started["children"] = children()
        started["cancel"] = time.monotonic()
        heard.cancel()

    started["begin"] = time.monotonic()
    watcher = threading.Thread(target=cancel_soon)
    watcher.start()
    results, good = load("geoseg_segment").run(
        dict(
            parameters, PYTHON=python, OUTPUT=str(folder / "o.gpkg"), LABELS=str(folder / "l.tif")
        ),
        context,
        heard,
    )
    taken = time.monotonic() - started["cancel"]
    watcher.join()
    assert good
    assert results.get("OUTPUT") is None
    return taken, started["children"]


def children():
    """Process ids of the children of this process that run geoseg."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read()
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and b"geoseg" in command:
            found.append(int(entry))
    return found


def test_cancel_ends_the_child_within_two_seconds_and_leaves_nothing(folder, python, project):
    before = sorted(os.listdir(str(folder)))
    taken, ids = cancelled(
        folder,
        python,
        project,
        INPUT=str(folder / "large.tif"),
        MODEL=str(folder / "slow.safetensors"),
        DEVICE="cpu",
    )
    assert taken < 2
    assert ids
    assert not any(alive(one) for one in ids)
    assert [n for n in sorted(os.listdir(str(folder))) if not n.endswith(".aux.xml")] == before


DEAF = """#!/usr/bin/python3
# a child that hears no signal, has a child of its own, and leaves its scratch files where they are
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "geoseg".replace("geoseg", "100")])
output = sys.argv[sys.argv.index("-o") + 1]
open(output + ".part", "w").write("half")
while True:
    print('{"event": "progress", "done": 1, "total": 9, "text": "segment"}', flush=True)
    time.sleep(0.1)
"""


def test_a_child_that_does_not_listen_is_ended_all_the_same(folder, project, tmp_path):
    deaf = tmp_path / "deaf"
    deaf.write_text(DEAF)
    deaf.chmod(0o755)
    before = sorted(os.listdir(str(folder)))
    taken, ids = cancelled(folder, str(deaf), project, INPUT=str(folder / "my scene.tif"))
    assert taken < 2
    assert ids
    assert not any(alive(one) for one in ids)
    assert [n for n in sorted(os.listdir(str(folder))) if not n.endswith(".aux.xml")] == before


def test_a_child_that_is_killed_is_an_error(folder, python, project, tmp_path):
    dying = tmp_path / "dying"
    dying.write_text("#!/bin/sh\necho 'a last word' >&2\nkill -KILL $$\n")
    dying.chmod(0o755)
    with pytest.raises(
        QgsProcessingException, match=f"ended with code -{int(signal.SIGKILL)}. a last word"
    ):
        segmented(folder, str(dying), project)
    assert left(folder) == []


# --- training -----------------------------------------------------------------------------------


def test_polygons_drawn_over_a_scene_become_a_model_that_finds_them(folder, python, project):
    layer = QgsVectorLayer("Polygon?crs=EPSG:4326&field=what:string", "drawn", "memory")
    saved = QgsVectorLayer(str(folder / "drawn.gpkg"), "saved", "ogr")
    layer.startEditing()  # and never saved, as it happens
    for feature in saved.getFeatures():
        copy = QgsFeature(layer.fields())
        copy.setGeometry(feature.geometry())
        copy.setAttribute("what", feature["what"])
        layer.addFeature(copy)
    project.addMapLayer(layer)
    scene = str(folder / "my scene.tif")
    results, heard, _ = run(
        "geoseg_train",
        project,
        SCENES=[scene],
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
    assert heard.percents == sorted(heard.percents)
    names = set(os.listdir(str(folder)))
    assert {"mine.safetensors", "mine.curves.png", "mine.log.jsonl", "dataset"} <= names
    assert left(folder) == []

    found, _, _ = segmented(folder, python, project, MODEL=results["OUTPUT"], MIN_PIXELS=20)
    assert 70 <= found["COUNT"] <= 140

    scores, heard, _ = run(
        "geoseg_evaluate",
        project,
        MODEL=results["OUTPUT"],
        DATASET=results["DATASET"],
        DEVICE="cpu",
        PYTHON=python,
    )
    assert scores["MIOU"] > 0.5
    assert scores["IOU_1"] > 0.3
    assert any("roof" in line for line in heard.infos)


def test_a_polygon_without_a_class_is_told_by_the_name_of_its_layer(folder, python, project):
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631&field=what:string", "Meine Flächen", "memory")
    feature = QgsFeature(layer.fields())
    crossing = (
        "POLYGON((500010 5799990, 500050 5799950, 500050 5799990, 500010 5799950, 500010 5799990))"
    )
    feature.setGeometry(QgsGeometry.fromWkt(crossing))
    layer.dataProvider().addFeatures([feature])
    project.addMapLayer(layer)
    with pytest.raises(QgsProcessingException, match=r"^Meine Flächen: 1 polygons have no class"):
        run(
            "geoseg_train",
            project,
            SCENES=[str(folder / "my scene.tif")],
            ANNOTATIONS=layer,
            CLASS="what",
            OUTPUT=str(folder / "mine.safetensors"),
            PYTHON=python,
        )
    assert left(folder) == []


# centre and radius, in pixels, of the tanks on the roof of which somebody has drawn circles
TANKS = (
    (99, 80, 30), (254, 83, 30), (390, 137, 30), (527, 190, 31), (668, 233, 29),
    (200, 229, 31), (335, 276, 30), (473, 333, 31), (616, 372, 31),
)  # fmt: skip


def test_circles_drawn_on_a_real_scene_become_a_model_that_finds_the_tanks(
    python, project, tmp_path
):
    data = os.environ.get("GEOSEG_DATA")
    if not data:
        pytest.skip("needs real scenes: GEOSEG_DATA is not set")
    scene = tmp_path / "tanks.tif"
    shutil.copyfile(os.path.join(data, "scenes", "storage_tanks_rgba_epsg3857.tif"), str(scene))
    raster = QgsRasterLayer(str(scene), "tanks")
    project.addMapLayer(raster)
    box, pixel = raster.extent(), raster.rasterUnitsPerPixelX()
    layer = QgsVectorLayer("Polygon?crs=EPSG:3857&field=class:string", "drawn", "memory")
    places = []
    for x, y, radius in TANKS:
        centre = QgsPointXY(
            box.xMinimum() + x * pixel, box.yMaximum() - y * raster.rasterUnitsPerPixelY()
        )
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromPointXY(centre).buffer(radius * pixel, 16))
        feature.setAttribute("class", "tank")
        layer.dataProvider().addFeatures([feature])
        places.append(feature.geometry())
    project.addMapLayer(layer)
    trained, _, _ = run(
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
    results, _, _ = run(
        "geoseg_segment",
        project,
        INPUT=raster,
        MODEL=trained["OUTPUT"],
        MIN_PIXELS=500,
        OUTPUT=str(tmp_path / "found.gpkg"),
        DEVICE="cpu",
        PYTHON=python,
    )
    found = QgsVectorLayer(results["OUTPUT"], "found", "ogr")
    assert found.crs() == raster.crs()
    whole = QgsGeometry.unaryUnion([f.geometry() for f in found.getFeatures()])
    seen = [whole.intersection(place).area() / place.area() for place in places]
    assert sum(share > 0.7 for share in seen) >= 8, seen
    assert whole.area() < 2 * sum(place.area() for place in places)
    if os.environ.get("GEOSEG_KEEP_MAP"):
        shutil.copyfile(results["OUTPUT"], os.environ["GEOSEG_KEEP_MAP"] + ".gpkg")


def test_a_model_is_scored_on_polygons_over_a_scene(folder, python, project):
    scores, _, _ = run(
        "geoseg_evaluate",
        project,
        MODEL=str(folder / "colours.safetensors"),
        SCENES=[str(folder / "my scene.tif")],
        ANNOTATIONS=str(folder / "drawn.gpkg"),
        CLASS="what",
        OUTPUT=str(folder / "scores.json"),
        DEVICE="cpu",
        PYTHON=python,
    )
    assert scores["MIOU"] > 0.99
    assert (folder / "scores.json").is_file()
