"""Drive the panel of the QGIS plugin from an empty project to a corrected model; run by panel.sh.

QGIS executes this file inside a function, so functions here have no access to its other names: they take them as
default arguments. `stages` is a generator: it yields a condition and is resumed when that holds.
"""

import json
import os
import sys
import time

from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.gui import QgsCollapsibleGroupBox
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtWidgets import QDockWidget, QToolBar
from qgis.utils import iface, plugins

FOLDER, PICTURES = os.environ["GEOSEG_SHOW"], os.environ["GEOSEG_PICTURES"]
MINUTES = float(os.environ.get("GEOSEG_MINUTES", "2"))
LEFT, TOP, SIDE = 600_000.0, 5_680_000.0, 0.3  # of the scene, in metres

# (left, top, right, bottom) in pixels of the scene
FRAMES = [(600, 140, 980, 600), (960, 225, 1215, 720)]


def to_map(pixels, left=LEFT, top=TOP, side=SIDE, rectangle=QgsRectangle):
    x0, y0, x1, y1 = pixels
    return rectangle(left + x0 * side, top - y1 * side, left + x1 * side, top - y0 * side)


def read_truth(folder=FOLDER, vector=QgsVectorLayer):
    layer = vector(os.path.join(folder, "truth.gpkg"), "truth", "ogr")
    return [(feature["class"], QgsGeometry(feature.geometry())) for feature in layer.getFeatures()]


def is_correct(feature, truth):
    """Return True if a polygon overlaps an object of its class by an IoU of one half."""
    shape = feature.geometry()
    for name, other in truth:
        common = shape.intersection(other).area() if shape.intersects(other) else 0
        if name == feature["class"] and common > 0.5 * (shape.area() + other.area() - common):
            return True
    return False


def score(layer, truth, is_correct=is_correct, to_map=to_map, drawn=FRAMES):
    """Count correct, wrong and missed objects outside the frames that were drawn first."""
    boxes = [to_map(pixels) for pixels in drawn]

    def is_outside(shape):
        return not any(box.intersects(shape.boundingBox()) for box in boxes)

    rest = [(name, shape) for name, shape in truth if is_outside(shape)]
    found = [feature for feature in layer.getFeatures() if is_outside(feature.geometry())]
    correct = sum(is_correct(feature, rest) for feature in found)
    return {"objects": len(rest), "correct": correct, "wrong": len(found) - correct}


def save(name, folder=PICTURES, window=iface.mainWindow(), app=QgsApplication):
    app.processEvents()
    window.grab().save(os.path.join(folder, f"panel-{name}.png"))


def arrange(window=iface.mainWindow()):
    window.resize(1300, 960)
    for bar in window.findChildren(QToolBar):
        bar.setVisible(bar.objectName() in ("mMapNavToolBar", "mDigitizeToolBar"))
    for dock in window.findChildren(QDockWidget):
        dock.setVisible(dock.objectName() in ("Layers", "geoseg_panel"))
    docks = {dock.objectName(): dock for dock in window.findChildren(QDockWidget)}
    docks["geoseg_panel"].setFloating(False)
    shown = [docks["Layers"], docks["geoseg_panel"]]
    window.resizeDocks(shown, [200, 360], Qt.Orientation.Horizontal)


def digitize(panel, truth, to_map=to_map, drawn=FRAMES, new=QgsFeature):
    """Draw the frames, and all objects in them."""
    panel.draw_frame()
    for pixels in drawn:
        panel.add_frame(to_map(pixels))
    for name in ("court", "pool"):
        panel.form.classes.set_current(name)
        panel.draw_objects()
        layer = panel.state.layer("annotations")
        for label, shape in truth:
            if label == name and any(to_map(b).contains(shape.boundingBox()) for b in drawn):
                feature = new(layer.fields())
                feature.setGeometry(shape)
                feature["class"] = name
                layer.addFeature(feature)
    layer.commitChanges()


def wait(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def run_stages(
    iface=iface,
    plugin=plugins["geoseg_qgis"],
    folder=FOLDER,
    minutes=MINUTES,
    to_map=to_map,
    save=save,
    wait=wait,
    arrange=arrange,
    digitize=digitize,
    score=score,
    truth=read_truth(),
    is_correct=is_correct,
):
    from geoseg_qgis.panel_session import PanelClass

    project, canvas = QgsProject.instance(), iface.mapCanvas()
    plugin._show_panel()
    panel = plugin._panel
    arrange()
    yield wait(3)
    project.addMapLayer(QgsRasterLayer(os.path.join(folder, "scene.tif"), "scene"))
    canvas.setExtent(project.mapLayersByName("scene")[0].extent())
    yield lambda: "DOTA" in panel.form.models.card.text()
    yield wait(2)
    save("scene")
    panel.form.minutes.setValue(minutes)
    panel.form.classes.add_class(PanelClass("court", "#e6194b"))
    panel.form.classes.add_class(PanelClass("pool", "#46f0f0"))
    digitize(panel, truth)
    box = to_map((560, 110, 1240, 740))
    canvas.setExtent(box)
    yield wait(3)
    save("annotations")

    def train_and_segment(number):
        panel.form.buttons["train"].click()
        yield lambda: "IoU" in panel.form.progress.text.text() or panel.command is None
        save(f"training-{number}")
        yield lambda: panel.command is None
        item = iface.messageBar().currentItem()
        assert panel.state.session.model, item and item.text()
        yield wait(4)
        save(f"trained-{number}")
        canvas.setExtent(to_map((750, 730, 1250, 1230)))
        panel.form.buttons["preview"].click()
        yield lambda: panel.command is None
        yield wait(2)
        save(f"preview-{number}")
        panel.form.buttons["segment"].click()
        yield lambda: panel.command is None
        canvas.setExtent(panel.state.layer("scene").extent())
        yield wait(3)
        save(f"result-{number}")
        print(number, json.dumps(score(panel.state.layer("result"), truth)), flush=True)

    yield from train_and_segment(1)
    result = panel.state.layer("result")
    for _ in range(min(16, result.featureCount())):
        panel.next()
        number = result.selectedFeatureIds()[0] if result.selectedFeatureCount() else None
        if number is None:
            break
        if is_correct(result.getFeature(number), truth):
            panel.accept()
        else:
            panel.reject()
    groups = panel.form.widget.findChildren(QgsCollapsibleGroupBox)
    groups[0].setCollapsed(True)  # to show the buttons of the review
    panel.next()
    yield wait(3)
    save("review")
    panel.form.buttons["suggest"].click()
    yield lambda: panel.command is None
    canvas.setExtent(panel.state.layer("scene").extent())
    yield wait(3)
    save("suggested")
    if panel.state.layer("suggestions") is not None:
        panel.use_suggestion()
        frame = list(panel.state.layer("frames").getFeatures())[-1].geometry()
        layer = panel.state.layer("annotations")
        for name, shape in truth:
            if frame.contains(shape.centroid()):
                feature = QgsFeature(layer.fields())
                feature.setGeometry(shape)
                feature["class"] = name
                layer.dataProvider().addFeatures([feature])
        layer.dataChanged.emit()
        yield wait(3)
        save("used")
    yield from train_and_segment(2)
    path = os.path.join(folder, "project.qgz")
    assert project.write(path)
    session = panel.state.session
    project.clear()
    yield wait(1)
    assert project.read(path)
    assert panel.state.session == session
    yield wait(3)
    save("restored")


def step(generator, state, save=save):
    """Advance the stages as far as their conditions hold; end QGIS after the last, or after an error."""
    try:
        while state["condition"]():
            state["condition"] = next(generator)
    except StopIteration:
        print("done", flush=True)
        os._exit(0)  # skip the dialog that asks whether to save the project
    except BaseException:
        import traceback

        traceback.print_exc()
        save("failed")
        sys.stderr.flush()
        os._exit(1)


generator = run_stages()
timer = QTimer(iface.mainWindow())
state = {"condition": lambda: True}
timer.timeout.connect(lambda step=step, g=generator, s=state: step(g, s))
timer.start(300)
