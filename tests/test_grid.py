import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.grid import grid


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
    decided = np.zeros((height, width), int)
    for tile in grid(
        width, height, core=core * multiple, margin=margin * multiple, multiple=multiple
    ):
        seen = np.zeros((height, width), int)
        seen[tile.window.toslices()] = 1
        window = seen[tile.window.toslices()]
        assert window.shape == (tile.window.height, tile.window.width)  # it lies in the scene
        assert tile.window.row_off % multiple == tile.window.col_off % multiple == 0
        window[tile.inner] += 1
        decided += seen == 2
        assert (seen[tile.core.toslices()] == 2).all()
    assert (decided == 1).all()


@pytest.mark.parametrize(("core", "margin"), [(10, 0), (16, 5), (0, 0), (16, -16)])
def test_numbers_that_do_not_fit_the_stride_are_refused(core: int, margin: int) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        grid(100, 100, core=core, margin=margin, multiple=16)
