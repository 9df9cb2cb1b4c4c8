"""How a scene is cut: as few pixels twice through the network as memory allows."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Literal

from geoseg.errors import ConfigError
from geoseg.grid import Tile, grid, round_up
from geoseg.model.file import Model
from geoseg.model.receptive import context, margin_for

Margin = int | Literal["auto", "exact"]

_FORWARD_RATIO = 1.35
"""Pixels through the network per pixel of the scene that a default core stays below."""

_SMALLEST_CORE = 1024
_LARGEST_CORE = 2048


def margin_px(asked: Margin, model: Model) -> int:
    """Margin in pixels, a multiple of the model's stride.

    *auto* is what the model's card says, *exact* covers the network's whole receptive field: with
    it labels are those of one forward pass over the whole scene. Raises ConfigError when *exact*
    is asked of a network whose context has no end.
    """
    if asked == "auto":
        return model.card.margin
    if asked == "exact":
        reach = context(model.network, bands=model.card.bands, stride=model.card.stride)
        if reach is None:
            raise ConfigError(
                f"--margin exact: no margin covers the context of {model.path.name}, in which "
                "every pixel counts for every other. use auto"
            )
        return margin_for(reach, model.card.stride)
    if asked < 0:
        raise ConfigError(f"--margin: must be auto, exact, or 0 pixels or more, got {asked}")
    return margin_for(asked, model.card.stride)


def core_px(width: int, height: int, *, margin: int, stride: int, asked: int | None = None) -> int:
    """Core in pixels, a multiple of `stride`: `asked`, or one that fits the scene.

    By default windows ((core + 2 · margin)² pixels) add up to at most 1.35 times the scene, as
    long as cores of 2048 suffice, and cores are as equal as they can be. Raises ConfigError
    unless `asked` is positive.
    """
    if asked is not None:
        if asked < 1:
            raise ConfigError(f"--core: must be 1 pixel or more, got {asked}")
        return round_up(asked, stride)
    # (core + 2 · margin)² ≤ ratio · core²
    enough = ceil(2 * margin / (sqrt(_FORWARD_RATIO) - 1))
    core = round_up(min(max(enough, _SMALLEST_CORE), _LARGEST_CORE), stride)
    longer = max(width, height)
    if longer <= core + 2 * margin:  # one tile is no larger than the window of any other
        return round_up(longer, stride)
    cores = longer // core  # rather fewer and larger ones: smaller ones would read more
    if ceil(longer / cores) > _LARGEST_CORE:
        cores += 1
    return round_up(ceil(longer / cores), stride)


def tiles(
    width: int, height: int, model: Model, *, core: int | None = None, margin: Margin = "auto"
) -> list[Tile]:
    """The tiles of a scene of `width` x `height` pixels. Raises ConfigError as above."""
    ring = margin_px(margin, model)
    stride = model.card.stride
    core = core_px(width, height, margin=ring, stride=stride, asked=core)
    return grid(width, height, core=core, margin=ring, multiple=stride)
