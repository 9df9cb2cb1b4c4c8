"""Scenes divided into train and val by the ground they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from affine import Affine
from rasterio.windows import Window

from geoseg.annotations import Index
from geoseg.errors import DatasetError
from geoseg.prepare.blocks import (
    Block,
    choose,
    clipped,
    cut,
    footprint,
    groups,
    places,
    shares,
    trimmed,
    usual_side,
)
from geoseg.prepare.findings import Done, Findings, Kind
from geoseg.prepare.scenes import Input
from geoseg.prepare.settings import Settings
from geoseg.prepare.splits import TRAIN, VAL

Indexes = Mapping[str, Index]
"""Layer name → annotations of one scene."""


def in_blocks(inputs: Sequence[Input], settings: Settings, findings: Findings) -> list[Input]:
    """The inputs cut into blocks, which are in *train* or *val*: no ground is in both.

    Blocks that share ground are never parted. Raises DatasetError when there is nothing to validate by.
    """
    images = [i.image for i in inputs]
    blocks = cut(images, settings.block or usual_side(images))
    ground = places(images)
    indexes = [{layer: Index(o) for layer, o in i.truths.items()} for i in inputs]
    val = _validating(inputs, indexes, blocks, ground, settings)
    windows = trimmed(blocks, ground, val, settings.gap)
    names = _names([i.source.name for i in inputs], blocks)
    found = []
    for block, name, validates, window in zip(blocks, names, val, windows, strict=True):
        whole = inputs[block.image]
        if window != block.window:
            done = Done.KEPT if window else Done.LEFT_OUT
            findings.add(Kind.GAP, whole.source.image, done, scene=name)
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
    settings: Settings,
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
