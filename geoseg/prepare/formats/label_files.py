"""Which label raster belongs to which scene."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from affine import Affine

from geoseg.errors import AnnotationError
from geoseg.prepare.findings import Done, Findings, Kind
from geoseg.prepare.formats.stems import by_stem
from geoseg.scene import SceneInfo

_SUFFIXES = (".tif", ".tiff", ".png")  # not JPEG, which changes colours
_OF_LABELS = re.compile(
    r"[-_](instance_color_RGB|(labels?_)?noBoundary|labels?|masks?|gt|seg)$", re.I
)
_OF_SCENES = re.compile(r"[-_](RGB|RGBIR|IRRG)$", re.I)


def label_files(
    path: Path, scenes: Sequence[SceneInfo], findings: Findings
) -> dict[Path, list[SceneInfo]]:
    """Scenes by the raster that has their labels; those that have none, or several, are told as faults.

    `path` is the raster of all scenes, or a folder in which, or in whose sub-folders, each scene's is named as
    the scene, or by an ending that iSAID, ISPRS and others give to labels (``P0001_instance_color_RGB``,
    ``top_2_10_label`` for ``top_2_10_RGB``). Raises AnnotationError when nothing belongs together.
    """
    if not path.is_dir():
        bare = [scene for scene in scenes if scene.transform == Affine.identity()]
        if len(scenes) > 1 and bare:
            raise AnnotationError(
                f"{path}: is one raster for {len(scenes)} scenes, but {bare[0].path} has no georeference. name "
                "a folder of rasters, one per scene"
            )
        return {path: list(scenes)}
    named = by_stem(scenes)
    own = {Path(scene.path).resolve() for scene in scenes}
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in _SUFFIXES and file.is_file() and file.resolve() not in own
    ]
    exact: dict[str, list[Path]] = {}
    alike: dict[str, list[Path]] = {}
    for file in files:
        exact.setdefault(file.stem, []).append(file)
        alike.setdefault(_OF_LABELS.sub("", file.stem), []).append(file)
    found: dict[Path, list[SceneInfo]] = {}
    for stem, scene in named.items():
        match exact.get(stem) or alike.get(stem) or alike.get(_OF_SCENES.sub("", stem), []):
            case [file]:
                found[file] = [scene]
            case []:
                findings.fault(
                    AnnotationError(
                        f"{scene.path}: has no label raster in {path}. add one named {stem}.tif or .png"
                    ),
                    Kind.NO_LABELS,
                )
            case [file, other, *_]:
                findings.fault(AnnotationError(f"{file}: there is also {other}. keep one of them"))
    findings.add(Kind.NO_IMAGE, path, Done.LEFT_OUT, count=len(set(files) - found.keys()))
    return found
