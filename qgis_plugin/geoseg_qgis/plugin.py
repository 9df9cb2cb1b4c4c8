"""The plugin: a Processing provider, a page in the options, and a menu."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from qgis.core import QgsApplication, QgsProcessingProvider
from qgis.PyQt.QtCore import Qt, QUrl
from qgis.PyQt.QtGui import QDesktopServices, QIcon

from .evaluate import GeosegEvaluate
from .i18n import HERE, tr
from .segment import GeosegSegment
from .suggest import GeosegSuggest
from .train import GeosegTrain
from .vectorize import GeosegVectorize

ALGORITHMS = (GeosegSegment, GeosegVectorize, GeosegTrain, GeosegEvaluate, GeosegSuggest)
ICON = os.path.join(HERE, "icon.svg")


class GeosegProvider(QgsProcessingProvider):
    """The geoseg algorithms in the Processing toolbox."""

    def id(self) -> str:
        return "geoseg"

    def name(self) -> str:
        return "geoseg"

    def longName(self) -> str:
        return tr("geoseg: segmentation of aerial and satellite scenes")

    def icon(self) -> QIcon:
        return QIcon(ICON)

    def svgIconPath(self) -> str:
        return ICON

    def supportsNonFileBasedOutput(self) -> bool:
        return False

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        return ["gpkg"]

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        return ["tif"]

    def loadAlgorithms(self) -> None:
        for algorithm in ALGORITHMS:
            self.addAlgorithm(algorithm())


class GeosegPlugin:
    """The provider, the options page and the menu entries, added and removed by QGIS."""

    def __init__(self, iface: Any) -> None:
        self._iface = iface
        self._provider: GeosegProvider | None = None
        self._actions: list[Any] = []
        self._panel: Any = None
        self._settings: Any = None

    def initProcessing(self) -> None:
        """Add the provider; qgis_process calls nothing else."""
        self._provider = GeosegProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        from .settings import SettingsFactory

        self.initProcessing()
        panel = self._add_action(tr("Panel"), self._show_panel)
        self._iface.addToolBarIcon(panel)
        self._settings = SettingsFactory(QIcon(ICON))
        self._iface.registerOptionsWidgetFactory(self._settings)
        self._add_action(tr("Settings…"), self._open_settings)
        self._add_action(tr("Help"), self._open_help)

    def _add_action(self, text: str, callback: Callable[[], None]) -> Any:
        try:
            from qgis.PyQt.QtGui import QAction  # Qt 6
        except ImportError:
            from qgis.PyQt.QtWidgets import QAction
        action = QAction(QIcon(ICON), text, self._iface.mainWindow())
        action.triggered.connect(callback)
        self._iface.addPluginToMenu("geoseg", action)
        self._actions.append(action)
        return action

    def _show_panel(self) -> None:
        """Show the panel, which is created when it is shown for the first time."""
        if self._panel is None:
            from .panel import GeosegPanel

            self._panel = GeosegPanel(self._iface, self._iface.mainWindow())
            self._iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self._panel)
        self._panel.show()
        self._panel.raise_()

    def _open_settings(self) -> None:
        """Open the page of geoseg in the options."""
        from .settings import PAGE

        self._iface.showOptionsDialog(self._iface.mainWindow(), PAGE)

    def _open_help(self) -> None:
        """Open the help page of the plugin."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(os.path.join(HERE, "help.html")))

    def unload(self) -> None:
        if self._panel is not None:
            self._panel.shut_down()
            self._iface.removeDockWidget(self._panel)
            self._panel.deleteLater()
        if self._settings is not None:
            self._iface.unregisterOptionsWidgetFactory(self._settings)
        for action in self._actions:
            self._iface.removePluginMenu("geoseg", action)
            self._iface.removeToolBarIcon(action)
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
