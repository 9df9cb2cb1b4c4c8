"""Run inside QGIS by qgis.sh: show what the demo has made, and take a picture of the window.

QGIS executes this file inside a function of its own, so that functions here see no names but their arguments.
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


def zoom(canvas=canvas, layer=scene, tree=docks["ProcessingToolbox"].findChild(QTreeView)):
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


def shoot(window=window, path=os.environ["GEOSEG_PICTURE"]):
    window.grab().save(path, "JPG", 68)
    os._exit(0)  # without the question whether to save the project


QTimer.singleShot(3000, zoom)
QTimer.singleShot(9000, shoot)
