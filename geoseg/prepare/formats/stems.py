"""Scenes by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geoseg.errors import AnnotationError
from geoseg.scene import SceneInfo


def by_stem(scenes: Sequence[SceneInfo]) -> dict[str, SceneInfo]:
    """Scenes by the name of their file without folder and suffix.

    Raises AnnotationError when two have the same, as annotations tell them by name.
    """
    named: dict[str, SceneInfo] = {}
    for scene in scenes:
        other = named.setdefault(Path(scene.path).stem, scene)
        if other is not scene:
            raise AnnotationError(f"{scene.path}: has the name of {other.path}. rename one of them")
    return named
