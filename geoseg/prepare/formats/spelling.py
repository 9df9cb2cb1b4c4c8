"""DOTA's classes, as other data sets of the same images spell them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from geoseg.legend import DOTA_V2

log = logging.getLogger(__name__)

_TOLD = 3
_ALSO = {"store-tank": "storage-tank", "harbour": "harbor"}


def dota_spelling(names: Iterable[str], file: Path) -> Mapping[str, str]:
    """What to write for each name: where all are DOTA's but for capitals, spaces and underscores
    (``Small_Vehicle`` of iSAID), DOTA's, else the names as they are.
    """
    found = {name: re.sub(r"[\s_-]+", "-", name.strip().lower()) for name in names}
    found = {name: _ALSO.get(plain, plain) for name, plain in found.items()}
    if not found or not set(found.values()) <= set(DOTA_V2.names):
        return {name: name for name in found}
    changed = [f"{name!r} is {plain!r}" for name, plain in found.items() if name != plain]
    if changed:
        more = ", ..." if len(changed) > _TOLD else ""
        log.info("%s: classes are written as in DOTA: %s%s", file, ", ".join(changed[:_TOLD]), more)
    return found
