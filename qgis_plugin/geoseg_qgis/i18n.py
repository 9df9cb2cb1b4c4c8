"""Translation of the texts that users read."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication


def tr(text: str) -> str:
    """Translate a text into the language of the user interface."""
    return str(QCoreApplication.translate("geoseg", text))
