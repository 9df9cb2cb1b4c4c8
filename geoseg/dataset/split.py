"""Scenes cut into blocks, and which of these validate: no pixel of the ground is in two splits."""

from __future__ import annotations

import csv
import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, Annotations, transform_geometry
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.dataset.folder import is_plain_name
from geoseg.dataset.scenes import Input
from geoseg.errors import ConfigError, DatasetError, SceneError
from geoseg.files import input_file
from geoseg.options import PrepareOptions
from geoseg.raster.scene import SceneInfo

_ENOUGH_SCENES = 8
_BLOCKS = 16
_SMALLEST = 256


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a scene."""

    image: int
    """Number of the scene it is cut from."""

    window: Window
    """Its pixels there; the windows of a scene's blocks cover it exactly once."""


def usual_side(images: Sequence[SceneInfo]) -> int | None:
    """Pixels that make about 16 blocks of a few scenes; None, whole scenes, of many."""
    if len(images) >= _ENOUGH_SCENES:
        return None
    pixels = sum(image.width * image.height for image in images)
    return max(_SMALLEST, round(sqrt(pixels / _BLOCKS)))


def cut(images: Sequence[SceneInfo], side: int | None) -> list[Block]:
    """Blocks of about `side` x `side` pixels, row by row; None leaves scenes whole."""
    return [
        Block(number, Window(left, top, right - left, bottom - top))
        for number, image in enumerate(images)
        for top, bottom in _spans(image.height, side)
        for left, right in _spans(image.width, side)
    ]


def clipped(index: AnnotationIndex, window: Window) -> Annotations:
    """The parts of annotations that lie in a window of a scene, in pixels of the window."""
    annotations = index.query_window(window)
    box = (0, 0, window.width, window.height)
    geometry = transform_geometry(
        annotations.geometry, Affine.translation(-window.col_off, -window.row_off)
    )
    across = ~shapely.contains(shapely.box(*box), geometry)
    geometry[across] = shapely.make_valid(
        shapely.clip_by_rect(geometry[across], *box), method="structure", keep_collapsed=False
    )
    return replace(annotations, geometry=geometry)[shapely.area(geometry) > 0]


def footprint(place: Affine, window: Window) -> shapely.Geometry:
    """A window of a scene on the ground, by the scene's transform."""
    w = window
    box = shapely.box(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height)
    return transform_geometry(np.array([box], object), place)[0]


def places(images: Sequence[SceneInfo]) -> list[Affine]:
    """From pixels to a plane on which scenes that say nothing of their place share no ground."""
    left = np.cumsum([0] + [2 * image.width for image in images])
    return [
        Affine.translation(float(x), 0) if image.transform == Affine.identity() else image.transform
        for image, x in zip(images, left, strict=False)
    ]


def groups(footprints: NDArray[np.object_]) -> NDArray[np.intp]:
    """Number of the group that each footprint is in: those that share ground are in the same."""
    group = np.arange(len(footprints))
    area = shapely.area(footprints)
    for one, other in shapely.STRtree(footprints).query(footprints, predicate="intersects").T:
        if one < other and group[one] != group[other]:
            shared = shapely.area(shapely.intersection(footprints[one], footprints[other]))
            if shared > 1e-6 * min(area[one], area[other]):  # neighbours share a border only
                group[group == group[other]] = group[one]
    return np.unique(group, return_inverse=True)[1]


def shares(windows: Sequence[Window], parts: Sequence[Annotations]) -> NDArray[np.float64]:
    """(windows, classes): of each its share of all pixels, and of each class's annotated area."""
    classes = 1 + max((int(part.class_id.max()) for part in parts if len(part)), default=0)
    amount = np.zeros((len(windows), classes))
    for row, (window, part) in enumerate(zip(windows, parts, strict=True)):
        np.add.at(amount[row], part.class_id, shapely.area(part.geometry))
        amount[row, 0] = window.width * window.height
    total = amount.sum(axis=0)
    return amount / np.where(total > 0, total, 1)


def choose(shares: NDArray[np.float64], target: float) -> NDArray[np.bool_]:
    """(n,) True for those rows of `shares` (n, k) whose sum comes near `target` in every column.

    Greedy, and the same every time; at least one, never all, if there are two.
    """
    chosen = np.zeros(len(shares), bool)
    if target <= 0 or len(shares) < 2:
        return chosen
    total = np.zeros(shares.shape[1])
    while chosen.sum() < len(shares) - 1:
        left = ((target - total - shares) ** 2).sum(axis=1)
        left[chosen] = np.inf
        best = int(np.argmin(left))
        if chosen.any() and left[best] >= ((target - total) ** 2).sum():
            break
        chosen[best] = True
        total += shares[best]
    return chosen


def trimmed(
    blocks: Sequence[Block], places: Sequence[Affine], val: Sequence[bool], gap: int
) -> list[Window | None]:
    """Windows of the blocks, those that validate cut back until `gap` pixels of theirs lie between them and
    every other block; None where nothing is left.

    Of the sides that part a block from another, that one is moved which costs fewest pixels.
    """
    windows: list[Window | None] = [block.window for block in blocks]
    others = [n for n, v in enumerate(val) if not v]
    ground = np.array(
        [footprint(places[blocks[n].image], blocks[n].window) for n in others], object
    )
    tree = shapely.STRtree(ground)
    for number, block in enumerate(blocks):
        if not (val[number] and gap):
            continue
        to_pixels = ~places[block.image]
        w = block.window
        wide = Window(w.col_off - gap, w.row_off - gap, w.width + 2 * gap, w.height + 2 * gap)
        near = np.sort(tree.query(footprint(places[block.image], wide)))
        left: Window | None = w
        for bounds in shapely.bounds(transform_geometry(ground[near], to_pixels)).reshape(-1, 4):
            left = left and _away(left, bounds, gap)
        windows[number] = left
    return windows


def _away(window: Window, bounds: NDArray[np.float64], gap: int) -> Window | None:
    """The largest part of a window whose pixels are `gap` or more away from a rectangle."""
    right, bottom = window.col_off + window.width, window.row_off + window.height
    x0, y0 = np.floor(bounds[:2].round(3)).astype(int).tolist()
    x1, y1 = np.ceil(bounds[2:].round(3)).astype(int).tolist()
    box = (window.col_off, window.row_off, right, bottom)
    if x0 - gap >= right or x1 + gap <= box[0] or y0 - gap >= bottom or y1 + gap <= box[1]:
        return window
    parts = [
        (box[0], box[1], min(right, x0 - gap), bottom),
        (max(box[0], x1 + gap), box[1], right, bottom),
        (box[0], box[1], right, min(bottom, y0 - gap)),
        (box[0], max(box[1], y1 + gap), right, bottom),
    ]
    best = max(parts, key=lambda p: max(0, p[2] - p[0]) * max(0, p[3] - p[1]))
    width, height = best[2] - best[0], best[3] - best[1]
    return Window(best[0], best[1], width, height) if min(width, height) > 0 else None


def _spans(length: int, side: int | None) -> list[tuple[int, int]]:
    count = max(1, round(length / side)) if side else 1
    edges = np.linspace(0, length, count + 1).round().astype(int).tolist()
    return list(pairwise(edges))


# Which split each scene belongs to: by a list, or by a share of them.
#
# A list is a CSV file (commas, semicolons or tabs) with the columns ``scene`` and ``split``; scenes go by
# their name, with or without the suffix of their file.

TRAIN, VAL = "train", "val"

_WINDOW = re.compile(r"__[0-9.]+__[0-9]+___[0-9]+$")  # of DOTA's tools: scale, left, top


def read_split_list(path: Path) -> dict[str, str]:
    """Scene name → split. Raises ConfigError, with the line."""
    try:
        text = input_file(path, ConfigError).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not UTF-8 text. save it as UTF-8") from fault
    header = text.partition("\n")[0]
    between = next((mark for mark in "\t,;" if mark in header), ",")
    rows = csv.DictReader(text.splitlines(), delimiter=between)
    if not {"scene", "split"} <= set(rows.fieldnames or ()):
        raise ConfigError(
            f"{path}:1: must name the columns scene and split, got {header.strip()!r}. correct its first line"
        )
    splits: dict[str, str] = {}
    for row in rows:
        scene, split = (row["scene"] or "").strip(), (row["split"] or "").strip()
        if not scene or not split:
            raise ConfigError(f"{path}:{rows.line_num}: needs a scene and a split. complete it")
        if not is_plain_name(split):
            raise ConfigError(
                f"{path}:{rows.line_num}: split {split!r} cannot name a folder. choose another name"
            )
        if splits.setdefault(scene, split) != split:
            raise ConfigError(
                f"{path}:{rows.line_num}: {scene} is in {splits[scene]} already. choose one split"
            )
    if not splits:
        raise ConfigError(f"{path}: names no scene. add a line for each")
    return splits


def by_list(names: Mapping[str, Path], path: Path, report: ValidationReport) -> dict[str, str]:
    """Scene name → split of those in the list; `names` leads from scenes to their files.

    A scene that is not in the list is at fault; a name in the list that is no scene is told.
    """
    listed = read_split_list(path)
    found: dict[str, str] = {}
    used = set()
    for name, file in names.items():
        key = next((key for key in (name, file.name) if key in listed), None)
        if key is None:
            near = difflib.get_close_matches(name, listed, n=1)
            hint = f", which has {near[0]!r}" if near else ""
            report.reject(SceneError(f"{file}: {name} is not in {path}{hint}. add it to the list"))
        else:
            used.add(key)
            found[name] = listed[key]
    for name in listed:
        if name not in used:
            report.add(IssueKind.NOT_LISTED, path, Action.LEFT_OUT, scene=name)
    return found


def by_share(names: Iterable[str], share: float) -> dict[str, str]:
    """Scene name → *train* or *val*: about `share` of them into *val*, but some if there are two.

    The same every time, and nearly the same of nearly the same names. Windows of one scene, by names like
    ``P0001__1__824___0`` as DOTA's tools give them, overlap and are never parted.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_WINDOW.sub("", name), []).append(name)
    ranked = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())
    total = sum(map(len, groups.values()))
    wanted = round(share * total) or int(share > 0)
    splits: dict[str, str] = {}
    val = 0
    for number, scene in enumerate(ranked, start=1):
        validates = val < wanted and number < len(ranked)
        val += len(groups[scene]) * validates
        splits |= dict.fromkeys(groups[scene], VAL if validates else TRAIN)
    return splits


# Scenes divided into train and val by the ground they show.

Indexes = Mapping[str, AnnotationIndex]
"""Layer name → annotations of one scene."""


def in_blocks(
    inputs: Sequence[Input], settings: PrepareOptions, report: ValidationReport
) -> list[Input]:
    """The inputs cut into blocks, which are in *train* or *val*: no ground is in both.

    Blocks that share ground are never parted. Raises DatasetError when there is nothing to validate by.
    """
    images = [i.image for i in inputs]
    blocks = cut(images, settings.block or usual_side(images))
    ground = places(images)
    indexes = [{layer: AnnotationIndex(o) for layer, o in i.truths.items()} for i in inputs]
    val = _validating(inputs, indexes, blocks, ground, settings)
    windows = trimmed(blocks, ground, val, settings.gap)
    names = _names([i.source.name for i in inputs], blocks)
    found = []
    for block, name, validates, window in zip(blocks, names, val, windows, strict=True):
        whole = inputs[block.image]
        if window != block.window:
            done = Action.KEPT if window else Action.LEFT_OUT
            report.add(IssueKind.GAP, whole.source.image, done, scene=name)
        if window:
            source = replace(whole.source, name=name, split=VAL if validates else TRAIN)
            found.append(_part(replace(whole, source=source), indexes[block.image], window))
    if any(val) and not any(i.source.split == VAL for i in found):
        raise DatasetError(
            f"{images[0].path}: nothing is left for validation. use a smaller --gap or larger --block"
        )
    return found


def _validating(
    inputs: Sequence[Input],
    indexes: Sequence[Indexes],
    blocks: Sequence[Block],
    ground: Sequence[Affine],
    settings: PrepareOptions,
) -> list[bool]:
    """Which blocks are for validation, by the first layer."""
    footprints = np.array([footprint(ground[b.image], b.window) for b in blocks], object)
    group = groups(footprints)
    parts = [clipped(next(iter(indexes[b.image].values())), b.window) for b in blocks]
    amount = shares([b.window for b in blocks], parts)
    together = np.zeros((group.max() + 1, amount.shape[1]))
    np.add.at(together, group, amount)
    if settings.val_share > 0 and len(together) < 2:
        raise DatasetError(
            f"{inputs[0].image.path}: is too small to keep a part of it for validation. "
            "use more scenes or a smaller --block"
        )
    return [bool(v) for v in choose(together, settings.val_share)[group]]


def _names(scenes: Sequence[str], blocks: Sequence[Block]) -> list[str]:
    """Of each block that of its scene, and a number where this is cut."""
    total = np.bincount([b.image for b in blocks])
    met = np.zeros(len(total), int)
    names = []
    for block in blocks:
        met[block.image] += 1
        count, number = total[block.image], met[block.image]
        name = scenes[block.image]
        names.append(name if count == 1 else f"{name}-{number:0{len(str(count))}d}")
    return names


def _part(scene: Input, indexes: Indexes, window: Window) -> Input:
    """What lies in a window of a scene."""
    image, w = scene.image, window
    if (w.width, w.height) == (image.width, image.height):
        return scene
    transform = image.transform @ Affine.translation(w.col_off, w.row_off)
    return replace(
        scene,
        source=replace(scene.source, window=window),
        image=replace(image, width=w.width, height=w.height, transform=transform),
        truths={layer: clipped(index, window) for layer, index in indexes.items()},
    )
