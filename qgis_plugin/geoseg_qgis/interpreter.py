"""The Python interpreter of the environment in which geoseg is installed."""

from __future__ import annotations

import json
import os

from qgis.core import QgsApplication, QgsSettings

from .i18n import HERE

PYTHON_SETTING = "geoseg/python"
"""Setting of QGIS with the path of the interpreter."""


def find_configured_python() -> str:
    """Return the configured interpreter, or "".

    The first of these that is set: the environment variable GEOSEG_PYTHON, the setting, and the interpreter that
    ``geoseg qgis-install`` recorded next to the scripts or in this profile.
    """
    python = os.environ.get("GEOSEG_PYTHON") or QgsSettings().value(PYTHON_SETTING, "")
    if python:
        return str(python)
    profile = QgsApplication.qgisSettingsDirPath()
    for folder in (HERE, os.path.join(profile, "processing", "scripts", "geoseg")):
        python = read_note(os.path.join(folder, "geoseg.json"))
        if python:
            return python
    return ""


def read_note(path: str) -> str:
    """Return the interpreter that a note of ``geoseg qgis-install`` names, or "" if there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["python"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
