"""Translation of the texts that users read: a JSON catalogue per language, keyed by the English text."""

from __future__ import annotations

import json
import os
from functools import cache

from qgis.core import QgsApplication

HERE = os.path.dirname(os.path.abspath(__file__))
"""Folder of the plugin, or of the scripts."""


def tr(text: str) -> str:
    """Translate a text into the language of the user interface; English if there is no translation."""
    language = str(QgsApplication.locale()).partition("_")[0]
    return read_catalogue(language).get(text, text)


@cache
def read_catalogue(language: str) -> dict[str, str]:
    """Read the translations into a language, for example "de"; none if there is no catalogue."""
    try:
        with open(os.path.join(HERE, f"geoseg_{language}.json"), encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}
