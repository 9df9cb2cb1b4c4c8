"""A window with a map for the panel, and a substitute for geoseg that records its commands."""

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "qgis_plugin"))

from qgis.core import QgsApplication, QgsCoordinateReferenceSystem, QgsRasterLayer, QgsRectangle
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtWidgets import QAction


class Messages(QObject):
    """A message bar that keeps its messages."""

    pushed = pyqtSignal()

    def __init__(self):
        super().__init__()
        self.texts = []
        self.bar = QgsMessageBar()

    def pushMessage(self, title, text, level, duration):
        self.texts.append(text)
        self.bar.pushMessage(title, text, level, duration)
        self.pushed.emit()


class Interface:
    """The parts of QGIS's interface that the panel uses."""

    def __init__(self):
        self.canvas = QgsMapCanvas()
        self.canvas.resize(400, 300)
        self.messages = Messages()
        self.add_feature = QAction()
        self.active = None
        self.triggered = 0
        self.add_feature.triggered.connect(self._count)

    def _count(self):
        self.triggered += 1

    def close(self):
        """Delete the widgets, which must not outlive the application."""
        for widget in (self.canvas, self.messages.bar):
            sip.delete(widget)

    def mapCanvas(self):
        return self.canvas

    def messageBar(self):
        return self.messages

    def setActiveLayer(self, layer):
        self.active = layer

    def actionAddFeature(self):
        return self.add_feature

    def show(self, left, bottom, right, top, crs="EPSG:32631"):
        """Show this part of the world."""
        self.canvas.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
        self.canvas.setExtent(QgsRectangle(left, bottom, right, top))


def wait_until(condition, seconds=60):
    """Process events until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        QgsApplication.processEvents()
        time.sleep(0.01)


def wait_for_command(panel, seconds=60):
    """Process events until the command of a panel has ended."""
    wait_until(lambda: panel.command is None, seconds)


def open_scene(path, project):
    """Open a raster as a layer of the project."""
    layer = QgsRasterLayer(str(path), Path(str(path)).stem)
    assert layer.isValid()
    project.addMapLayer(layer)
    return layer


class FakeGeoseg:
    """A program that is started like a Python with geoseg, records its arguments and writes given files."""

    CODE = """
import json, os, pathlib, shutil, signal, sys, time
folder = pathlib.Path(__file__).parent
plan = json.loads((folder / "plan.json").read_text())
commands = ("info", "fit", "segment", "suggest")
arguments = sys.argv[next(n for n, text in enumerate(sys.argv) if text in commands) :]
with open(folder / "commands.jsonl", "a") as file:
    file.write(json.dumps(arguments) + "\\n")
def option(name):
    return arguments[arguments.index(name) + 1] if name in arguments else None
if arguments[0] == "info":
    print(json.dumps(plan["info"]))
    sys.exit()
for name in ("--annotations", "--annotated-area"):
    if option(name):
        shutil.copy(option(name), folder / (name[2:] + ".gpkg"))
entry = plan.get(arguments[0], {})
for text in entry.get("texts", []):
    print(json.dumps({"event": "progress", "done": 1, "total": 4, "text": text}), flush=True)
stop = option("--stop-file")
def leave(*_):
    time.sleep(entry["seconds"])
    pathlib.Path(entry["leaves"]).touch()
    os._exit(143)
if entry.get("leaves"):
    signal.signal(signal.SIGTERM, leave)
while entry.get("waits") and not (stop and os.path.exists(stop)):
    print(json.dumps({"event": "progress", "done": 1, "total": 4, "text": "train"}), flush=True)
    time.sleep(0.05)
if entry.get("error"):
    sys.exit("geoseg: error: " + entry["error"])
if entry.get("writes"):
    shutil.copy(entry["writes"], option("-o"))
else:
    pathlib.Path(option("-o")).touch()
print(json.dumps({"event": "result", "path": option("-o"), "miou": 0.625}))
"""

    def __init__(self, folder):
        self.folder = Path(str(folder))
        self.python = str(self.folder / "python")
        (self.folder / "fake.py").write_text(self.CODE, encoding="utf-8")
        launcher = f'#!/bin/sh\nexec {sys.executable} "{self.folder}/fake.py" "$@"\n'
        Path(self.python).write_text(launcher, encoding="utf-8")
        os.chmod(self.python, 0o755)
        self.plan(info={})

    def plan(self, **entries):
        """Set what each command does.

        `texts` of progress, `waits` for the stop file, `error`, `writes` a copy of a file, `leaves` a file
        some `seconds` after it was terminated.
        """
        text = json.dumps({"info": {}, **entries})
        (self.folder / "plan.json").write_text(text, encoding="utf-8")

    def commands(self, name):
        """Return the arguments of each command of this name."""
        lines = (self.folder / "commands.jsonl").read_text(encoding="utf-8").splitlines()
        return [arguments for arguments in map(json.loads, lines) if arguments[0] == name]
