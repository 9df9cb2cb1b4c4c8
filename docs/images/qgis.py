"""Show the output of the demo in QGIS and save a screenshot; run by qgis.sh.

QGIS executes this file inside a function, so functions here have no access to its other names: they take them as
default arguments.
"""

import os

from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtWidgets import QDockWidget, QToolBar, QTreeView
from qgis.utils import iface

folder = os.environ["GEOSEG_SHOW"]
scene = QgsRasterLayer(os.path.join(folder, "unseen.tif"), "scene")
labels = QgsRasterLayer(os.path.join(folder, "unseen_labels.tif"), "labels")
polygons = QgsVectorLayer(
    os.path.join(folder, "unseen.gpkg") + "|layername=segments", "polygons", "ogr"
)
project = QgsProject.instance()
for layer in (scene, labels, polygons):
    project.addMapLayer(layer)
project.layerTreeRoot().findLayer(labels.id()).setItemVisibilityChecked(False)
project.layerTreeRoot().findLayer(labels.id()).setExpanded(False)
project.layerTreeRoot().findLayer(polygons.id()).setExpanded(True)

window = iface.mainWindow()
window.resize(1240, 760)
window.setWindowTitle("unseen — QGIS")
for bar in window.findChildren(QToolBar):
    bar.setVisible(bar.objectName() in ("mFileToolBar", "mMapNavToolBar"))
for dock in window.findChildren(QDockWidget):
    dock.setVisible(dock.objectName() in ("Layers", "ProcessingToolbox"))
docks = {dock.objectName(): dock for dock in window.findChildren(QDockWidget)}
window.resizeDocks(
    [docks["Layers"], docks["ProcessingToolbox"]], [225, 210], Qt.Orientation.Horizontal
)
canvas = iface.mapCanvas()


def zoom_to_scene(canvas=canvas, layer=scene, tree=docks["ProcessingToolbox"].findChild(QTreeView)):
    box = layer.extent()
    box.scale(0.4)
    canvas.setExtent(box)
    canvas.refresh()
    tree.collapseAll()
    model = tree.model()
    for row in range(model.rowCount()):
        if model.index(row, 0).data() == "Scripts":
            tree.expandRecursively(model.index(row, 0))
            tree.scrollTo(model.index(row, 0), tree.ScrollHint.PositionAtTop)


def save_screenshot(window=window, path=os.environ["GEOSEG_PICTURE"]):
    window.grab().save(path, "JPG", 68)
    os._exit(0)  # skip the dialog that asks whether to save the project


QTimer.singleShot(3000, zoom_to_scene)
QTimer.singleShot(9000, save_screenshot)
