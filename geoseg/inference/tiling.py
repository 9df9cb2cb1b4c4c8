"""Tiles of a scene: margin, and the cores that need the fewest network pixels within the memory limit."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

from geoseg.errors import ConfigError
from geoseg.models.model_file import Model
from geoseg.models.receptive_field import measure_context
from geoseg.models.runtime import RuntimeNetwork
from geoseg.options import Margin
from geoseg.raster.tiles import Tile, cut_tiles, fit_spans, round_up, tile_grid

_MAX_RATIO = 1.35
"""Network pixels per scene pixel beyond which windows grow, if the memory allows."""

_LARGEST_CORE = 2048
"""Largest side of a core unless the ratio demands more: an interruption loses one tile."""

_UNMEASURED_MARGIN = 128

_MAX_TILES = 1_000_000


def resolve_margin(margin: Margin, model: Model) -> int:
    """Return a margin in pixels, a multiple of the stride of the model.

    Parameters
    ----------
    margin
        *auto* for the margin of the model card, *exact* for the whole receptive field (the labels are those
        of one forward pass over the whole scene), or pixels.
    model
        The model.

    Raises
    ------
    ConfigError
        If *exact* is requested of a network with an unbounded or unknown receptive field.
    """
    card = model.card
    if margin == "auto":
        return card.margin
    if margin == "exact":
        return round_up(_receptive_field(model), card.stride)
    if not isinstance(margin, int) or margin < 0:
        raise ConfigError(f"--margin: must be auto, exact, or 0 pixels or more, got {margin}")
    return round_up(margin, card.stride)


def _receptive_field(model: Model) -> int:
    if model.card.context is not None:
        return model.card.context
    if isinstance(model.network, RuntimeNetwork):
        raise ConfigError(
            f"--margin exact: the receptive field of {model.path.name} is unknown: an ONNX file does not "
            "contain it. Use auto, or a number of pixels"
        )
    field = measure_context(model.network, bands=model.card.bands, stride=model.card.stride)
    if field is None:
        raise ConfigError(
            f"--margin exact: the receptive field of {model.path.name} is unbounded. Use auto, or a "
            "number of pixels"
        )
    return field


def default_margin(receptive_field: int | None, stride: int) -> int:
    """Return the margin of a model without measured margins.

    It is exact if the largest cores then need at most 1.35 network pixels per scene pixel, else 128 pixels.
    """
    exact = round_up(_UNMEASURED_MARGIN if receptive_field is None else receptive_field, stride)
    affordable = (_LARGEST_CORE + 2 * exact) ** 2 <= _MAX_RATIO * _LARGEST_CORE**2
    return exact if affordable else round_up(_UNMEASURED_MARGIN, stride)


def choose_tiles(
    width: int,
    height: int,
    model: Model,
    *,
    core: int | None = None,
    margin: Margin = "auto",
    largest_window: int | None = None,
) -> list[Tile]:
    """Choose the tiles of a scene.

    Parameters
    ----------
    width, height
        Size of the scene in network pixels.
    model
        The model, for its stride and margin.
    core
        Side of the cores, rounded up to the stride; None: fitted, see `fit_tiles`.
    margin
        See `resolve_margin`.
    largest_window
        Pixels of the largest window, if cores are fitted.

    Raises
    ------
    ConfigError
        If `core` is not positive, nothing is left between margins, or there are too many tiles.
    """
    pixels, stride = resolve_margin(margin, model), model.card.stride
    if model.window is not None:
        core = _core_of_window(model, model.window, core, pixels)
    if core is None:
        return fit_tiles(width, height, margin=pixels, stride=stride, largest_window=largest_window)
    if core < 1:
        raise ConfigError(f"--core: must be 1 pixel or more, got {core}")
    _check_count(width, height, ceil(width / core) * ceil(height / core))
    return tile_grid(width, height, core=round_up(core, stride), margin=pixels, multiple=stride)


def _core_of_window(model: Model, window: int, core: int | None, margin: int) -> int:
    """Return the side of the core of a model that takes windows of one size only."""
    if core is not None:
        raise ConfigError(
            f"--core: {model.path.name} takes windows of {window} pixels only. Leave it out"
        )
    if window - 2 * margin < model.card.stride:
        raise ConfigError(
            f"--margin: {model.path.name} takes windows of {window} pixels only, "
            f"which leaves no core inside a margin of {margin}. Use a smaller margin"
        )
    return window - 2 * margin


def fit_tiles(
    width: int, height: int, *, margin: int, stride: int, largest_window: int | None = None
) -> list[Tile]:
    """Choose the tiles that need the fewest network pixels.

    Parameters
    ----------
    width, height
        Size of the scene in network pixels.
    margin
        Multiple of `stride`. Without a margin every tiling needs the same number of pixels, and the one
        with the shortest borders between cores is chosen.
    stride
        Of the network.
    largest_window
        Pixels of the largest window. Windows never exceed those of a core of 2048 pixels a side, or of
        the core with which a large scene needs 1.35 network pixels per scene pixel.

    Raises
    ------
    ConfigError
        If nothing is left between margins, or there are too many tiles.
    """
    core = max(_LARGEST_CORE, ceil(2 * margin / (sqrt(_MAX_RATIO) - 1)))
    area = (round_up(core, stride) + 2 * margin) ** 2
    if largest_window is not None:
        area = min(area, largest_window)
    overlap = max(margin, 1)  # 1 compares the borders between cores
    best: tuple[int, int, int] | None = None  # pixels, then a window's width and height
    for columns in range(1, max(1, width - 2 * margin) + 1):
        window_width = _window_length(width, columns, margin, stride)
        if best and _total_length(width, columns, overlap) * height >= best[0]:
            break  # more columns need more pixels
        rows = _fewest_windows(height, area // window_width // stride * stride, margin)
        if rows is None:
            continue
        pixels = _total_length(width, columns, overlap) * _total_length(height, rows, overlap)
        if not best or pixels < best[0]:
            best = pixels, window_width, _window_length(height, rows, margin, stride)
    if best is None:
        raise ConfigError(
            f"--memory: does not suffice for windows with a margin of {margin} pixels. "
            "Allow more, or use a smaller --margin"
        )
    _, window_width, window_height = best
    across = fit_spans(width, window_width, margin)
    down = fit_spans(height, window_height, margin)
    _check_count(width, height, len(across) * len(down))
    return cut_tiles(across, down, margin=margin)


def _total_length(length: int, count: int, margin: int) -> int:
    """Return the pixels along an axis of `count` windows together."""
    return length + 2 * (count - 1) * margin


def _window_length(length: int, count: int, margin: int, stride: int) -> int:
    """Return the pixels along an axis of each of `count` windows of about equal length."""
    return round_up(ceil(_total_length(length, count, margin) / count), stride)


def _fewest_windows(length: int, window: int, margin: int) -> int | None:
    """Return the fewest windows of at most `window` pixels along an axis; None if there is no number."""
    if length <= window:
        return 1
    core = window - 2 * margin
    return ceil((length - 2 * margin) / core) if core > 0 else None


def _check_count(width: int, height: int, count: int) -> None:
    if count > _MAX_TILES:
        raise ConfigError(
            f"{width:,} x {height:,} pixels need {count:,} tiles, more than {_MAX_TILES:,}. "
            "Use a larger --gsd, --core or --memory, or fewer scenes"
        )


def forward_ratio(tiles: Sequence[Tile], width: int, height: int) -> float:
    """Return the network pixels per pixel of a scene of `width` x `height` network pixels."""
    forward: int = sum(tile.window.width * tile.window.height for tile in tiles)
    return forward / (width * height)
