"""What QGIS styles and SLD have in common."""

from __future__ import annotations

import re

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(name: str) -> str:
    """`name` without what XML cannot hold even escaped (control characters)."""
    return _NOT_XML.sub("\ufffd", name)


def outline_rgb(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Colour of a polygon's outline: that of its class, half as bright."""
    red, green, blue = rgb
    return red // 2, green // 2, blue // 2
