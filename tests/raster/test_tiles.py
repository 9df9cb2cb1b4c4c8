import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.raster.tiles import Tile, cut_tiles, fit_spans, tile_grid


def check(cells: list[Tile], width: int, height: int, multiple: int) -> None:
    """Every pixel is decided once, and tiles know where they lie."""
    decided = np.zeros((height, width), int)
    for tile in cells:
        seen = np.zeros((height, width), int)
        seen[tile.window.toslices()] = 1
        window = seen[tile.window.toslices()]
        assert window.shape == (tile.window.height, tile.window.width)  # it lies in the scene
        assert tile.window.row_off % multiple == tile.window.col_off % multiple == 0
        window[tile.inner] += 1
        decided += seen == 2
        assert (seen[tile.core.toslices()] == 2).all()
    assert (decided == 1).all()


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    multiple=st.sampled_from([2, 4, 16]),
    core=st.integers(1, 8),
    margin=st.integers(0, 4),
)
def test_cores_cover_a_scene_exactly_once(
    width: int, height: int, multiple: int, core: int, margin: int
) -> None:
    cells = tile_grid(
        width, height, core=core * multiple, margin=margin * multiple, multiple=multiple
    )
    check(cells, width, height, multiple)


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    multiple=st.sampled_from([1, 2, 4]),
    cores=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    margin=st.integers(0, 4),
)
def test_fitted_cores_do_so_too_and_no_window_is_longer_than_asked(
    width: int, height: int, multiple: int, cores: tuple[int, int], margin: int
) -> None:
    ring = margin * multiple
    across, down = (core * multiple + 2 * ring for core in cores)
    columns, rows = fit_spans(width, across, ring), fit_spans(height, down, ring)
    cells = cut_tiles(columns, rows, margin=ring)
    check(cells, width, height, multiple)
    assert all(t.window.width <= across and t.window.height <= down for t in cells)
    for length, window, spans in ((width, across, columns), (height, down, rows)):
        fewer = len(spans) - 1  # would not reach from end to end
        assert fewer == 0 or fewer * window - 2 * (fewer - 1) * ring < length


def test_a_window_that_is_all_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="no core between margins"):
        fit_spans(100, 32, 16)


@pytest.mark.parametrize(("core", "margin"), [(10, 0), (16, 5), (0, 0), (16, -16)])
def test_numbers_that_do_not_fit_the_stride_are_refused(core: int, margin: int) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        tile_grid(100, 100, core=core, margin=margin, multiple=16)
