"""The panel in QGIS, with a substitute for geoseg: layers, commands, review, and what the project keeps."""

import os
import sqlite3

import pytest

pytest.importorskip("qgis.core", reason="needs PyQGIS: apt install qgis")

from panels import FakeGeoseg, Interface, open_scene, wait_for_command, wait_until
from qgis.core import (
    NULL,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
    QgsRenderContext,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from qgis.PyQt import sip

LEFT, TOP = 500_000, 5_800_000
CLASSES = [("roof", "#ff8800"), ("pond", "#0088ff")]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a substitute for geoseg, configured as the Python of geoseg."""
    folder = tmp_path / "fake"
    folder.mkdir()
    fake = FakeGeoseg(folder)
    monkeypatch.setenv("GEOSEG_PYTHON", fake.python)
    return fake


@pytest.fixture
def panel(project, fake, folder):
    """Return a panel in a project with a scene, with two classes, which shows the whole scene."""
    from geoseg_qgis.panel import GeosegPanel
    from geoseg_qgis.panel_session import PanelClass

    interface = Interface()
    interface.show(LEFT, TOP - 256, LEFT + 256, TOP)
    panel = GeosegPanel(interface)
    open_scene(folder / "my scene.tif", project)
    for name, colour in CLASSES:
        panel.form.classes.add_class(PanelClass(name, colour))
    yield panel
    panel.shut_down()
    sip.delete(panel)
    interface.close()


def box(left, top, width, height):
    """Return a rectangle of the scene, in metres from its upper left corner."""
    return QgsRectangle(LEFT + left, TOP - top - height, LEFT + left + width, TOP - top)


def draw(panel, name, *rectangles):
    """Draw objects of a class."""
    panel.form.classes.set_current(name)
    panel.draw_objects()
    layer = panel.state.layer("annotations")
    for rectangle in rectangles:
        feature = QgsFeature(layer.fields())
        geometry = QgsGeometry.fromRect(rectangle)
        geometry.convertToMultiType()
        feature.setGeometry(geometry)
        feature["class"] = name
        assert layer.addFeature(feature)
    return layer


def read_rows(path, columns, table):
    """Read columns of a GeoPackage."""
    with sqlite3.connect(str(path)) as database:
        names = ", ".join(f'"{name}"' for name in columns)
        return sorted(database.execute(f'SELECT {names} FROM "{table}"').fetchall(), key=str)


def write_result(path, rows):
    """Write polygons as geoseg does: fields class and confidence, layer segments."""
    layer = QgsVectorLayer(
        "Polygon?crs=EPSG:32631&field=class:string&field=confidence:double", "segments", "memory"
    )
    features = []
    for rectangle, name, confidence in rows:
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(rectangle))
        feature.setAttributes([name, confidence])
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "GPKG", "segments"
    context = QgsProject.instance().transformContext()
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(path), context, options)
    return str(path)


@pytest.fixture
def reviewed(panel, fake, tmp_path):
    """Return the panel with a result of four polygons, whose confidence rises from left to right."""
    rows = [(box(20 * n, 0, 10, 10), "roof", 0.1 * (n + 1)) for n in range(4)]
    fake.plan(segment={"writes": write_result(tmp_path / "result.gpkg", rows)})
    panel.segment()
    wait_for_command(panel)
    return panel


def ids(layer):
    """Return the IDs of features by rising confidence."""
    return [f.id() for f in sorted(layer.getFeatures(), key=lambda f: f["confidence"])]


# --- scene, model and classes --------------------------------------------------------------------


def test_the_first_raster_of_the_project_is_the_scene(panel, project):
    assert panel.state.scene().name() == "my scene"
    assert os.path.basename(panel.state.session.folder) == "my scene-geoseg"
    assert panel.form.buttons["preview"].isEnabled()
    project.clear()
    assert not panel.form.buttons["preview"].isEnabled()


def test_the_card_of_the_model_is_shown(panel, fake):
    legend = [
        {"id": 0, "name": "background", "colour": "#000000"},
        {"id": 1, "name": "<b>ship</b>", "colour": "#123456"},
    ]
    training = {"name": "harbour", "terms": "research only"}
    fake.plan(info={"legend": legend, "training": training, "pixel_size_m": [0.1, 0.8]})
    model = str(fake.folder / "m.safetensors")
    (fake.folder / "m.safetensors").touch()
    panel.choose_model(model)
    wait_until(lambda: "harbour" in panel.form.models.card.text())
    card = panel.form.models.card.text()
    assert "research only" in card
    assert "0.1\N{EN DASH}0.8 m" in card
    assert "&lt;b&gt;ship&lt;/b&gt;" in card
    assert panel.form.models.combo.currentData() == model
    assert fake.commands("info")[-1] == ["info", model, "--json"]


def test_an_unreadable_model_shows_the_error_of_geoseg(panel, fake):
    (fake.folder / "fake.py").write_text(
        'import sys; sys.exit("geoseg: error: m: damaged. Replace")'
    )
    (fake.folder / "m.safetensors").touch()
    panel.choose_model(str(fake.folder / "m.safetensors"))
    wait_until(lambda: panel.form.models.card.text() == "m: damaged. Replace")


def test_without_a_python_the_error_names_the_settings(panel, monkeypatch):
    monkeypatch.setenv("GEOSEG_PYTHON", "/nowhere/python")
    panel.form.buttons["preview"].click()
    assert "/nowhere/python" in panel._iface.messages.texts[-1]
    assert panel.command is None


def test_a_class_with_a_taken_name_keeps_its_own(panel):
    table = panel.form.classes
    table.table.item(1, 0).setText("roof")
    assert [item.name for item in table.classes()] == ["roof", "pond"]
    table.table.item(1, 0).setText("lake")
    assert [item.name for item in panel.state.session.classes] == ["roof", "lake"]


# --- drawing ---------------------------------------------------------------------------------------


def test_the_layer_of_annotations_offers_the_classes_in_their_colours(panel):
    layer = draw(panel, "pond", box(10, 10, 20, 20))
    assert panel._iface.active is layer
    assert panel._iface.triggered == 1
    assert layer.isEditable()
    index = layer.fields().lookupField("class")
    setup = layer.editorWidgetSetup(index)
    assert setup.type() == "ValueMap"
    assert [next(iter(entry)) for entry in setup.config()["map"]] == ["roof", "pond", "ignore"]
    assert layer.defaultValueDefinition(index).expression() == "'pond'"
    feature = next(layer.getFeatures())
    renderer = layer.renderer().clone()
    context = QgsRenderContext()
    renderer.startRender(context, layer.fields())
    symbol = renderer.symbolForFeature(feature, context)
    assert symbol.color().name() == "#0088ff"
    renderer.stopRender(context)


def test_new_objects_get_the_class_drawn_last(panel):
    layer = draw(panel, "roof", box(10, 10, 5, 5))
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromRect(box(30, 10, 5, 5)))
    feature["class"] = "pond"  # chosen in the form
    layer.addFeature(feature)
    assert panel.state.session.current_class == "pond"
    index = layer.fields().lookupField("class")
    assert layer.defaultValueDefinition(index).expression() == "'pond'"


def test_a_renamed_class_renames_its_objects(panel):
    layer = draw(panel, "roof", box(10, 10, 5, 5))
    panel.form.classes.table.item(0, 0).setText("it's a roof")
    assert [feature["class"] for feature in layer.getFeatures()] == ["it's a roof"]
    index = layer.fields().lookupField("class")
    assert layer.defaultValue(index) == "it's a roof"


def test_a_frame_is_transformed_from_the_crs_of_the_map(panel):
    panel._iface.show(2.9, 52, 3.1, 52.4, "EPSG:4326")
    panel.draw_frame()
    panel.add_frame(QgsRectangle(3.0, 52.3, 3.001, 52.301))
    frames = panel.state.layer("frames")
    assert frames.crs().authid() == "EPSG:32631"
    centre = next(frames.getFeatures()).geometry().centroid().asPoint()
    assert abs(centre.x() - 500_034) < 2  # 3° E is the central meridian
    assert os.path.isfile(os.path.join(panel.state.session.folder, "frames.gpkg"))


def test_a_folder_that_cannot_be_made_is_an_error_with_advice(panel, tmp_path):
    (tmp_path / "file").touch()
    panel.state.change(folder=str(tmp_path / "file" / "x"))
    panel.form.buttons["draw_frame"].click()
    assert "Choose another folder" in panel._iface.messages.texts[-1]


# --- training --------------------------------------------------------------------------------------


def test_training_without_frames_or_objects_is_refused(panel):
    panel.draw_objects()
    for action, text in ((panel.draw_frame, "No frame"), (lambda: None, "No frame")):
        action()
        panel.update_buttons()
        panel.form.buttons["train"].click()
        assert panel._iface.messages.texts[-1].startswith(text)
    panel.add_frame(box(0, 0, 50, 50))
    panel.form.buttons["train"].click()
    assert panel._iface.messages.texts[-1].startswith("No object")
    assert panel.command is None


def test_a_training_gets_unsaved_objects_and_frames_and_its_model_is_chosen(panel, fake):
    draw(panel, "roof", box(10, 10, 20, 20), box(100, 100, 5, 5))
    panel.draw_frame()
    panel.add_frame(box(0, 0, 50, 50))
    fake.plan(fit={"texts": ["read scenes", "train, loss 0.5, mIoU 60.0 %, 0:01 h left"]})
    panel.train()
    wait_for_command(panel)
    rows = read_rows(fake.folder / "annotations.gpkg", ["class", "status"], "annotations")
    assert rows == [("roof", "accepted")] * 2
    assert len(read_rows(fake.folder / "annotated-area.gpkg", ["fid"], "frames")) == 1
    command = fake.commands("fit")[0]
    model = os.path.join(panel.state.session.folder, "model-1.safetensors")
    assert command[command.index("-o") + 1] == model
    assert "-m" not in command  # from the shipped model
    assert panel.state.session.model == model
    assert "62.5 %" in panel._iface.messages.texts[-1]
    panel.train()
    wait_for_command(panel)
    command = fake.commands("fit")[1]
    assert command[command.index("-m") + 1] == model
    assert command[command.index("-o") + 1].endswith("model-2.safetensors")


def test_an_object_whose_class_is_not_in_the_table_is_refused(panel):
    layer = draw(panel, "roof", box(10, 10, 20, 20))
    panel.form.whole_scene.setChecked(True)
    feature = next(layer.getFeatures())
    for name, shown in (("barn", "barn"), (NULL, "(none)")):
        layer.changeAttributeValue(feature.id(), layer.fields().lookupField("class"), name)
        panel.form.buttons["train"].click()
        assert f"Class {shown} is not in the table" in panel._iface.messages.texts[-1]
        assert panel.command is None


def test_the_whole_scene_can_be_the_annotated_area(panel, fake):
    draw(panel, "roof", box(10, 10, 20, 20))
    panel.form.whole_scene.setChecked(True)
    panel.train()
    wait_for_command(panel)
    area = QgsVectorLayer(str(fake.folder / "annotated-area.gpkg"), "area", "ogr")
    assert next(area.getFeatures()).geometry().boundingBox() == panel.state.scene().extent()


def test_stop_ends_the_training_and_keeps_the_model(panel, fake):
    draw(panel, "roof", box(10, 10, 20, 20))
    panel.form.whole_scene.setChecked(True)
    fake.plan(fit={"waits": True})
    panel.train()
    wait_until(lambda: panel.form.progress.text.text() == "train")
    assert not panel.form.buttons["train"].isEnabled()
    panel.form.progress.stop.click()
    wait_for_command(panel)
    assert panel.state.session.model.endswith("model-1.safetensors")


def test_a_cancelled_training_with_a_checkpoint_can_be_resumed(panel, fake):
    draw(panel, "roof", box(10, 10, 20, 20))
    panel.form.whole_scene.setChecked(True)
    checkpoint = os.path.join(panel.state.session.folder, "model-1.checkpoint.safetensors")
    fake.plan(fit={"waits": True, "leaves": checkpoint, "seconds": 2})
    panel.train()
    wait_until(lambda: panel.form.progress.text.text() == "train")
    panel.form.progress.cancel.click()
    wait_for_command(panel)
    assert panel._iface.messages.texts[-1] == "Cancelled."
    assert panel.state.session.model == ""
    assert panel.form.buttons["resume"].isEnabled()
    fake.plan()
    panel.form.buttons["resume"].click()
    wait_for_command(panel)
    command = fake.commands("fit")[1]
    assert "--resume" in command
    assert command[command.index("-o") + 1].endswith("model-1.safetensors")
    assert not panel.state.session.unfinished


def test_closing_the_panel_ends_the_command(panel, fake):
    fake.plan(segment={"waits": True})
    panel.segment()
    wait_until(lambda: panel.form.progress.text.text() == "train")
    panel.close()
    wait_for_command(panel)
    assert panel.state.layer("result") is None


def test_an_error_of_geoseg_is_shown(panel, fake):
    fake.plan(segment={"error": "my scene.tif: too small. Use another scene"})
    panel.segment()
    wait_for_command(panel)
    assert panel._iface.messages.texts[-1] == "my scene.tif: too small. Use another scene"
    assert panel.form.buttons["segment"].isEnabled()


def test_loss_and_score_are_shown_while_training(panel):
    progress = panel.form.progress
    progress.start("Train", minutes=1e-9)
    progress.set_percent(3)
    progress.set_text("train, loss 0.412, mIoU 63.1 %, 0:02 h left")
    progress.set_text("train, loss 0.412, mIoU 63.1 %, 0:02 h left")
    assert progress.bar.value() == 95
    assert progress.text.text() == "loss 0.412, best mean IoU 63.1 %, 0:02 h left"


# --- preview, result and review ----------------------------------------------------------------------


def test_the_preview_segments_the_part_of_the_scene_on_the_map(panel, fake, tmp_path):
    result = write_result(tmp_path / "r.gpkg", [(box(20, 20, 10, 10), "roof", 0.5)])
    fake.plan(segment={"writes": result})
    panel._iface.show(LEFT - 100, TOP - 50, LEFT + 40, TOP + 55)
    view = panel._iface.canvas.extent()
    panel.preview()
    wait_for_command(panel)
    command = fake.commands("segment")[0]
    box_argument = next(a for a in command if a.startswith("--bbox="))
    sides = [float(side) for side in box_argument.partition("=")[2].split(",")]
    assert sides == pytest.approx([LEFT, view.yMinimum(), view.xMaximum(), TOP])
    first = panel.state.layer("preview")
    panel.preview()
    wait_for_command(panel)
    assert panel.state.layer("preview") is not first
    assert (
        sum(layer.name() == "Preview" for layer in QgsProject.instance().mapLayers().values()) == 1
    )


def test_a_map_beside_the_scene_has_no_preview(panel):
    panel._iface.show(LEFT - 100, TOP + 100, LEFT - 50, TOP + 150)
    panel.form.buttons["preview"].click()
    assert panel._iface.messages.texts[-1].startswith("The map shows no part of the scene")


def test_results_are_reviewed_from_the_most_uncertain_on(reviewed):
    layer = reviewed.state.layer("result")
    first, second, third, fourth = ids(layer)
    reviewed._iface.show(LEFT - 1e5, TOP - 1e5, LEFT + 1e5, TOP + 1e5)
    reviewed.next()
    assert layer.selectedFeatureIds() == [first]
    assert reviewed._iface.canvas.extent().contains(box(0, 0, 10, 10))
    assert reviewed._iface.canvas.extent().width() < 400  # a polygon can be seen
    assert reviewed._iface.canvas.selectionColor().alpha() < 128  # and what it covers
    reviewed.accept()
    assert layer.selectedFeatureIds() == [second]
    reviewed.reject()
    reviewed.previous()
    assert layer.selectedFeatureIds() == [fourth]
    status = [layer.getFeature(number)["status"] for number in (first, second, third)]
    assert status == ["accepted", "rejected", NULL]
    assert reviewed.form.counts.text() == "1 accepted, 1 rejected, 2 not reviewed"
    reviewed.accept()
    reviewed.accept()
    assert reviewed._iface.messages.texts[-1] == "All polygons are reviewed."


def test_uncertainty_comes_before_confidence():
    from geoseg_qgis.panel_review import order_unreviewed

    uri = "Polygon?field=confidence:double&field=uncertainty:double&field=status:string"
    layer = QgsVectorLayer(uri, "x", "memory")
    for confidence, uncertainty, status in ((0.1, 0.2, ""), (0.2, 0.9, ""), (0.3, 1, "rejected")):
        feature = QgsFeature(layer.fields())
        feature.setAttributes([confidence, uncertainty, status])
        layer.dataProvider().addFeatures([feature])
    assert [layer.getFeature(i)["confidence"] for i in order_unreviewed(layer)] == [0.2, 0.1]


def test_a_reviewed_polygon_is_saved_and_drawn_in_its_style(reviewed):
    layer = reviewed.state.layer("result")
    numbers = ids(layer)
    layer.selectByIds(numbers[:1])
    reviewed.reject()
    path = layer.source().partition("|")[0]
    assert [row[0] for row in read_rows(path, ["status"], "segments")].count("rejected") == 1
    titles = [item.label() for item in layer.renderer().legendSymbolItems()]
    assert titles == ["roof", "roof, accepted", "rejected"]  # no class that does not occur
    reviewed.reset()
    assert reviewed.form.counts.text() == "0 accepted, 0 rejected, 4 not reviewed"


def test_an_edited_polygon_counts_as_accepted(reviewed):
    layer = reviewed.state.layer("result")
    number = ids(layer)[0]
    layer.startEditing()
    layer.changeGeometry(number, QgsGeometry.fromRect(box(0, 0, 12, 12)))
    assert layer.getFeature(number)["status"] == "accepted"
    drawn = QgsFeature(layer.fields())
    layer.rollBack()
    assert layer.getFeature(number)["status"] == NULL
    index = drawn.fields().lookupField("status")
    assert layer.defaultValue(index) == "accepted"


def test_the_class_of_an_accepted_polygon_of_the_model_joins_the_table(panel, fake, tmp_path):
    legend = [{"name": "background", "colour": "#000000"}, {"name": "ship", "colour": "#123456"}]
    rows = [(box(0, 0, 10, 10), "ship", 0.5)]
    result = write_result(tmp_path / "result.gpkg", rows)
    fake.plan(info={"legend": legend}, segment={"writes": result})
    (tmp_path / "m.safetensors").touch()
    panel.choose_model(str(tmp_path / "m.safetensors"))
    wait_until(lambda: "ship" in panel.form.models.card.text())
    panel.segment()
    wait_for_command(panel)
    panel.next()
    panel.reject()
    assert panel.state.session.colour_of("ship") is None
    panel.previous()
    panel.state.layer("result").selectAll()
    panel.accept()
    assert panel.state.session.colour_of("ship") == "#123456"
    assert panel.form.classes.current_class() == "pond"


def test_all_polygons_in_the_frames_can_be_accepted(reviewed):
    reviewed.draw_frame()
    reviewed.add_frame(box(0, 0, 35, 20))  # contains the second polygon's centre at 25 m
    reviewed.accept_in_frames()
    layer = reviewed.state.layer("result")
    status = [layer.getFeature(number)["status"] for number in ids(layer)]
    assert status == ["accepted", "accepted", NULL, NULL]


def test_reviewed_polygons_join_the_drawn_ones_in_the_next_training(reviewed, fake):
    layer = reviewed.state.layer("result")
    first, second, third, _ = ids(layer)
    draw(reviewed, "pond", box(0, 0, 10, 10))  # the first polygon, drawn by hand
    reviewed.draw_frame()
    reviewed.add_frame(box(0, 0, 15, 15))
    layer.selectByIds([first, second])
    reviewed.accept()
    layer.selectByIds([third])
    reviewed.reject()
    reviewed.train()
    wait_for_command(reviewed)
    rows = read_rows(fake.folder / "annotations.gpkg", ["class", "status"], "annotations")
    assert rows == [("pond", "accepted"), ("roof", "accepted"), ("roof", "rejected")]


def test_suggested_frames_become_frames_by_rank(panel, fake, tmp_path):
    from geoseg_qgis.panel_layers import write_features

    path = str(tmp_path / "frames.gpkg")
    shapes = [(QgsGeometry.fromRect(box(50 * n, 0, 40, 40)), [str(3 - n)]) for n in range(3)]
    write_features(path, "frames", ["rank"], panel.state.scene().crs(), shapes)
    fake.plan(suggest={"writes": path})
    panel.suggest()
    wait_for_command(panel)
    assert "--annotated-area" not in fake.commands("suggest")[0]
    assert panel.state.layer("suggestions").featureCount() == 3
    panel.use_suggestion()
    frame = next(panel.state.layer("frames").getFeatures())
    assert frame.geometry().boundingBox() == box(100, 0, 40, 40)
    assert panel.state.layer("suggestions").featureCount() == 2
    assert panel._iface.canvas.extent().contains(box(100, 0, 40, 40))
    panel.suggest()
    wait_for_command(panel)
    assert "--annotated-area" in fake.commands("suggest")[1]


def test_suggestions_reuse_the_rasters_of_a_result_of_the_same_model(reviewed, fake):
    from geoseg_qgis.panel_session import Rasters

    fake.plan(suggest={"error": "stop here"})
    reviewed.suggest()
    wait_for_command(reviewed)
    assert "--labels" not in fake.commands("suggest")[0]  # they do not exist
    rasters = Rasters.beside(reviewed.state.layer("result").source().partition("|")[0])
    for path in (rasters.labels, rasters.uncertainty):
        with open(path, "w", encoding="utf-8"):
            pass
    reviewed.suggest()
    wait_for_command(reviewed)
    assert fake.commands("suggest")[1][-6:-2] == rasters.options()
    assert fake.commands("segment")[0][-6:-2] == rasters.options()
    reviewed.state.change(model="other.safetensors")
    reviewed.suggest()
    wait_for_command(reviewed)
    assert "--labels" not in fake.commands("suggest")[2]


# --- project -------------------------------------------------------------------------------------


def test_a_project_that_is_opened_again_restores_the_panel(reviewed, project, tmp_path):
    draw(reviewed, "pond", box(10, 10, 5, 5)).commitChanges()
    reviewed.draw_frame()
    reviewed.form.minutes.setValue(7)
    session = reviewed.state.session
    path = str(tmp_path / "project.qgz")
    assert project.write(path)
    project.clear()
    assert reviewed.state.layer("annotations") is None
    assert not reviewed.form.classes.classes()
    assert project.read(path)
    assert reviewed.state.session == session
    assert [item.name for item in reviewed.form.classes.classes()] == ["roof", "pond"]
    assert reviewed.form.minutes.value() == 7
    for role in ("scene", "annotations", "frames", "result"):
        assert reviewed.state.layer(role) is not None
    assert reviewed.form.scene.currentLayer() is reviewed.state.layer("scene")


def test_layers_that_were_removed_are_opened_again_from_their_files(panel, project):
    draw(panel, "roof", box(10, 10, 5, 5)).commitChanges()
    project.removeMapLayer(panel.state.session.annotations)
    assert panel.state.layer("annotations") is None
    panel.draw_objects()
    assert panel.state.layer("annotations").featureCount() == 1
