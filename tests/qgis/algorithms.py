"""Load and run the algorithms as QGIS does, and record what they report."""

import os
from pathlib import Path

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "qgis_scripts"


class RecordingFeedback(QgsProcessingFeedback):
    """Feedback that keeps everything an algorithm reports."""

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


def load_script(name):
    """Load the algorithm of a script with QGIS's own loader."""
    from processing.script import ScriptUtils

    algorithm = ScriptUtils.loadAlgorithm(name, str(SCRIPTS / (name + ".py")))
    assert algorithm is not None, f"{name} cannot be loaded as a script"
    algorithm.initAlgorithm({})
    return algorithm


def create_context(project):
    """Create a Processing context for a project."""
    context = QgsProcessingContext()
    context.setProject(project)
    return context


def run_script(name, project, **parameters):
    """Run an algorithm; return its results and feedback."""
    feedback, context = RecordingFeedback(), create_context(project)
    algorithm = load_script(name)
    valid, message = algorithm.checkParameterValues(parameters, context)
    assert valid, message
    results, succeeded = algorithm.run(parameters, context, feedback, catchExceptions=False)
    assert succeeded
    return results, feedback


def segment(folder, python, project, **parameters):
    """Run Segment scene on the synthetic scene."""
    defaults = {
        "INPUT": str(folder / "my scene.tif"),
        "MODEL": str(folder / "colours.safetensors"),
        "OUTPUT": str(folder / "Flächen.gpkg"),
        "DEVICE": "cpu",
        "PYTHON": python,
    }
    return run_script("geoseg_segment", project, **{**defaults, **parameters})


def list_hidden(folder):
    """List hidden files and folders; a run must not leave any."""
    return [name for name in os.listdir(str(folder)) if name.startswith(".")]


def list_visible_inputs(folder):
    """List a folder without the statistics that QGIS writes for rasters."""
    return [name for name in sorted(os.listdir(str(folder))) if not name.endswith(".aux.xml")]
