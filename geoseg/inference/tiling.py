"""How a scene is cut: as few pixels twice through the network as memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Literal

from geoseg.errors import ConfigError
from geoseg.models.model_file import Model
from geoseg.models.receptive_field import context
from geoseg.models.runtime import RuntimeNetwork
from geoseg.raster.tiles import Tile, cut, fitted_spans, grid, round_up

Margin = int | Literal["auto", "exact"]

_FORWARD_RATIO = 1.35
"""Pixels through the network per pixel of the scene beyond which windows grow, where memory allows."""

_LARGEST_CORE = 2048
"""Of windows that need not be larger: what an interruption loses is one of them."""

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
        return round_up(reach, card.stride)
    if not isinstance(asked, int) or asked < 0:
        raise ConfigError(f"--margin: must be auto, exact, or 0 pixels or more, got {asked}")
    return round_up(asked, card.stride)


def default_margin(reach: int | None, stride: int) -> int:
    """The exact margin where the largest cores afford it (1.35 pixels through the network per pixel of
    the scene), else 128 pixels, until `geoseg margin` has measured a better one.
    """
    exact = round_up(_UNMEASURED if reach is None else reach, stride)
    affordable = (_LARGEST_CORE + 2 * exact) ** 2 <= _FORWARD_RATIO * _LARGEST_CORE**2
    return exact if affordable else round_up(_UNMEASURED, stride)


def fitted(
    width: int, height: int, *, margin: int, stride: int, largest_window: int | None = None
) -> list[Tile]:
    """The tiles that take the fewest pixels through the network, with windows of at most `largest_window` pixels.

    Without that, or where it is larger, windows are at most those of a core of 2048 pixels a side, or of
    the one with which they add up to 1.35 times a large scene. Without a margin every cut costs the
    same, and the one with the shortest borders between cores is taken. `stride` divides `margin`. Raises
    ConfigError when no core is left between margins.
    """
    core = max(_LARGEST_CORE, ceil(2 * margin / (sqrt(_FORWARD_RATIO) - 1)))
    largest = (round_up(core, stride) + 2 * margin) ** 2
    area = min(largest, largest_window) if largest_window is not None else largest
    ring = max(margin, 1)  # by which cuts are compared: where it is 1, by the borders between cores
    best: tuple[int, int, int] | None = None  # pixels, then a window's width and height
    for columns in range(1, max(1, width - 2 * margin) + 1):
        across = _window(width, columns, margin, stride)
        if best and _forward(width, columns, ring) * height >= best[0]:
            break  # more columns take more
        rows = _fewest(height, area // across // stride * stride, margin)
        if rows is None:
            continue
        forward = _forward(width, columns, ring) * _forward(height, rows, ring)
        if not best or forward < best[0]:
            best = forward, across, _window(height, rows, margin, stride)
    if best is None:
        raise ConfigError(
            f"--memory: does not suffice for windows with a margin of {margin} pixels. "
            "allow more, or use a smaller --margin"
        )
    _, across, down = best
    spans = fitted_spans(width, across, margin), fitted_spans(height, down, margin)
    _check_count(width, height, len(spans[0]) * len(spans[1]))
    return cut(*spans, margin=margin)


def _forward(length: int, count: int, margin: int) -> int:
    """Pixels along an axis in all of `count` windows together."""
    return length + 2 * (count - 1) * margin


def _window(length: int, count: int, margin: int, stride: int) -> int:
    """Pixels along an axis in each of `count` windows that are as equal as they can be."""
    return round_up(ceil(_forward(length, count, margin) / count), stride)


def _fewest(length: int, window: int, margin: int) -> int | None:
    """The fewest windows of at most `window` pixels along an axis; None if no number will do."""
    if length <= window:
        return 1
    core = window - 2 * margin
    return ceil((length - 2 * margin) / core) if core > 0 else None


def _check_count(width: int, height: int, count: int) -> None:
    if count > _MOST_TILES:
        raise ConfigError(
            f"{width:,} x {height:,} pixels make {count:,} tiles, more than {_MOST_TILES:,}. "
            "use a larger --gsd, --core or --memory, or fewer scenes"
        )


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
        return fitted(width, height, margin=ring, stride=stride, largest_window=largest_window)
    if core < 1:
        raise ConfigError(f"--core: must be 1 pixel or more, got {core}")
    _check_count(width, height, ceil(width / core) * ceil(height / core))
    return grid(width, height, core=round_up(core, stride), margin=ring, multiple=stride)


def forward_ratio(cells: Sequence[Tile], width: int, height: int) -> float:
    """Pixels through the network per pixel of the scene."""
    forward: int = sum(cell.window.width * cell.window.height for cell in cells)
    return forward / (width * height)
