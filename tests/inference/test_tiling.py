"""Choice of margins and tiles, and their overhead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from geoseg.errors import ConfigError
from geoseg.inference.tiling import choose_tiles, fit_tiles, resolve_margin
from geoseg.models.model_file import Model
from geoseg.models.receptive_field import measure_context
from geoseg.raster.tiles import Tile, round_up
from tests.scenes import card, tiny_model

STRIDE = st.sampled_from([1, 4, 16, 32, 64])


def windows(tiles: list[Tile], stride: int) -> list[tuple[int, int]]:
    """Width and height of the windows padded for the network."""
    return [(round_up(t.window.width, stride), round_up(t.window.height, stride)) for t in tiles]


@given(
    width=st.integers(4000, 30_000), height=st.integers(4000, 30_000),
    stride=STRIDE, margin=st.integers(0, 400),
)  # fmt: skip
def test_a_large_scene_needs_at_most_1_35_network_pixels_per_pixel(
    width: int, height: int, stride: int, margin: int
) -> None:
    tiles = fit_tiles(width, height, margin=round_up(margin, stride), stride=stride)
    forward = sum(w * h for w, h in windows(tiles, stride))
    assert forward <= 1.36 * round_up(width, stride) * round_up(height, stride)


@given(
    width=st.integers(1, 30_000), height=st.integers(1, 30_000), stride=STRIDE,
    margin=st.integers(0, 400), largest=st.integers(900**2, 6000**2),
)  # fmt: skip
def test_windows_fit_the_memory(
    width: int, height: int, stride: int, margin: int, largest: int
) -> None:
    margin = round_up(margin, stride)
    tiles = fit_tiles(width, height, margin=margin, stride=stride, largest_window=largest)
    assert all(w * h <= largest for w, h in windows(tiles, stride))


@given(
    width=st.integers(1, 300), height=st.integers(1, 300), stride=st.sampled_from([1, 4, 16]),
    margin=st.integers(0, 20), largest=st.integers(80**2, 200**2),
)  # fmt: skip
def test_no_other_number_of_columns_and_rows_takes_fewer_pixels(
    width: int, height: int, stride: int, margin: int, largest: int
) -> None:
    margin = round_up(margin, stride)

    def sides(length: int) -> list[tuple[int, int]]:
        """Window and sum of windows, by number of windows."""
        counts = range(1, max(1, length - 2 * margin) + 1)
        forward = [length + 2 * (count - 1) * margin for count in counts]
        return [
            (round_up(-(-total // n), stride), total)
            for n, total in zip(counts, forward, strict=True)
        ]

    least = min(
        across * down
        for window, across in sides(width)
        for other, down in sides(height)
        if window * other <= largest
    )
    tiles = fit_tiles(width, height, margin=margin, stride=stride, largest_window=largest)
    forward: int = sum(t.window.width * t.window.height for t in tiles)
    assert forward <= least


def test_without_a_margin_windows_are_about_square() -> None:
    first = fit_tiles(20_000, 20_000, margin=0, stride=32, largest_window=1_000_000)[0].window
    assert 0.5 < first.width / first.height < 2


def test_only_chosen_tiles_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.inference.tiling._MAX_TILES", 6000)
    size = {"margin": 128, "stride": 32, "largest_window": 400**2}
    assert len(fit_tiles(10_000, 10_000, **size)) < 6000  # the first candidates have more
    monkeypatch.setattr("geoseg.inference.tiling._MAX_TILES", 3000)
    with pytest.raises(ConfigError, match="more than 3,000"):
        fit_tiles(10_000, 10_000, **size)


def test_a_small_scene_is_one_tile() -> None:
    assert len(choose_tiles(1000, 700, tiny_model(margin=96))) == 1
    assert len(choose_tiles(1250, 1250, tiny_model(margin=96))) == 1


def test_cores_and_margins_are_rounded_up_to_the_stride() -> None:
    model = tiny_model()
    assert choose_tiles(500, 500, model, core=61, margin=0)[0].core.width == 64
    assert resolve_margin(13, model) == 16
    assert resolve_margin(0, model) == 0
    assert resolve_margin("auto", model) == 32


def test_an_exact_margin_covers_the_receptive_field() -> None:
    model = tiny_model()
    reach = measure_context(model.network, bands=3, stride=4)
    assert reach is not None
    assert reach <= resolve_margin("exact", model) < reach + 4


class _Global(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image + image.mean(dim=(2, 3), keepdim=True)


def test_an_unbounded_receptive_field_has_no_exact_margin() -> None:
    model = Model(tiny_model().path, card(), _Global(), "0")
    with pytest.raises(ConfigError, match="Use auto"):
        resolve_margin("exact", model)


def test_invalid_sizes_are_errors() -> None:
    with pytest.raises(ConfigError, match="--core"):
        choose_tiles(10, 10, tiny_model(), core=0)
    with pytest.raises(ConfigError, match="--margin"):
        resolve_margin(-1, tiny_model())
