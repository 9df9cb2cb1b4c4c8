"""The plugin: a provider, its setting, and its help."""

import os

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsApplication, QgsProcessingProvider
from qgis.PyQt.QtCore import QCoreApplication, QUrl
from qgis.PyQt.QtGui import QDesktopServices, QIcon

from .geoseg_evaluate import GeosegEvaluate
from .geoseg_segment import GeosegSegment
from .geoseg_train import GeosegTrain
from .geoseg_vectorize import GeosegVectorize

FOLDER = os.path.dirname(os.path.abspath(__file__))
ICON = os.path.join(FOLDER, "icon.svg")
PYTHON = "GEOSEG_PYTHON"
"""Name of the setting that the algorithms read."""


def tr(text):
    """The text in the user's language."""
    return QCoreApplication.translate("geoseg", text)


class GeosegProvider(QgsProcessingProvider):
    """geoseg in the Processing toolbox."""

    def id(self):
        return "geoseg"

    def name(self):
        return "geoseg"

    def longName(self):
        return tr("geoseg: objects in aerial and satellite scenes")

    def icon(self):
        return QIcon(ICON)

    def svgIconPath(self):
        return ICON

    def supportsNonFileBasedOutput(self):
        return False

    def supportedOutputVectorLayerExtensions(self):
        return ["gpkg"]

    def supportedOutputRasterLayerExtensions(self):
        return ["tif"]

    def load(self):
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        ProcessingConfig.addSetting(
            Setting(
                self.name(),
                PYTHON,
                tr("Python of the environment in which geoseg is installed"),
                "",
                valuetype=Setting.FILE,
            )
        )
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self):
        ProcessingConfig.removeSetting(PYTHON)

    def loadAlgorithms(self):
        for algorithm in (GeosegSegment, GeosegVectorize, GeosegTrain, GeosegEvaluate):
            self.addAlgorithm(algorithm())


class GeosegPlugin:
    """What QGIS loads and unloads."""

    def __init__(self, iface):
        self.iface = iface
        self.provider = None
        self.actions = []

    def initProcessing(self):
        """Add the provider; all that qgis_process asks for."""
        self.provider = GeosegProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self):
        self.initProcessing()
        for text, does in ((tr("Settings…"), self.settings), (tr("Help"), self.help)):
            action = self.action(text, does)
            self.iface.addPluginToMenu("geoseg", action)
            self.actions.append(action)

    def action(self, text, does):
        """A menu entry."""
        try:
            from qgis.PyQt.QtGui import QAction  # Qt 6
        except ImportError:
            from qgis.PyQt.QtWidgets import QAction
        action = QAction(QIcon(ICON), text, self.iface.mainWindow())
        action.triggered.connect(does)
        return action

    def settings(self):
        """Open the options where the setting is: Processing, Providers, geoseg."""
        self.iface.showOptionsDialog(self.iface.mainWindow(), "processingOptions")

    def help(self):
        """Open the help that came with the plugin."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(os.path.join(FOLDER, "help.html")))

    def unload(self):
        for action in self.actions:
            self.iface.removePluginMenu("geoseg", action)
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
