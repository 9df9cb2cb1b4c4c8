"""Instances as COCO and iSAID store them: one JSON file for many images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.dota import LIMIT, dota_spelling
from geoseg.annotations.json_stream import members
from geoseg.annotations.reader import Drawn, Raw, Reading, by_stem
from geoseg.annotations.report import Done, Findings, Kind
from geoseg.annotations.rle import outline
from geoseg.errors import AnnotationError
from geoseg.raster.scene import SceneInfo

Id = int | str


@dataclass(frozen=True, slots=True)
class _Listed:
    """An image as the file lists it."""

    id: Id
    name: str
    size: tuple[Any, Any]
    """Width and height."""


@dataclass(slots=True)
class _Image:
    """An image of the file that is one of the scenes."""

    scene: SceneInfo
    raw: Raw = field(default_factory=Raw)
    fault: tuple[str, Kind] | None = None
    boxes: int = 0
    crowds: int = 0


def read_coco(path: Path, images: Sequence[SceneInfo], reading: Reading, /) -> list[Drawn | None]:
    """The instances of a COCO file that are on each scene; a scene is the image whose `file_name` it has,
    whatever its folder and suffix.

    A segmentation is a list of rings, of which each is a part of the object, or run lengths, compressed or
    not, of which the outline follows the edges of pixels. Without one the box counts. Coordinates begin at
    the outer corner of the first pixel. `iscrowd` makes an object difficult. Names that are DOTA's but for
    their spelling become DOTA's.

    A scene that is not in the file, has another size there, or an annotation at fault, is told as a fault.
    Raises AnnotationError when the file is no COCO file. It is read twice, object by object.
    """
    listed, names = _listed(path)
    here = _matched(path, listed, images)
    known = {image.id for image in listed}
    ids: set[Id] = set()
    twice = elsewhere = orphans = 0
    for count, annotation in enumerate(_annotations(path), start=1):
        number = annotation.get("id", f"number {count}")
        number = number if isinstance(number, int) else str(number)
        twice += number in ids
        ids.add(number)
        image_id = annotation.get("image_id")
        if not isinstance(image_id, int | str) or image_id not in here:
            orphan = not isinstance(image_id, int | str) or image_id not in known
            orphans, elsewhere = orphans + orphan, elsewhere + (not orphan)
            continue
        image = here[image_id]
        try:
            _add(image, annotation, names)
        except ValueError as fault:
            image.fault = image.fault or (
                f"annotation {number}: {fault}. correct it",
                Kind.UNUSABLE,
            )
    findings = reading.findings
    findings.add(Kind.ON_NO_SCENE, path, Done.LEFT_OUT, count=elsewhere)
    findings.add(Kind.NO_IMAGE, path, Done.LEFT_OUT, count=orphans, note="unknown image_id")
    findings.add(Kind.ID_TWICE, path, Done.KEPT, count=twice)
    by_path = {image.scene.path: image for image in here.values()}
    return [_drawn(path, scene, by_path.get(scene.path), findings) for scene in images]


def _annotations(path: Path) -> Iterator[dict[str, Any]]:
    for key, value in members(path):
        if key == "annotations":
            if not isinstance(value, dict):
                raise AnnotationError(f"{path}: {key!r} must list objects. is it a COCO file?")
            yield value


def _listed(path: Path) -> tuple[list[_Listed], dict[Id, str]]:
    """Every image, and the name of every category by id."""
    images: list[_Listed] = []
    names: dict[Id, str] = {}
    found = set()
    for key, value in members(path):
        found.add(key)
        try:
            if key == "images":
                images.append(_image(value))
            elif key == "categories":
                names[_id(value)] = _text(value["name"])
            elif key == "annotations" and images and names:
                break
        except (KeyError, TypeError) as fault:
            what = f"no {fault}" if isinstance(fault, KeyError) else str(fault)
            raise AnnotationError(
                f"{path}: an element of {key!r} is not as in COCO ({what}). correct it"
            ) from fault
    if absent := {"images", "categories"} - found:
        raise AnnotationError(
            f"{path}: lists no {' and no '.join(sorted(absent))}. need a COCO file of instances"
        )
    spelled = dota_spelling(names.values(), path)
    return images, {number: spelled[name] for number, name in names.items()}


def _image(value: Any) -> _Listed:
    return _Listed(_id(value), _text(value["file_name"]), (value.get("width"), value.get("height")))


def _id(value: Any) -> Id:
    found = value["id"]
    if not isinstance(found, int | str):
        raise TypeError(f"id {found!r} is neither a number nor text")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{value!r} is no name")
    return value.strip()


def _matched(
    path: Path, listed: Sequence[_Listed], scenes: Sequence[SceneInfo]
) -> dict[Id, _Image]:
    """The images of the file that are scenes, by id."""
    named = by_stem(scenes)
    here: dict[Id, _Image] = {}
    taken: dict[str, _Listed] = {}
    for image in listed:
        stem = PureWindowsPath(image.name).stem  # which knows both kinds of slashes
        if stem not in named:
            continue
        scene, other = named[stem], taken.setdefault(stem, image)
        if image.id in here or other is not image:
            raise AnnotationError(
                f"{path}: {scene.path} is image {other.id} ({other.name}) as well as {image.id} "
                f"({image.name}). keep one of them"
            )
        here[image.id] = found = _Image(scene)
        if None not in image.size and image.size != (scene.width, scene.height):
            width, height = image.size
            found.fault = (
                f"image {image.id}: {width} x {height} pixels, but {scene.path} has {scene.width} x "
                f"{scene.height}. use the images that were annotated",
                Kind.SIZE_DIFFERS,
            )
    return here


def _add(image: _Image, annotation: Mapping[str, Any], names: Mapping[Id, str]) -> None:
    """Take one annotation. Raises ValueError when it is none."""
    category = annotation.get("category_id")
    if not isinstance(category, int | str) or category not in names:
        raise ValueError(f"there is no category {category!r}")
    crowd = annotation.get("iscrowd") or 0
    if crowd not in (0, 1):
        raise ValueError(f"iscrowd must be 0 or 1, got {crowd!r}")
    segmentation = annotation.get("segmentation")
    image.crowds += crowd
    if segmentation:
        geometry = _geometry(segmentation, image.scene)
    else:
        geometry = _box(annotation.get("bbox"))
        image.boxes += 1
    image.raw.add(geometry, names[category], difficult=bool(crowd))


def _geometry(segmentation: Any, scene: SceneInfo) -> shapely.Geometry:
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if size != [scene.height, scene.width]:
            raise ValueError(
                f"its run lengths are of size {size}, the image of {[scene.height, scene.width]}"
            )
        return outline(scene.height, scene.width, segmentation.get("counts"))
    if not isinstance(segmentation, list):
        raise ValueError("segmentation must be a list of rings or run lengths")
    parts = [shapely.Polygon(ring) for ring in map(_ring, segmentation) if len(ring) > 2]
    if len(parts) == 1:
        return parts[0]
    # parts that overlap are one; so COCO's own tools count their pixels
    return shapely.union_all(shapely.make_valid(parts)) if parts else shapely.Polygon()


def _ring(values: Any) -> NDArray[np.float64]:
    """(n, 2) corners"""
    if not isinstance(values, list) or not values or not set(map(type, values)) <= {int, float}:
        raise ValueError("a ring must be a list of numbers: x1, y1, x2, y2, ...")
    if len(values) % 2:
        raise ValueError(f"a ring has {len(values)} numbers, need two for each corner")
    far = f"a corner is further than {LIMIT:,.0f} pixels away"
    try:
        corners = np.array(values, np.float64).reshape(-1, 2)
    except OverflowError as fault:
        raise ValueError(far) from fault
    if not (np.abs(corners) <= LIMIT).all():  # nor nan
        raise ValueError(far)
    return corners


def _box(values: Any) -> shapely.Geometry:
    if not isinstance(values, list) or len(values) != 4:
        raise ValueError("has neither segmentation nor bbox (x, y, width, height)")
    (x, y), (width, height) = _ring(values)
    return shapely.box(x, y, x + width, y + height)


def _drawn(path: Path, scene: SceneInfo, image: _Image | None, findings: Findings) -> Drawn | None:
    if image is None:
        what = f"is not among the images of {path}. add it there, or leave the scene out"
        findings.fault(AnnotationError(f"{scene.path}: {what}"), Kind.NO_LABELS)
        return None
    if image.fault:
        what, kind = image.fault
        findings.fault(AnnotationError(f"{path}: {what}"), kind)
        return None
    name = Path(scene.path).stem
    findings.add(Kind.BOX_ONLY, path, Done.KEPT, scene=name, count=image.boxes)
    findings.add(Kind.CROWD, path, Done.KEPT, scene=name, count=image.crowds, note="difficult")
    return image.raw.tidied(path, scene, findings)
