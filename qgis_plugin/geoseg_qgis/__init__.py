"""geoseg in QGIS: a plugin with a Processing provider for the geoseg algorithms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plugin import GeosegPlugin


def classFactory(iface: Any) -> GeosegPlugin:
    """Create the plugin; called by QGIS, with `iface` None in qgis_process."""
    from .plugin import GeosegPlugin

    return GeosegPlugin(iface)
