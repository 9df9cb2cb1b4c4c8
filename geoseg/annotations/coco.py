"""COCO instances, also as in iSAID: one JSON file for many images, read and written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.annotations.dota import LIMIT, normalize_class_names
from geoseg.annotations.json_stream import read_members
from geoseg.annotations.readers import (
    AnnotatedObject,
    NamedAnnotations,
    ReaderOptions,
    index_by_stem,
    repair_objects,
)
from geoseg.annotations.rle import decode_outline, encode_counts
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.errors import AnnotationError
from geoseg.files import replacing
from geoseg.legend import Legend
from geoseg.raster.scene import SceneInfo

ImageId = int | str


@dataclass(frozen=True, slots=True)
class _ImageEntry:
    """Entry of the list ``images``."""

    id: ImageId
    name: str
    size: tuple[Any, Any]
    """Width and height."""


@dataclass(slots=True)
class _Image:
    """Image of the file that is one of the scenes, and its annotations read so far."""

    scene: SceneInfo
    objects: list[AnnotatedObject] = field(default_factory=list)
    error: tuple[str, IssueKind] | None = None
    boxes: int = 0
    crowds: int = 0


def read_coco(
    path: Path,
    scenes: Sequence[SceneInfo],
    options: ReaderOptions,  # noqa: ARG001
    report: ValidationReport,
    /,
) -> list[NamedAnnotations | None]:
    """Read the instances of a COCO file.

    A scene is the image with the same `file_name`, whatever its folder and suffix. A segmentation is a list of rings,
    each a part of the object, or run lengths, compressed or not, whose outline follows the pixel edges; without one
    the bounding box is the outline. Coordinates start at the outer corner of the first pixel. An object is difficult
    if `iscrowd` or `difficult` is 1. Class names that differ from DOTA's in spelling only become DOTA's.

    A scene that is missing, has another size in the file, or an invalid annotation is rejected. Raises AnnotationError
    if the file is not a COCO file. The file is read twice, object by object.
    """
    entries, names = _read_header(path)
    images = _match_scenes(path, entries, scenes)
    known = {entry.id for entry in entries}
    ids: set[ImageId] = set()
    duplicates = elsewhere = orphans = 0
    for count, annotation in enumerate(_read_annotations(path), start=1):
        number = annotation.get("id", f"number {count}")
        number = number if isinstance(number, int) else str(number)
        duplicates += number in ids
        ids.add(number)
        image_id = annotation.get("image_id")
        if not isinstance(image_id, int | str) or image_id not in images:
            orphan = not isinstance(image_id, int | str) or image_id not in known
            orphans, elsewhere = orphans + orphan, elsewhere + (not orphan)
            continue
        image = images[image_id]
        try:
            _add_annotation(image, annotation, names)
        except ValueError as error:
            message = f"annotation {number}: {error}. Correct it"
            image.error = image.error or (message, IssueKind.UNUSABLE)
    report.add(IssueKind.ON_NO_SCENE, path, Action.LEFT_OUT, count=elsewhere)
    report.add(IssueKind.NO_IMAGE, path, Action.LEFT_OUT, count=orphans, note="unknown image_id")
    report.add(IssueKind.ID_TWICE, path, Action.KEPT, count=duplicates)
    by_path = {image.scene.path: image for image in images.values()}
    return [_finish_scene(path, scene, by_path.get(scene.path), report) for scene in scenes]


def _read_annotations(path: Path) -> Iterator[dict[str, Any]]:
    for key, value in read_members(path):
        if key == "annotations":
            if not isinstance(value, dict):
                raise AnnotationError(f"{path}: {key!r} must list objects. Name a COCO file")
            yield value


def _read_header(path: Path) -> tuple[list[_ImageEntry], dict[ImageId, str]]:
    """Read every image, and the name of every category by ID."""
    images: list[_ImageEntry] = []
    names: dict[ImageId, str] = {}
    keys = set()
    for key, value in read_members(path):
        keys.add(key)
        try:
            if key == "images":
                size = (value.get("width"), value.get("height"))
                images.append(_ImageEntry(_parse_id(value), _parse_name(value["file_name"]), size))
            elif key == "categories":
                names[_parse_id(value)] = _parse_name(value["name"])
            elif key == "annotations" and images and names:
                break
        except (KeyError, TypeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise AnnotationError(
                f"{path}: invalid element of {key!r} ({reason}). Correct it"
            ) from error
    if absent := {"images", "categories"} - keys:
        raise AnnotationError(
            f"{path}: has no {' and no '.join(sorted(absent))}. Name a COCO file of instances"
        )
    normalized = normalize_class_names(names.values(), path)
    return images, {number: normalized[name] for number, name in names.items()}


def _parse_id(value: Any) -> ImageId:
    number = value["id"]
    if not isinstance(number, int | str):
        raise TypeError(f"id {number!r} is neither a number nor text")
    return number


def _parse_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{value!r} is not a name")
    return value.strip()


def _match_scenes(
    path: Path, entries: Sequence[_ImageEntry], scenes: Sequence[SceneInfo]
) -> dict[ImageId, _Image]:
    """Find the images of the file that are scenes."""
    by_stem = index_by_stem(scenes)
    images: dict[ImageId, _Image] = {}
    first: dict[str, _ImageEntry] = {}
    for entry in entries:
        stem = PureWindowsPath(entry.name).stem  # splits at both kinds of slashes
        if stem not in by_stem:
            continue
        scene, other = by_stem[stem], first.setdefault(stem, entry)
        if entry.id in images or other is not entry:
            raise AnnotationError(
                f"{path}: {scene.path} is image {other.id} ({other.name}) as well as {entry.id} "
                f"({entry.name}). Keep one of them"
            )
        images[entry.id] = image = _Image(scene)
        if None not in entry.size and entry.size != (scene.width, scene.height):
            width, height = entry.size
            image.error = (
                f"image {entry.id}: {width} x {height} pixels, but {scene.path} has {scene.width} x "
                f"{scene.height}. Use the images that were annotated",
                IssueKind.SIZE_DIFFERS,
            )
    return images


def _add_annotation(
    image: _Image, annotation: Mapping[str, Any], names: Mapping[ImageId, str]
) -> None:
    """Parse one annotation. Raises ValueError if it is invalid."""
    category = annotation.get("category_id")
    if not isinstance(category, int | str) or category not in names:
        raise ValueError(f"unknown category {category!r}")
    crowd, difficult = (_parse_flag(annotation, key) for key in ("iscrowd", "difficult"))
    segmentation = annotation.get("segmentation")
    image.crowds += crowd
    if segmentation:
        geometry = _parse_segmentation(segmentation, image.scene)
    else:
        geometry = _parse_box(annotation.get("bbox"))
        image.boxes += 1
    image.objects.append(AnnotatedObject(geometry, names[category], crowd or difficult))


def _parse_flag(annotation: Mapping[str, Any], key: str) -> bool:
    flag = annotation.get(key) or 0
    if flag not in (0, 1):
        raise ValueError(f"{key} must be 0 or 1, got {flag!r}")
    return bool(flag)


def _parse_segmentation(segmentation: Any, scene: SceneInfo) -> shapely.Geometry:
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if size != [scene.height, scene.width]:
            raise ValueError(
                f"its run lengths have the size {size}, the image {[scene.height, scene.width]}"
            )
        return decode_outline(scene.height, scene.width, segmentation.get("counts"))
    if not isinstance(segmentation, list):
        raise ValueError("segmentation must be a list of rings or run lengths")
    parts = [shapely.Polygon(ring) for ring in map(_parse_ring, segmentation) if len(ring) > 2]
    if len(parts) == 1:
        return parts[0]
    # overlapping parts are united, as in COCO's own tools
    return shapely.union_all(shapely.make_valid(parts)) if parts else shapely.Polygon()


def _parse_ring(values: Any) -> NDArray[np.float64]:
    """(n, 2) corners."""
    if not isinstance(values, list) or not values or not set(map(type, values)) <= {int, float}:
        raise ValueError("a ring must be a list of numbers: x1, y1, x2, y2, ...")
    if len(values) % 2:
        raise ValueError(f"a ring has {len(values)} numbers; a corner needs two")
    too_far = f"a corner is more than {LIMIT:,.0f} pixels away"
    try:
        corners = np.array(values, np.float64).reshape(-1, 2)
    except OverflowError as error:
        raise ValueError(too_far) from error
    if not (np.abs(corners) <= LIMIT).all():  # also False for NaN
        raise ValueError(too_far)
    return corners


def _parse_box(values: Any) -> shapely.Geometry:
    if not isinstance(values, list) or len(values) != 4:
        raise ValueError("has neither segmentation nor bbox (x, y, width, height)")
    (x, y), (width, height) = _parse_ring(values)
    return shapely.box(x, y, x + width, y + height)


def _finish_scene(
    path: Path, scene: SceneInfo, image: _Image | None, report: ValidationReport
) -> NamedAnnotations | None:
    if image is None:
        message = f"not among the images of {path}. Add it there, or leave the scene out"
        report.reject(AnnotationError(f"{scene.path}: {message}"), IssueKind.NO_LABELS)
        return None
    if image.error:
        message, kind = image.error
        report.reject(AnnotationError(f"{path}: {message}"), kind)
        return None
    name = Path(scene.path).stem
    report.add(IssueKind.BOX_ONLY, path, Action.KEPT, scene=name, count=image.boxes)
    report.add(IssueKind.CROWD, path, Action.KEPT, scene=name, count=image.crowds, note="difficult")
    return repair_objects(image.objects, path, scene, report)


def encode_instance(
    geometry: shapely.Geometry, class_id: int, height: int, width: int, *, difficult: bool
) -> dict[str, Any]:
    """Encode an object as a COCO annotation without `id` and `image_id`.

    Parameters
    ----------
    geometry
        Polygon or multipolygon in pixels of the image, within it.
    class_id
        Class ID, used as `category_id`.
    height, width
        Shape of the image.
    difficult
        Mark of the annotator, written as ``difficult``. `iscrowd` is always 0: trainers drop crowd regions.

    Notes
    -----
    Polygons are lists of corners. COCO polygons have no holes; an object with holes is written as run lengths.
    """
    parts = shapely.get_parts(geometry).tolist()
    if any(polygon.interiors for polygon in parts):
        counts = encode_counts(geometry, height, width)
        left, top, right, bottom = shapely.bounds(geometry).tolist()
        segmentation: Any = {"counts": counts, "size": [height, width]}
        area = float(sum(counts[1::2]))
    else:
        left, top, right, bottom = shapely.total_bounds(parts).tolist()
        segmentation = [np.ravel(polygon.exterior.coords[:-1]).tolist() for polygon in parts]
        area = round(sum(polygon.area for polygon in parts), 4)
    return {
        "category_id": class_id,
        "segmentation": segmentation,
        "area": area,
        "bbox": [left, top, round(right - left, 6), round(bottom - top, 6)],
        "iscrowd": 0,
        "difficult": int(difficult),
    }


def write_instances(
    path: Path,
    description: str,
    legend: Legend,
    images: Iterable[Mapping[str, Any]],
    annotations: Iterable[Mapping[str, Any]],
) -> None:
    """Write a COCO file, element by element.

    Parameters
    ----------
    path
        JSON file; an existing one is replaced.
    description
        Text for ``info``.
    legend
        Classes but the background become categories.
    images, annotations
        Elements of the lists of the same names.
    """
    info = json.dumps({"description": description})
    categories = [{"id": c.id, "name": c.name, "supercategory": ""} for c in legend.objects]
    with (
        replacing(path, overwrite=True) as scratch,
        scratch.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(f'{{"info": {info},\n"licenses": [],\n"categories": {json.dumps(categories)}')
        file.write(',\n"images": [')
        file.writelines(_format_items(images))
        file.write('],\n"annotations": [')
        file.writelines(_format_items(annotations))
        file.write("]}\n")


def _format_items(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Format the elements of a JSON list, one per line."""
    comma = ""
    for item in items:
        yield f"{comma}\n{json.dumps(item)}"
        comma = ","
