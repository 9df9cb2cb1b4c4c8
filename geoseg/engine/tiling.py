"""How a scene is cut: as few pixels twice through the network as memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Literal

from geoseg.errors import ConfigError
from geoseg.grid import Tile, grid, round_up
from geoseg.model.file import Model
from geoseg.model.receptive import context, margin_for
from geoseg.model.runtime import RuntimeNetwork

Margin = int | Literal["auto", "exact"]

_FORWARD_RATIO = 1.35
"""Pixels through the network per pixel of the scene that a default core stays below."""

SMALLEST_CORE = 1024
"""Default cores are no smaller than this, unless the scene or the memory is."""

_LARGEST_CORE = 2048
_UNMEASURED = 128
_MOST_TILES = 1_000_000


def margin_px(asked: Margin, model: Model) -> int:
    """Margin in pixels, a multiple of the model's stride.

    *auto* is what the model's card says, *exact* covers the network's whole receptive field: with
    it labels are those of one forward pass over the whole scene. Raises ConfigError when *exact*
    is asked of a network whose context has no end.
    """
    card = model.card
    if asked == "auto":
        return card.margin
    if asked == "exact":
        reach = card.context
        if reach is None and not isinstance(model.network, RuntimeNetwork):
            reach = context(model.network, bands=card.bands, stride=card.stride)
        if reach is None and isinstance(model.network, RuntimeNetwork):
            raise ConfigError(
                f"--margin exact: an ONNX file does not tell how far {model.path.name} looks. "
                "use auto, or a number of pixels"
            )
        if reach is None:
            raise ConfigError(
                f"--margin exact: no margin covers the context of {model.path.name}, in which "
                "every pixel counts for every other. use auto"
            )
        return margin_for(reach, card.stride)
    if not isinstance(asked, int) or asked < 0:
        raise ConfigError(f"--margin: must be auto, exact, or 0 pixels or more, got {asked}")
    return margin_for(asked, card.stride)


def default_margin(reach: int | None, stride: int) -> int:
    """The exact margin where the largest cores afford it (1.35 pixels through the network per pixel of
    the scene), else 128 pixels, until `geoseg margin` has measured a better one.
    """
    exact = margin_for(_UNMEASURED if reach is None else reach, stride)
    affordable = (_LARGEST_CORE + 2 * exact) ** 2 <= _FORWARD_RATIO * _LARGEST_CORE**2
    return exact if affordable else margin_for(_UNMEASURED, stride)


def core_px(
    width: int, height: int, *, margin: int, stride: int, largest_window: int | None = None
) -> int:
    """A core in pixels, a multiple of `stride`, that fits a scene of `width` x `height`.

    Windows ((core + 2 · margin)² pixels) add up to at most 1.35 times the scene, as long as cores
    of 2048 suffice, and cores are as equal as they can be. No window's side exceeds
    `largest_window`. Raises ConfigError when that leaves no core.
    """
    largest = _LARGEST_CORE
    if largest_window is not None:
        largest = min(largest, (largest_window - 2 * margin) // stride * stride)
    if largest < stride:
        raise ConfigError(
            f"--memory: does not suffice for windows with a margin of {margin} pixels. "
            "allow more, or use a smaller --margin"
        )
    # (core + 2 · margin)² ≤ ratio · core²
    enough = ceil(2 * margin / (sqrt(_FORWARD_RATIO) - 1))
    core = min(round_up(max(enough, SMALLEST_CORE), stride), largest)
    longer = max(width, height)
    if longer <= core + 2 * margin:  # one tile is no larger than the window of any other
        return round_up(longer, stride)
    cores = longer // core  # rather fewer and larger ones: smaller ones would read more
    if round_up(ceil(longer / cores), stride) > largest:
        cores += 1
    return round_up(ceil(longer / cores), stride)


def tiles(
    width: int,
    height: int,
    model: Model,
    *,
    core: int | None = None,
    margin: Margin = "auto",
    largest_window: int | None = None,
) -> list[Tile]:
    """The tiles of a scene of `width` x `height` pixels: with cores of `core` pixels, rounded up to the
    stride, or fitted. Raises ConfigError as above, and unless `core` is positive.
    """
    ring, stride = margin_px(margin, model), model.card.stride
    if model.window is not None:
        if core is not None:
            raise ConfigError(
                f"--core: {model.path.name} takes windows of {model.window} pixels and no others. "
                "leave it out"
            )
        core = model.window - 2 * ring
        if core < stride:
            raise ConfigError(
                f"--margin: {model.path.name} takes windows of {model.window} pixels, "
                f"which leaves nothing inside a margin of {ring}. use a smaller one"
            )
    if core is None:
        core = core_px(
            width, height, margin=ring, stride=stride, largest_window=largest_window
        )  # fmt: skip
    elif core < 1:
        raise ConfigError(f"--core: must be 1 pixel or more, got {core}")
    count = ceil(width / core) * ceil(height / core)
    if count > _MOST_TILES:
        raise ConfigError(
            f"{width:,} x {height:,} pixels make {count:,} tiles, more than {_MOST_TILES:,}. "
            "use a larger --gsd or --core, or fewer scenes"
        )
    return grid(width, height, core=round_up(core, stride), margin=ring, multiple=stride)


def forward_ratio(cells: Sequence[Tile], width: int, height: int) -> float:
    """Pixels through the network per pixel of the scene."""
    forward: int = sum(cell.window.width * cell.window.height for cell in cells)
    return forward / (width * height)
