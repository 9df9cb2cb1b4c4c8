"""Plans of different tilings are distinguished when a run resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoseg.inference.plan import PlanSettings, plan_scene
from geoseg.inference.reader import open_scenes
from geoseg.raster.tiles import Tile, cut_tiles, fit_spans, tile_grid
from tests.scenes import tiny_model, write_scene


def test_tilings_of_equal_count_and_first_tile_have_different_dependencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.zeros((3, 180, 180), np.uint8))
    fitted = fit_spans(180, 104, 32)
    cuts = tile_grid(180, 180, core=72, margin=32, multiple=4), cut_tiles(fitted, fitted, margin=32)
    assert len(cuts[0]) == len(cuts[1])
    assert cuts[0][0].core == cuts[1][0].core

    def about(cells: list[Tile]) -> object:
        monkeypatch.setattr("geoseg.inference.plan.choose_tiles", lambda *_args, **_more: cells)
        with open_scenes([scene]) as scenes:
            return plan_scene(PlanSettings(tiny_model()), (scene,), scenes).dependencies

    assert about(cuts[0]) != about(cuts[1])
