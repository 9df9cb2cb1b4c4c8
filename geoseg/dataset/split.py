"""Splits of the scenes of a dataset: by a list, by a share of the scenes, or by blocks on the ground.

A list is a CSV file (commas, semicolons or tabs) with the columns ``scene`` and ``split``; scenes are named with or
without the suffix of their file. Blocks are parts of scenes; no ground is in two splits.
"""

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

from geoseg.annotations.burn import (
    AnnotationIndex,
    Annotations,
    shift_annotations,
    transform_geometry,
)
from geoseg.annotations.validation import Action, IssueKind, ValidationReport
from geoseg.dataset.folder import is_plain_name
from geoseg.dataset.sources import SourceScene, crop_scene
from geoseg.errors import ConfigError, DatasetError, SceneError
from geoseg.files import input_file
from geoseg.options import PrepareOptions
from geoseg.raster.scene import SceneInfo

TRAIN, VAL = "train", "val"

_MANY_SCENES = 8
_BLOCKS = 16
_FEWEST_BLOCKS = 4
_SMALLEST_BLOCK = 256
_SMALLEST_FRAME = 64  # block, if only an area is annotated
_WINDOW_NAME = re.compile(r"__[0-9.]+__[0-9]+___[0-9]+$")  # of DOTA's tools: scale, left, top
_EXACT_ROWS = 12  # groups of blocks of which every division is compared
_MOST_EXCHANGED = 64
_SHARED = 1e-6  # of an area: neighbours have a border in common only

Indexes = Mapping[str, AnnotationIndex]
"""Annotations of one scene by layer."""


def assign_splits(
    scenes: Sequence[SourceScene],
    options: PrepareOptions,
    report: ValidationReport,
    *,
    spatial: bool,
) -> list[SourceScene]:
    """Assign a split to every scene, or to blocks of it.

    Parameters
    ----------
    scenes
        Scenes with or without a split.
    options
        Split list, share of val, block size and gap.
    report
        Collects issues.
    spatial
        Divide scenes without a split by the ground they cover, else by name.
    """
    if options.split_list:
        if options.block or options.gap:
            raise ConfigError(
                f"{options.split_list}: assigns whole scenes to splits. Leave out --block and --gap"
            )
        paths = {scene.name: scene.path for scene in scenes}
        splits = split_by_list(paths, Path(options.split_list), report)
        return [replace(s, split=splits[s.name]) for s in scenes if s.name in splits]
    assigned = [scene for scene in scenes if scene.split is not None]
    others = [scene for scene in scenes if scene.split is None]
    if others and (spatial or options.block):
        return assigned + split_by_blocks(others, options, report)
    if options.block or options.gap:
        raise ConfigError("--block and --gap apply to scenes without a split only. Leave them out")
    splits = split_by_share([scene.name for scene in others], options.val_share)
    return assigned + [replace(scene, split=splits[scene.name]) for scene in others]


def read_split_list(path: Path) -> dict[str, str]:
    """Read the split of every scene. Raises ConfigError with the line of an error."""
    try:
        text = input_file(path, ConfigError).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text. Save it as UTF-8") from error
    header = text.partition("\n")[0]
    delimiter = next((mark for mark in "\t,;" if mark in header), ",")
    rows = csv.DictReader(text.splitlines(), delimiter=delimiter)
    if not {"scene", "split"} <= set(rows.fieldnames or ()):
        raise ConfigError(
            f"{path}:1: must name the columns scene and split, got {header.strip()!r}. Correct the first "
            "line"
        )
    splits: dict[str, str] = {}
    for row in rows:
        scene, split = (row["scene"] or "").strip(), (row["split"] or "").strip()
        where = f"{path}:{rows.line_num}"
        if not scene or not split:
            raise ConfigError(f"{where}: scene or split is empty. Complete the line")
        if not is_plain_name(split):
            raise ConfigError(f"{where}: split {split!r} is not a folder name. Rename the split")
        if splits.setdefault(scene, split) != split:
            raise ConfigError(
                f"{where}: {scene} is already in {splits[scene]}. Choose one split per scene"
            )
    if not splits:
        raise ConfigError(f"{path}: no scenes. Add a line for each scene")
    return splits


def split_by_list(
    paths: Mapping[str, Path], split_list: Path, report: ValidationReport
) -> dict[str, str]:
    """Look up the split of every scene in a list.

    Parameters
    ----------
    paths
        File of every scene by name.
    split_list
        CSV file.
    report
        Scenes that are not in the list are rejected; names in the list that are no scene are issues.

    Returns
    -------
    dict
        Split by scene name.
    """
    listed = read_split_list(split_list)
    splits: dict[str, str] = {}
    used = set()
    for name, file in paths.items():
        key = next((key for key in (name, file.name) if key in listed), None)
        if key is None:
            near = difflib.get_close_matches(name, listed, n=1)
            hint = f", which has {near[0]!r}" if near else ""
            report.reject(SceneError(f"{file}: {name} is not in {split_list}{hint}. Add it there"))
        else:
            used.add(key)
            splits[name] = listed[key]
    for name in listed:
        if name not in used:
            report.add(IssueKind.NOT_LISTED, split_list, Action.LEFT_OUT, scene=name)
    return splits


def split_by_share(names: Iterable[str], share: float) -> dict[str, str]:
    """Assign about `share` of the scenes to *val*, at least one of two or more, and the others to *train*.

    Deterministic by name, so that few changes of the names change few splits. Windows of one scene, with names of
    DOTA's tools such as ``P0001__1__824___0``, overlap and get the same split.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_WINDOW_NAME.sub("", name), []).append(name)
    ranked = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())
    total = sum(map(len, groups.values()))
    wanted = round(share * total) or int(share > 0)
    splits: dict[str, str] = {}
    count = 0
    for number, scene in enumerate(ranked, start=1):
        is_val = count < wanted and number < len(ranked)
        count += len(groups[scene]) * is_val
        splits |= dict.fromkeys(groups[scene], VAL if is_val else TRAIN)
    return splits


@dataclass(frozen=True, slots=True)
class Block:
    """Part of a scene."""

    scene: int
    """Position of the scene in the list of scenes."""

    window: Window
    """Pixels of the scene; the blocks of a scene partition it."""


def split_by_blocks(
    scenes: Sequence[SourceScene], options: PrepareOptions, report: ValidationReport
) -> list[SourceScene]:
    """Cut scenes into blocks and assign them to *train* and *val*.

    Blocks that overlap on the ground get the same split. Raises DatasetError if nothing is left for validation.
    """
    images = [scene.image for scene in scenes]
    areas = [scene.area for scene in scenes]
    blocks = cut_blocks(images, options.block or choose_block_size(images, areas))
    blocks = [b for b in blocks if measure_area(areas[b.scene], b.window)]
    transforms = separate_scenes(scenes)
    indexes = [{n: AnnotationIndex(o) for n, o in s.layers.items()} for s in scenes]
    first = [next(iter(index.values())) for index in indexes]
    val = _choose_blocks(blocks, first, transforms, options.val_share)
    if val is None:
        raise DatasetError(
            f"{images[0].path}: too small to leave a part for validation. Use more or larger scenes, or "
            "geoseg prepare with a smaller --block"
        )
    windows = trim_blocks(blocks, transforms, val, options.gap)
    names = _name_blocks([scene.name for scene in scenes], blocks)
    parts = []
    for block, name, is_val, window in zip(blocks, names, val, windows, strict=True):
        scene = scenes[block.scene]
        if window != block.window:
            action = Action.KEPT if window else Action.LEFT_OUT
            report.add(IssueKind.GAP, scene.path, action, scene=name)
        if window and measure_area(scene.area, window):
            part = replace(scene, name=name, split=VAL if is_val else TRAIN, file_name=scene.stem)
            parts.append(_crop_block(part, indexes[block.scene], window))
    if any(val) and not any(part.split == VAL for part in parts):
        raise DatasetError(
            f"{images[0].path}: nothing left for validation. Use a smaller --gap or larger --block"
        )
    return parts


def choose_block_size(
    images: Sequence[SceneInfo], areas: Sequence[shapely.Geometry | None] = ()
) -> int | None:
    """Return the side in pixels that makes about 16 blocks of a few scenes; None, whole scenes, for many.

    Blocks are at least 256 pixels wide; 64 if only an area of the scenes is annotated, or if there would be less than
    four.
    """
    if len(images) >= _MANY_SCENES:
        return None
    annotated = [area for area in areas if area is not None]
    pixels = sum(image.width * image.height for image in images)
    if len(annotated) == len(images):
        pixels = sum(area.area for area in annotated)
    quarter = max(_SMALLEST_FRAME, round(sqrt(pixels / _FEWEST_BLOCKS)))
    smallest = _SMALLEST_FRAME if annotated else min(_SMALLEST_BLOCK, quarter)
    return max(smallest, round(sqrt(pixels / _BLOCKS)))


def measure_area(area: shapely.Geometry | None, window: Window) -> float:
    """Return the number of annotated pixels of a window of a scene."""
    left, top = window.col_off, window.row_off
    box = shapely.box(left, top, left + window.width, top + window.height)
    return float(box.area if area is None else shapely.intersection(area, box).area)


def cut_blocks(images: Sequence[SceneInfo], side: int | None) -> list[Block]:
    """Cut scenes into blocks of about `side` x `side` pixels, row by row; None leaves scenes whole."""
    return [
        Block(number, Window(left, top, right - left, bottom - top))
        for number, image in enumerate(images)
        for top, bottom in _divide_length(image.height, side)
        for left, right in _divide_length(image.width, side)
    ]


def _divide_length(length: int, side: int | None) -> list[tuple[int, int]]:
    count = max(1, round(length / side)) if side else 1
    edges = np.linspace(0, length, count + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def select_annotations(index: AnnotationIndex, window: Window) -> Annotations:
    """Select the annotations that are visible in a window of their scene; the result is in pixels of the window."""
    annotations = shift_annotations(index.query_window(window), -window.col_off, -window.row_off)
    box = (0, 0, window.width, window.height)
    return annotations[shapely.area(shapely.clip_by_rect(annotations.geometry, *box)) > 0]


def clip_annotations(index: AnnotationIndex, window: Window) -> Annotations:
    """Clip annotations to a window of their scene; the result is in pixels of the window."""
    annotations = shift_annotations(index.query_window(window), -window.col_off, -window.row_off)
    box, geometry = (0, 0, window.width, window.height), annotations.geometry
    across = ~shapely.contains(shapely.box(*box), geometry)
    geometry[across] = shapely.make_valid(
        shapely.clip_by_rect(geometry[across], *box), method="structure", keep_collapsed=False
    )
    return replace(annotations, geometry=geometry)[shapely.area(geometry) > 0]


def compute_footprint(transform: Affine, window: Window) -> shapely.Geometry:
    """Return the polygon of a window on the ground, by the transform of its scene."""
    w = window
    box = shapely.box(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height)
    return transform_geometry(np.array([box], object), transform)[0]


def separate_scenes(scenes: Sequence[SourceScene]) -> list[Affine]:
    """Return transforms to a plane on which scenes that are not located do not overlap."""
    left = np.cumsum([0] + [2 * scene.image.width for scene in scenes])
    return [
        scene.image.transform if scene.located else Affine.translation(float(x), 0)
        for scene, x in zip(scenes, left, strict=False)
    ]


def group_overlapping(footprints: NDArray[np.object_]) -> NDArray[np.intp]:
    """Return the group of each footprint: those that overlap are in the same."""
    group = np.arange(len(footprints))
    area = shapely.area(footprints)
    for one, other in shapely.STRtree(footprints).query(footprints, predicate="intersects").T:
        if one < other and group[one] != group[other]:
            shared = shapely.area(shapely.intersection(footprints[one], footprints[other]))
            if shared > _SHARED * min(area[one], area[other]):
                group[group == group[other]] = group[one]
    return np.unique(group, return_inverse=True)[1]


def compute_shares(windows: Sequence[Window], parts: Sequence[Annotations]) -> NDArray[np.float64]:
    """Compute the share of each window in all annotated pixels and in the area of each class.

    Returns
    -------
    (windows, classes) array
        Column 0 is the share of annotated pixels. Columns add up to 1, or 0 for a class without objects.
    """
    classes = 1 + max((int(part.class_id.max()) for part in parts if len(part)), default=0)
    amount = np.zeros((len(windows), classes))
    for row, (window, part) in enumerate(zip(windows, parts, strict=True)):
        np.add.at(amount[row], part.class_id, shapely.area(part.geometry))
        amount[row, 0] = measure_area(part.area, Window(0, 0, window.width, window.height))
    total = amount.sum(axis=0)
    return amount / np.where(total > 0, total, 1)


def choose_validation(shares: NDArray[np.float64], target: float) -> NDArray[np.bool_]:
    """Choose rows of `shares` (n, k) for validation.

    Of the classes in two rows or more (columns from 1), as many as possible are in chosen and in other rows; then the
    sum of the chosen rows is as near to `target` as possible in every column.

    Returns
    -------
    (n,) array of bool
        Deterministic; of two or more rows at least one and never all. The best choice for up to 12 rows; beyond, one
        that no change of one row, or exchange of two, improves.
    """
    chosen = np.zeros(len(shares), bool)
    if target <= 0 or len(shares) < 2:
        return chosen
    if len(shares) <= _EXACT_ROWS:
        numbers = np.arange(1, 2 ** len(shares) - 1)
        every = (numbers[:, None] >> np.arange(len(shares)) & 1).astype(bool)
        return np.asarray(every[_rank_choices(every, shares, target)[0]])
    chosen[_rank_choices(np.eye(len(shares), dtype=bool), shares, target)[0]] = True
    while True:
        others = _list_neighbours(chosen)
        best = others[_rank_choices(others, shares, target)[0]]
        if _rank_choices(np.stack([chosen, best]), shares, target)[0] == 0:
            return chosen
        chosen = best


def _list_neighbours(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (m, n) choices that differ from `chosen` by one row, or, of few rows, by an exchange of two."""
    flipped = chosen ^ np.eye(len(chosen), dtype=bool)
    if len(chosen) <= _MOST_EXCHANGED:
        inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        pairs = np.stack(np.meshgrid(inside, outside), axis=-1).reshape(-1, 2)
        exchanged = np.repeat(chosen[None], len(pairs), axis=0)
        exchanged[np.arange(len(pairs))[:, None], pairs] ^= True
        flipped = np.concatenate([flipped, exchanged])
    some = flipped.any(axis=1) & ~flipped.all(axis=1)
    return np.asarray(flipped[some])


def _rank_choices(
    choices: NDArray[np.bool_], shares: NDArray[np.float64], target: float
) -> NDArray[np.intp]:
    """Rank (m, n) choices of rows, the best first: by classes missing on a side, then by distance to the target."""
    present = shares[:, 1:] > 0
    present = present[:, present.sum(axis=0) > 1].astype(np.float32)
    weight = choices.astype(np.float32)
    missing = (weight @ present == 0) | ((1 - weight) @ present == 0)
    distance = ((choices.astype(np.float64) @ shares - target) ** 2).sum(axis=1)
    return np.lexsort((distance.round(12), missing.sum(axis=1)))


def _choose_blocks(
    blocks: Sequence[Block],
    indexes: Sequence[AnnotationIndex],
    transforms: Sequence[Affine],
    val_share: float,
) -> list[bool] | None:
    """Return which blocks are for validation, by one layer per scene; None if they cannot be divided."""
    footprints = np.array(
        [compute_footprint(transforms[b.scene], b.window) for b in blocks], object
    )
    group = group_overlapping(footprints)
    parts = [clip_annotations(indexes[b.scene], b.window) for b in blocks]
    shares = compute_shares([b.window for b in blocks], parts)
    by_group = np.zeros((group.max() + 1, shares.shape[1]))
    np.add.at(by_group, group, shares)
    if val_share > 0 and len(by_group) < 2:
        return None
    return [bool(v) for v in choose_validation(by_group, val_share)[group]]


def trim_blocks(
    blocks: Sequence[Block], transforms: Sequence[Affine], val: Sequence[bool], gap: int
) -> list[Window | None]:
    """Trim validation blocks until `gap` pixels of theirs lie between them and every other block.

    Parameters
    ----------
    blocks
        Blocks of all scenes.
    transforms
        From pixels of each scene to the ground.
    val
        True for validation blocks.
    gap
        Distance in pixels.

    Returns
    -------
    list
        Window of each block; None where nothing is left. Of the sides that separate two blocks, the one that costs
        fewest pixels is moved.
    """
    windows: list[Window | None] = [block.window for block in blocks]
    others = [n for n, v in enumerate(val) if not v]
    ground = np.array(
        [compute_footprint(transforms[blocks[n].scene], blocks[n].window) for n in others], object
    )
    tree = shapely.STRtree(ground)
    for number, block in enumerate(blocks):
        if not (val[number] and gap):
            continue
        transform = transforms[block.scene]
        w = block.window
        wide = Window(w.col_off - gap, w.row_off - gap, w.width + 2 * gap, w.height + 2 * gap)
        near = np.sort(tree.query(compute_footprint(transform, wide)))
        left: Window | None = w
        bounds = shapely.bounds(transform_geometry(ground[near], ~transform)).reshape(-1, 4)
        for rectangle in bounds:
            left = left and _trim_window(left, rectangle, gap)
        windows[number] = left
    return windows


def _trim_window(window: Window, rectangle: NDArray[np.float64], gap: int) -> Window | None:
    """Return the largest part of a window whose pixels are `gap` or more away from a rectangle."""
    right, bottom = window.col_off + window.width, window.row_off + window.height
    x0, y0 = np.floor(rectangle[:2].round(3)).astype(int).tolist()
    x1, y1 = np.ceil(rectangle[2:].round(3)).astype(int).tolist()
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


def _name_blocks(scenes: Sequence[str], blocks: Sequence[Block]) -> list[str]:
    """Return the name of each block: that of its scene, with a number if the scene is cut."""
    total = np.bincount([b.scene for b in blocks])
    count = np.zeros(len(total), int)
    names = []
    for block in blocks:
        count[block.scene] += 1
        of, number = total[block.scene], count[block.scene]
        name = scenes[block.scene]
        names.append(name if of == 1 else f"{name}-{number:0{len(str(of))}d}")
    return names


def _crop_block(scene: SourceScene, indexes: Indexes, window: Window) -> SourceScene:
    """Return the part of a scene in a window, with the whole objects that are visible in it."""
    if (window.width, window.height) == (scene.image.width, scene.image.height):
        return scene
    layers = {layer: select_annotations(index, window) for layer, index in indexes.items()}
    return crop_scene(scene, window, layers)
