"""geoseg in QGIS: a Processing provider around the algorithms of geoseg's scripts."""


def classFactory(iface):
    """What QGIS calls to make the plugin; `iface` is None in qgis_process."""
    from .plugin import GeosegPlugin

    return GeosegPlugin(iface)
